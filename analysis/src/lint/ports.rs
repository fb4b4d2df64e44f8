//! Ports by names that no destination has (rules 62-70).

use std::collections::BTreeSet;

use policy_compiler::model::{Direction, Peer, PortMatch, Protocol, Rule};

use super::context::{Context, Subject};
use super::finding::some;
use super::population::{GroupId, Port};
use super::{Code, Finding};

pub(super) fn findings(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for subject in &context.subjects {
        if subject.is_idle && (!subject.groups.is_empty() || subject.policy.egress.is_none()) {
            continue;
        }
        for direction in Direction::BOTH {
            for (index, rule) in subject.policy.rules(direction).unwrap_or_default().iter().enumerate() {
                for (entry, port) in rule.ports.iter().flatten().enumerate() {
                    let PortMatch::Named(name) = &port.ports else { continue };
                    let path = format!("spec.{direction}[{index}].ports[{entry}].port");
                    findings.extend(match direction {
                        Direction::Ingress => of_subject(context, subject, &path, name, port.protocol),
                        Direction::Egress => of_peers(context, subject, rule, &path, name, port.protocol),
                    });
                }
            }
        }
    }
    findings
}

/// On ingress the pods that the policy selects are the destinations.
fn of_subject(
    context: &Context<'_>,
    subject: &Subject<'_>,
    path: &str,
    name: &str,
    protocol: Protocol,
) -> Option<Finding> {
    if subject.is_idle || !context.has_pods() {
        return None;
    }
    let ports = ports(context, &subject.groups)?;
    unresolved(subject, &ports, path, name, protocol, "that the policy selects")
}

/// On egress it is the peers; without peers every pod (rule 67).
fn of_peers(
    context: &Context<'_>,
    subject: &Subject<'_>,
    rule: &Rule,
    path: &str,
    name: &str,
    protocol: Protocol,
) -> Option<Finding> {
    let Some(peers) = &rule.peers else {
        let known = context.has_pods();
        return known.then(|| unresolved(subject, context.population.ports(), path, name, protocol, "of the input"))?;
    };
    if let Some(block) = peers.iter().find_map(|peer| match peer {
        Peer::Block(block) => Some(block),
        Peer::Pods { .. } => None,
    }) {
        return Some(of_block(subject, path, name, &block.to_string()));
    }
    let mut groups = BTreeSet::new();
    for peer in peers {
        let Peer::Pods { namespaces, pods } = peer else { continue };
        let selected = context.population.peers(&subject.policy.name.namespace, namespaces, pods);
        // What matches nothing is spoken of already, or is out of sight.
        if selected.groups.is_empty() {
            return None;
        }
        groups.extend(selected.groups.iter().copied());
    }
    let ports = ports(context, &groups)?;
    unresolved(subject, &ports, path, name, protocol, "that the peers select")
}

/// The ports of the pods of these groups; none where there are no such pods.
fn ports<'c, 'g>(context: &Context<'c>, groups: impl IntoIterator<Item = &'g GroupId>) -> Option<BTreeSet<Port<'c>>> {
    let groups = groups.into_iter().map(|group| context.population.group(*group));
    let mut groups = groups.filter(|group| !group.pods.is_empty()).peekable();
    groups.peek()?;
    Some(groups.flat_map(|group| &group.ports).copied().collect())
}

fn unresolved(
    subject: &Subject<'_>,
    ports: &BTreeSet<Port<'_>>,
    path: &str,
    name: &str,
    protocol: Protocol,
    whose: &str,
) -> Option<Finding> {
    let named = ports.iter().filter(|(_, other, _)| *other == Some(name));
    let protocols: BTreeSet<Protocol> = named.map(|(protocol, _, _)| *protocol).collect();
    if protocols.contains(&protocol) {
        return None;
    }
    let other = protocols.first();
    let message = match other {
        Some(other) => format!("the port {name} of the pods {whose} is {other}, and this is for {protocol}"),
        None => format!("no pod {whose} has a {protocol} port called {name}"),
    };
    let why = "A name is looked up on each destination pod; on one without it the entry matches nothing, and the pod stays closed.";
    let finding = subject.finding(Code::UnresolvedNamedPort, path, message, why);
    let there: Vec<String> = (ports.iter())
        .filter(|(there, _, _)| *there == protocol)
        .map(|(_, name, number)| name.map_or_else(|| number.to_string(), |name| format!("{name} ({number})")))
        .collect();
    Some(match other {
        Some(other) => finding.help(format!("write protocol: {other} beside the port")),
        None if there.is_empty() => finding.help("write the port's number, or give the container's port this name"),
        None => finding.help(format!("use a port that they have: {}", some(there))),
    })
}

/// Rule 68.
fn of_block(subject: &Subject<'_>, path: &str, name: &str, block: &str) -> Finding {
    let message = format!("the port name {name} means nothing at the addresses of {block}");
    let why = "Only pods have named ports. For other addresses of an ipBlock the entry matches nothing, and engines differ \
               on what it means for those of pods.";
    subject.finding(Code::UnresolvedNamedPort, path, message, why).help("write the port's number")
}
