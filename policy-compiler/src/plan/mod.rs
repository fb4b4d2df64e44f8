//! What one node's kernel must hold: a pure function of a cluster, a node's name, settings and a generation.
//!
//! Every packet that the node forwards passes `base_forward`. Known connections are let through while they carry the
//! current generation; all others go through the dispatch of the sender's egress, then that of the receiver's ingress.
//! A dispatch map answers by pod address: an isolated pod has a chain of its own, which leads to the chain of its
//! policies; pods with the same policies share that one. Rules there look into sets of peers, blocks and named ports.
//!
//! There is one way in which a plan comes about: a [`LivePlan`] follows objects. [`compile`] loads a whole cluster into
//! one and takes the result.

mod ledger;
mod live;
mod local;
mod names;
mod needs;
mod peers;
mod pods;
mod policies;
mod policy_set;
mod settings;
mod skeleton;

pub use live::LivePlan;
pub use names::denied_counters;
pub use settings::{Denial, DropLog, Generation, MarkMask, MarkMaskError, Settings, UnknownPods};

use crate::cluster::Cluster;
use crate::model::ObjectName;
use crate::ruleset::Table;

/// One node's table, and what is worth knowing about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// What the kernel must hold.
    pub table: Table,
    /// The node's pods that policy can apply to, with an address, by name.
    pub pods: Vec<PlannedPod>,
    /// The node's pods that policy can apply to, once they have an address (rule 127).
    pub pending: Vec<ObjectName>,
}

impl NodePlan {
    /// How many of its pods a policy isolates, for one direction at least.
    pub fn isolated(&self) -> usize {
        self.pods.iter().filter(|pod| !pod.ingress.is_empty() || !pod.egress.is_empty()).count()
    }
}

/// A pod of the node, as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPod {
    /// Namespace and name.
    pub name: ObjectName,
    /// Names of the policies that isolate it for ingress; none: not isolated.
    pub ingress: Vec<ObjectName>,
    /// Names of the policies that isolate it for egress; none: not isolated.
    pub egress: Vec<ObjectName>,
}

/// Compiles a node's plan. The cost grows with the number of pods, and with the policies that select the node's own;
/// not with all pods times all policies.
pub fn compile(cluster: &Cluster, node: &str, settings: &Settings, generation: Generation) -> NodePlan {
    let mut live = LivePlan::new(node, settings.clone(), generation);
    live.load(cluster);
    live.into_plan()
}
