//! What must change to come from one table to another.

use std::collections::BTreeMap;

use crate::ruleset::{Chain, Element, Name, Rule, Set, Table};

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
}
