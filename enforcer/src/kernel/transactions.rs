//! A change of the table as transactions.

use policy_compiler::delta::{ChainChange, Delta, SetChange};
use policy_compiler::ruleset::{Chain, Element, Name, Rule, Set, Verdict};

use super::observed::Rebuild;
use crate::netlink::NetlinkError;
use crate::netlink::batch::{Batch, Finished};
use crate::netlink::element::RawElement;

/// Elements that are never split.
const ELEMENTS_AT_ONCE: usize = 200;
/// Room for the end of a transaction.
const RESERVE: usize = 64;

/// Encodes a change, in as few transactions as its division allows.
///
/// What is divided, and why that is safe:
/// * New chains and sets come first, with all that is in them, in as many transactions as it takes: nothing leads to
///   them yet. Not so a new base chain, to which every packet comes.
/// * Then everything that decides about packets: new rules of chains that were there, elements of maps that were there,
///   the base chain. This is one transaction and is never divided: all of it comes into force at once, with everything
///   that it refers to.
/// * Elements of plain sets that were there come last. Each says something of one address by itself; divided, they come
///   into force one after the other.
///
/// A rebuild replaces what the rules refer to, and is never divided.
pub(crate) struct Transactions<'t> {
    table: &'t str,
    flags: u32,
    division: Division,
    done: Vec<Finished>,
    batch: Batch<'t>,
}

/// How a change becomes transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Division {
    /// One, whatever a packet on its way makes of it.
    None,
    /// Chains that elements of maps come to lead to are made before. A packet follows the rules of the generation that it
    /// began with, but finds elements of the present one: of a chain that came with the element it would see no rules,
    /// and pass.
    Chains,
    /// The same, and no transaction is larger than so many bytes.
    Bytes(usize),
}

impl<'t> Transactions<'t> {
    pub(crate) fn new(table: &'t str, flags: u32, sequence: u32, division: Division) -> Self {
        Self { table, flags, division, done: Vec::new(), batch: begun(table, flags, sequence) }
    }

    pub(crate) fn finish(mut self) -> Result<Vec<Finished>, NetlinkError> {
        self.done.push(self.batch.finish()?);
        Ok(self.done)
    }

    /// As one transaction that is tried and taken back; it must not have been divided.
    pub(crate) fn rehearsal(self) -> Result<Finished, NetlinkError> {
        self.batch.rehearsal()
    }

