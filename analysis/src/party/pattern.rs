//! Many ends of flows, by names with wildcards, by labels, or by addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use policy_compiler::cidr::{Cidr, CidrRules};
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{DEFAULT_NAMESPACE, Labels, Pod};
use policy_compiler::selector::{Operator, Requirement, Selector};

use super::{Kind, Split, split};

/// Whom a line of an expectation or a filter means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Pods by name, or by the name of their workload.
    Name {
        /// Their namespace.
        namespace: Glob,
        /// Pods themselves, or workloads of a kind; without one either.
        kind: Option<Kind>,
        /// Their name.
        name: Glob,
    },
    /// `deploy/web`: of a kind in the namespace `default`, and of any kind in a namespace that is called like one.
    Short {
        /// The kind as it was written.
        prefix: Arc<str>,
        /// The kind.
        kind: Kind,
        /// Their name.
        name: Glob,
    },
    /// Pods by labels.
    Labels {
        /// Their namespace.
        namespace: Glob,
        /// Their labels.
        selector: Selector,
    },
    /// An address.
    Address(IpAddr),
    /// Every address of a block.
    Block(Cidr),
}

/// A text in which `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Arc<str>);

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Neither names nor labels nor addresses.
    #[error(
        "{0:?} names nobody: must be NAMESPACE/NAME or NAMESPACE/KIND/NAME (with * as you like), KEY=VALUE, an IP address or a CIDR"
    )]
    Malformed(String),
    /// Wildcards for Services mean nothing.
    #[error("{0:?} is a Service: name the pods behind it")]
    Service(String),
}

impl Glob {
    /// Matches everything.
    pub fn everything() -> Self {
        Self("*".into())
    }

    /// A glob of this text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return *self.0 == *text };
        let Some(mut text) = text.strip_prefix(first) else { return false };
        let (between, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        for part in between.split('*') {
            match text.find(part) {
                Some(found) => text = text.get(found + part.len()..).unwrap_or_default(),
                None => return false,
            }
        }
        text.len() >= last.len() && text.ends_with(last)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let malformed = || PatternError::Malformed(text.to_owned());
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        if let Ok((cidr, _)) = Cidr::parse(text, CidrRules::Strict) {
            return Ok(Self::Block(cidr));
        }
        if text.contains(['=', '!']) {
            let (namespace, labels) = text.split_once(':').unwrap_or(("*", text));
            let selector = parse_labels(labels).ok_or_else(malformed)?;
            return Ok(Self::Labels { namespace: Glob::new(namespace), selector });
        }
        let part = |text: &str| text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'*'));
        match split(text).ok_or_else(malformed)? {
            Split::Full(namespace, _, name) if !part(namespace) || !part(name) => Err(malformed()),
            Split::Short(_, _, name) if !part(name) => Err(malformed()),
            Split::Full(_, Some(Kind::Service), _) => Err(PatternError::Service(text.to_owned())),
            Split::Full(namespace, kind, name) => {
                Ok(Self::Name { namespace: Glob::new(namespace), kind, name: Glob::new(name) })
            }
            Split::Short(prefix, kind, name) => Ok(Self::Short { prefix: prefix.into(), kind, name: Glob::new(name) }),
        }
    }
}

/// `a=b,c!=d,e,!f`: as kubectl's `-l` takes it, but for sets.
fn parse_labels(text: &str) -> Option<Selector> {
    let requirement = |text: &str| {
        let (key, operator) = if let Some((key, value)) = text.split_once("!=") {
            (key, Operator::NotIn([value.into()].into()))
        } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            (key, Operator::In([value.into()].into()))
        } else if let Some(key) = text.strip_prefix('!') {
            (key, Operator::DoesNotExist)
        } else {
            (text, Operator::Exists)
        };
        (!key.is_empty()).then(|| Requirement { key: key.into(), operator })
    };
    let requirements: Option<Vec<Requirement>> = text.split(',').map(|part| requirement(part.trim())).collect();
    requirements.map(Selector::new)
}

impl Pattern {
    /// Pods with exactly these labels, of one namespace or of all.
    pub fn labels(namespace: Option<&str>, labels: &Labels) -> Self {
        let requirement = |(key, value): (&Arc<str>, &Arc<str>)| Requirement {
            key: key.clone(),
            operator: Operator::In([value.clone()].into()),
        };
        let namespace = namespace.map_or_else(Glob::everything, Glob::new);
        Self::Labels { namespace, selector: Selector::new(labels.entries().map(requirement)) }
    }

    /// Whether it means this pod. Of an address, whether the pod has it.
    pub fn matches(&self, pod: &Pod) -> bool {
        match self {
            Self::Short { prefix, kind, name } => {
                let named = |namespace: &str, kind| {
                    let namespace = Glob::new(namespace);
                    Self::Name { namespace, kind, name: name.clone() }.matches(pod)
                };
                named(DEFAULT_NAMESPACE, Some(*kind)) || named(prefix, None)
            }
            Self::Name { namespace, kind, name } => {
                let own = || name.matches(&pod.name.name);
                let workload = |wanted: Option<&str>| {
                    pod.workload.as_ref().is_some_and(|workload| {
                        wanted.is_none_or(|kind| *workload.kind == *kind) && name.matches(&workload.name)
                    })
                };
                namespace.matches(&pod.name.namespace)
                    && match kind {
                        None => own() || workload(None),
                        Some(Kind::Pod) => own(),
                        Some(Kind::Workload(kind)) => workload(Some(kind)),
                        Some(Kind::Service) => false,
                    }
            }
            Self::Labels { namespace, selector } => {
                namespace.matches(&pod.name.namespace) && selector.matches(&pod.labels)
            }
            Self::Address(address) => pod.addresses.contains(address),
            Self::Block(cidr) => pod.addresses.iter().any(|address| cidr.contains(*address)),
        }
    }

    /// The pods that it means, by name.
    pub fn pods<'c>(&self, cluster: &'c Cluster) -> Vec<&'c Pod> {
        cluster.pods().filter(|pod| self.matches(pod)).collect()
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { namespace, kind: None, name } => write!(f, "{namespace}/{name}"),
            Self::Name { namespace, kind: Some(kind), name } => write!(f, "{namespace}/{kind}/{name}"),
            Self::Short { prefix, name, .. } => write!(f, "{prefix}/{name}"),
            Self::Labels { namespace, selector } if namespace == &Glob::everything() => selector.fmt(f),
            Self::Labels { namespace, selector } => write!(f, "{namespace}:{selector}"),
            Self::Address(address) => address.fmt(f),
            Self::Block(cidr) => cidr.fmt(f),
        }
    }
}
