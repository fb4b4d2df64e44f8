//! What is judged: who speaks to whom, by which protocol, on which port.

use std::net::IpAddr;

use crate::model::{Direction, Pod, PolicyPort, PortMatch, Protocol};

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'c> {
    /// The pod that has the address; none for addresses outside the cluster and for nodes.
    pub pod: Option<&'c Pod>,
    /// The address that the flow uses; none for a pod that has no address yet. A hostNetwork pod's is its node's.
    pub address: Option<IpAddr>,
}

impl<'c> Endpoint<'c> {
    /// A pod, speaking from one of its addresses.
    pub fn pod(pod: &'c Pod, address: Option<IpAddr>) -> Self {
        Self { pod: Some(pod), address }
    }

    /// An address that is no pod's.
    pub fn address(address: IpAddr) -> Self {
        Self { pod: None, address: Some(address) }
    }
}

/// A flow as a policy sees it: after Service translation, before masquerade (rules 88, 139).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow<'c> {
    /// Who opens the connection.
    pub from: Endpoint<'c>,
    /// Who it is opened to.
    pub to: Endpoint<'c>,
    /// Its protocol.
    pub protocol: Protocol,
    /// The destination port, as the pod listens on it (rule 56).
    pub port: u16,
}

impl<'c> Flow<'c> {
    /// The end whose policies judge this direction.
    pub fn subject(&self, direction: Direction) -> Endpoint<'c> {
        match direction {
            Direction::Ingress => self.to,
            Direction::Egress => self.from,
        }
    }

    /// The other end.
    pub fn peer(&self, direction: Direction) -> Endpoint<'c> {
        match direction {
            Direction::Ingress => self.from,
            Direction::Egress => self.to,
        }
    }

    /// Whether one entry of `ports` admits it. Whatever the direction, the port is the destination's; a name is looked
    /// up on the destination pod, and means nothing without one (rules 62-69).
    pub(super) fn matches_port(&self, port: &PolicyPort) -> bool {
        port.protocol == self.protocol
            && match &port.ports {
                PortMatch::All => true,
                PortMatch::Range(first, last) => (*first..=*last).contains(&self.port),
                PortMatch::Named(name) => self
                    .to
                    .pod
                    .filter(|pod| pod.is_selectable())
                    .is_some_and(|pod| pod.named_ports(name, self.protocol).any(|number| number == self.port)),
            }
    }
}
