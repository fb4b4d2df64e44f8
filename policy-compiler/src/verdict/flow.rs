//! What is judged: who speaks to whom, by which protocol, to which port.

use std::fmt;
use std::net::IpAddr;

use crate::cluster::Cluster;
use crate::model::{Direction, Phase, Pod, Protocol};

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'c> {
    /// Who it is.
    pub host: Host<'c>,
    /// The address that the flow uses; none for a pod that has no address yet (rule 127), or where it is not known.
    pub address: Option<IpAddr>,
}

/// Who is behind an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'c> {
    /// A pod. One with hostNetwork is no more than its node (rule 105), a finished one is gone (rule 124).
    Pod(&'c Pod),
    /// A node, by name.
    Node(&'c str),
    /// Whatever the cluster does not know: policies can name it by its address only (rule 41).
    Outside,
}

impl<'c> Endpoint<'c> {
    /// A pod, speaking from one of its addresses. A hostNetwork pod's is its node's.
    pub fn pod(pod: &'c Pod, address: Option<IpAddr>) -> Self {
        Self { host: Host::Pod(pod), address }
    }

    /// A node, speaking from one of its addresses.
    pub fn node(name: &'c str, address: Option<IpAddr>) -> Self {
        Self { host: Host::Node(name), address }
    }

    /// An address that is no pod's and no node's.
    pub fn address(address: IpAddr) -> Self {
        Self { host: Host::Outside, address: Some(address) }
    }

    /// Whoever has an address: the pod that it belongs to, of several that claim it the live one (rules 124-129); the
    /// node, where a hostNetwork pod tells that it is one's (rule 109); otherwise nobody in the cluster. Looks at every
    /// pod.
    pub fn resolve(cluster: &'c Cluster, address: IpAddr) -> Self {
        if let Some(pod) = cluster.address_owners().get(&address) {
            return Self::pod(pod, Some(address));
        }
        let on_node = |pod: &&Pod| pod.host_network && pod.phase != Phase::Finished && pod.addresses.contains(&address);
        match cluster.pods().find(on_node).and_then(|pod| pod.node.as_deref()) {
            Some(node) => Self::node(node, Some(address)),
            None => Self::address(address),
        }
    }

    /// The pod, if policies can select it, as subject or as peer (rules 105, 124).
    pub fn selectable(&self) -> Option<&'c Pod> {
        match self.host {
            Host::Pod(pod) if pod.is_selectable() => Some(pod),
            Host::Pod(_) | Host::Node(_) | Host::Outside => None,
        }
    }

    /// The node that this end is, by itself or as a hostNetwork pod.
    pub fn as_node(&self) -> Option<&'c str> {
        match self.host {
            Host::Node(name) => Some(name),
            Host::Pod(pod) if pod.host_network => pod.node.as_deref(),
            Host::Pod(_) | Host::Outside => None,
        }
    }
}

impl fmt::Display for Endpoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host, self.address) {
            (Host::Pod(pod), _) => pod.name.fmt(f),
            (Host::Node(name), _) => write!(f, "node {name}"),
            (Host::Outside, Some(address)) => address.fmt(f),
            (Host::Outside, None) => f.write_str("outside the cluster"),
        }
    }
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Traffic {
    /// One of the protocols that policies can name, to a port as the destination listens on it, never a Service's and
    /// never the source's (rules 56, 139).
    Port(Protocol, u16),
    /// Any other protocol, by its number in the IP header, such as 1 for ICMP: only a rule without ports admits it
    /// (rules 33, 80, 83). Errors about other connections, and neighbour discovery, are no flows (rules 81, 82).
    Other(u8),
}

impl Traffic {
    /// Its protocol, if policies can name it.
    pub fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Port(protocol, _) => Some(protocol),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(protocol, port) => write!(f, "{protocol}/{port}"),
            Self::Other(1) => f.write_str("ICMP"),
            Self::Other(58) => f.write_str("ICMPv6"),
            Self::Other(number) => write!(f, "protocol {number}"),
        }
    }
}

/// A flow as a policy sees it: after Service translation, before masquerade (rules 88, 139). Replies belong to it
/// (rule 134).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow<'c> {
    /// Who opens the connection.
    pub from: Endpoint<'c>,
    /// Who it is opened to.
    pub to: Endpoint<'c>,
    /// What is sent.
    pub traffic: Traffic,
}

impl<'c> Flow<'c> {
    /// A flow to a port.
    pub fn new(from: Endpoint<'c>, to: Endpoint<'c>, protocol: Protocol, port: u16) -> Self {
        Self { from, to, traffic: Traffic::Port(protocol, port) }
    }

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
}

impl fmt::Display for Flow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {}", self.from, self.to, self.traffic)
    }
}
