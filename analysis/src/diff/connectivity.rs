//! Which flows become allowed, and which become denied.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use policy_compiler::cidr::Family;
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Direction, ObjectName, Phase, Pod, Policy, Rule};

use super::side::{Movement, Side};
use crate::matrix::{Fold, UnitName};
use crate::reach::{self, AddressGroup, ClassId, PortSpace, Reach, Row, TrafficSet};

/// How who reaches whom differs between two clusters.
///
/// Flows are compared between pods that are in both and have not finished, and between them and all addresses outside.
/// What a pod sends to itself or exchanges with its own node is no matter of policies and never differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connectivity {
    /// What changes, in as few entries as cover it: each holds for every pair of its two lists. First what becomes
    /// allowed.
    pub changes: Vec<Change>,
    /// Pods that are only in the new cluster.
    pub added: Vec<Movement>,
    /// Pods that are only in the old cluster.
    pub removed: Vec<Movement>,
    /// Policies that differ, whether or not that has an effect.
    pub policies: PolicyChanges,
    /// What all pods that are in both are called, to tell a list of some from a list of all.
    pub units: BTreeSet<UnitName>,
    /// How many groups the ipBlocks of both clusters cut all addresses into; each is a [`Side::Outside`].
    pub groups: usize,
}

/// Flows that change alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// What becomes of them.
    pub effect: Effect,
    /// Who sends; sorted.
    pub from: Vec<Side>,
    /// Who receives; sorted.
    pub to: Vec<Side>,
    /// What.
    pub traffic: TrafficSet,
    /// Over which family, where it is not every family that both ends have.
    pub family: Option<Family>,
}

/// What becomes of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Denied before, allowed now.
    Allowed,
    /// Allowed before, denied now.
    Denied,
}

/// Policies by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyChanges {
    /// Only in the new cluster.
    pub added: Vec<ObjectName>,
    /// Only in the old cluster.
    pub removed: Vec<ObjectName>,
    /// In both, and not the same.
    pub changed: Vec<ObjectName>,
}

impl Connectivity {
    /// Compares two clusters.
    pub fn between(old: &Cluster, new: &Cluster) -> Self {
        let groups = reach::partition([old, new]);
        let space = PortSpace::of([old, new]);
        let mut sizes: BTreeMap<UnitName, usize> = BTreeMap::new();
        for pod in live(new).filter(|pod| is_live(old, &pod.name)) {
            *sizes.entry(UnitName::of(pod, Fold::Workloads)).or_default() += 1;
        }
        let comparison = Comparison {
            old: Reach::new(old, space.clone(), &groups),
            new: Reach::new(new, space, &groups),
            groups: &groups,
            sizes,
        };
        Self {
            changes: comparison.changes(),
            added: movements(new, old),
            removed: movements(old, new),
            policies: PolicyChanges::between(old, new),
            groups: groups.len(),
            units: comparison.sizes.into_keys().collect(),
        }
    }

    /// Whether nobody reaches anybody else than before. Policies may differ all the same.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.added.is_empty() && self.removed.is_empty()
    }
}

fn live(cluster: &Cluster) -> impl Iterator<Item = &Pod> {
    cluster.pods().filter(|pod| pod.phase != Phase::Finished)
}

fn is_live(cluster: &Cluster, name: &ObjectName) -> bool {
    cluster.pod(name).is_some_and(|pod| pod.phase != Phase::Finished)
}

/// Two readings of the same ports and addresses.
struct Comparison<'g, 'c> {
    old: Reach<'c>,
    new: Reach<'c>,
    groups: &'g [AddressGroup],
    /// How many pods of each unit are in both.
    sizes: BTreeMap<UnitName, usize>,
}

/// Who is of one class in both clusters.
struct Joint {
    old: ClassId,
    new: ClassId,
    sides: Vec<Side>,
    /// Nothing but one pod, which is allowed to speak to itself in both.
    single: bool,
    outside: bool,
}

