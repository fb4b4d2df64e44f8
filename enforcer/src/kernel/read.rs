//! Reading the table back.

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;
use policy_compiler::ruleset::Name;

use super::comparison::{ComparableRule, Inline, inline_of};
use super::observed::{ChainKind, Observed, ObservedChain, ObservedSet};
use crate::netlink::NetlinkError;
use crate::netlink::attribute;
use crate::netlink::batch::{FAMILY_INET, TABLE_DORMANT, base_chain, message};
use crate::netlink::element::{self, DumpedElement};
use crate::netlink::set::Declaration;
use crate::netlink::socket::{Entry, NetlinkSocket};

/// How often the whole table is read until no transaction came between. Other tables' count too, and on a busy node
/// they never stop: the last reading is taken as it is.
const ATTEMPTS: usize = 4;
/// How often the elements of one set are read until none is there twice.
const RESIZE_ATTEMPTS: usize = 10;

/// The sets of a table.
#[derive(Default)]
struct Sets {
    named: BTreeMap<Name, ObservedSet>,
    /// Those of single rules, by the names that the kernel gave them.
    anonymous: BTreeMap<String, Inline>,
}

/// Reads the whole table; none if there is no such table.
pub(super) fn table(socket: &mut NetlinkSocket, table: &str) -> Result<Option<Observed>, NetlinkError> {
    let mut attempts = 1;
    loop {
        let before = socket.generation()?;
        let mut observed = there(whole(socket, table))?.flatten();
        let settled = socket.generation()? == before;
        if settled || attempts == ATTEMPTS {
            observed.iter_mut().for_each(|observed| observed.settled = settled);
            return Ok(observed);
        }
        attempts += 1;
    }
}

/// What can be listed; none of what has gone.
pub(super) fn there<T>(listed: Result<T, NetlinkError>) -> Result<Option<T>, NetlinkError> {
    match listed {
        Ok(listed) => Ok(Some(listed)),
        Err(error) if error.errno() == Some(Errno::ENOENT as i32) => Ok(None),
        Err(error) => Err(error),
    }
}

fn whole(socket: &mut NetlinkSocket, table: &str) -> Result<Option<Observed>, NetlinkError> {
    let Some(declared) = socket.get(message::GET_TABLE, |w| w.text(1, table))? else { return Ok(None) };
    let flags = attribute::find(&declared, 2).and_then(|a| a.as_be32()).unwrap_or_default();
    let Sets { named: sets, anonymous } = self::sets(socket, table)?;
    let chain = |(name, kind)| (name, ObservedChain { kind, rules: Vec::new() });
    let mut chains: BTreeMap<Name, _> = self::chains(socket, table)?.into_iter().map(chain).collect();
    for rule in socket.dump(message::GET_RULE, FAMILY_INET, |w| w.text(1, table))? {
        if let Some(chain) = chains.get_mut(attribute::text(&rule.attributes, 2)) {
            chain.rules.push(ComparableRule::dumped(&rule.attributes, &anonymous));
        }
    }
    Ok(Some(Observed { chains, sets, dormant: flags & TABLE_DORMANT != 0, settled: false }))
}

/// The chains of a table.
pub(super) fn chains(socket: &mut NetlinkSocket, table: &str) -> Result<Vec<(Name, ChainKind)>, NetlinkError> {
    let listed = socket.dump_settled(message::GET_CHAIN, FAMILY_INET, |w| w.text(1, table))?;
    // The kernel lists the chains of all tables, and those of others may come and go; they are passed over.
    let own = listed.iter().filter(|chain| attribute::text(&chain.attributes, 1) == table);
    Ok(own.map(|chain| (attribute::text(&chain.attributes, 3).into(), chain_kind(&chain.attributes))).collect())
}

