//! Reading the table back.

use std::collections::{BTreeMap, BTreeSet};

use policy_compiler::ruleset::Name;

use super::comparison::{ComparableRule, Inline, inline_of};
use super::observed::{ChainKind, Observed, ObservedChain, ObservedSet};
use super::{Kernel, KernelError};
use crate::netlink::NetlinkError;
use crate::netlink::attribute;
use crate::netlink::batch::{base_chain, message};
use crate::netlink::element::{self, DumpedElement};
use crate::netlink::set::Declaration;

/// How often the whole table is read until no transaction came between. Other tables' count too, and on a busy node
/// they never stop; nobody but the caller changes this one, so the last reading is taken as it is.
const ATTEMPTS: usize = 4;

/// The sets of a table.
#[derive(Default)]
struct Sets {
    named: BTreeMap<Name, ObservedSet>,
    /// Those of single rules, by the names that the kernel gave them.
    anonymous: BTreeMap<String, Inline>,
}

impl Kernel {
    /// Reads the whole table; none if there is no such table.
    ///
    /// # Errors
    /// When the kernel cannot be asked, or others change the ruleset too fast for any listing to be whole.
    pub fn read(&mut self) -> Result<Option<Observed>, KernelError> {
        let mut attempts = 1;
        loop {
            let before = self.socket.generation()?;
            let observed = self.read_once()?;
            if attempts == ATTEMPTS || self.socket.generation()? == before {
                return Ok(observed);
            }
            attempts += 1;
        }
    }

    fn read_once(&mut self) -> Result<Option<Observed>, KernelError> {
        let table = self.table.clone();
        if self.socket.get(message::GET_TABLE, |w| w.text(1, &table))?.is_none() {
            return Ok(None);
        }
        let Sets { named: sets, anonymous } = self.read_sets()?;
        let mut chains = BTreeMap::new();
        // The kernel lists the chains of all tables; those of others are passed over.
        let listed = self.socket.dump(message::GET_CHAIN, |w| w.text(1, &table))?;
        for chain in listed.iter().filter(|chain| attribute::text(chain, 1) == &*table) {
            let name = attribute::text(chain, 3).into();
            chains.insert(name, ObservedChain { kind: chain_kind(chain), rules: Vec::new() });
        }
        for rule in self.socket.dump(message::GET_RULE, |w| w.text(1, &table))? {
            if let Some(chain) = chains.get_mut(attribute::text(&rule, 2)) {
                chain.rules.push(ComparableRule::dumped(&rule, &anonymous));
            }
        }
        Ok(Some(Observed { chains, sets }))
    }

    fn read_sets(&mut self) -> Result<Sets, NetlinkError> {
        let table = self.table.clone();
        let mut sets = Sets::default();
        for set in self.socket.dump(message::GET_SET, |w| w.text(1, &table))? {
            let (name, declaration) = (attribute::text(&set, 2), Declaration::read(&set));
            let elements = self.read_elements(&table, name)?;
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

    fn read_elements(&mut self, table: &str, set: &str) -> Result<Vec<DumpedElement>, NetlinkError> {
        let entries = self.socket.dump(message::GET_ELEMENT, |w| {
            w.text(1, table);
            w.text(2, set);
        })?;
        let elements = entries.iter().flat_map(|entry| attribute::read(attribute::value(entry, 3)));
        Ok(elements.map(|element| DumpedElement::read(element.value)).collect())
    }
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
