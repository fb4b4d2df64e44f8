//! A change of the table as transactions.

use policy_compiler::delta::{ChainChange, Delta, SetChange};
use policy_compiler::ruleset::{Element, Rule};

use super::observed::Rebuild;
use crate::netlink::NetlinkError;
use crate::netlink::batch::{Batch, Finished};
use crate::netlink::element::RawElement;

/// Elements encoded between two looks at the size of a transaction: at most 32 bytes of key, 255 of chain and some 60
/// of headers each.
const ELEMENTS_AT_ONCE: usize = 100;
/// Room for as many elements, and for the end of a transaction.
const RESERVE: usize = ELEMENTS_AT_ONCE * 400;

/// Encodes a change, in one transaction unless that grows beyond a limit.
///
/// What is split, and why that is safe:
/// * New chains and sets, and the elements of new sets, come first, in as many transactions as it takes: nothing leads
///   to them yet.
/// * Rules, and the elements of maps that were there before, come in one transaction and are never split: it brings
///   the new rules into force with everything that they refer to.
/// * Elements of plain sets that were there before come last. Each says something of one address by itself; split,
///   they come into force one after the other.
pub(crate) struct Transactions<'t> {
    table: &'t str,
    flags: u32,
    limit: usize,
    done: Vec<Finished>,
    batch: Batch<'t>,
}

impl<'t> Transactions<'t> {
    pub(crate) fn new(table: &'t str, flags: u32, sequence: u32, limit: usize) -> Self {
        let mut batch = Batch::new(table, sequence);
        batch.add_table(flags);
        Self { table, flags, limit, done: Vec::new(), batch }
    }

    pub(crate) fn finish(mut self) -> Result<Vec<Finished>, NetlinkError> {
        self.done.push(self.batch.finish()?);
        Ok(self.done)
    }

    /// Everything but deletions.
    pub(crate) fn change(&mut self, delta: &Delta, rebuild: Option<&Rebuild>) -> Result<(), NetlinkError> {
        if let Some(rebuild) = rebuild {
            self.clear(rebuild);
        }
        for (name, change) in &delta.chains {
            if let ChainChange::Create(chain) = change {
                self.batch.add_chain(name, chain);
            }
        }
        for (name, change) in &delta.sets {
            if let SetChange::Create(set) = change {
                self.batch.add_set(name, set);
            }
        }
        for (name, change) in &delta.sets {
            if let SetChange::Create(set) = change {
                self.split(set.elements.iter(), |batch, elements| batch.add_elements(name, elements))?;
            }
        }
        if !self.done.is_empty() {
            self.next()?; // the rules get a transaction of their own
        }
        for (name, change) in &delta.chains {
            match change {
                ChainChange::Create(chain) => self.rules(name, &chain.rules),
                ChainChange::Rewrite(rules) => {
                    self.batch.flush_rules(Some(name));
                    self.rules(name, rules);
                }
                ChainChange::Delete => {}
            }
        }
        let edits = |of_maps: bool| {
            delta.sets.iter().filter_map(move |(name, change)| match change {
                SetChange::Edit { remove, add } if is_map(remove, add) == of_maps => Some((name, remove, add)),
                _ => None,
            })
        };
        for (name, remove, add) in edits(true) {
            self.batch.delete_elements(name, remove.iter().flat_map(RawElement::of));
            self.batch.add_elements(name, add.iter().flat_map(RawElement::of));
        }
        for (name, remove, add) in edits(false) {
            self.split(remove.iter(), |batch, elements| batch.delete_elements(name, elements))?;
            self.split(add.iter(), |batch, elements| batch.add_elements(name, elements))?;
        }
        Ok(())
    }

    pub(crate) fn has_garbage(delta: &Delta) -> bool {
        delta.chains.values().any(|change| *change == ChainChange::Delete)
            || delta.sets.values().any(|change| *change == SetChange::Delete)
    }

    /// Deletions. Rules refer to sets and chains, elements of maps to chains: they go in that order.
    pub(crate) fn garbage(&mut self, delta: &Delta) -> Result<(), NetlinkError> {
        let chains = || delta.chains.iter().filter(|(_, change)| **change == ChainChange::Delete);
        chains().for_each(|(name, _)| self.batch.flush_rules(Some(name)));
        for (name, _) in delta.sets.iter().filter(|(_, change)| **change == SetChange::Delete) {
            self.batch.delete_set(name);
        }
        chains().for_each(|(name, _)| self.batch.delete_chain(name));
        Ok(())
    }

