//! The chain that pods with the same policies share.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::needs::Need;
use super::peers::PeerKey;
use super::{names, skeleton};
use crate::cidr::Family;
use crate::model::{self, Direction, Peer, Policy, PolicyPort, PortMatch, Protocol};
use crate::ruleset::{Chain, LookupKey, PortRange, Rule, Statement, Verdict};

/// A condition of a rule, and the family that it ties the rule to.
type Condition = (Option<Family>, Statement);

/// The chain for one direction of all pods of a namespace that exactly these policies select, and what it looks up.
pub(super) fn chain(direction: Direction, namespace: &Arc<str>, policies: &[&Policy]) -> (Chain, BTreeSet<Need>) {
    let mut writer = Writer { direction, namespace, needs: BTreeSet::new() };
    let mut rules = Vec::new();
    for policy in policies {
        for (number, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
            let comment = format!("{} {direction}[{number}]", policy.name);
            for mut statements in writer.conditions(rule) {
                statements.push(Statement::Verdict(skeleton::allowed(direction)));
                rules.push(Rule::new(statements).comment(&comment));
            }
        }
    }
    rules.push(Rule::new([Statement::Verdict(Verdict::Goto(names::deny(direction)))]));
    let list: Vec<&str> = policies.iter().map(|policy| &*policy.name.name).collect();
    (Chain::new(format!("{direction} of {namespace}: {}", list.join(" ")), rules), writer.needs)
}

struct Writer<'p> {
    direction: Direction,
    namespace: &'p Arc<str>,
    needs: BTreeSet<Need>,
}

impl Writer<'_> {
    /// Every combination of a port condition and a peer condition of one rule (rules 25, 26), ports first: comparing a
    /// port is cheaper than looking a peer up.
    fn conditions(&mut self, rule: &model::Rule) -> Vec<Vec<Statement>> {
        let ports: Vec<Option<Condition>> = match &rule.ports {
            None => vec![None],
            Some(ports) => self.ports(ports).into_iter().map(Some).collect(),
        };
        let peers: Vec<Option<Condition>> = match &rule.peers {
            None => vec![None],
            Some(peers) => peers.iter().flat_map(|peer| self.peer(peer)).map(Some).collect(),
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
    fn ports(&mut self, ports: &[PolicyPort]) -> Vec<Condition> {
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
            let names: BTreeSet<&Arc<str>> = of_protocol()
                .filter_map(|ports| match ports {
                    PortMatch::Named(name) => Some(name),
                    PortMatch::All | PortMatch::Range(..) => None,
                })
                .collect();
            for name in names {
                let need = Need::Port(self.direction, name.clone(), protocol);
                conditions.extend(self.look_up(need, LookupKey::DestinationAndPort));
            }
        }
        conditions
    }

    fn peer(&mut self, peer: &Peer) -> Vec<Condition> {
        let need = match peer {
            Peer::Block(block) => Need::Block(block.clone()),
            Peer::Pods { namespaces, pods } => Need::Peer(PeerKey::new(self.namespace, namespaces, pods)),
        };
        match self.direction {
            Direction::Ingress => self.look_up(need, LookupKey::Source),
            Direction::Egress => self.look_up(need, LookupKey::Destination),
        }
    }

    fn look_up(&mut self, need: Need, key: impl Fn(Family) -> LookupKey) -> Vec<Condition> {
        let lookup = |(family, set)| (Some(family), Statement::Lookup { key: key(family), set });
        let conditions = need.sets().into_iter().map(lookup).collect();
        self.needs.insert(need);
        conditions
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_29_overlapping_port_ranges_become_disjoint() {
        let range = |first, last| PortRange { first, last };
        let ranges = [(80, 80), (8000, 8100), (81, 90), (8050, 9000), (65535, 65535), (65000, 65535)];
        let flat = flatten(ranges.into_iter().map(|(first, last)| range(first, last)));
        assert_eq!(flat, [range(80, 90), range(8000, 9000), range(65000, 65535)]);
    }
}
