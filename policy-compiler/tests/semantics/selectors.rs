//! Rules 43-55: labels.

use crate::common::{allowed, check, denied, ingress, ingress_policy, pod, policy, world};

/// Pods `a/v` and `a/w` with these labels, as peers of `a/u` by this selector.
fn peers(selector: &str, v: &str, w: &str) -> policy_compiler::cluster::Cluster {
    let rule = format!("- from: [{{podSelector: {selector}}}]");
    world(&(pod("a/v", v, "") + &pod("a/w", w, "") + &ingress_policy("a/p", &rule)))
}

#[test]
fn rule_043_all_requirements_must_hold() {
    let selector = "{matchLabels: {k: v, l: w}, matchExpressions: [{key: m, operator: Exists}]}";
    let cluster = peers(selector, "k: v, l: w, m: '1', n: extra", "k: v, l: w");
    allowed(&cluster, "a/v -> a/u TCP/80");
    denied(&cluster, "a/w -> a/u TCP/80");
    let cluster = peers(selector, "l: w, m: '1'", "k: v, m: '1'");
    denied(&cluster, "a/v a/w -> a/u TCP/80");
}

#[test]
fn rules_044_to_048_each_operator() {
    // Which of these four pods it matches.
    let labels = ["k: v", "k: w", "k: ''", "other: v"];
    for (selector, expected) in [
        ("{matchLabels: {k: v}}", [true, false, false, false]),
        ("{matchLabels: {k: ''}}", [false, false, true, false]),
        ("{matchExpressions: [{key: k, operator: In, values: [v, '']}]}", [true, false, true, false]),
        ("{matchExpressions: [{key: k, operator: NotIn, values: [v]}]}", [false, true, true, true]),
        ("{matchExpressions: [{key: k, operator: NotIn, values: ['']}]}", [true, true, false, true]),
        ("{matchExpressions: [{key: k, operator: Exists}]}", [true, true, true, false]),
        ("{matchExpressions: [{key: k, operator: DoesNotExist}]}", [false, false, false, true]),
    ] {
        for (labels, expected) in labels.iter().zip(expected) {
            check(&peers(selector, labels, labels), "a/v a/w -> a/u TCP/80", expected);
        }
    }
}

#[test]
fn rules_044_to_047_each_operator_on_namespaces() {
    for (expression, [a, b, c]) in [
        ("operator: In, values: [red, green]", [true, false, false]),
        ("operator: NotIn, values: [red]", [false, true, true]),
        ("operator: Exists", [true, true, false]),
        ("operator: DoesNotExist", [false, false, true]),
    ] {
        let selector = format!("{{matchExpressions: [{{key: team, {expression}}}]}}");
        let cluster = ingress(&format!("- from: [{{namespaceSelector: {selector}}}]"));
        for (from, expected) in [("a/v", a), ("b/v", b), ("c/v", c)] {
            check(&cluster, &format!("{from} -> a/u TCP/80"), expected);
        }
    }
}

#[test]
fn rule_049_values_are_compared_exactly() {
    denied(&peers("{matchLabels: {k: v}}", "k: V", "K: v"), "a/v a/w -> a/u TCP/80");
    denied(&peers("{matchLabels: {k: '1'}}", "k: '01'", "k: '1.0'"), "a/v a/w -> a/u TCP/80");
    denied(&peers("{matchLabels: {k: v}}", "k: vv", "k: xv"), "a/v a/w -> a/u TCP/80");
}

#[test]
fn rule_050_selectors_of_one_peer_must_both_match() {
    let cluster =
        ingress("- from: [{namespaceSelector: {matchLabels: {team: blue}}, podSelector: {matchLabels: {app: v}}}]");
    allowed(&cluster, "b/v -> a/u TCP/80");
    denied(&cluster, "a/v b/u c/v -> a/u TCP/80");
}

#[test]
fn rule_051_of_two_peers_either_will_do() {
    let cluster =
        ingress("- from: [{namespaceSelector: {matchLabels: {team: blue}}}, {podSelector: {matchLabels: {app: v}}}]");
    allowed(&cluster, "a/v b/u b/v -> a/u TCP/80");
    denied(&cluster, "a/w c/v -> a/u TCP/80");
}

#[test]
fn rule_052_contradictions_match_nothing() {
    for expressions in [
        "{key: k, operator: Exists}, {key: k, operator: DoesNotExist}",
        "{key: k, operator: In, values: [v]}, {key: k, operator: In, values: [w]}",
        "{key: k, operator: In, values: [v]}, {key: k, operator: NotIn, values: [v]}",
    ] {
        let cluster = peers(&format!("{{matchExpressions: [{expressions}]}}"), "k: v", "l: w");
        denied(&cluster, "a/v a/w -> a/u TCP/80");
    }
    let selector = "podSelector: {matchLabels: {app: u}, matchExpressions: [{key: app, operator: NotIn, values: [u]}]}";
    allowed(&world(&policy("a/p", selector)), "b/v -> a/u a/v TCP/80");
}

#[test]
fn rule_053_names_are_not_labels() {
    let cluster =
        ingress("- from: [{podSelector: {matchLabels: {name: v}}}, {namespaceSelector: {matchLabels: {name: b}}}]");
    denied(&cluster, "a/v b/v -> a/u TCP/80");
}

#[test]
fn rule_054_the_name_label_of_a_namespace_is_its_name() {
    let lying =
        "\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: c, labels: {kubernetes.io/metadata.name: b}}\n";
    let rule = "- from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: b}}}]";
    let cluster = world(&(lying.to_owned() + &ingress_policy("a/p", rule)));
    allowed(&cluster, "b/v -> a/u TCP/80");
    denied(&cluster, "c/v -> a/u TCP/80");
}

#[test]
fn rule_055_several_namespaces_by_the_name_label() {
    let expression = "{key: kubernetes.io/metadata.name, operator: In, values: [a, c]}";
    let cluster = ingress(&format!("- from: [{{namespaceSelector: {{matchExpressions: [{expression}]}}}}]"));
    allowed(&cluster, "a/v c/v -> a/u TCP/80");
    denied(&cluster, "b/v -> a/u TCP/80");
}