    /// Takes out what is declared otherwise than it should be, and before it whatever may refer to it.
    fn clear(&mut self, rebuild: &Rebuild) {
        self.batch.flush_rules(None);
        rebuild.maps.iter().for_each(|name| self.batch.flush_set(name));
        rebuild.sets.iter().for_each(|name| self.batch.delete_set(name));
        rebuild.chains.iter().for_each(|name| self.batch.delete_chain(name));
    }

    fn rules(&mut self, chain: &str, rules: &[Rule]) {
        rules.iter().for_each(|rule| self.batch.add_rule(chain, rule));
    }

    fn split<'e>(
        &mut self,
        elements: impl Iterator<Item = &'e Element>,
        mut write: impl FnMut(&mut Batch<'t>, &mut dyn Iterator<Item = RawElement<'e>>),
    ) -> Result<(), NetlinkError> {
        if self.limit == usize::MAX {
            write(&mut self.batch, &mut elements.flat_map(RawElement::of));
            return Ok(());
        }
        let mut rest = elements.peekable();
        while rest.peek().is_some() {
            if self.batch.len() + RESERVE > self.limit {
                self.next()?;
            }
            write(&mut self.batch, &mut rest.by_ref().take(ELEMENTS_AT_ONCE).flat_map(RawElement::of));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<(), NetlinkError> {
        let mut next = Batch::new(self.table, self.batch.sequence_behind());
        next.add_table(self.flags);
        self.done.push(std::mem::replace(&mut self.batch, next).finish()?);
        Ok(())
    }
}

/// Whether an edit is one of a map: elements have verdicts exactly there.
fn is_map(remove: &[Element], add: &[Element]) -> bool {
    remove.iter().chain(add).any(|element| element.verdict.is_some())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use nix::sched::{CloneFlags, unshare};
    use policy_compiler::cidr::Family;
    use policy_compiler::ruleset::{Chain, Key, LookupKey, Set, SetShape, Statement, Table};

    use super::*;
    use crate::kernel::{Kernel, Repair};

    fn set(first: u32, count: u32) -> Set {
        let address = |n: u32| Element::new(Key::Address(IpAddr::V4(n.into())));
        Set { elements: (first..first + count).map(address).collect(), ..Set::new(SetShape::Addresses, Family::V4, "") }
    }

    #[test]
    fn a_change_beyond_the_send_buffer_is_split_at_elements() {
        let test = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let mut before = Table::new("podwall");
            before.sets.insert("old".into(), set(1, 10));
            before.chains.insert("base".into(), Chain { base: true, ..Chain::default() });
            let mut after = before.clone();
            after.sets.insert("new".into(), set(1, 10_000));
            after.sets.insert("old".into(), set(5, 10_000));
            let lookup = |name: &str| Statement::Lookup { key: LookupKey::Source(Family::V4), set: name.into() };
            let rules = vec![Rule::new([lookup("old")]), Rule::new([lookup("new")])];
            after.chains.insert("base".into(), Chain { base: true, comment: None, rules });

            let mut kernel = Kernel::open("podwall").unwrap();
            kernel.repair(&Repair::create(&before)).unwrap();
            let whole = Delta::between(&before, &after);
            for limit in [usize::MAX, 65_536] {
                kernel.socket.set_limit(limit);
                let transactions = kernel.encode(|transactions| transactions.change(&whole, None)).unwrap();
                assert_eq!(transactions.len() > 4, limit == 65_536, "{}", transactions.len());
                assert!(transactions.iter().all(|batch| batch.bytes().len() <= limit));
                kernel.commit(&whole).unwrap();
                assert!(kernel.read().unwrap().unwrap().delta_to(&after).is_empty());
                kernel.commit(&Delta::between(&after, &before)).unwrap();
                assert!(kernel.read().unwrap().unwrap().delta_to(&before).is_empty());
            }
        };
        std::thread::spawn(test).join().unwrap();
    }
}