/// What changes between two joint classes: place in the list of joint classes to effects.
type Delta = (Effect, Option<Family>, TrafficSet);

impl Comparison<'_, '_> {
    fn changes(&self) -> Vec<Change> {
        let joints = self.joints();
        // Of each sender, who receives what is the same change; then who sends the same to the same.
        let mut by_receivers: HashMap<(Delta, Vec<usize>), Vec<usize>> = HashMap::new();
        for (sender, from) in joints.iter().enumerate() {
            for (delta, receivers) in self.changes_from(from, sender, &joints) {
                by_receivers.entry((delta, receivers)).or_default().push(sender);
            }
        }
        let sides = |places: Vec<usize>| {
            let mut sides: Vec<Side> =
                places.iter().filter_map(|place| joints.get(*place)).flat_map(|joint| joint.sides.clone()).collect();
            sides.sort_unstable();
            self.united(sides)
        };
        let change = |(((effect, family, traffic), to), from)| Change {
            effect,
            from: sides(from),
            to: sides(to),
            traffic,
            family,
        };
        let mut changes: Vec<Change> = by_receivers.into_iter().map(change).collect();
        changes.sort_unstable();
        changes
    }

    fn changes_from(&self, from: &Joint, sender: usize, joints: &[Joint]) -> HashMap<Delta, Vec<usize>> {
        let (old, new) = (self.old.row(from.old), self.new.row(from.new));
        let mut found: HashMap<Delta, Vec<usize>> = HashMap::new();
        for (receiver, to) in joints.iter().enumerate() {
            if from.outside && to.outside || receiver == sender && to.single {
                continue;
            }
            for delta in self.deltas(&old, &new, to) {
                found.entry(delta).or_default().push(receiver);
            }
        }
        found
    }

    fn deltas(&self, old: &Row<'_>, new: &Row<'_>, to: &Joint) -> BTreeSet<Delta> {
        let meets = |family: &Family| old.may_meet(*family, to.old) && new.may_meet(*family, to.new);
        let families: Vec<Family> = Family::BOTH.into_iter().filter(meets).collect();
        let words = |family| (old.words(family, to.old), new.words(family, to.new));
        if families.iter().all(|family| words(*family).0 == words(*family).1) {
            return BTreeSet::new();
        }
        let mut deltas: Vec<(Family, Effect, TrafficSet)> = Vec::new();
        for family in &families {
            let (before, now) = words(*family);
            let lacking = |of: &[u64], other: &[u64]| {
                let words: Vec<u64> = of.iter().zip(other).map(|(word, other)| word & !other).collect();
                self.new.space().traffic(&words)
            };
            deltas.push((*family, Effect::Allowed, lacking(now, before)));
            deltas.push((*family, Effect::Denied, lacking(before, now)));
        }
        deltas.retain(|(_, _, traffic)| !traffic.is_empty());
        let everywhere = |(_, effect, traffic): &(Family, Effect, TrafficSet)| {
            let same = deltas.iter().filter(|(_, other, set)| (other, set) == (effect, traffic));
            same.count() == families.len()
        };
        let named = deltas.iter().map(|delta| (delta.1, (!everywhere(delta)).then_some(delta.0), delta.2.clone()));
        named.collect()
    }

