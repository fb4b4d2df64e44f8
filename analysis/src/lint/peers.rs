//! Entries of `from` and `to` that are nobody (rules 36-41, 107).

use policy_compiler::model::{Direction, NAMESPACE_NAME_LABEL, NamespaceScope, Peer};
use policy_compiler::selector::Selector;

use super::context::{Context, Subject, peer_path};
use super::finding::some;
use super::subjects::{choices, labels_of, typo};
use super::{Code, Finding, split, typo};

pub(super) fn findings(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for subject in &context.subjects {
        if subject.is_idle && !subject.groups.is_empty() {
            continue; // no policy applies to pods on their node's network, whatever its rules say
        }
        for direction in Direction::BOTH {
            for (index, rule) in subject.policy.rules(direction).unwrap_or_default().iter().enumerate() {
                let (split, entries) = split::findings(context, subject, direction, index, rule);
                findings.extend(split);
                for (entry, peer) in rule.peers.iter().flatten().enumerate() {
                    let Peer::Pods { namespaces, pods } = peer else { continue };
                    if !entries.contains(&entry) {
                        let path = peer_path(direction, index, entry);
                        findings.extend(of_peer(context, subject, &path, namespaces, pods));
                    }
                }
            }
        }
    }
    findings
}

const WHY: &str = "The entry allows nothing: traffic that it was written for is denied.";

fn of_peer(
    context: &Context<'_>,
    subject: &Subject<'_>,
    path: &str,
    scope: &NamespaceScope,
    pods: &Selector,
) -> Option<Finding> {
    let population = &context.population;
    let own = &*subject.policy.name.namespace;
    let peers = population.peers(own, scope, pods);
    let namespaces: Vec<&str> = peers.namespaces.iter().map(String::as_str).collect();
    if !peers.groups.is_empty() {
        let is_host =
            |group: &usize| population.group(*group).pods.is_empty() && !population.group(*group).on_host.is_empty();
        return peers.groups.iter().all(is_host).then(|| on_host(subject, path));
    }
    if let NamespaceScope::Matching(selector) = scope {
        if namespaces.is_empty() {
            return no_namespace(context, subject, path, selector);
        }
        if population.asks_for_unknown(selector) {
            return None;
        }
    }
    // Of a namespace without pods the input tells nothing; the policy's own has been spoken of.
    let groups: Vec<usize> =
        namespaces.iter().flat_map(|namespace| population.of_namespace(namespace)).copied().collect();
    if groups.is_empty() || namespaces.iter().any(|namespace| population.of_namespace(namespace).is_empty()) {
        return None;
    }
    let path = format!("{path}.podSelector");
    let labels = groups.iter().map(|group| population.group(*group).labels);
    if let Some(correction) = typo::correction(pods, labels) {
        return Some(typo(subject, &path, pods, &correction, WHY));
    }
    let message = format!("{pods} matches no pod of {}", in_words(&namespaces));
    let finding = subject.finding(Code::PeerMatchesNothing, &path, message, WHY);
    Some(finding.help(match elsewhere(context, scope, pods) {
        Some(namespace) => format!(
            "pods of namespace {namespace} match; for these write beside the podSelector:\n\
             namespaceSelector:\n  matchLabels:\n    {NAMESPACE_NAME_LABEL}: {namespace}"
        ),
        None => format!("use labels that pods there have: {}", labels_of(population, &groups, pods)),
    }))
}

fn in_words(namespaces: &[&str]) -> String {
    let word = if namespaces.len() == 1 { "namespace" } else { "namespaces" };
    format!("{word} {}", some(namespaces))
}

/// Where a podSelector without namespaceSelector would match.
fn elsewhere(context: &Context<'_>, scope: &NamespaceScope, pods: &Selector) -> Option<String> {
    if *scope != NamespaceScope::Own {
        return None;
    }
    let names = context.population.namespaces().keys();
    names.into_iter().find(|name| !context.population.in_namespace(name, pods).is_empty()).cloned()
}

fn on_host(subject: &Subject<'_>, path: &str) -> Finding {
    let message = "matches only pods on the network of their node, which selectors never match";
    let why =
        "A pod with hostNetwork has its node's addresses: its traffic is the node's, and the entry allows nothing.";
    let help = "allow the addresses of the nodes:\n- ipBlock:\n    cidr: NODE_ADDRESS/32";
    subject.finding(Code::PeerMatchesNothing, path, message, why).help(help)
}

/// The selector matches no namespace that the input speaks of; there may be others.
fn no_namespace(context: &Context<'_>, subject: &Subject<'_>, path: &str, selector: &Selector) -> Option<Finding> {
    let path = format!("{path}.namespaceSelector");
    let namespaces = context.population.namespaces();
    let by_name = selector.requirements().iter().any(|requirement| &*requirement.key == NAMESPACE_NAME_LABEL);
    if let Some(correction) = typo::correction(selector, namespaces.values()) {
        return Some(typo(subject, &path, selector, &correction, WHY));
    }
    // Labels of namespaces are known only from namespaces that are written down.
    if context.population.asks_for_unknown(selector) || !by_name && !context.knows_namespaces() {
        return None;
    }
    let message = format!("{selector} matches no namespace");
    let finding = subject.finding(Code::PeerMatchesNothing, &path, message, WHY);
    let labels = namespaces.values().flat_map(|labels| labels.iter());
    Some(match choices(labels) {
        Some(labels) => finding.help(format!("use labels that namespaces have: {labels}")),
        None => finding,
    })
}
