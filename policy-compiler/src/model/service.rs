//! A Service, as far as a flow's way leads through it. No policy ever names one (rule 139).

use std::net::IpAddr;
use std::sync::Arc;

use super::{Labels, ObjectName, Origin, Pod, Protocol};

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
    /// `clusterIP: None`: its name leads to the pods themselves, and to their own ports.
    pub headless: bool,
    /// What it listens on, in order.
    pub ports: Vec<ServicePort>,
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