    fn joints(&self) -> Vec<Joint> {
        let mut pods: BTreeMap<(ClassId, ClassId), BTreeMap<UnitName, Vec<ObjectName>>> = BTreeMap::new();
        for class in self.new.classes() {
            let reach::Members::Pods(members) = &class.members else { continue };
            for pod in members {
                let Some(classes) = self.old.class_of(&pod.name).zip(self.new.class_of(&pod.name)) else { continue };
                let unit = UnitName::of(pod, Fold::Workloads);
                pods.entry(classes).or_default().entry(unit).or_default().push(pod.name.clone());
            }
        }
        let joints = pods.into_iter().map(|((old, new), units)| {
            let single = units.values().map(Vec::len).sum::<usize>() == 1;
            let side = |(unit, pods): (UnitName, Vec<ObjectName>)| {
                let all = self.sizes.get(&unit) == Some(&pods.len());
                Side::Pods { unit, only: (!all).then_some(pods) }
            };
            Joint { old, new, sides: units.into_iter().map(side).collect(), single, outside: false }
        });
        let outside = self.groups.iter().enumerate().filter_map(|(place, group)| {
            let (old, new) = (self.old.class_of_outside(place)?, self.new.class_of_outside(place)?);
            let side = Side::Outside { ranges: group.ranges.clone(), rest: group.rest };
            Some(Joint { old, new, sides: vec![side], single: false, outside: true })
        });
        joints.chain(outside).collect()
    }

    /// Parts of one workload, put together again; `sides` is sorted. What makes up the whole is the whole.
    fn united(&self, sides: Vec<Side>) -> Vec<Side> {
        let mut united: Vec<Side> = Vec::with_capacity(sides.len());
        for side in sides {
            match (united.last_mut(), side) {
                (Some(Side::Pods { unit, only: Some(pods) }), Side::Pods { unit: same, only: Some(more) })
                    if *unit == same =>
                {
                    pods.extend(more);
                    pods.sort_unstable();
                }
                (_, side) => united.push(side),
            }
        }
        for side in &mut united {
            if let Side::Pods { unit, only } = side
                && only.as_ref().is_some_and(|pods| self.sizes.get(unit) == Some(&pods.len()))
            {
                *only = None;
            }
        }
        united
    }
}

/// Pods that are in one cluster and not in the other.
fn movements(here: &Cluster, there: &Cluster) -> Vec<Movement> {
    let mut found: BTreeMap<(UnitName, [Vec<ObjectName>; 2]), Vec<ObjectName>> = BTreeMap::new();
    for pod in live(here).filter(|pod| !is_live(there, &pod.name)) {
        let isolating = |direction| -> Vec<ObjectName> {
            let selecting = here.policies().filter(|policy| {
                pod.is_selectable()
                    && policy.name.namespace == pod.name.namespace
                    && policy.rules(direction).is_some()
                    && policy.subject.matches(&pod.labels)
            });
            selecting.map(|policy| policy.name.clone()).collect()
        };
        let key = (UnitName::of(pod, Fold::Workloads), [Direction::Ingress, Direction::Egress].map(isolating));
        found.entry(key).or_default().push(pod.name.clone());
    }
    let movement = |((unit, [ingress, egress]), pods): ((_, [_; 2]), _)| Movement { unit, pods, ingress, egress };
    found.into_iter().map(movement).collect()
}

impl PolicyChanges {
    fn between(old: &Cluster, new: &Cluster) -> Self {
        let policies = |cluster: &Cluster| -> BTreeMap<ObjectName, Policy> {
            cluster.policies().map(|policy| (policy.name.clone(), without_places(policy))).collect()
        };
        let (before, now) = (policies(old), policies(new));
        let only = |here: &BTreeMap<ObjectName, Policy>, there: &BTreeMap<ObjectName, Policy>| {
            here.keys().filter(|name| !there.contains_key(*name)).cloned().collect()
        };
        let differs = |(name, policy): &(&ObjectName, &Policy)| before.get(*name).is_some_and(|old| old != *policy);
        Self {
            added: only(&now, &before),
            removed: only(&before, &now),
            changed: now.iter().filter(differs).map(|(name, _)| name.clone()).collect(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// What a policy says, wherever it is written.
fn without_places(policy: &Policy) -> Policy {
    let rules = |rules: &Option<Vec<Rule>>| -> Option<Vec<Rule>> {
        Some(rules.as_ref()?.iter().map(|rule| Rule { origin: None, ..rule.clone() }).collect())
    };
    Policy { ingress: rules(&policy.ingress), egress: rules(&policy.egress), origin: None, ..policy.clone() }
}
