//! The ends of flows that change, as people call them.

use policy_compiler::cidr::IpRange;
use policy_compiler::model::ObjectName;

use crate::matrix::UnitName;

/// One end of flows that change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Pods of a workload, or a pod by itself.
    Pods {
        /// What they are called.
        unit: UnitName,
        /// Which of them, where it is not all that are in both clusters.
        only: Option<Vec<ObjectName>>,
    },
    /// Addresses outside the cluster.
    Outside {
        /// Disjoint ranges, ascending, of one family or of both.
        ranges: Vec<IpRange>,
        /// Whether these are all addresses that no ipBlock of either cluster admits.
        rest: bool,
    },
}

/// Pods that are only in one of two clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// What they are called.
    pub unit: UnitName,
    /// Which they are, by name.
    pub pods: Vec<ObjectName>,
    /// The policies that isolate them for ingress, in the cluster that they are in, by name.
    pub ingress: Vec<ObjectName>,
    /// The same for egress.
    pub egress: Vec<ObjectName>,
}
