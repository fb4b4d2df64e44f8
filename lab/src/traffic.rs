//! What a probe sends.

use std::net::IpAddr;

use policy_compiler::{model::Protocol, verdict};

/// What a probe sends. How it is answered, by protocol:
///
/// * TCP: it connects, and reads a greeting.
/// * UDP: it sends a datagram, and awaits its echo.
/// * SCTP: it sends an INIT, and awaits its INIT ACK; no SCTP stack is needed.
/// * Echo: it sends an echo request of ICMP or ICMPv6, which a pod's kernel answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Traffic {
    /// One of the protocols that policies can name, to a port.
    Port(Protocol, u16),
    /// An echo request: traffic that only a rule without ports admits (rules 80, 83).
    Echo,
}

impl Traffic {
    /// The same as a verdict is given on it, sent to that address.
    pub fn judged(self, to: IpAddr) -> verdict::Traffic {
        match (self, to) {
            (Self::Port(protocol, port), _) => verdict::Traffic::Port(protocol, port),
            (Self::Echo, IpAddr::V4(_)) => verdict::Traffic::Other(1),
            (Self::Echo, IpAddr::V6(_)) => verdict::Traffic::Other(58),
        }
    }

    /// The name of its protocol, sent to that address.
    pub fn protocol(self, to: IpAddr) -> &'static str {
        match (self, to) {
            (Self::Port(protocol, _), _) => protocol.name(),
            (Self::Echo, IpAddr::V4(_)) => "ICMP",
            (Self::Echo, IpAddr::V6(_)) => "ICMPv6",
        }
    }

    /// Its destination port, if it has one.
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Port(_, port) => Some(port),
            Self::Echo => None,
        }
    }
}
