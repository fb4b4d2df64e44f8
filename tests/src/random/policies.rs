//! Policies with every kind of peer and port, for one direction or both, and closed ones.

use policy_compiler::model::{NamespaceScope, ObjectName, Peer, Policy, PolicyPort, PortMatch, Rule};
use policy_compiler::selector::Selector;
use proptest::prelude::*;
use proptest::sample::select;

use super::{blocks, labels, object_name, pods};

/// Chains are called after these, joined.
const NAMES: [&str; 4] = ["p", "q", "p-q", "p.q"];

pub(super) fn name() -> impl Strategy<Value = ObjectName> {
    object_name(&NAMES)
}

/// A policy that isolates for at least one direction (rule 1).
pub(super) fn policy(ports: &'static [u16]) -> impl Strategy<Value = Policy> {
    let types = prop_oneof![Just((true, false)), Just((false, true)), Just((true, true))];
    let rules = move || prop::collection::vec(rule(ports), 0..=3);
    // Often everything, so that several policies meet at one pod.
    let subject = prop_oneof![1 => Just(Selector::everything()).boxed(), 3 => labels::pods().boxed()];
    (name(), subject, types, rules(), rules(), prop::bool::weighted(0.05)).prop_map(
        |(name, subject, (for_ingress, for_egress), ingress, egress, closed)| {
            // What could not be compiled isolates and allows nothing (invariant 1).
            let section = |named: bool, rules: Vec<Rule>| named.then(|| if closed { Vec::new() } else { rules });
            let (ingress, egress) = (section(for_ingress, ingress), section(for_egress, egress));
            Policy { name, subject, ingress, egress, closed, origin: None }
        },
    )
}

fn rule(ports: &'static [u16]) -> impl Strategy<Value = Rule> {
    let peers = prop::option::weighted(0.85, prop::collection::vec(peer(), 1..=3));
    let ports = prop::option::weighted(0.7, prop::collection::vec(policy_port(ports), 1..=3));
    (peers, ports).prop_map(|(peers, ports)| Rule { peers, ports, origin: None })
}

fn peer() -> impl Strategy<Value = Peer> {
    let scope = prop_oneof![
        2 => Just(NamespaceScope::Own).boxed(),
        3 => labels::namespaces().prop_map(NamespaceScope::Matching).boxed(),
    ];
    prop_oneof![
        3 => (scope, labels::pods()).prop_map(|(namespaces, pods)| Peer::Pods { namespaces, pods }).boxed(),
        2 => blocks::block().prop_map(Peer::Block).boxed(),
    ]
}

fn policy_port(numbers: &'static [u16]) -> impl Strategy<Value = PolicyPort> {
    let range = (select(numbers), select(numbers)).prop_map(|(one, other)| (one.min(other), one.max(other)));
    let ports = prop_oneof![
        1 => Just(PortMatch::All).boxed(),
        4 => select(numbers).prop_map(|number| PortMatch::Range(number, number)).boxed(),
        2 => range.prop_map(|(first, last)| PortMatch::Range(first, last)).boxed(),
        4 => pods::port_name().prop_map(PortMatch::Named).boxed(),
        1 => Just(PortMatch::Named("nobody".into())).boxed(),
    ];
    (pods::protocol(), ports).prop_map(|(protocol, ports)| PolicyPort { protocol, ports })
}
