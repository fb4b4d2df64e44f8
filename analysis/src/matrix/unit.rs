//! What a row or a column of a matrix stands for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use policy_compiler::cidr::IpRange;
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Direction, ObjectName, Phase, Pod, Policy};

use crate::party::Kind;
use crate::reach::AddressGroup;

/// Whether pods of one workload are one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fold {
    /// They are; pods without a workload are rows of their own.
    #[default]
    Workloads,
    /// Every pod is a row.
    Pods,
}

/// A row or a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit<'c> {
    /// What it is called.
    pub name: UnitName,
    /// The pods that it stands for, by name; none for addresses outside.
    pub pods: Vec<&'c Pod>,
    /// The group of addresses, by its place among those that were asked for.
    pub(super) outside: Option<usize>,
}

impl Unit<'_> {
    /// How many of its pods a policy isolates for a direction (rule 16).
    pub fn isolated(&self, cluster: &Cluster, direction: Direction) -> usize {
        let Some(namespace) = self.name.namespace() else { return 0 };
        let isolating = |policy: &&Policy| &*policy.name.namespace == namespace && policy.rules(direction).is_some();
        let policies: Vec<&Policy> = cluster.policies().filter(isolating).collect();
        let is_isolated = |pod: &&&Pod| policies.iter().any(|policy| policy.subject.matches(&pod.labels));
        self.pods.iter().filter(|pod| pod.is_selectable()).filter(is_isolated).count()
    }
}

/// What a row or a column is called. Sorted by namespace, addresses outside behind all pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitName {
    /// A pod by itself.
    Pod(ObjectName),
    /// The live pods of a workload.
    Workload {
        /// Its namespace and name.
        name: ObjectName,
        /// Its kind.
        kind: Arc<str>,
    },
    /// Addresses outside the cluster.
    Outside(IpRange),
}

impl UnitName {
    /// The name of what a pod is folded into.
    pub fn of(pod: &Pod, fold: Fold) -> Self {
        match (&pod.workload, fold) {
            (Some(workload), Fold::Workloads) => Self::Workload {
                name: ObjectName::new(pod.name.namespace.clone(), workload.name.clone()),
                kind: workload.kind.clone(),
            },
            (None, _) | (_, Fold::Pods) => Self::Pod(pod.name.clone()),
        }
    }

    /// Namespace and name; none outside.
    pub fn object(&self) -> Option<&ObjectName> {
        match self {
            Self::Pod(name) | Self::Workload { name, .. } => Some(name),
            Self::Outside(_) => None,
        }
    }

    /// The namespace; none outside.
    pub fn namespace(&self) -> Option<&str> {
        self.object().map(|name| &*name.namespace)
    }

    /// The name without the namespace.
    pub fn short(&self) -> String {
        match self {
            Self::Pod(name) => name.name.to_string(),
            Self::Workload { name, kind } => format!("{}/{}", Kind::short(kind), name.name),
            Self::Outside(range) => range.to_string(),
        }
    }
}

impl fmt::Display for UnitName {
    /// As [`crate::party::Name`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => name.fmt(f),
            Self::Workload { name, kind } => write!(f, "{}/{}/{}", name.namespace, Kind::short(kind), name.name),
            Self::Outside(range) => range.fmt(f),
        }
    }
}

/// The units of some pods, those that have finished left out, and of groups of addresses.
pub(super) fn of<'c>(pods: impl Iterator<Item = &'c Pod>, fold: Fold, outside: &[AddressGroup]) -> Vec<Unit<'c>> {
    let mut folded: BTreeMap<(Option<ObjectName>, UnitName), Vec<&'c Pod>> = BTreeMap::new();
    for pod in pods.filter(|pod| pod.phase != Phase::Finished) {
        let name = UnitName::of(pod, fold);
        folded.entry((name.object().cloned(), name)).or_default().push(pod);
    }
    let units = folded.into_iter().map(|((_, name), pods)| Unit { name, pods, outside: None });
    let groups = outside.iter().enumerate().flat_map(|(place, group)| {
        group.ranges.iter().map(move |range| Unit {
            name: UnitName::Outside(*range),
            pods: Vec::new(),
            outside: Some(place),
        })
    });
    units.chain(groups).collect()
}
