//! The table as it is, and what it was when its changes were last asked for.

use std::collections::BTreeMap;

use super::names;
use crate::delta::{ChainChange, Delta, SetChange};
use crate::ruleset::{Chain, Element, Name, Rule, Set, SetShape, Statement, Table, Verdict};

/// A table all of whose changes are noted, so that their sum can be told without comparing tables.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    table: Table,
    /// Each chain that was touched, as it was; none where it was not there.
    chains: BTreeMap<Name, Option<Chain>>,
    sets: BTreeMap<Name, Before>,
}

/// What a touched set was.
#[derive(Clone, Debug)]
enum Before {
    /// It was not there.
    Absent,
    /// It was there, and so were those of the touched elements that say true.
    Touched(BTreeMap<Element, bool>),
    /// It was there and has been taken away since; these were its elements.
    Whole(Set),
}

impl Ledger {
    pub(super) fn new(table: Table) -> Self {
        Self { table, chains: BTreeMap::new(), sets: BTreeMap::new() }
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    pub(super) fn into_table(self) -> Table {
        self.table
    }

    /// Adds a chain, or replaces the one of that name.
    pub(super) fn put_chain(&mut self, name: &Name, chain: Chain) {
        let before = self.table.chains.insert(name.clone(), chain);
        self.chains.entry(name.clone()).or_insert(before);
    }

    pub(super) fn drop_chain(&mut self, name: &Name) {
        if let Some(before) = self.table.chains.remove(name) {
            self.chains.entry(name.clone()).or_insert(Some(before));
        }
    }

    /// Adds a set that is not there.
    pub(super) fn put_set(&mut self, name: &Name, set: Set) {
        self.table.sets.insert(name.clone(), set);
        self.sets.entry(name.clone()).or_insert(Before::Absent);
    }

    pub(super) fn drop_set(&mut self, name: &Name) {
        let Some(mut set) = self.table.sets.remove(name) else { return };
        match self.sets.remove(name) {
            Some(before @ (Before::Absent | Before::Whole(_))) => {
                self.sets.insert(name.clone(), before);
            }
            Some(Before::Touched(elements)) => {
                for (element, was_there) in elements {
                    if was_there {
                        set.elements.insert(element)
                    } else {
                        set.elements.remove(&element)
                    };
                }
                self.sets.insert(name.clone(), Before::Whole(set));
            }
            None => {
                self.sets.insert(name.clone(), Before::Whole(set));
            }
        }
    }

    pub(super) fn insert(&mut self, name: &Name, element: Element) {
        let Some(set) = self.table.sets.get_mut(name) else { return };
        if !set.elements.contains(&element) {
            note(&mut self.sets, name, &element, false);
            set.elements.insert(element);
        }
    }

    pub(super) fn remove_element(&mut self, name: &Name, element: Element) {
        let Some(set) = self.table.sets.get_mut(name) else { return };
        if set.elements.remove(&element) {
            note(&mut self.sets, name, &element, true);
        }
    }

    /// What has changed since the last call.
    pub(super) fn take_delta(&mut self) -> Delta {
        let mut delta = Delta::default();
        for (name, before) in std::mem::take(&mut self.chains) {
            let change = match (before, self.table.chains.get(&name)) {
                (None, Some(now)) => ChainChange::Create(now.clone()),
                (Some(_), None) => ChainChange::Delete,
                (Some(before), Some(now)) if before.rules != now.rules => ChainChange::Rewrite(now.rules.clone()),
                (Some(_), Some(_)) | (None, None) => continue,
            };
            delta.chains.insert(name, change);
        }
        for (name, before) in std::mem::take(&mut self.sets) {
            let now = self.table.sets.get(&name);
            let change = match before {
                Before::Absent => now.map(|now| SetChange::Create(now.clone())),
                Before::Whole(before) => match now {
                    None => Some(SetChange::Delete),
                    Some(now) => edit(
                        before.elements.difference(&now.elements).cloned().collect(),
                        now.elements.difference(&before.elements).cloned().collect(),
                    ),
                },
                Before::Touched(elements) => now.and_then(|now| {
                    let (mut remove, mut add) = (Vec::new(), Vec::new());
                    for (element, was_there) in elements {
                        match (was_there, now.elements.contains(&element)) {
                            (true, false) => remove.push(element),
                            (false, true) => add.push(element),
                            (true, true) | (false, false) => (),
                        }
                    }
                    edit(remove, add)
                }),
            };
            delta.sets.extend(change.map(|change| (name, change)));
        }
        delta
    }

    /// Whether some connection that was allowed at the last call of [`Self::take_delta`] may be one that is now denied,
    /// so that live connections have to be judged again. Errs towards yes: judging an allowed connection again only
    /// costs its next packet a little.
    pub(super) fn tightens(&self) -> bool {
        let chains = self.chains.iter().any(|(name, before)| {
            match (before, self.table.chains.get(name)) {
                (Some(before), Some(now)) => !only_adds_allows(before, &now.rules),
                // Of no effect before something leads there, or after.
                (None, _) | (_, None) => false,
            }
        });
        let sets = self.sets.iter().any(|(name, before)| {
            let Some(now) = self.table.sets.get(name) else { return false };
            match before {
                Before::Absent => false,
                Before::Touched(elements) => elements
                    .iter()
                    .any(|(element, was_there)| denies(now.shape, element, *was_there, now.elements.contains(element))),
                Before::Whole(before) => {
                    let both = before.elements.symmetric_difference(&now.elements);
                    both.into_iter().any(|element| {
                        denies(now.shape, element, before.elements.contains(element), now.elements.contains(element))
                    })
                }
            }
        });
        chains || sets
    }
}

/// Notes what an element was before it is touched for the first time; nothing where the whole set is new or noted.
fn note(sets: &mut BTreeMap<Name, Before>, name: &Name, element: &Element, was_there: bool) {
    match sets.get_mut(name) {
        Some(Before::Touched(elements)) => {
            if !elements.contains_key(element) {
                elements.insert(element.clone(), was_there);
            }
        }
        Some(Before::Absent | Before::Whole(_)) => (),
        None => {
            sets.insert(name.clone(), Before::Touched([(element.clone(), was_there)].into()));
        }
    }
}

fn edit(remove: Vec<Element>, add: Vec<Element>) -> Option<SetChange> {
    (!remove.is_empty() || !add.is_empty()).then_some(SetChange::Edit { remove, add })
}

/// Whether an element's coming or going can deny what was allowed.
fn denies(shape: SetShape, element: &Element, was_there: bool, is_there: bool) -> bool {
    match shape {
        // A new answer may lead into isolation; a pod that only goes takes its connections with it.
        SetShape::Verdicts => !was_there && is_there && element.verdict.as_ref().is_some_and(isolates),
        SetShape::CountedAddresses | SetShape::AddressPairs => false,
        SetShape::Addresses | SetShape::Ranges | SetShape::AddressPorts => was_there && !is_there,
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
    verdict.chain().is_some_and(|chain| names::is_pod(chain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cidr::Family;
    use crate::ruleset::Key;

    fn element(host: u8) -> Element {
        Element::new(Key::Address(std::net::Ipv4Addr::new(10, 0, 0, host).into()))
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(Table::new("t"));
        let mut set = Set::new(SetShape::Addresses, Family::V4, "hosts");
        set.elements.insert(element(1));
        ledger.put_set(&"hosts".into(), set);
        ledger.put_chain(&"c".into(), Chain::new("c", vec![Rule::new([Statement::Verdict(Verdict::Accept)])]));
        _ = ledger.take_delta();
        ledger
    }

    /// Whatever happens in between, the delta is the difference between the tables.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Ledger)) -> Delta {
        let mut ledger = ledger();
        let before = ledger.table().clone();
        change(&mut ledger);
        let delta = ledger.take_delta();
        assert_eq!(delta, Delta::between(&before, ledger.table()));
        assert!(ledger.take_delta().is_empty(), "what has been told is not told again");
        delta
    }

    #[test]
    fn what_is_undone_is_no_change() {
        let hosts: Name = "hosts".into();
        let delta = check(|ledger| {
            ledger.remove_element(&hosts, element(1));
            ledger.insert(&hosts, element(2));
            ledger.insert(&hosts, element(1));
            ledger.remove_element(&hosts, element(2));
            let chain = ledger.table().chains["c"].clone();
            ledger.drop_chain(&"c".into());
            ledger.put_chain(&"c".into(), chain);
        });
        assert!(delta.is_empty());
    }

    #[test]
    fn sets_that_go_and_come_back_are_edited() {
        let hosts: Name = "hosts".into();
        let delta = check(|ledger| {
            ledger.insert(&hosts, element(2));
            ledger.drop_set(&hosts);
            let mut set = Set::new(SetShape::Addresses, Family::V4, "hosts");
            set.elements.insert(element(3));
            ledger.put_set(&hosts, set);
            ledger.insert(&hosts, element(4));
        });
        let edit = SetChange::Edit { remove: vec![element(1)], add: vec![element(3), element(4)] };
        assert_eq!(delta.sets, [(hosts, edit)].into());
        check(|ledger| ledger.drop_set(&"hosts".into()));
    }

    #[test]
    fn sets_that_come_and_go_again_were_never_there() {
        let delta = check(|ledger| {
            ledger.put_set(&"other".into(), Set::new(SetShape::Addresses, Family::V4, "other"));
            ledger.insert(&"other".into(), element(1));
            ledger.drop_set(&"other".into());
        });
        assert!(delta.is_empty());
    }

    #[test]
    fn losing_a_member_tightens_and_gaining_one_does_not() {
        let mut one = ledger();
        one.insert(&"hosts".into(), element(2));
        assert!(!one.tightens());
        one.remove_element(&"hosts".into(), element(1));
        assert!(one.tightens());
        one.insert(&"hosts".into(), element(1));
        assert!(!one.tightens(), "it is back");
    }
}
