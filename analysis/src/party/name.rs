//! One end of a flow, by name.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use policy_compiler::cluster::Cluster;
use policy_compiler::model::{DEFAULT_NAMESPACE, ObjectName, Phase, Pod, Service};

use super::{Kind, Split, split};

/// The name of one party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// An object.
    Object {
        /// Of which kind; without one a pod, a workload or a Service.
        kind: Option<Kind>,
        /// Namespace and name.
        name: ObjectName,
    },
    /// `deploy/web`: of the namespace `default`, or else what is called so in a namespace with the name of a kind.
    Short {
        /// The kind as it was written.
        prefix: Arc<str>,
        /// The kind.
        kind: Kind,
        /// The name.
        name: Arc<str>,
    },
    /// Whoever has this address.
    Address(IpAddr),
}

/// Why a text names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of a party: must be NAMESPACE/POD, NAMESPACE/WORKLOAD, NAMESPACE/KIND/NAME or an IP address"
)]
pub struct NameError(pub String);

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        let part = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        };
        let (namespace, kind, name) = match split(text).ok_or_else(|| NameError(text.to_owned()))? {
            Split::Full(namespace, kind, name) => (namespace, kind, name),
            Split::Short(prefix, kind, name) if part(name) => {
                return Ok(Self::Short { prefix: prefix.into(), kind, name: name.into() });
            }
            Split::Short(..) => return Err(NameError(text.to_owned())),
        };
        // Namespaces have no dots, which tells a CIDR from a name.
        if !part(namespace) || namespace.contains('.') || !part(name) {
            return Err(NameError(text.to_owned()));
        }
        Ok(Self::Object { kind, name: ObjectName::new(namespace, name) })
    }
}

/// Who is meant by a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party<'c> {
    /// One pod, or the live pods of one workload, by name; never none.
    Pods(Vec<&'c Pod>),
    /// A Service.
    Service(&'c Service),
    /// An address that is no Service's.
    Address(IpAddr),
}

/// A name that nobody has, or several.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownParty {
    /// Nobody has it.
    #[error("there is no {what} {name} in the input{}", .meant.as_ref().map_or_else(String::new, |meant| format!("; did you mean {meant}?")))]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// The name.
        name: ObjectName,
        /// A name that is nearly the same, or the same in another namespace.
        meant: Option<Name>,
    },
    /// Workloads of several kinds have it.
    #[error("{name} is the name of several workloads: {}; say which", .kinds.join(", "))]
    Several {
        /// The name.
        name: ObjectName,
        /// Names with their kinds in front.
        kinds: Vec<String>,
    },
}

impl Name {
    /// Who is meant.
    ///
    /// # Errors
    /// When nobody has the name, or several workloads.
    pub fn resolve<'c>(&self, cluster: &'c Cluster) -> Result<Party<'c>, UnknownParty> {
        match self {
            Self::Address(address) => {
                let service = cluster.services().find(|service| service.addresses.contains(address));
                Ok(service.map_or(Party::Address(*address), Party::Service))
            }
            Self::Short { prefix, kind, name } => {
                let of_kind =
                    Self::Object { kind: Some(*kind), name: ObjectName::new(DEFAULT_NAMESPACE, name.clone()) };
                let in_namespace = || Self::Object { kind: None, name: ObjectName::new(prefix.clone(), name.clone()) };
                of_kind.resolve(cluster).or_else(|missing| in_namespace().resolve(cluster).map_err(|_| missing))
            }
            Self::Object { kind: Some(Kind::Pod), name } => {
                pod(cluster, name).ok_or_else(|| missing("pod", name, cluster))
            }
            Self::Object { kind: Some(Kind::Service), name } => {
                service(cluster, name).ok_or_else(|| missing("Service", name, cluster))
            }
            Self::Object { kind: Some(Kind::Workload(kind)), name } => {
                let pods: Vec<&Pod> = pods_of(cluster, name).filter(|(of, _)| of == kind).map(|(_, pod)| pod).collect();
                if pods.is_empty() { Err(missing(kind, name, cluster)) } else { Ok(Party::Pods(pods)) }
            }
            Self::Object { kind: None, name } => match pod(cluster, name) {
                Some(pod) => Ok(pod),
                None => workload_or_service(cluster, name),
            },
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Short { prefix, name, .. } => write!(f, "{prefix}/{name}"),
            Self::Object { kind: None, name } => name.fmt(f),
            Self::Object { kind: Some(kind), name } => write!(f, "{}/{kind}/{}", name.namespace, name.name),
        }
    }
}

fn workload_or_service<'c>(cluster: &'c Cluster, name: &ObjectName) -> Result<Party<'c>, UnknownParty> {
    let kinds: BTreeSet<&str> = pods_of(cluster, name).map(|(kind, _)| kind).collect();
    if kinds.len() > 1 {
        let kinds = kinds.into_iter().map(|kind| format!("{}/{}/{}", name.namespace, Kind::short(kind), name.name));
        return Err(UnknownParty::Several { name: name.clone(), kinds: kinds.collect() });
    }
    let pods: Vec<&Pod> = pods_of(cluster, name).map(|(_, pod)| pod).collect();
    if !pods.is_empty() {
        return Ok(Party::Pods(pods));
    }
    service(cluster, name).ok_or_else(|| missing("pod, workload or Service", name, cluster))
}

fn pod<'c>(cluster: &'c Cluster, name: &ObjectName) -> Option<Party<'c>> {
    cluster.pod(name).map(|pod| Party::Pods(vec![pod]))
}

fn service<'c>(cluster: &'c Cluster, name: &ObjectName) -> Option<Party<'c>> {
    cluster.service(name).map(Party::Service)
}

/// The live pods of workloads of this name, with the workload's kind.
fn pods_of<'c>(cluster: &'c Cluster, name: &ObjectName) -> impl Iterator<Item = (&'c str, &'c Pod)> {
    let live = cluster.pods().filter(|pod| pod.phase == Phase::Running && pod.name.namespace == name.namespace);
    live.filter_map(|pod| {
        let workload = pod.workload.as_ref().filter(|workload| workload.name == name.name)?;
        Some((&*workload.kind, pod))
    })
}

/// Everybody that there is, workloads and Services with their kinds.
fn everybody(cluster: &Cluster) -> impl Iterator<Item = (ObjectName, Option<Kind>)> {
    let pods = cluster.pods().map(|pod| (pod.name.clone(), None));
    let workloads = cluster.pods().filter(|pod| pod.phase == Phase::Running).filter_map(|pod| {
        let workload = pod.workload.as_ref()?;
        let kind = Kind::parse(&workload.kind.to_ascii_lowercase())?;
        Some((ObjectName::new(pod.name.namespace.clone(), workload.name.clone()), Some(kind)))
    });
    let services = cluster.services().map(|service| (service.name.clone(), Some(Kind::Service)));
    pods.chain(workloads).chain(services)
}

fn missing(what: &'static str, name: &ObjectName, cluster: &Cluster) -> UnknownParty {
    let wanted = name.to_string();
    let near = everybody(cluster).filter_map(|(known, kind)| {
        let distance = strsim::damerau_levenshtein(&wanted, &known.to_string());
        // Whoever forgets the namespace is far off by letters, and yet nearly right.
        let elsewhere = known.name == name.name;
        (distance <= 1 + wanted.len() / 8 || elsewhere).then_some((distance, known, kind))
    });
    let meant = near.min().map(|(_, name, kind)| Name::Object { kind, name });
    UnknownParty::Missing { what, name: name.clone(), meant }
}
