//! Which flows become allowed, and which become denied.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

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
    /// What changes, in few entries: each holds for every pair of its two lists, a pod and itself and a pod and its own
    /// node excepted. First what becomes allowed.
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
            everything: space.everything(),
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
    /// All traffic, in the words of both.
    everything: Vec<u64>,
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
    /// Where they are in the old and in the new cluster; none outside.
    homes: Option<[Home; 2]>,
}

/// Where pods of one class are.
#[derive(Debug, PartialEq, Eq)]
struct Home {
    host_network: bool,
    /// Where all of them are on the same.
    node: Option<Arc<str>>,
}

impl Home {
    fn of(pods: &[&Pod]) -> Self {
        let mut nodes = pods.iter().map(|pod| &pod.node);
        let first = nodes.next().cloned().flatten();
        Self {
            host_network: pods.first().is_some_and(|pod| pod.host_network),
            node: first.filter(|first| nodes.all(|node| node.as_ref() == Some(first))),
        }
    }

    /// Whether every pair is a pod and its own node (rules 102, 103).
    fn is_exempt(&self, other: &Self) -> bool {
        self.host_network != other.host_network && self.node.is_some() && self.node == other.node
    }
}

impl Joint {
    /// Whether policy judges no pair of the two, in the old and in the new cluster.
    fn exempt(&self, other: &Self) -> [bool; 2] {
        match (&self.homes, &other.homes) {
            (Some([old, new]), Some([other_old, other_new])) => [old.is_exempt(other_old), new.is_exempt(other_new)],
            _ => [false; 2],
        }
    }
}

/// What changes between two joint classes: place in the list of joint classes to effects.
type Delta = (Effect, Option<Family>, TrafficSet);

impl<'c> Comparison<'_, 'c> {
    fn changes(&self) -> Vec<Change> {
        let joints = self.joints();
        // Of each sender, who receives what is the same change; then who sends the same to the same.
        let mut found: Vec<(usize, (Delta, Vec<usize>))> = Vec::new();
        for (sender, from) in joints.iter().enumerate() {
            found.extend(self.changes_from(from, sender, &joints).into_iter().map(|change| (sender, change)));
        }
        let mut by_receivers: HashMap<(Delta, Vec<usize>), Vec<usize>> = HashMap::new();
        for (sender, change) in with_themselves(found, &joints) {
            by_receivers.entry(change).or_default().push(sender);
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
            if from.homes.is_none() && to.homes.is_none() || receiver == sender && to.single {
                continue;
            }
            for delta in self.deltas(&old, &new, to, from.exempt(to)) {
                found.entry(delta).or_default().push(receiver);
            }
        }
        found
    }

    fn deltas(&self, old: &Row<'_>, new: &Row<'_>, to: &Joint, exempt: [bool; 2]) -> BTreeSet<Delta> {
        let meets = |family: &Family| old.may_meet(*family, to.old) && new.may_meet(*family, to.new);
        let families: Vec<Family> = Family::BOTH.into_iter().filter(meets).collect();
        let [exempt_before, exempt_now] = exempt;
        let words =
            |family| (self.judged(exempt_before, old, family, to.old), self.judged(exempt_now, new, family, to.new));
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

    /// What passes to a class: everything where policy does not judge it.
    fn judged<'w>(&'w self, exempt: bool, row: &'w Row<'_>, family: Family, to: ClassId) -> &'w [u64] {
        if exempt { &self.everything } else { row.words(family, to) }
    }

    fn joints(&self) -> Vec<Joint> {
        let members = |reach: &Reach<'c>| -> Vec<&'c Pod> {
            let pods = reach.classes().iter().filter_map(|class| match &class.members {
                reach::Members::Pods(pods) => Some(pods),
                reach::Members::Outside(_) => None,
            });
            pods.flatten().copied().collect()
        };
        let old_pods: HashMap<&ObjectName, &Pod> = members(&self.old).into_iter().map(|pod| (&pod.name, pod)).collect();
        let mut pods: BTreeMap<_, [Vec<&Pod>; 2]> = BTreeMap::new();
        for pod in members(&self.new) {
            let Some(old_pod) = old_pods.get(&pod.name) else { continue };
            let Some(classes) = self.old.class_of(&pod.name).zip(self.new.class_of(&pod.name)) else { continue };
            // Whom policy does not keep from a hostNetwork pod depends on its node.
            let nodes = [old_pod, &pod].map(|pod| pod.node.as_deref());
            let nodes = (old_pod.host_network || pod.host_network).then_some(nodes);
            let [before, now] = pods.entry((classes, nodes)).or_default();
            before.push(old_pod);
            now.push(pod);
        }
        let joints = pods.into_iter().map(|(((old, new), _), [before, now])| {
            let mut units: BTreeMap<UnitName, Vec<ObjectName>> = BTreeMap::new();
            for pod in &now {
                units.entry(UnitName::of(pod, Fold::Workloads)).or_default().push(pod.name.clone());
            }
            let side = |(unit, pods): (UnitName, Vec<ObjectName>)| {
                let all = self.sizes.get(&unit) == Some(&pods.len());
                Side::Pods { unit, only: (!all).then_some(pods) }
            };
            Joint {
                old,
                new,
                sides: units.into_iter().map(side).collect(),
                single: now.len() == 1,
                homes: Some([Home::of(&before), Home::of(&now)]),
            }
        });
        let outside = self.groups.iter().enumerate().filter_map(|(place, group)| {
            let (old, new) = (self.old.class_of_outside(place)?, self.new.class_of_outside(place)?);
            let side = Side::Outside { ranges: group.ranges.clone(), rest: group.rest };
            Some(Joint { old, new, sides: vec![side], single: false, homes: None })
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

/// Changes by sender, those of a single pod with itself among the receivers where others send the same to the same: it
/// speaks to itself anyway, and so one entry does for all.
fn with_themselves(
    found: Vec<(usize, (Delta, Vec<usize>))>,
    joints: &[Joint],
) -> impl Iterator<Item = (usize, (Delta, Vec<usize>))> {
    let with_itself = |sender: usize, (delta, receivers): &(Delta, Vec<usize>)| {
        let mut receivers = receivers.clone();
        let single = joints.get(sender).is_some_and(|joint| joint.single);
        let place = receivers.binary_search(&sender).err().filter(|_| single)?;
        receivers.insert(place, sender);
        Some((delta.clone(), receivers))
    };
    let wider: Vec<_> = found.iter().map(|(sender, change)| with_itself(*sender, change)).collect();
    let mut wanted: HashMap<(Delta, Vec<usize>), usize> = HashMap::new();
    for change in found.iter().map(|(_, change)| change).chain(wider.iter().flatten()) {
        *wanted.entry(change.clone()).or_default() += 1;
    }
    let chosen = move |((sender, narrow), wide): ((usize, (Delta, Vec<usize>)), Option<_>)| match wide {
        Some(wide) if wanted.get(&wide) > wanted.get(&narrow) => (sender, wide),
        _ => (sender, narrow),
    };
    found.into_iter().zip(wider).map(chosen)
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
