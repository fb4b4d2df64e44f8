//! What must change to come from one table to another.

use std::collections::BTreeMap;

use crate::ruleset::{Chain, Element, Name, Rule, Set, SetShape, Statement, Table, Verdict};

/// The difference between two tables of one name. Deletions belong in a later transaction than the rest: a packet on
/// its way may still hold what nothing refers to any more (invariant 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Chains that differ.
    pub chains: BTreeMap<Name, ChainChange>,
    /// Sets that differ.
    pub sets: BTreeMap<Name, SetChange>,
}

/// What happens to one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainChange {
    /// It is new, with its rules.
    Create(Chain),
    /// Its rules are replaced, all in one transaction.
    Rewrite(Vec<Rule>),
    /// Nothing refers to it any more.
    Delete,
}

/// What happens to one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetChange {
    /// It is new, with its elements.
    Create(Set),
    /// Elements go, then others come. In a map, a changed verdict is both.
    Edit {
        /// Elements to remove, as they are now.
        remove: Vec<Element>,
        /// Elements to add.
        add: Vec<Element>,
    },
    /// Nothing refers to it any more.
    Delete,
}

impl Delta {
    /// What turns `old` into `new`.
    pub fn between(old: &Table, new: &Table) -> Self {
        let mut delta = Self::default();
        for (name, chain) in &new.chains {
            match old.chains.get(name) {
                None => delta.chains.insert(name.clone(), ChainChange::Create(chain.clone())),
                Some(before) if before.rules == chain.rules => None,
                Some(_) => delta.chains.insert(name.clone(), ChainChange::Rewrite(chain.rules.clone())),
            };
        }
        for (name, set) in &new.sets {
            match old.sets.get(name) {
                None => delta.sets.insert(name.clone(), SetChange::Create(set.clone())),
                Some(before) if before.elements == set.elements => None,
                Some(before) => delta.sets.insert(
                    name.clone(),
                    SetChange::Edit {
                        remove: before.elements.difference(&set.elements).cloned().collect(),
                        add: set.elements.difference(&before.elements).cloned().collect(),
                    },
                ),
            };
        }
        let gone = old.chains.keys().filter(|name| !new.chains.contains_key(*name));
        delta.chains.extend(gone.map(|name| (name.clone(), ChainChange::Delete)));
        let gone = old.sets.keys().filter(|name| !new.sets.contains_key(*name));
        delta.sets.extend(gone.map(|name| (name.clone(), SetChange::Delete)));
        delta
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.sets.is_empty()
    }

    /// Carries the change out on a table in memory.
    pub fn apply(&self, table: &mut Table) {
        for (name, change) in &self.chains {
            match change {
                ChainChange::Create(chain) => {
                    table.chains.insert(name.clone(), chain.clone());
                }
                ChainChange::Rewrite(rules) => {
                    if let Some(chain) = table.chains.get_mut(name) {
                        chain.rules.clone_from(rules);
                    }
                }
                ChainChange::Delete => {
                    table.chains.remove(name);
                }
            }
        }
        for (name, change) in &self.sets {
            match change {
                SetChange::Create(set) => {
                    table.sets.insert(name.clone(), set.clone());
                }
                SetChange::Edit { remove, add } => {
                    if let Some(set) = table.sets.get_mut(name) {
                        remove.iter().for_each(|element| _ = set.elements.remove(element));
                        set.elements.extend(add.iter().cloned());
                    }
                }
                SetChange::Delete => {
                    table.sets.remove(name);
                }
            }
        }
    }

    /// Whether some connection that `old` allowed may be one that is now denied, so that live connections have to be
    /// judged again. Errs towards yes: judging an allowed connection again only costs its next packet a little.
    pub fn tightens(&self, old: &Table) -> bool {
        self.chains.iter().any(|(name, change)| match change {
            ChainChange::Create(_) | ChainChange::Delete => false, // of no effect until something leads there, or after
            ChainChange::Rewrite(rules) => old.chains.get(name).is_none_or(|before| !only_adds_allows(before, rules)),
        }) || self.sets.iter().any(|(name, change)| match change {
            SetChange::Create(_) | SetChange::Delete => false,
            SetChange::Edit { remove, add } => match old.sets.get(name).map(|set| set.shape) {
                // A map's new answer may lead into isolation; a pod that only goes takes its connections with it.
                Some(SetShape::Verdicts) => add.iter().any(|element| element.verdict.as_ref().is_some_and(isolates)),
                Some(SetShape::CountedAddresses | SetShape::AddressPairs) => false,
                Some(SetShape::Addresses | SetShape::Ranges | SetShape::AddressPorts) | None => !remove.is_empty(),
            },
        })
    }
}

/// Whether a chain still has every rule that it had, in order, and more that end in something other than a drop.
fn only_adds_allows(before: &Chain, rules: &[Rule]) -> bool {
    let mut kept = before.rules.iter().peekable();
    let added_allow = |rule: &Rule| {
        !rule.statements.iter().any(|s| matches!(s, Statement::Verdict(Verdict::Drop) | Statement::Reject(_)))
    };
    rules.iter().all(|rule| kept.next_if(|before| before.statements == rule.statements).is_some() || added_allow(rule))
        && kept.next().is_none()
}

/// Whether a dispatch verdict leads to a chain that may deny. An unisolated pod's verdicts are `return` and a chain
/// that every allowed packet passes; an isolated one's lead to its own chain.
fn isolates(verdict: &Verdict) -> bool {
    verdict.chain().is_some_and(|chain| crate::plan::is_pod_chain(chain))
}
