//! Rules 30-42: empty is not missing, and neither is everything.

use crate::common::{allowed, denied, egress, ingress, policy, read, world};

#[test]
fn rule_030_missing_null_and_empty_sections_are_no_rules() {
    for section in ["ingress: []", "ingress: ~", "egress: []"] {
        let cluster = world(&policy("a/p", &format!("policyTypes: [Ingress, Egress]\n{section}")));
        denied(&cluster, "b/v 192.0.2.1 -> a/u TCP/80 ICMP");
        denied(&cluster, "a/u -> b/v 192.0.2.1 TCP/80 ICMP");
    }
}

#[test]
fn rule_031_an_empty_rule_is_everything() {
    allowed(&ingress("- {}"), "a/v b/v 192.0.2.1 2001:db8::1 -> a/u TCP/80 UDP/9 SCTP/3 ICMP PROTOCOL/47");
    allowed(&egress("- {}"), "a/u -> a/v b/v 192.0.2.1 2001:db8::1 TCP/80 UDP/9 SCTP/3 ICMP PROTOCOL/47");
}

#[test]
fn rule_032_no_peers_are_every_peer() {
    for peers in ["", "from: [], ", "from: ~, "] {
        let cluster = ingress(&format!("- {{{peers}ports: [{{port: 80}}]}}"));
        allowed(&cluster, "a/v b/v 192.0.2.1 2001:db8::1 n2@10.1.0.2 -> a/u TCP/80");
        denied(&cluster, "a/v 192.0.2.1 -> a/u TCP/81");
        let cluster = egress(&format!("- {{{}ports: [{{port: 80}}]}}", peers.replace("from", "to")));
        allowed(&cluster, "a/u -> a/v b/v 192.0.2.1 2001:db8::1 n2@10.1.0.2 TCP/80");
        denied(&cluster, "a/u -> a/v 192.0.2.1 TCP/81");
    }
}

#[test]
fn rule_033_no_ports_are_every_port_and_protocol() {
    for ports in ["", ", ports: []", ", ports: ~"] {
        let cluster = ingress(&format!("- {{from: [{{podSelector: {{}}}}]{ports}}}"));
        allowed(&cluster, "a/v -> a/u TCP/1 UDP/65535 SCTP/3 ICMP PROTOCOL/47");
        denied(&cluster, "b/v -> a/u TCP/1 ICMP");
    }
}

#[test]
fn rule_034_an_empty_port_is_all_of_tcp() {
    let cluster = ingress("- ports: [{}]");
    allowed(&cluster, "b/v 192.0.2.1 -> a/u TCP/1 TCP/65535");
    denied(&cluster, "b/v 192.0.2.1 -> a/u UDP/1 SCTP/1 ICMP");
}

#[test]
fn rule_035_an_empty_peer_is_refused() {
    for peer in ["{}", "{podSelector: ~}", "~"] {
        let manifest = read(&policy("a/p", &format!("ingress: [{{from: [{peer}]}}]")));
        let error = manifest.errors().next().unwrap();
        assert_eq!(error.path.as_deref(), Some("spec.ingress[0].from[0]"), "{error}");
    }
}

#[test]
fn rule_036_an_empty_pod_selector_is_the_own_namespace() {
    let cluster = ingress("- from: [{podSelector: {}}]");
    allowed(&cluster, "a/v a/w -> a/u TCP/80");
    denied(&cluster, "b/u b/v c/u -> a/u TCP/80");
}

#[test]
fn rules_037_and_038_empty_namespace_selectors_are_all_namespaces() {
    for peer in ["{namespaceSelector: {}}", "{namespaceSelector: {}, podSelector: {}}"] {
        allowed(&ingress(&format!("- from: [{peer}]")), "a/v b/u b/v c/u -> a/u TCP/80");
        allowed(&egress(&format!("- to: [{peer}]")), "a/u -> a/v b/u b/v c/u TCP/80");
    }
}

#[test]
fn rule_039_an_absent_namespace_selector_is_not_an_empty_one() {
    for absent in ["", ", namespaceSelector: ~"] {
        let cluster = ingress(&format!("- from: [{{podSelector: {{matchLabels: {{app: v}}}}{absent}}}]"));
        allowed(&cluster, "a/v -> a/u TCP/80");
        denied(&cluster, "a/w b/v c/v -> a/u TCP/80");
    }
}

#[test]
fn rule_040_a_namespace_selector_alone_is_every_pod_there() {
    let cluster = ingress("- from: [{namespaceSelector: {matchLabels: {team: blue}}}]");
    allowed(&cluster, "b/u b/v b/w -> a/u TCP/80");
    denied(&cluster, "a/v c/v -> a/u TCP/80");
}

#[test]
fn rule_041_selectors_never_match_what_is_outside_the_cluster() {
    for peer in ["{podSelector: {}}", "{namespaceSelector: {}}", "{namespaceSelector: {}, podSelector: {}}"] {
        denied(&ingress(&format!("- from: [{peer}]")), "192.0.2.1 2001:db8::1 n2@10.1.0.2 -> a/u TCP/80 ICMP");
        denied(&egress(&format!("- to: [{peer}]")), "a/u -> 192.0.2.1 2001:db8::1 n2@10.1.0.2 TCP/80 ICMP");
    }
}

#[test]
fn rule_042_a_selector_without_requirements_matches_everything() {
    for empty in ["{}", "{matchLabels: {}}", "{matchLabels: ~, matchExpressions: []}"] {
        allowed(&ingress(&format!("- from: [{{namespaceSelector: {empty}}}]")), "a/v b/v c/v -> a/u TCP/80");
        denied(&world(&policy("a/p", &format!("podSelector: {empty}"))), "b/v -> a/u a/v a/w TCP/80");
    }
}
