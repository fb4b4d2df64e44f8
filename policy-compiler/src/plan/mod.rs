//! What one node's kernel must hold: a pure function of a cluster, a node's name, settings and a generation.
//!
//! Every packet that the node forwards passes `base_forward`. Known connections are let through while they carry the
//! current generation; all others go through the dispatch of the sender's egress, then that of the receiver's ingress.
//! A dispatch map answers by pod address: an isolated pod has a chain of its own, which leads to the chain of its
//! policies; pods with the same policies share that one. Rules there look into sets of peers, blocks and named ports.

mod index;
mod names;
mod policy_set;
mod settings;
mod skeleton;

pub use names::is_pod as is_pod_chain;
pub use settings::{Denial, DropLog, Generation, MarkMask, MarkMaskError, Settings, UnknownPods};
pub use skeleton::stamp;

use std::collections::BTreeMap;

use crate::cidr::Family;
use crate::cluster::Cluster;
use crate::model::{Direction, ObjectName, Pod, Policy};
use crate::ruleset::{Chain, Element, Key, Rule, Statement, Table, Verdict};
use index::{IndexedPod, PodIndex, PolicyIndex};

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

/// Compiles a node's plan. The cost grows with the node's pods, the policies that select them and the pods that those
/// name as peers, not with all pods times all policies.
pub fn compile(cluster: &Cluster, node: &str, settings: &Settings, generation: Generation) -> NodePlan {
    let is_local = |pod: &Pod| pod.node.as_deref() == Some(node);
    let pods = PodIndex::new(cluster);
    let policies = PolicyIndex::new(cluster);
    let mut table = skeleton::table(settings, generation);
    let mut writer = policy_set::Writer { pods: &pods, is_local: &is_local, sets: BTreeMap::new() };
    let mut planned = Vec::new();

    for local in pods.pods.iter().filter(|local| is_local(local.pod)) {
        let selecting = policies.of(local.pod);
        for direction in Direction::BOTH {
            let isolating: Vec<&Policy> =
                selecting.iter().copied().filter(|policy| policy.rules(direction).is_some()).collect();
            add_pod(&mut table, &mut writer, direction, local, &isolating);
        }
        let isolating = |direction: Direction| {
            selecting
                .iter()
                .filter(|policy| policy.rules(direction).is_some())
                .map(|policy| policy.name.clone())
                .collect()
        };
        planned.push(PlannedPod {
            name: local.pod.name.clone(),
            ingress: isolating(Direction::Ingress),
            egress: isolating(Direction::Egress),
        });
    }
    table.sets.append(&mut writer.sets);

    let waiting = |pod: &&Pod| is_local(pod) && pod.is_selectable() && pod.addresses.is_empty();
    let pending = cluster.pods().filter(waiting).map(|pod| pod.name.clone()).collect();
    NodePlan { table, pods: planned, pending }
}

/// Enters a pod into one direction's dispatch, isolated where there are policies for it (invariant 2).
fn add_pod(
    table: &mut Table,
    writer: &mut policy_set::Writer<'_>,
    direction: Direction,
    local: &IndexedPod<'_>,
    isolating: &[&Policy],
) {
    let name = &local.pod.name;
    let verdict = if isolating.is_empty() {
        skeleton::allowed(direction)
    } else {
        let policy_names = isolating.iter().map(|policy| &*policy.name.name);
        let shared = names::policy_set(direction, &name.namespace, policy_names);
        if !table.chains.contains_key(&shared) {
            table.chains.insert(shared.clone(), writer.chain(direction, &name.namespace, isolating));
        }
        let chain = names::pod(direction, name);
        let rules = vec![Rule::new([Statement::Counter, Statement::Verdict(Verdict::Goto(shared))])];
        table.chains.insert(chain.clone(), Chain::new(format!("{direction} of pod {name}"), rules));
        Verdict::Goto(chain)
    };
    for address in &local.addresses {
        let family = Family::of(*address);
        let mut insert = |set, element| {
            if let Some(set) = table.sets.get_mut(&set) {
                set.elements.insert(element);
            }
        };
        insert(names::dispatch_map(direction, family), Element::verdict(*address, verdict.clone()));
        if !isolating.is_empty() {
            insert(names::self_pairs(family), Element::new(Key::Pair(*address)));
            insert(names::denied_counters(direction, family), Element::new(Key::Address(*address)));
        }
    }
}
