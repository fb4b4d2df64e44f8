//! Pods, and the workloads whose templates stand for pods.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Labels, ObjectName, Origin, Protocol};

/// A pod, as far as policy needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub name: ObjectName,
    /// The API server's identity of it; absent in hand-written manifests.
    pub uid: Option<Arc<str>>,
    /// Current labels; the only thing that selectors look at (rule 53).
    pub labels: Labels,
    /// `spec.nodeName`; none while unscheduled.
    pub node: Option<Arc<str>>,
    /// `status.podIPs`, every family (rule 131); empty while pending (rule 127).
    pub addresses: Vec<IpAddr>,
    /// Ports of containers and restartable init containers (rule 71), as written, in order.
    pub ports: Vec<ContainerPort>,
    /// `spec.hostNetwork`: the pod is its node, neither subject nor selector peer (rules 105-109).
    pub host_network: bool,
    /// `status.phase`.
    pub phase: Phase,
    /// Has a deletion timestamp; keeps isolation and connectivity until finished (rule 126).
    pub terminating: bool,
    /// The workload whose template it was made from, when it was.
    pub workload: Option<Workload>,
    /// Where the pod, or its workload, was written.
    pub origin: Option<Origin>,
}

impl Pod {
    /// A running pod without labels, ports or addresses.
    pub fn new(name: ObjectName) -> Self {
        Self {
            name,
            uid: None,
            labels: Labels::default(),
            node: None,
            addresses: Vec::new(),
            ports: Vec::new(),
            host_network: false,
            phase: Phase::Running,
            terminating: false,
            workload: None,
            origin: None,
        }
    }

    /// Whether policies can select it, as subject or as peer: it has not finished (rule 124) and has a network of
    /// its own (rule 105).
    pub fn is_selectable(&self) -> bool {
        !self.host_network && self.phase != Phase::Finished
    }

    /// The port that a name stands for on this pod, for one protocol (rules 62, 63). Container port names are unique
    /// in a valid pod; where they are not, every equal name counts (rule 70).
    pub fn named_ports<'a>(&'a self, name: &'a str, protocol: Protocol) -> impl Iterator<Item = u16> + 'a {
        self.ports
            .iter()
            .filter(move |port| port.protocol == protocol && port.name.as_deref() == Some(name))
            .map(|port| port.number)
    }
}

/// One entry of a container's `ports`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerPort {
    /// What named ports of policies refer to.
    pub name: Option<Arc<str>>,
    /// `containerPort`, never `hostPort` (rule 73).
    pub number: u16,
    /// TCP where none is written (rule 12).
    pub protocol: Protocol,
}

/// What matters of `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Pending, Running, Unknown, and whatever else the server stores: counts once it has an address (rule 125).
    Running,
    /// Succeeded or Failed: its address may be another pod's already (rule 124).
    Finished,
}

impl Phase {
    /// What a phase means, as the API spells it.
    pub fn of(phase: &str) -> Self {
        match phase {
            "Succeeded" | "Failed" => Self::Finished,
            _ => Self::Running,
        }
    }
}

/// The owner of a pod made from a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob.
    pub kind: Arc<str>,
    /// Its name; the namespace is the pod's.
    pub name: Arc<str>,
}
