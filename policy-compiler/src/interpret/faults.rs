//! What no kernel would load: names of nothing, lookups that do not fit, chains that lead too deep or in circles.

use std::collections::{BTreeMap, BTreeSet};

use crate::cidr::Family;
use crate::ruleset::{Chain, Element, Key, LookupKey, Name, Set, SetShape, Statement, Table, Verdict};

/// How many jumps and gotos may lie between the base chain and any other. The kernel refuses a 16th (EMLINK), gotos
/// included.
pub const MAX_DEPTH: usize = 15;

/// Why a table could not be in a kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing is hooked, or more than one chain is.
    #[error("there are {0} base chains, not one")]
    BaseChains(usize),
    /// A verdict names a chain that is not there.
    #[error("{from} leads to chain {chain}, which is not there")]
    NoChain {
        /// The chain or map that leads there.
        from: Name,
        /// Where it leads.
        chain: Name,
    },
    /// A verdict leads to the base chain.
    #[error("{from} leads to the base chain")]
    BaseAsTarget {
        /// The chain or map that leads there.
        from: Name,
    },
    /// A lookup names a set that is not there.
    #[error("chain {chain} looks into {set}, which is not there")]
    NoSet {
        /// The chain.
        chain: Name,
        /// What it looks into.
        set: Name,
    },
    /// A lookup's key is not what the set holds.
    #[error("chain {chain} looks {key:?} up in {set}, which holds {shape:?} of {family:?}")]
    Unfitting {
        /// The chain.
        chain: Name,
        /// The key.
        key: LookupKey,
        /// What it looks into.
        set: Name,
        /// What that holds.
        shape: SetShape,
        /// Of which family.
        family: Family,
    },
    /// An element is not what its set says it holds, or a map's lacks its verdict.
    #[error("{set} holds an element that does not fit it")]
    Element {
        /// The set.
        set: Name,
    },
    /// Two elements of a set overlap.
    #[error("{set} holds two elements for one key")]
    Overlap {
        /// The set.
        set: Name,
    },
    /// More than [`MAX_DEPTH`] jumps and gotos lead there.
    #[error("chain {chain} is too deep")]
    TooDeep {
        /// The chain.
        chain: Name,
    },
    /// A chain leads back to itself.
    #[error("chain {chain} leads back to itself")]
    Loop {
        /// The chain.
        chain: Name,
    },
}

/// Looks at all of a table, whether or not a packet would get there, as the kernel does when it loads one.
///
/// # Errors
/// With the first thing, in the order of names, that the kernel would refuse.
pub fn check(table: &Table) -> Result<(), Fault> {
    base_chain(table)?;
    for (name, set) in &table.sets {
        elements(name, set)?;
    }
    let mut depths = BTreeMap::new();
    for name in table.chains.keys() {
        depth_below(table, name, &mut Vec::new(), &mut depths)?;
    }
    Ok(())
}

/// The one chain that is hooked.
pub(super) fn base_chain(table: &Table) -> Result<(&str, &Chain), Fault> {
    let mut hooked = table.chains.iter().filter(|(_, chain)| chain.base);
    match (hooked.next(), hooked.count()) {
        (Some((name, chain)), 0) => Ok((name, chain)),
        (first, more) => Err(Fault::BaseChains(usize::from(first.is_some()) + more)),
    }
}

/// The chain that a verdict leads to.
pub(super) fn chain<'t>(table: &'t Table, from: &str, name: &Name) -> Result<&'t Chain, Fault> {
    match table.chains.get(name) {
        None => Err(Fault::NoChain { from: from.into(), chain: name.clone() }),
        Some(chain) if chain.base => Err(Fault::BaseAsTarget { from: from.into() }),
        Some(chain) => Ok(chain),
    }
}

/// The set that a lookup means.
pub(super) fn lookup<'t>(table: &'t Table, chain: &str, key: LookupKey, name: &Name) -> Result<&'t Set, Fault> {
    fitting(table, chain, key, name, |shape| match key {
        LookupKey::Source(_) | LookupKey::Destination(_) => {
            matches!(shape, SetShape::Addresses | SetShape::CountedAddresses | SetShape::Ranges)
        }
        LookupKey::SourceAndDestination(_) => shape == SetShape::AddressPairs,
        LookupKey::DestinationAndPort(_) => shape == SetShape::AddressPorts,
    })
}