fn sets(socket: &mut NetlinkSocket, table: &str) -> Result<Sets, NetlinkError> {
    let mut sets = Sets::default();
    for set in socket.dump(message::GET_SET, FAMILY_INET, |w| w.text(1, table))? {
        let (name, declaration) = (attribute::text(&set.attributes, 2), Declaration::read(&set.attributes));
        let Some(listed) = there(elements(socket, table, name))? else { continue }; // deleted since
        let elements: Vec<_> = each_of(&listed).map(DumpedElement::read).collect();
        if declaration.is_anonymous() {
            sets.anonymous.insert(name.to_owned(), inline_of(declaration.flags(), elements.into_iter()));
            continue;
        }
        let known = declaration
            .shape()
            .and_then(|(shape, family)| Some((shape, family, element::decode(shape, family, elements)?)));
        let (declared, elements) = match known {
            Some((shape, family, elements)) => (Some((shape, family)), elements),
            None => (None, BTreeSet::new()),
        };
        sets.named.insert(name.into(), ObservedSet { declared, is_map: declaration.is_map(), elements });
    }
    Ok(sets)
}

/// The elements of a set, to be walked with [`each_of`].
///
/// The kernel resizes hashes in the background, for some milliseconds after many elements have come or gone. What is
/// listed meanwhile has elements twice, and may lack as many others: it is listed again.
pub(super) fn elements(socket: &mut NetlinkSocket, table: &str, set: &str) -> Result<Vec<Entry>, NetlinkError> {
    let mut attempts = 1;
    loop {
        let listed = socket.dump(message::GET_ELEMENT, FAMILY_INET, |w| {
            w.text(1, table);
            w.text(2, set);
        })?;
        if attempts == RESIZE_ATTEMPTS || is_distinct(&listed) {
            return Ok(listed);
        }
        attempts += 1;
    }
}

/// The attributes of each element.
pub(super) fn each_of(listed: &[Entry]) -> impl Iterator<Item = &[u8]> {
    let elements = listed.iter().flat_map(|entry| attribute::read(attribute::value(&entry.attributes, 3)));
    elements.map(|element| element.value)
}

fn is_distinct(listed: &[Entry]) -> bool {
    // The end of one interval may be the start of the next: flags are part of the key.
    let mut keys: Vec<_> =
        each_of(listed).map(|element| (attribute::value(element, 1), attribute::value(element, 3))).collect();
    keys.sort_unstable();
    keys.windows(2).all(|pair| pair[0] != pair[1])
}

fn chain_kind(chain: &[u8]) -> ChainKind {
    let number = |bytes, kind| attribute::find(bytes, kind).and_then(|a| a.as_be32());
    let Some(hook) = attribute::find(chain, 4) else { return ChainKind::Regular };
    let place = (number(hook.value, 1), number(hook.value, 2), number(chain, 5), attribute::text(chain, 7));
    match place {
        (Some(base_chain::HOOK), Some(base_chain::PRIORITY), Some(base_chain::ACCEPT), base_chain::TYPE) => {
            ChainKind::Base
        }
        _ => ChainKind::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use policy_compiler::ruleset::Verdict;

    use super::*;
    use crate::netlink::attribute::Writer;
    use crate::netlink::element::RawElement;

    fn listed(parts: &[&[&[u8]]]) -> Vec<Entry> {
        let part = |keys: &&[&[u8]]| {
            let mut attributes = Vec::new();
            Writer::new(&mut attributes)
                .nest(3, |w| keys.iter().for_each(|key| RawElement::new(key).with_verdict(&Verdict::Accept).write(w)));
            Entry { family: FAMILY_INET, attributes }
        };
        parts.iter().map(part).collect()
    }

    #[test]
    fn a_listing_of_a_hash_that_was_resized_meanwhile_is_known_by_what_it_has_twice() {
        assert!(is_distinct(&listed(&[])));
        assert!(is_distinct(&listed(&[&[b"aaaa", b"bbbb"], &[], &[b"cccc"]])));
        assert!(!is_distinct(&listed(&[&[b"aaaa", b"bbbb", b"aaaa"]])));
        assert!(!is_distinct(&listed(&[&[b"cccc", b"aaaa"], &[b"bbbb", b"cccc"]])));
    }
}