    /// Everything but deletions.
    pub(crate) fn change(&mut self, delta: &Delta, rebuild: Option<&Rebuild>) -> Result<(), NetlinkError> {
        let division = self.division;
        if let Some(rebuild) = rebuild {
            self.division = Division::None;
            self.clear(rebuild);
        }
        let base_last = match self.division {
            Division::None => false,
            Division::Chains => leads_to_new_chains(delta),
            Division::Bytes(_) => true,
        };
        self.prepare(delta, base_last)?;
        if !self.done.is_empty() || self.division != Division::None && leads_to_new_chains(delta) {
            self.next()?; // what decides about packets gets a transaction of its own
        }
        self.switch(delta, base_last);
        self.division = division;
        for (name, remove, add) in edits(delta, false) {
            self.elements(remove, |batch, elements| batch.delete_elements(name, elements))?;
            self.elements(add, |batch, elements| batch.add_elements(name, elements))?;
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
        for (name, _) in chains() {
            self.fit(|batch| batch.flush_rules(Some(name)))?;
        }
        for (name, _) in delta.sets.iter().filter(|(_, change)| **change == SetChange::Delete) {
            self.fit(|batch| batch.delete_set(name))?;
        }
        for (name, _) in chains() {
            self.fit(|batch| batch.delete_chain(name))?;
        }
        Ok(())
    }

    /// Takes out what is declared otherwise than it should be, and before it whatever may refer to it.
    fn clear(&mut self, rebuild: &Rebuild) {
        self.batch.flush_rules(None);
        rebuild.maps.iter().for_each(|name| self.batch.flush_set(name));
        rebuild.sets.iter().for_each(|name| self.batch.delete_set(name));
        rebuild.chains.iter().for_each(|name| self.batch.delete_chain(name));
    }

    /// What nothing leads to yet. Base chains are hooked as soon as they are there, and so come last of divided changes;
    /// otherwise all chains are declared in the order of their names, which is that of the text.
    fn prepare(&mut self, delta: &Delta, base_last: bool) -> Result<(), NetlinkError> {
        for (name, chain) in new_chains(delta).filter(|(_, chain)| !(chain.base && base_last)) {
            self.fit(|batch| batch.add_chain(name, chain))?;
        }
        for (name, set) in new_sets(delta) {
            self.fit(|batch| batch.add_set(name, set))?;
        }
        for (name, set) in new_sets(delta) {
            self.elements(&set.elements, |batch, elements| batch.add_elements(name, elements))?;
        }
        for (name, chain) in new_chains(delta).filter(|(_, chain)| !chain.base) {
            for rule in &chain.rules {
                self.fit(|batch| batch.add_rule(name, rule))?;
            }
        }
        Ok(())
    }

    /// What decides about packets.
    fn switch(&mut self, delta: &Delta, base_last: bool) {
        for (name, chain) in new_chains(delta).filter(|(_, chain)| chain.base) {
            if base_last {
                self.batch.add_chain(name, chain);
            }
            self.rules(name, &chain.rules);
        }
        for (name, change) in &delta.chains {
            if let ChainChange::Rewrite(rules) = change {
                self.batch.flush_rules(Some(name));
                self.rules(name, rules);
            }
        }
        for (name, remove, add) in edits(delta, true) {
            self.batch.delete_elements(name, remove.iter().flat_map(RawElement::of));
            self.batch.add_elements(name, add.iter().flat_map(RawElement::of));
        }
    }

    fn rules(&mut self, chain: &str, rules: &[Rule]) {
        rules.iter().for_each(|rule| self.batch.add_rule(chain, rule));
    }

    fn elements<'e>(
        &mut self,
        elements: impl IntoIterator<Item = &'e Element>,
        write: impl Fn(&mut Batch<'t>, &mut dyn Iterator<Item = RawElement<'e>>),
    ) -> Result<(), NetlinkError> {
        let mut rest = elements.into_iter();
        loop {
            let some: Vec<_> = rest.by_ref().take(ELEMENTS_AT_ONCE).collect();
            if some.is_empty() {
                return Ok(());
            }
            self.fit(|batch| write(batch, &mut some.iter().copied().flat_map(RawElement::of)))?;
        }
    }

    /// Writes operations that stay together, into the next transaction where this one has no room left.
    fn fit(&mut self, write: impl Fn(&mut Batch<'t>)) -> Result<(), NetlinkError> {
        let mark = self.batch.mark();
        write(&mut self.batch);
        if let Division::Bytes(limit) = self.division
            && self.batch.len() > limit - RESERVE
        {
            self.batch.rewind(mark);
            self.next()?;
            write(&mut self.batch);
        }
        Ok(())
    }

    fn next(&mut self) -> Result<(), NetlinkError> {
        let next = begun(self.table, self.flags, self.batch.sequence_behind());
        self.done.push(std::mem::replace(&mut self.batch, next).finish()?);
        Ok(())
    }
}

fn begun(table: &str, flags: u32, sequence: u32) -> Batch<'_> {
    let mut batch = Batch::new(table, sequence);
    batch.add_table(flags);
    batch
}

fn new_chains(delta: &Delta) -> impl Iterator<Item = (&Name, &Chain)> {
    delta.chains.iter().filter_map(|(name, change)| match change {
        ChainChange::Create(chain) => Some((name, chain)),
        ChainChange::Rewrite(_) | ChainChange::Delete => None,
    })
}

