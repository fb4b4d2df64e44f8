//! Rules 1-14: what missing fields mean.

use crate::common::{allowed, cluster, denied, ingress, pod, policy, world};

const SUBJECT: &str = "podSelector: {matchLabels: {app: u}}";

#[test]
fn rules_001_and_006_ingress_is_always_among_the_default_types() {
    for types in ["", "policyTypes: []", "policyTypes: ~"] {
        let cluster = world(&policy("a/p", &format!("{SUBJECT}\n{types}")));
        denied(&cluster, "a/v b/v 192.0.2.1 -> a/u TCP/80");
        allowed(&cluster, "a/u -> a/v b/v TCP/80");
    }
}

#[test]
fn rule_002_egress_is_among_the_default_types_if_it_has_a_rule() {
    for types in ["", "policyTypes: []", "policyTypes: ~"] {
        let cluster = world(&policy("a/p", &format!("{SUBJECT}\negress: [{{to: [{{podSelector: {{}}}}]}}]\n{types}")));
        allowed(&cluster, "a/u -> a/v TCP/80");
        denied(&cluster, "a/u -> b/v TCP/80");
    }
}

#[test]
fn rule_003_no_egress_rules_do_not_isolate_for_egress_by_default() {
    for section in ["egress: []", "egress: ~", ""] {
        let by_default = world(&policy("a/p", &format!("{SUBJECT}\n{section}")));
        allowed(&by_default, "a/u -> b/v 192.0.2.1 TCP/80");
        let named = world(&policy("a/p", &format!("{SUBJECT}\n{section}\npolicyTypes: [Egress]")));
        denied(&named, "a/u -> b/v 192.0.2.1 TCP/80");
    }
}

#[test]
fn rule_004_only_egress_rules_still_deny_all_ingress() {
    let cluster = world(&policy("a/p", &format!("{SUBJECT}\negress: [{{}}]")));
    denied(&cluster, "a/v b/v -> a/u TCP/80");
    allowed(&cluster, "a/u -> a/v b/v TCP/80");
}

#[test]
fn rule_005_egress_alone_has_to_be_named() {
    let cluster = world(&policy("a/p", &format!("{SUBJECT}\npolicyTypes: [Egress]\negress: [{{}}]")));
    allowed(&cluster, "a/v b/v -> a/u TCP/80");
}

#[test]
fn rule_007_a_section_that_is_not_listed_means_nothing() {
    let nothing = "[{ports: [{port: 1}]}]";
    let cluster =
        world(&policy("a/p", &format!("{SUBJECT}\npolicyTypes: [Ingress]\ningress: [{{}}]\negress: {nothing}")));
    allowed(&cluster, "a/u -> b/v TCP/80");
    let cluster =
        world(&policy("a/p", &format!("{SUBJECT}\npolicyTypes: [Egress]\negress: [{{}}]\ningress: {nothing}")));
    allowed(&cluster, "b/v -> a/u TCP/80");
}

#[test]
fn rule_008_ingress_rules_of_an_egress_policy_neither_isolate_nor_allow() {
    let inert = policy("a/p", &format!("{SUBJECT}\npolicyTypes: [Egress]\ningress: [{{}}]"));
    allowed(&world(&inert), "b/v -> a/u TCP/80");
    let closing = policy("a/q", "podSelector: {}");
    denied(&world(&(inert + &closing)), "b/v -> a/u TCP/80");
}

#[test]
fn rule_009_a_port_is_tcp_by_default() {
    let cluster = ingress("- ports: [{port: 80}]");
    allowed(&cluster, "b/v -> a/u TCP/80");
    denied(&cluster, "b/v -> a/u UDP/80 SCTP/80");
}

#[test]
fn rule_010_objects_without_a_namespace_are_in_default() {
    let pods =
        ["u", "v"].map(|name| pod(&format!("a/{name}"), &format!("app: {name}"), "").replace("namespace: a, ", ""));
    for namespace in ["", ", namespace: ''", ", namespace: ~", ", namespace: default"] {
        let policy = policy("a/p", "podSelector: {}").replace(", namespace: a", namespace);
        let cluster = cluster(&format!("{}{policy}", pods.concat()));
        denied(&cluster, "default/v -> default/u TCP/80");
    }
}

#[test]
fn rule_011_no_pod_selector_is_every_pod_of_the_namespace() {
    for selector in ["podSelector: ~", "podSelector: {}", "policyTypes: [Ingress]"] {
        let cluster = world(&policy("a/p", selector));
        denied(&cluster, "b/v -> a/u a/v a/w TCP/80");
        allowed(&cluster, "a/u -> b/u TCP/80");
    }
}

#[test]
fn rule_012_a_container_port_is_tcp_by_default() {
    let ports = "{name: web, containerPort: 8080}, {name: both, containerPort: 81, protocol: UDP}";
    let rules = "- ports: [{port: web}, {port: both}]";
    let cluster = world(&(pod("a/u", "app: u", ports) + &crate::common::ingress_policy("a/p", rules)));
    allowed(&cluster, "b/v -> a/u TCP/8080");
    denied(&cluster, "b/v -> a/u UDP/8080 TCP/81 UDP/81");
}

#[test]
fn rules_013_and_014_every_namespace_has_its_name_as_a_label() {
    // There is an object for b, without the label, and none for c.
    for namespace in ["b", "c"] {
        let label = format!("kubernetes.io/metadata.name: {namespace}");
        let cluster = ingress(&format!("- from: [{{namespaceSelector: {{matchLabels: {{{label}}}}}}}]"));
        for other in ["a", "b", "c"] {
            crate::common::check(&cluster, &format!("{other}/v -> a/u TCP/80"), other == namespace);
        }
        allowed(&cluster, &format!("{namespace}/w -> a/u UDP/1"));
    }
}
