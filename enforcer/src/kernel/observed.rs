//! The table as the kernel holds it, and what makes it the table that it should be.

use std::collections::{BTreeMap, BTreeSet};

use policy_compiler::cidr::Family;
use policy_compiler::delta::{ChainChange, Delta, SetChange};
use policy_compiler::ruleset::{Chain, Element, Name, Rule, Set, SetShape, Table};

use super::comparison::ComparableRule;

/// The table as the kernel holds it.
#[derive(Clone, Debug)]
pub struct Observed {
    pub(super) chains: BTreeMap<Name, ObservedChain>,
    pub(super) sets: BTreeMap<Name, ObservedSet>,
    /// Somebody has switched it off.
    pub(super) dormant: bool,
    pub(super) settled: bool,
}

/// A chain as the kernel holds it.
#[derive(Clone, Debug)]
pub(super) struct ObservedChain {
    pub(super) kind: ChainKind,
    pub(super) rules: Vec<ComparableRule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChainKind {
    /// Reached by jumps.
    Regular,
    /// Hooked where the compiler's base chain is.
    Base,
    /// Hooked anywhere else.
    Foreign,
}

/// A set as the kernel holds it.
#[derive(Clone, Debug)]
pub(super) struct ObservedSet {
    /// None for a set that the compiler never declares, or that holds something it never puts in.
    pub(super) declared: Option<(SetShape, Family)>,
    pub(super) is_map: bool,
    pub(super) elements: BTreeSet<Element>,
}

/// What makes an observed table the one that it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// What differs, if nothing is declared otherwise than it should be.
    pub(super) delta: Delta,
    pub(super) rebuild: Option<Rebuild>,
    /// Whether the table is to be switched on again, which every transaction does.
    pub(super) wake: bool,
}

/// What has to go first, in the same transaction, because it is declared otherwise than it should be, which cannot be
/// changed: all rules of the table and all elements of its maps, which might refer to it, then the misdeclared sets and
/// chains. The delta then brings all of it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rebuild {
    pub(super) maps: Vec<Name>,
    pub(super) sets: Vec<Name>,
    pub(super) chains: Vec<Name>,
}

impl Repair {
    /// What makes a table from nothing.
    pub fn create(table: &Table) -> Self {
        Self { delta: Delta::between(&Table::new(table.name.clone()), table), ..Self::default() }
    }

    /// Whether the table is what it should be.
    pub fn is_empty(&self) -> bool {
        self.delta.is_empty() && self.rebuild.is_none() && !self.wake
    }

    /// What differs.
    pub fn delta(&self) -> &Delta {
        &self.delta
    }
}

impl Observed {
    /// Whether no transaction came between the first and the last part of the reading, anybody's and of any table. If
    /// one did, and it was one of this table, the parts may not belong together.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// The number that a rule `ct mark and MASK == NUMBER` of the table compares with: the generation that the table
    /// was left in.
    pub fn stamp(&self, mask: u32) -> Option<u32> {
        self.chains.values().flat_map(|chain| &chain.rules).find_map(|rule| rule.mark(mask))
    }

    /// What turns it into `wanted`. Comments of chains and sets are not looked at: they change nothing.
    pub fn delta_to(&self, wanted: &Table) -> Repair {
        let rebuild = self.rebuild(wanted);
        let mut delta = Delta::default();
        for (name, chain) in &wanted.chains {
            let change = match self.chains.get(name) {
                Some(observed) if observed.is_declared_as(chain) => {
                    let rewrite = rebuild.is_some() || !observed.has(&chain.rules);
                    rewrite.then(|| ChainChange::Rewrite(chain.rules.clone()))
                }
                _ => Some(ChainChange::Create(chain.clone())),
            };
            delta.chains.extend(change.map(|change| (name.clone(), change)));
        }
        for (name, set) in &wanted.sets {
            let change = match self.sets.get(name) {
                Some(observed) if observed.is_declared_as(set) => observed.edit(set, rebuild.is_some()),
                _ => Some(SetChange::Create(set.clone())),
            };
            delta.sets.extend(change.map(|change| (name.clone(), change)));
        }
        let unknown = self.chains.keys().filter(|name| !wanted.chains.contains_key(*name));
        delta.chains.extend(unknown.map(|name| (name.clone(), ChainChange::Delete)));
        let unknown = self.sets.keys().filter(|name| !wanted.sets.contains_key(*name));
        delta.sets.extend(unknown.map(|name| (name.clone(), SetChange::Delete)));
        Repair { delta, rebuild, wake: self.dormant }
    }

    fn rebuild(&self, wanted: &Table) -> Option<Rebuild> {
        let chains: Vec<_> = self
            .chains
            .iter()
            .filter(|(name, chain)| wanted.chains.get(*name).is_some_and(|wanted| !chain.is_declared_as(wanted)))
            .map(|(name, _)| name.clone())
            .collect();
        let sets: Vec<_> = self
            .sets
            .iter()
            .filter(|(name, set)| wanted.sets.get(*name).is_some_and(|wanted| !set.is_declared_as(wanted)))
            .map(|(name, _)| name.clone())
            .collect();
        if chains.is_empty() && sets.is_empty() {
            return None;
        }
        let maps = self.sets.iter().filter(|(_, set)| set.is_map).map(|(name, _)| name.clone()).collect();
        Some(Rebuild { maps, sets, chains })
    }
}

impl ObservedChain {
    fn is_declared_as(&self, chain: &Chain) -> bool {
        self.kind == if chain.base { ChainKind::Base } else { ChainKind::Regular }
    }

    fn has(&self, rules: &[Rule]) -> bool {
        self.rules.len() == rules.len()
            && self.rules.iter().zip(rules).all(|(observed, rule)| *observed == ComparableRule::encoded(rule))
    }
}

impl ObservedSet {
    fn is_declared_as(&self, set: &Set) -> bool {
        self.declared == Some((set.shape, set.family))
    }

    /// `emptied`: a rebuild takes a map's elements out before.
    fn edit(&self, set: &Set, emptied: bool) -> Option<SetChange> {
        let nothing = BTreeSet::new();
        let before = if emptied && self.is_map { &nothing } else { &self.elements };
        let remove: Vec<_> = before.difference(&set.elements).cloned().collect();
        let add: Vec<_> = set.elements.difference(before).cloned().collect();
        (!remove.is_empty() || !add.is_empty()).then_some(SetChange::Edit { remove, add })
    }
}