/// The map that a verdict comes from.
pub(super) fn verdict_map<'t>(table: &'t Table, chain: &str, key: LookupKey, name: &Name) -> Result<&'t Set, Fault> {
    let is_one_address = matches!(key, LookupKey::Source(_) | LookupKey::Destination(_));
    fitting(table, chain, key, name, |shape| is_one_address && shape == SetShape::Verdicts)
}

fn fitting<'t>(
    table: &'t Table,
    chain: &str,
    key: LookupKey,
    name: &Name,
    fits: impl Fn(SetShape) -> bool,
) -> Result<&'t Set, Fault> {
    let set = table.sets.get(name).ok_or_else(|| Fault::NoSet { chain: chain.into(), set: name.clone() })?;
    if fits(set.shape) && set.family == key.family() {
        return Ok(set);
    }
    let (chain, set_name) = (chain.into(), name.clone());
    Err(Fault::Unfitting { chain, key, set: set_name, shape: set.shape, family: set.family })
}

/// Elements are of the set's shape and family, and no key has two (invariant 6).
fn elements(name: &Name, set: &Set) -> Result<(), Fault> {
    let mut keys = BTreeSet::new();
    let mut before = None;
    for element in &set.elements {
        if !fits(set, element) {
            return Err(Fault::Element { set: name.clone() });
        }
        let overlaps = match element.key {
            // They come in the order of their first addresses.
            Key::Range(range) => before.replace(range.last).is_some_and(|last| last >= range.first),
            key => !keys.insert(key),
        };
        if overlaps {
            return Err(Fault::Overlap { set: name.clone() });
        }
    }
    Ok(())
}

fn fits(set: &Set, element: &Element) -> bool {
    let address = match (set.shape, element.key) {
        (SetShape::Addresses | SetShape::CountedAddresses | SetShape::Verdicts, Key::Address(address))
        | (SetShape::AddressPairs, Key::Pair(address))
        | (SetShape::AddressPorts, Key::Port(address, ..)) => address,
        (SetShape::Ranges, Key::Range(range)) if range.first <= range.last => range.first,
        _ => return false,
    };
    Family::of(address) == set.family && element.verdict.is_some() == (set.shape == SetShape::Verdicts)
}

/// The longest way on from a chain, in jumps and gotos; `above` is the way that led here.
fn depth_below<'t>(
    table: &'t Table,
    name: &'t Name,
    above: &mut Vec<&'t Name>,
    known: &mut BTreeMap<&'t Name, usize>,
) -> Result<usize, Fault> {
    if let Some(depth) = known.get(name) {
        return Ok(*depth);
    }
    if above.contains(&name) {
        return Err(Fault::Loop { chain: name.clone() });
    }
    if above.len() > MAX_DEPTH {
        return Err(Fault::TooDeep { chain: name.clone() });
    }
    above.push(name);
    let mut depth = 0;
    for (from, verdict) in
        table.chains.get(name).map(|chain| verdicts(table, name, chain)).transpose()?.unwrap_or_default()
    {
        let Some(next) = verdict.chain() else { continue };
        chain(table, from, next)?;
        depth = depth.max(1 + depth_below(table, next, above, known)?);
    }
    above.pop();
    if depth > MAX_DEPTH {
        return Err(Fault::TooDeep { chain: name.clone() });
    }
    known.insert(name, depth);
    Ok(depth)
}

/// Every verdict that a chain may come to, and the chain or map that it stands in.
fn verdicts<'t>(table: &'t Table, name: &'t Name, chain: &'t Chain) -> Result<Vec<(&'t Name, &'t Verdict)>, Fault> {
    let mut found = Vec::new();
    for statement in chain.rules.iter().flat_map(|rule| &rule.statements) {
        match statement {
            Statement::Verdict(verdict) => found.push((name, verdict)),
            Statement::ConnectionState(states) => found.extend(states.iter().map(|(_, verdict)| (name, verdict))),
            Statement::VerdictMap { key, map } => {
                let elements = &verdict_map(table, name, *key, map)?.elements;
                found.extend(elements.iter().filter_map(|element| Some((map, element.verdict.as_ref()?))));
            }
            Statement::Lookup { key, set } => _ = lookup(table, name, *key, set)?,
            Statement::ReplyDirection
            | Statement::Translated
            | Statement::MarkIs { .. }
            | Statement::SetMark { .. }
            | Statement::NeighbourDiscovery
            | Statement::Interface { .. }
            | Statement::Protocol(_)
            | Statement::DestinationPort { .. }
            | Statement::Counter
            | Statement::Limit { .. }
            | Statement::Log { .. }
            | Statement::Reject(_) => (),
        }
    }
    Ok(found)
}
