//! Kubernetes objects in lean typed form: defaulted and validated as the API server would, and nothing that policy
//! does not need.

mod object;
mod pod;
mod policy;
mod service;

pub use object::{Object, ObjectId};
pub use pod::{ContainerPort, Phase, Pod, Workload};
pub use policy::{Direction, IpBlock, NamespaceScope, Peer, Policy, PolicyPort, PortMatch, Rule};
pub use service::{ExternalTrafficPolicy, Service, ServicePort, TargetPort};

use std::fmt;
use std::sync::Arc;

/// The label that the API server puts on every namespace, holding its name (rules 13, 54).
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The namespace of objects that name none (rule 10).
pub const DEFAULT_NAMESPACE: &str = "default";

/// `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The object's namespace.
    pub namespace: Arc<str>,
    /// The object's own name.
    pub name: Arc<str>,
}

impl ObjectName {
    /// The name of an object in a namespace.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Where an object, a rule or a field was written; absent for objects from an API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The file as the user named it, `<stdin>` for standard input.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1.
    pub column: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// An object's labels, sorted by key; every key stands once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// The value of a label; `Some("")` is a label with an empty value, which is not a missing one (rule 48).
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&self.0[found].1)
    }

    /// All labels in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// All labels in the order of their keys, in the form in which they are shared.
    pub fn entries(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same labels and one more; an equal key is replaced.
    #[must_use]
    pub fn with(&self, key: &str, value: &str) -> Self {
        self.iter().filter(|(k, _)| *k != key).chain([(key, value)]).collect()
    }
}

impl<K: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(K, V)> for Labels {
    /// Of equal keys the last one counts; readers refuse duplicates before they get here.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let sorted: std::collections::BTreeMap<Arc<str>, Arc<str>> =
            labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self(sorted.into_iter().collect())
    }
}

/// A namespace. Only its labels can be selected (rule 55).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The namespace's name.
    pub name: Arc<str>,
    /// Always with [`NAMESPACE_NAME_LABEL`].
    pub labels: Labels,
    /// Where it was written.
    pub origin: Option<Origin>,
}

impl Namespace {
    /// A namespace, its name label synthesised as the API server would (rules 13, 14).
    pub fn new(name: impl Into<Arc<str>>, labels: &Labels) -> Self {
        let name = name.into();
        let labels = labels.with(NAMESPACE_NAME_LABEL, &name);
        Self { name, labels, origin: None }
    }
}

/// A node; pods name it in `spec.nodeName`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The node's name.
    pub name: Arc<str>,
    /// Where it was written.
    pub origin: Option<Origin>,
}

/// The protocols that NetworkPolicy knows (rule 155).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// The default where a manifest names none (rules 9, 12).
    Tcp,
    /// A "connection" is a conntrack flow (rule 136).
    Udp,
    /// Matches SCTP only, whether or not the kernel has SCTP sockets (rules 75-77).
    Sctp,
}

impl Protocol {
    /// All of them, in a fixed order.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The number in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// As the Kubernetes API spells it; exact case (rule 155).
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == text)
    }

    /// As the Kubernetes API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