fn new_sets(delta: &Delta) -> impl Iterator<Item = (&Name, &Set)> {
    delta.sets.iter().filter_map(|(name, change)| match change {
        SetChange::Create(set) => Some((name, set)),
        SetChange::Edit { .. } | SetChange::Delete => None,
    })
}

/// Whether elements of maps that are there come to lead to chains that are not.
fn leads_to_new_chains(delta: &Delta) -> bool {
    let is_new = |chain: &Name| matches!(delta.chains.get(chain), Some(ChainChange::Create(_)));
    let targets = edits(delta, true).flat_map(|(_, _, add)| add).filter_map(|element| element.verdict.as_ref());
    targets.into_iter().any(|verdict| match verdict {
        Verdict::Jump(chain) | Verdict::Goto(chain) => is_new(chain),
        _ => false,
    })
}

/// Edits of maps, or of plain sets: elements have verdicts exactly in maps.
fn edits(delta: &Delta, of_maps: bool) -> impl Iterator<Item = (&Name, &[Element], &[Element])> {
    delta.sets.iter().filter_map(move |(name, change)| match change {
        SetChange::Edit { remove, add } => {
            let is_map = remove.iter().chain(add).any(|element| element.verdict.is_some());
            (is_map == of_maps).then_some((name, &remove[..], &add[..]))
        }
        SetChange::Create(_) | SetChange::Delete => None,
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use policy_compiler::cidr::Family;
    use policy_compiler::ruleset::{Key, LookupKey, SetShape, Statement, Table};

    use super::*;
    use crate::kernel::tests::in_namespace;
    use crate::kernel::{Kernel, KernelError, NetlinkError, Repair};

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    fn set(first: u32, count: u32) -> Set {
        let elements = (first..first + count).map(|n| Element::new(Key::Address(address(n)))).collect();
        Set { elements, ..Set::new(SetShape::Addresses, Family::V4, "") }
    }

    fn lookup(set: &str) -> Rule {
        Rule::new([Statement::Lookup { key: LookupKey::Source(Family::V4), set: set.into() }])
    }

    fn vmap(map: &str) -> Rule {
        Rule::new([Statement::VerdictMap { key: LookupKey::Source(Family::V4), map: map.into() }])
    }

    /// A base chain, a map with `pods` chains behind it, and a set with as many elements; all names with this prefix
    /// are there or not there, those without are there always.
    fn table(prefix: &str, pods: u32, first: u32) -> Table {
        let mut table = Table::new("podwall");
        let mut dispatch = Set::new(SetShape::Verdicts, Family::V4, "");
        let mut new = dispatch.clone();
        for n in 0..pods {
            let name = format!("pod_{prefix}{n}");
            let own = format!("set_{prefix}{}", n % 10);
            let rules = vec![lookup("old"), lookup(&own), Rule::new([Statement::Counter])];
            table.sets.entry(own.into()).or_insert_with(|| set(first, pods));
            table.chains.insert(name.as_str().into(), Chain::new("a pod", rules));
            dispatch.elements.insert(Element::verdict(address(n), Verdict::Goto(name.as_str().into())));
            new.elements.insert(Element::verdict(address(n), Verdict::Jump(name.into())));
        }
        table.sets.insert("dispatch".into(), dispatch);
        table.sets.insert(format!("map_{prefix}").into(), new);
        table.sets.insert("old".into(), set(first, pods));
        let shared = vec![vmap("dispatch"), lookup(&format!("set_{prefix}1")), vmap(&format!("map_{prefix}"))];
        table.chains.insert("shared".into(), Chain::new("", shared.clone()));
        table.chains.insert("base".into(), Chain { base: true, comment: None, rules: shared });
        table
    }

    /// Whether nothing decides about packets otherwise than in `table`, but for elements of plain sets that were there.
    fn acts_as(kernel: &mut Kernel, table: &Table) -> bool {
        let Some(observed) = kernel.read().unwrap() else { return table.chains.is_empty() };
        let delta = observed.delta_to(table).delta;
        delta.chains.values().all(|change| *change == ChainChange::Delete)
            && edits(&delta, true).next().is_none()
            && new_sets(&delta).next().is_none()
    }

    #[test]
    fn a_change_beyond_the_send_buffer_is_split_where_no_packet_notices() {
        in_namespace(|| {
            let (nothing, before, after) = (Table::new("podwall"), table("a", 40, 1), table("b", 1000, 20));
            let mut kernel = Kernel::open("podwall").unwrap();
            for (limit, from, to, least) in [
                (usize::MAX, &nothing, &before, 1),
                (100_000, &before, &after, 3),
                (100_000, &after, &before, 2),
                (usize::MAX, &before, &after, 2),
                (usize::MAX, &after, &before, 2),
                (120_000, &before, &after, 3),
            ] {
                kernel.socket.set_limit(limit);
                let delta = Delta::between(from, to);
                let all = kernel.encode(|transactions| transactions.change(&delta, None)).unwrap();
                assert!(if limit == usize::MAX { all.len() == least } else { all.len() >= least }, "{limit}");
                assert!(all.iter().all(|batch| batch.bytes().len() <= limit));
                let mut switched = 0;
                for batch in &all {
                    kernel.send(batch).unwrap();
                    switched += usize::from(!acts_as(&mut kernel, from) && switched == 0);
                    assert!(acts_as(&mut kernel, if switched == 0 { from } else { to }), "{limit}");
                }
                let mut whole = to.clone();
                for (name, change) in &delta.chains {
                    if *change == ChainChange::Delete {
                        whole.chains.insert(name.clone(), from.chains[name].clone());
                    }
                }
                for (name, change) in &delta.sets {
                    if *change == SetChange::Delete {
                        whole.sets.insert(name.clone(), from.sets[name].clone());
                    }
                }
                assert!(kernel.read().unwrap().unwrap().delta_to(&whole).is_empty(), "{limit}");
                let garbage = kernel.encode(|transactions| transactions.garbage(&delta)).unwrap();
                garbage.iter().for_each(|batch| kernel.send(batch).unwrap());
                assert!(kernel.read().unwrap().unwrap().delta_to(to).is_empty(), "{limit}");
            }
        });
    }

    #[test]
    fn a_table_of_any_size_is_made_from_nothing_and_its_base_chain_comes_last() {
        in_namespace(|| {
            let wanted = table("a", 500, 1);
            let mut kernel = Kernel::open("podwall").unwrap();
            kernel.socket.set_limit(20_000);
            let create = Repair::create(&wanted);
            let all = kernel.encode(|transactions| transactions.change(create.delta(), None)).unwrap();
            for (index, batch) in all.iter().enumerate() {
                kernel.send(batch).unwrap();
                let observed = kernel.read().unwrap().unwrap();
                assert_eq!(observed.chains.contains_key("base"), index + 1 == all.len());
            }
            assert!(all.len() > 10 && kernel.read().unwrap().unwrap().delta_to(&wanted).is_empty());
        });
    }

    #[test]
    fn what_can_be_split_nowhere_is_refused_before_anything_is_sent() {
        in_namespace(|| {
            let (before, mut after) = (table("a", 10, 1), table("b", 1000, 1));
            after.chains.get_mut("shared").unwrap().rules.extend((0..1000).map(|_| lookup("old")));
            let mut kernel = Kernel::open("podwall").unwrap();
            kernel.repair(&Repair::create(&before)).unwrap();
            kernel.socket.set_limit(60_000);
            let error = kernel.commit(&Delta::between(&before, &after)).unwrap_err();
            assert!(
                matches!(error, KernelError::Netlink(NetlinkError::TooLarge { bytes }) if bytes > 60_000),
                "{error}"
            );
            assert!(kernel.read().unwrap().unwrap().delta_to(&before).is_empty());
        });
    }
}
