//! Rules 84-98: ipBlock.

use crate::common::{allowed, denied, egress, ingress, ingress_policy, read, world};

#[test]
fn rules_084_and_086_a_block_less_all_of_its_excepts() {
    let cluster = egress(
        "- to: [{ipBlock: {cidr: 192.0.0.0/8, except: [192.0.2.0/24, 192.0.2.128/25, 192.0.0.0/16, 192.9.9.9/32]}}]",
    );
    allowed(&cluster, "a/u -> 192.1.0.0 192.9.9.8 192.9.9.10 192.255.255.255 TCP/80 ICMP");
    denied(&cluster, "a/u -> 192.0.2.1 192.0.2.200 192.0.0.0 192.0.255.255 192.9.9.9 191.255.255.255 193.0.0.0 TCP/80");
}

#[test]
fn rule_085_what_one_block_excepts_another_may_allow() {
    let except = "{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.0/28]}}";
    let other = "{ipBlock: {cidr: 192.0.2.1/32}}";
    let one_rule = ingress(&format!("- from: [{except}, {other}]"));
    let two_rules = ingress(&format!("- from: [{except}]\n- from: [{other}]"));
    let policy = |name, peer| ingress_policy(name, &format!("- from: [{peer}]"));
    let two_policies = world(&(policy("a/p", except) + &policy("a/q", other)));
    for cluster in [one_rule, two_rules, two_policies] {
        allowed(&cluster, "192.0.2.1 192.0.2.16 -> a/u TCP/80");
        denied(&cluster, "192.0.2.0 192.0.2.2 192.0.2.15 -> a/u TCP/80");
    }
}

#[test]
fn rule_087_blocks_match_addresses_of_pods() {
    let cluster = ingress("- from: [{ipBlock: {cidr: 10.0.2.0/24, except: [10.0.2.3/32]}}]");
    allowed(&cluster, "10.0.2.1 10.0.2.2 -> a/u TCP/80");
    denied(&cluster, "10.0.2.3 10.0.3.1 a/v -> a/u TCP/80");
}

#[test]
fn rules_089_and_090_a_block_is_of_one_family() {
    let cluster = egress("- to: [{ipBlock: {cidr: 0.0.0.0/0}}]");
    allowed(&cluster, "a/u -> 10.0.2.2 192.0.2.1 n2@10.1.0.2 TCP/80");
    denied(&cluster, "a/u -> fd00::2:2 2001:db8::1 TCP/80");
    let cluster = egress("- to: [{ipBlock: {cidr: '::/0'}}]");
    allowed(&cluster, "a/u -> fd00::2:2 2001:db8::1 TCP/80");
    denied(&cluster, "a/u -> 10.0.2.2 192.0.2.1 n2@10.1.0.2 TCP/80");
}

#[test]
fn rules_091_to_093_odd_spellings_mean_what_they_mask_to() {
    for cidr in ["10.0.2.77/24", "010.000.02.0/024", "'::ffff:10.0.2.0/120'"] {
        let cluster = ingress(&format!("- from: [{{ipBlock: {{cidr: {cidr}}}}}]"));
        allowed(&cluster, "10.0.2.1 10.0.2.255 -> a/u TCP/80");
        denied(&cluster, "10.0.1.255 10.0.3.0 fd00::2:1 -> a/u TCP/80");
        let warnings = read(&ingress_policy("a/p", &format!("- from: [{{ipBlock: {{cidr: {cidr}}}}}]"))).problems;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }
    let cluster = ingress("- from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.2.77/24]}}]");
    denied(&cluster, "10.0.2.1 10.0.2.255 -> a/u TCP/80");
    allowed(&cluster, "10.0.3.1 -> a/u TCP/80");
}

#[test]
fn rule_094_single_addresses_and_everything() {
    let cluster = ingress("- from: [{ipBlock: {cidr: 192.0.2.1/32}}, {ipBlock: {cidr: '2001:db8::1/128'}}]");
    allowed(&cluster, "192.0.2.1 2001:db8::1 -> a/u TCP/80");
    denied(&cluster, "192.0.2.0 192.0.2.2 2001:db8:: 2001:db8::2 -> a/u TCP/80");
    let cluster = ingress("- from: [{ipBlock: {cidr: 0.0.0.0/0, except: [0.0.0.0/1, 255.255.255.255/32]}}]");
    allowed(&cluster, "128.0.0.0 255.255.255.254 -> a/u TCP/80");
    denied(&cluster, "0.0.0.0 127.255.255.255 255.255.255.255 -> a/u TCP/80");
}

#[test]
fn rule_095_no_block_closes_a_pod_to_its_own_node() {
    let rules = "- from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.1.0.0/24]}}]";
    allowed(&ingress(rules), "n1@10.1.0.1 -> a/u TCP/80");
    allowed(&egress(&rules.replace("from", "to")), "a/u -> n1@10.1.0.1 TCP/80");
}

#[test]
fn rule_096_other_nodes_are_admitted_by_a_block() {
    let cluster = ingress("- from: [{ipBlock: {cidr: 10.1.0.2/32}}]");
    allowed(&cluster, "n2@10.1.0.2 -> a/u TCP/80");
    denied(&cluster, "n3@10.1.0.3 -> a/u TCP/80");
}

#[test]
fn rule_097_a_block_with_a_selector_is_refused() {
    for selector in ["podSelector", "namespaceSelector"] {
        let text = ingress_policy("a/p", &format!("- from: [{{ipBlock: {{cidr: 10.0.0.0/8}}, {selector}: {{}}}}]"));
        let manifest = read(&text);
        assert_eq!(manifest.errors().count(), 1, "{:?}", manifest.problems);
        assert_eq!(manifest.problems[0].path.as_deref(), Some("spec.ingress[0].from[0]"));
    }
}
