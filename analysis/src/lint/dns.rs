//! Pods that may speak to others but not ask for their names (rule 144).

use std::collections::BTreeMap;

use policy_compiler::model::{Direction, NamespaceScope, ObjectName, Peer, PortMatch, Protocol, Rule};
use policy_compiler::selector::Selector;

use super::context::{Context, Subject};
use super::finding::{count, some};
use super::population::{GroupId, Port};
use super::{Code, Finding};

const DNS: u16 = 53;

/// What the policies that select a group say together.
#[derive(Default)]
struct Egress {
    reaches_dns: bool,
    /// The first policy that isolates it and allows something.
    with_rules: Option<usize>,
}

pub(super) fn findings(context: &Context<'_>) -> Vec<Finding> {
    let mut groups: BTreeMap<GroupId, Egress> = BTreeMap::new();
    // What a policy with mistakes will allow once it is mended nobody knows.
    for closed in context.cluster.policies().filter(|policy| policy.closed && policy.egress.is_some()) {
        for group in context.population.in_namespace(&closed.name.namespace, &closed.subject) {
            groups.entry(group).or_default().reaches_dns = true;
        }
    }
    for (index, subject) in context.subjects.iter().enumerate() {
        let Some(rules) = subject.policy.rules(Direction::Egress) else { continue };
        let reaches_dns = rules.iter().any(|rule| reaches_dns(context, subject, rule));
        for group in &subject.groups {
            let egress = groups.entry(*group).or_default();
            egress.reaches_dns |= reaches_dns;
            egress.with_rules = egress.with_rules.or((!rules.is_empty()).then_some(index));
        }
    }

    // A pod that may not speak to anyone needs no names.
    let mut by_policy: BTreeMap<usize, Vec<&ObjectName>> = BTreeMap::new();
    for (group, egress) in groups.iter().filter(|(_, egress)| !egress.reaches_dns) {
        let pods = context.population.group(*group).pods.iter().map(|pod| &pod.name);
        by_policy.entry(egress.with_rules.unwrap_or(usize::MAX)).or_default().extend(pods);
    }
    let found = by_policy.into_iter().filter(|(_, pods)| !pods.is_empty());
    found.filter_map(|(index, pods)| Some(finding(context.subjects.get(index)?, pods))).collect()
}

fn finding(subject: &Subject<'_>, mut pods: Vec<&ObjectName>) -> Finding {
    pods.sort_unstable();
    let names = pods.iter().map(|pod| pod.name.to_string());
    let message =
        format!("{} may speak to others, but to no DNS server: {}", count(pods.len(), "isolated pod"), some(names));
    let why =
        "Isolation for egress has no exception for DNS. Without names most programs cannot even begin to connect.";
    let help = match subject.policy.egress.iter().flatten().any(opens_tcp_only) {
        true => {
            "a port without protocol is TCP, and DNS is mostly UDP; list both:\n\
                 ports:\n- {port: 53, protocol: UDP}\n- {port: 53, protocol: TCP}"
        }
        false => {
            "add a rule to egress:\n- to:\n  - namespaceSelector:\n      matchLabels:\n        \
             kubernetes.io/metadata.name: kube-system\n    podSelector:\n      matchLabels:\n        k8s-app: kube-dns\n  \
             ports:\n  - {port: 53, protocol: UDP}\n  - {port: 53, protocol: TCP}"
        }
    };
    subject.finding(Code::EgressWithoutDns, "spec.egress", message, why).help(help)
}

/// Port 53 was thought of, but not UDP.
fn opens_tcp_only(rule: &Rule) -> bool {
    let mut ports = rule.ports.iter().flatten();
    ports.any(|port| port.protocol == Protocol::Tcp && port.ports == PortMatch::Range(DNS, DNS))
}

/// Whether a rule lets names be resolved, as far as one can tell.
fn reaches_dns(context: &Context<'_>, subject: &Subject<'_>, rule: &Rule) -> bool {
    let Some(ports) = &rule.ports else { return peers_may_serve(context, subject, rule) };
    ports.iter().filter(|port| port.protocol == Protocol::Udp).any(|port| match &port.ports {
        // Whoever writes the number down has thought of it.
        PortMatch::Range(first, last) => (*first..=*last).contains(&DNS),
        PortMatch::Named(name) => {
            name.contains("dns") || context.population.ports().contains(&(Protocol::Udp, Some(name), DNS))
        }
        PortMatch::All => peers_may_serve(context, subject, rule),
    })
}

/// Whether a DNS server can be among the peers of a rule for all ports: it declares its port, or is out of sight.
fn peers_may_serve(context: &Context<'_>, subject: &Subject<'_>, rule: &Rule) -> bool {
    let Some(peers) = &rule.peers else { return true };
    peers.iter().any(|peer| match peer {
        Peer::Block(_) => true,
        Peer::Pods { namespaces, pods } => pods_may_serve(context, subject, namespaces, pods),
    })
}

fn pods_may_serve(context: &Context<'_>, subject: &Subject<'_>, scope: &NamespaceScope, pods: &Selector) -> bool {
    let population = &context.population;
    let is_dns = |(protocol, _, number): &Port<'_>| (*protocol, *number) == (Protocol::Udp, DNS);
    let serves = |group: &GroupId| population.group(*group).ports.iter().any(is_dns);
    let peers = population.peers(&subject.policy.name.namespace, scope, pods);
    if peers.groups.iter().any(serves) {
        return true;
    }
    // Servers of the input are known; where there are none, another namespace may have them.
    let all_known = population.ports().iter().any(is_dns);
    match scope {
        NamespaceScope::Own => false,
        NamespaceScope::Matching(selector) => !all_known || population.asks_for_unknown(selector),
    }
}
