//! Kinds of objects, and what happens to them.

use policy_compiler::model::ObjectId;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Pods.
    Pod,
    /// Namespaces.
    Namespace,
    /// NetworkPolicies.
    Policy,
    /// Nodes.
    Node,
    /// Services, which only manifests tell of.
    Service,
}

impl Kind {
    /// What an agent must know before it may enforce anything.
    pub const WATCHED: [Self; 4] = [Self::Pod, Self::Namespace, Self::Policy, Self::Node];

    /// The kind of an object.
    pub fn of(id: &ObjectId) -> Self {
        match id {
            ObjectId::Pod(_) => Self::Pod,
            ObjectId::Namespace(_) => Self::Namespace,
            ObjectId::Policy(_) => Self::Policy,
            ObjectId::Node(_) => Self::Node,
            ObjectId::Service(_) => Self::Service,
        }
    }

    /// As the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Namespace => "Namespace",
            Self::Policy => "NetworkPolicy",
            Self::Node => "Node",
            Self::Service => "Service",
        }
    }
}

/// What an event says of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It is there, new or changed.
    Apply,
    /// It is gone.
    Delete,
}

impl Action {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Apply, Self::Delete];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Delete => "delete",
        }
    }
}
