//! One flow, predicted and tried.

use std::{fmt, net::IpAddr, sync::Arc};

use policy_compiler::model::ObjectName;

use crate::{OUTSIDE, Observed, Traffic};

/// One end of a flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// A pod.
    Pod(ObjectName),
    /// A node: what its kubelet, its daemons and its pods with hostNetwork are.
    Node(Arc<str>),
    /// An address that is nobody's in the cluster.
    Outside(IpAddr),
    /// A Service, by its own addresses.
    Service(ObjectName),
    /// A Service, by its port of a node.
    NodePort {
        /// The Service.
        service: ObjectName,
        /// The node whose address is asked.
        node: Arc<str>,
    },
}

impl End {
    /// What the lab calls it; a Service is nowhere.
    pub(super) fn place(&self) -> Option<String> {
        match self {
            Self::Pod(name) => Some(name.to_string()),
            Self::Node(name) => Some(name.to_string()),
            Self::Outside(_) => Some(OUTSIDE.to_owned()),
            Self::Service(_) | Self::NodePort { .. } => None,
        }
    }

    /// Whether it is a Service.
    pub fn is_service(&self) -> bool {
        matches!(self, Self::Service(_) | Self::NodePort { .. })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => name.fmt(f),
            Self::Node(name) => write!(f, "node {name}"),
            Self::Outside(address) => address.fmt(f),
            Self::Service(name) => write!(f, "{}/svc/{}", name.namespace, name.name),
            Self::NodePort { service, node } => {
                write!(f, "{}/svc/{} at node {node}", service.namespace, service.name)
            }
        }
    }
}

/// What policies say of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// It passes.
    Allowed,
    /// It does not.
    Denied,
    /// It leads to one of several pods, as chance has it, and may speak to some of them.
    Partly,
}

impl Prediction {
    /// Of a flow that leads to one end only.
    pub fn of(allowed: bool) -> Self {
        if allowed { Self::Allowed } else { Self::Denied }
    }
}

/// One flow, predicted and tried.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Who opens it.
    pub from: End,
    /// Who it is opened to.
    pub to: End,
    /// The address that is asked.
    pub address: IpAddr,
    /// What is sent there; for a Service, to its own port.
    pub traffic: Traffic,
    /// Whether the policies allow it.
    pub predicted: Prediction,
    /// Whose answers are right, by id in the lab.
    pub answerers: Vec<String>,
    /// What the packets did; none before they were sent.
    pub observed: Option<Observed>,
}

impl Trial {
    /// Whether the packets did what the policies say. Everybody listens on every port that is tried, and every kernel
    /// answers echo requests, so a refusal can only come from a rule.
    pub fn agrees(&self) -> bool {
        match (&self.observed, self.predicted) {
            (Some(Observed::Allowed), predicted) => predicted != Prediction::Denied,
            (Some(Observed::Denied | Observed::Refused), predicted) => predicted != Prediction::Allowed,
            (Some(Observed::Broken(_)) | None, _) => false,
        }
    }

    /// Whether it was answered by one whose answer is right.
    pub fn passed(&self) -> bool {
        self.observed == Some(Observed::Allowed)
    }
}

/// Every flow of a cluster as it stands that was tried.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    /// The flows to pods, nodes and the world outside, by source, destination and traffic; then those to Services.
    pub trials: Vec<Trial>,
    /// What became of connections that were open when the state before this one ended.
    pub connections: Vec<Trial>,
}

impl Proof {
    /// The trials in which packets and policies disagree.
    pub fn mismatches(&self) -> impl Iterator<Item = &Trial> {
        self.trials.iter().chain(&self.connections).filter(|trial| !trial.agrees())
    }
}
