//! The transport protocols that the lab can speak.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A transport protocol. SCTP is absent: few kernels have its sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// Connects, and reads a greeting.
    Tcp,
    /// Sends a datagram, and awaits its echo.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        })
    }
}
