//! All flows of a cluster at once.
//!
//! [`policy_compiler::verdict`] reads the specification for one flow; a cluster has too many. What no selector, no
//! ipBlock and no named port tells apart has the same flows, and so is one [`Class`] here; ports that no policy tells
//! apart are one atom of a [`PortSpace`]. A [`Row`] then holds all that one class may send, to every class, in a few
//! words of bits. Property tests hold it against the literal reading.
//!
//! Exemptions are pairs, not classes: a pod and itself, a pod and its own node. Callers leave such pairs out, by
//! [`is_exempt`].

mod class;
mod outside;
mod ports;
mod row;
mod rules;
mod traffic;

#[cfg(test)]
mod tests;

pub use class::{Class, ClassId, Members};
pub use outside::{AddressGroup, partition, split};
pub use ports::PortSpace;
pub use row::{Passage, Row};
pub use traffic::TrafficSet;

use std::collections::BTreeMap;
use std::sync::Arc;

use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Direction, ObjectName, Pod};

use class::Classes;
use rules::{Reading, RuleSets, SetId};

/// All flows of a cluster.
#[derive(Debug)]
pub struct Reach<'c> {
    space: Arc<PortSpace>,
    classes: Vec<Class<'c>>,
    of_pod: BTreeMap<&'c ObjectName, ClassId>,
    of_outside: Vec<ClassId>,
    rules: RuleSets,
    egress: Vec<Option<SetId>>,
    ingress: Vec<Option<SetId>>,
}

impl<'c> Reach<'c> {
    /// The flows between all pods that have not finished, and between them and these addresses outside. The space must
    /// have been made with this cluster.
    pub fn new(cluster: &'c Cluster, space: Arc<PortSpace>, outside: &[AddressGroup]) -> Self {
        let Classes { classes, blocks, of_pod, of_outside } = class::of(cluster, outside);
        let mut reading = Reading::new(cluster, &space, &classes, &blocks);
        let (egress, ingress) = (reading.subjects(Direction::Egress), reading.subjects(Direction::Ingress));
        let rules = reading.finish();
        Self { space, classes, of_pod, of_outside, rules, egress, ingress }
    }

    /// All classes; a [`ClassId`] is a place in this list.
    pub fn classes(&self) -> &[Class<'c>] {
        &self.classes
    }

    /// The class of a pod; none if it has finished or is not there.
    pub fn class_of(&self, pod: &ObjectName) -> Option<ClassId> {
        self.of_pod.get(pod).copied()
    }

    /// The class of one of the groups of addresses outside, by its place in the list that this was made with.
    pub fn class_of_outside(&self, group: usize) -> Option<ClassId> {
        self.of_outside.get(group).copied()
    }

    /// What the ports are told apart by.
    pub fn space(&self) -> &PortSpace {
        &self.space
    }

    /// All that a class may send.
    pub fn row(&self, from: ClassId) -> Row<'_> {
        Row::new(self, from)
    }
}

/// Whether policy never judges what two pods send to each other: a pod and itself (rules 99, 100), a pod and a
/// hostNetwork pod of its node (rules 102, 108).
pub fn is_exempt(from: &Pod, to: &Pod) -> bool {
    from.name == to.name || (from.host_network != to.host_network && from.node.is_some() && from.node == to.node)
}
