//! Any object, and the key that tells it from the others.

use std::fmt;
use std::sync::Arc;

use super::{Namespace, Node, ObjectName, Origin, Pod, Policy, Service};

/// An object that policy depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A namespace and its labels.
    Namespace(Namespace),
    /// A node.
    Node(Node),
    /// A pod, or one of the pods that a workload stands for.
    Pod(Box<Pod>),
    /// A NetworkPolicy.
    Policy(Box<Policy>),
    /// A Service.
    Service(Box<Service>),
}

/// Kind and name. Of two objects with one id the later replaces the earlier, whole (rule 130).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectId {
    /// A namespace.
    Namespace(Arc<str>),
    /// A node.
    Node(Arc<str>),
    /// A pod.
    Pod(ObjectName),
    /// A NetworkPolicy.
    Policy(ObjectName),
    /// A Service.
    Service(ObjectName),
}

impl Object {
    /// What tells it from the others.
    pub fn id(&self) -> ObjectId {
        match self {
            Self::Namespace(namespace) => ObjectId::Namespace(namespace.name.clone()),
            Self::Node(node) => ObjectId::Node(node.name.clone()),
            Self::Pod(pod) => ObjectId::Pod(pod.name.clone()),
            Self::Policy(policy) => ObjectId::Policy(policy.name.clone()),
            Self::Service(service) => ObjectId::Service(service.name.clone()),
        }
    }

    /// Where it was written.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Namespace(namespace) => namespace.origin.as_ref(),
            Self::Node(node) => node.origin.as_ref(),
            Self::Pod(pod) => pod.origin.as_ref(),
            Self::Policy(policy) => policy.origin.as_ref(),
            Self::Service(service) => service.origin.as_ref(),
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(name) => write!(f, "Namespace {name}"),
            Self::Node(name) => write!(f, "Node {name}"),
            Self::Pod(name) => write!(f, "Pod {name}"),
            Self::Policy(name) => write!(f, "NetworkPolicy {name}"),
            Self::Service(name) => write!(f, "Service {name}"),
        }
    }
}
