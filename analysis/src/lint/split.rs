//! A namespaceSelector and a podSelector in two entries of a list (rule 51) where one entry was meant (rule 50).

use std::collections::BTreeSet;
use std::sync::Arc;

use policy_compiler::model::{Direction, NamespaceScope, Peer, Rule};
use policy_compiler::selector::{Operator, Selector};

use super::context::{Context, Subject, peer_path};
use super::{Code, Finding};

/// What an entry has, when it has one of the two selectors only.
enum Half<'r> {
    Namespaces(&'r Selector),
    Pods(&'r Selector),
}

/// The findings of one rule, and the entries that they speak of.
pub(super) fn findings(
    context: &Context<'_>,
    subject: &Subject<'_>,
    direction: Direction,
    index: usize,
    rule: &Rule,
) -> (Vec<Finding>, BTreeSet<usize>) {
    let mut findings = Vec::new();
    let mut entries = BTreeSet::new();
    let peers = rule.peers.as_deref().unwrap_or_default();
    let half = |entry: usize| half(subject, &peer_path(direction, index, entry), peers.get(entry)?);
    for second in 1..peers.len() {
        if entries.contains(&(second - 1)) {
            continue;
        }
        let (namespaces, pods, in_order) = match (half(second - 1), half(second)) {
            (Some(Half::Namespaces(namespaces)), Some(Half::Pods(pods))) => (namespaces, pods, true),
            (Some(Half::Pods(pods)), Some(Half::Namespaces(namespaces))) => (namespaces, pods, false),
            _ => continue,
        };
        if !is_torn(context, &subject.policy.name.namespace, namespaces, pods, in_order) {
            continue;
        }
        entries.extend([second - 1, second]);
        findings.push(finding(subject, &peer_path(direction, index, second), namespaces, pods));
    }
    (findings, entries)
}

fn half<'r>(subject: &Subject<'_>, path: &str, peer: &'r Peer) -> Option<Half<'r>> {
    match peer {
        Peer::Pods { namespaces: NamespaceScope::Own, pods } => (!pods.is_everything()).then_some(Half::Pods(pods)),
        Peer::Pods { namespaces: NamespaceScope::Matching(selector), .. } => {
            (!subject.has(&format!("{path}.podSelector"))).then_some(Half::Namespaces(selector))
        }
        Peer::Block(_) => None,
    }
}

/// Whether the pods were probably meant to be those of the namespaces.
fn is_torn(context: &Context<'_>, own: &str, namespaces: &Selector, pods: &Selector, in_order: bool) -> bool {
    let population = &context.population;
    let here = !population.in_namespace(own, pods).is_empty();
    if here && (!in_order || namespaces.matches(&context.cluster.namespace_labels(own))) {
        return false;
    }
    let peers = population.peers(own, &NamespaceScope::Matching(namespaces.clone()), pods);
    let elsewhere = peers.groups.iter().any(|group| population.group(*group).namespace != own);
    if elsewhere || here {
        // Where both readings make sense: people who mean two peers rarely have the same labels in both.
        return elsewhere;
    }
    let is_unknown = |namespace: &String| namespace != own && population.of_namespace(namespace).is_empty();
    let out_of_sight = population.asks_for_unknown(namespaces) || peers.namespaces.iter().any(is_unknown);
    in_order && out_of_sight && !population.of_namespace(own).is_empty()
}

fn finding(subject: &Subject<'_>, path: &str, namespaces: &Selector, pods: &Selector) -> Finding {
    let own = &subject.policy.name.namespace;
    let message = "a namespaceSelector and a podSelector in two entries are two peers, not one";
    let why = format!(
        "Entries are ORed: this allows every pod of the namespaces ({namespaces}), whatever its labels, and besides \
         {pods} in namespace {own} only."
    );
    let help = format!(
        "for {pods} in these namespaces, write one entry:\n- namespaceSelector:{}\n  podSelector:{}",
        as_yaml(namespaces, "  "),
        as_yaml(pods, "  ")
    );
    subject.finding(Code::SplitPeer, path, message, why).help(help)
}

/// A selector as manifests have it, below a key that stands at `indent`.
fn as_yaml(selector: &Selector, indent: &str) -> String {
    let mut labels = String::new();
    let mut expressions = String::new();
    for requirement in selector.requirements() {
        let key = &requirement.key;
        let list =
            |values: &BTreeSet<Arc<str>>| values.iter().map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
        match &requirement.operator {
            Operator::In(values) if values.len() == 1 => labels += &format!("\n{indent}    {key}: {}", list(values)),
            Operator::In(values) => {
                expressions += &format!("\n{indent}    - {{key: {key}, operator: In, values: [{}]}}", list(values));
            }
            Operator::NotIn(values) => {
                expressions += &format!("\n{indent}    - {{key: {key}, operator: NotIn, values: [{}]}}", list(values));
            }
            Operator::Exists => expressions += &format!("\n{indent}    - {{key: {key}, operator: Exists}}"),
            Operator::DoesNotExist => expressions += &format!("\n{indent}    - {{key: {key}, operator: DoesNotExist}}"),
        }
    }
    let part = |name, lines: &str| if lines.is_empty() { String::new() } else { format!("\n{indent}  {name}:{lines}") };
    let text = part("matchLabels", &labels) + &part("matchExpressions", &expressions);
    if text.is_empty() { " {}".to_owned() } else { text }
}
