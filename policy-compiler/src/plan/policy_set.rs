//! The chain that pods with the same policies share, and the sets that its rules look into.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::index::{PodIndex, of_family, peer_text};
use super::{names, skeleton};
use crate::cidr::Family;
use crate::model::{Direction, IpBlock, NamespaceScope, Peer, Policy, PolicyPort, PortMatch, Protocol};
use crate::ruleset::{Chain, Element, Key, LookupKey, Name, PortRange, Rule, Set, SetShape, Statement, Verdict};
use crate::selector::Selector;

/// Builds policy set chains, and each set that they need once.
pub(super) struct Writer<'c> {
    pub(super) pods: &'c PodIndex<'c>,
    /// Whether a pod is one of the node's own.
    pub(super) is_local: &'c dyn Fn(&crate::model::Pod) -> bool,
    pub(super) sets: BTreeMap<Name, Set>,
}

/// A condition of a rule, and the family that it ties the rule to.
type Condition = (Option<Family>, Statement);

impl Writer<'_> {
    /// The chain for one direction of all pods of `namespace` that exactly these policies select.
    pub(super) fn chain(&mut self, direction: Direction, namespace: &str, policies: &[&Policy]) -> Chain {
        let mut rules = Vec::new();
        for policy in policies {
            for (number, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                let comment = format!("{} {direction}[{number}]", policy.name);
                for statements in self.conditions(direction, namespace, rule) {
                    let verdict = Statement::Verdict(skeleton::allowed(direction));
                    let statements: Vec<_> = statements.into_iter().chain([verdict]).collect();
                    rules.push(Rule::new(statements).comment(&comment));
                }
            }
        }
        rules.push(Rule::new([Statement::Verdict(Verdict::Goto(names::deny(direction)))]));
        Chain::new(describe(direction, namespace, policies), rules)
    }

    /// Every combination of a port condition and a peer condition of one rule (rules 25, 26), ports first: comparing a
    /// port is cheaper than looking a peer up.
    fn conditions(&mut self, direction: Direction, own: &str, rule: &crate::model::Rule) -> Vec<Vec<Statement>> {
        let ports = match &rule.ports {
            None => vec![None],
            Some(ports) => self.ports(direction, ports).into_iter().map(Some).collect(),
        };
        let peers: Vec<Option<Condition>> = match &rule.peers {
            None => vec![None],
            Some(peers) => peers.iter().flat_map(|peer| self.peer(direction, own, peer)).map(Some).collect(),
        };
        let mut all = Vec::with_capacity(ports.len() * peers.len());
        for port in &ports {
            for peer in &peers {
                let families = port.iter().chain(peer).filter_map(|(family, _)| *family);
                if families.clone().min() == families.max() {
                    all.push(port.iter().chain(peer).map(|(_, statement)| statement.clone()).collect());
                }
            }
        }
        all
    }

    /// Numbers and whole protocols become one condition a protocol, names one each and family.
    fn ports(&mut self, direction: Direction, ports: &[PolicyPort]) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for protocol in Protocol::ALL {
            let of_protocol = || ports.iter().filter(|port| port.protocol == protocol).map(|port| &port.ports);
            if of_protocol().any(|ports| *ports == PortMatch::All) {
                conditions.push((None, Statement::Protocol(protocol)));
                continue;
            }
            let ranges = flatten(of_protocol().filter_map(|ports| match ports {
                PortMatch::Range(first, last) => Some(PortRange { first: *first, last: *last }),
                PortMatch::All | PortMatch::Named(_) => None,
            }));
            if !ranges.is_empty() {
                conditions.push((None, Statement::DestinationPort { protocol, ports: ranges }));
            }
            for name in of_protocol().filter_map(|ports| match ports {
                PortMatch::Named(name) => Some(name),
                PortMatch::All | PortMatch::Range(..) => None,
            }) {
                for family in Family::BOTH {
                    let set = self.named_port(direction, name, protocol, family);
                    conditions
                        .push((Some(family), Statement::Lookup { key: LookupKey::DestinationAndPort(family), set }));
                }
            }
        }
        conditions
    }

    fn peer(&mut self, direction: Direction, own: &str, peer: &Peer) -> Vec<Condition> {
        let key = |family| match direction {
            Direction::Ingress => LookupKey::Source(family),
            Direction::Egress => LookupKey::Destination(family),
        };
        let lookup = |family, set| (Some(family), Statement::Lookup { key: key(family), set });
        match peer {
            Peer::Block(block) => {
                let family = block.cidr.family();
                vec![lookup(family, self.block(block))]
            }
            Peer::Pods { namespaces, pods } => {
                self.selected(own, namespaces, pods).map(|(family, set)| lookup(family, set)).into()
            }
        }
    }

    /// Sets of the pods that a peer selects, shared by all rules that select the same way.
    fn selected(&mut self, own: &str, scope: &NamespaceScope, pods: &Selector) -> [(Family, Name); 2] {
        // Words could be made ambiguous by odd label values; the debug form quotes them.
        let identity = match scope {
            NamespaceScope::Own => format!("{own:?} {pods:?}"),
            NamespaceScope::Matching(namespaces) => format!("{namespaces:?} {pods:?}"),
        };
        let names = Family::BOTH.map(|family| (family, names::peer(&identity, family)));
        if !self.sets.contains_key(&names[0].1) {
            let text = peer_text(own, scope, pods);
            let selected = self.pods.select(own, scope, pods);
            for (family, name) in &names {
                let mut set = Set::new(SetShape::Addresses, *family, &text);
                let addresses = of_family(selected.iter().copied(), *family);
                set.elements = addresses.into_iter().map(|address| Element::new(Key::Address(address))).collect();
                self.sets.insert(name.clone(), set);
            }
        }
        names
    }

    fn block(&mut self, block: &IpBlock) -> Name {
        let text = block.to_string();
        let family = block.cidr.family();
        let name = names::block(&text, family);
        if let Entry::Vacant(vacant) = self.sets.entry(name.clone()) {
            let set = vacant.insert(Set::new(SetShape::Ranges, family, &text));
            set.elements = block.ranges().into_iter().map(|range| Element::new(Key::Range(range))).collect();
        }
        name
    }

    /// Addresses with the number that a port's name has there. A packet's destination is the subject itself for
    /// ingress, so the node's own pods will do; for egress it is any pod of the cluster (rule 67).
    fn named_port(&mut self, direction: Direction, name: &str, protocol: Protocol, family: Family) -> Name {
        let set_name = names::port(direction, name, protocol, family);
        if let Entry::Vacant(vacant) = self.sets.entry(set_name.clone()) {
            let whose = match direction {
                Direction::Ingress => "this node's",
                Direction::Egress => "the cluster's",
            };
            let comment = format!("{whose} pods that call a {protocol} port {name}");
            let set = vacant.insert(Set::new(SetShape::AddressPorts, family, comment));
            for found in &self.pods.pods {
                if direction == Direction::Ingress && !(self.is_local)(found.pod) {
                    continue;
                }
                for number in found.pod.named_ports(name, protocol) {
                    let addresses = found.addresses.iter().filter(|address| Family::of(**address) == family);
                    set.elements.extend(addresses.map(|address| Element::new(Key::Port(*address, protocol, number))));
                }
            }
        }
        set_name
    }
}

/// Disjoint, ascending, neighbours joined.
fn flatten(ranges: impl Iterator<Item = PortRange>) -> Vec<PortRange> {
    let mut sorted: Vec<PortRange> = ranges.collect();
    sorted.sort_unstable();
    sorted.into_iter().fold(Vec::new(), |mut joined: Vec<PortRange>, range| {
        match joined.last_mut() {
            Some(before) if range.first <= before.last.saturating_add(1) => before.last = before.last.max(range.last),
            _ => joined.push(range),
        }
        joined
    })
}

fn describe(direction: Direction, namespace: &str, policies: &[&Policy]) -> String {
    let names: Vec<&str> = policies.iter().map(|policy| &*policy.name.name).collect();
    format!("{direction} of {namespace}: {}", names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_29_overlapping_port_ranges_become_disjoint() {
        let range = |first, last| PortRange { first, last };
        let flat = flatten(
            [
                range(80, 80),
                range(8000, 8100),
                range(81, 90),
                range(8050, 9000),
                range(65535, 65535),
                range(65000, 65535),
            ]
            .into_iter(),
        );
        assert_eq!(flat, [range(80, 90), range(8000, 9000), range(65000, 65535)]);
    }
}
