//! A Service, as far as a flow's way leads through it. No policy ever names one (rule 139).

use std::net::IpAddr;
use std::sync::Arc;

use super::{Labels, ObjectName, Origin, Pod, Protocol};
use crate::cidr::Family;

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// `spec.selector`: the labels that a pod of the same namespace must have to stand behind it; none where somebody
    /// else says what stands behind it.
    pub selector: Option<Labels>,
    /// `spec.clusterIPs`, every family; empty where it is headless or has none yet.
    pub addresses: Vec<IpAddr>,
    /// `spec.ipFamilies`: of which families its addresses are, or will be, the first one's first.
    pub families: Vec<Family>,
    /// `clusterIP: None`: its name leads to the pods themselves, and to their own ports.
    pub headless: bool,
    /// What it listens on, in order.
    pub ports: Vec<ServicePort>,
    /// `type: NodePort` or `LoadBalancer`: every port of it has a node port, or will have.
    pub node_ports: bool,
    /// `spec.externalTrafficPolicy`; says nothing about a Service without node ports.
    pub external_traffic_policy: ExternalTrafficPolicy,
    /// `spec.externalName`: the Service is no more than this name in DNS.
    pub external_name: Option<Arc<str>>,
    /// Where it was written.
    pub origin: Option<Origin>,
}

/// One entry of a Service's `ports`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// Its name; absent where there is only one port.
    pub name: Option<Arc<str>>,
    /// TCP where none is written.
    pub protocol: Protocol,
    /// What clients connect to.
    pub port: u16,
    /// What the pods behind it listen on.
    pub target: TargetPort,
    /// What clients connect to on a node; none where it has none, or none yet.
    pub node_port: Option<u16>,
}

/// Where what comes to a node port goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExternalTrafficPolicy {
    /// To any pod behind the Service, from the node's address.
    #[default]
    Cluster,
    /// To those on the same node, from the client's address.
    Local,
}

/// `targetPort`; where it is absent or zero the Service's own port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetPort {
    /// The same number on every pod.
    Number(u16),
    /// Resolved on each pod by itself.
    Name(Arc<str>),
}

impl Service {
    /// One that nothing is known of but its name: without a selector, of IPv4, as the API server takes it.
    pub fn new(name: ObjectName) -> Self {
        Self {
            name,
            selector: None,
            addresses: Vec::new(),
            families: vec![Family::V4],
            headless: false,
            ports: Vec::new(),
            node_ports: false,
            external_traffic_policy: ExternalTrafficPolicy::Cluster,
            external_name: None,
            origin: None,
        }
    }

    /// Whether a pod stands behind the Service: one of its namespace with all its labels that has neither finished nor
    /// is being deleted. One with hostNetwork does like any other.
    pub fn selects(&self, pod: &Pod) -> bool {
        let Some(selector) = &self.selector else { return false };
        pod.name.namespace == self.name.namespace
            && pod.phase == super::Phase::Running
            && !pod.terminating
            && selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
    }
}

impl ServicePort {
    /// The port that it leads to on a pod; none where the pod has no port of that name.
    pub fn on(&self, pod: &Pod) -> Option<u16> {
        match &self.target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => pod.named_ports(name, self.protocol).next(),
        }
    }
}
