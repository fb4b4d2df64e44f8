//! Rules 15-29: who is isolated, and how policies add up.

use policy_compiler::model::ObjectName;
use policy_compiler::verdict::Judgement;

use crate::common::{
    allowed, cluster, denied, egress, egress_policy, ingress, ingress_policy, judge, pod, policy, world,
};

#[test]
fn rule_015_without_a_policy_everything_is_allowed() {
    let cluster = world("");
    allowed(&cluster, "a/u 192.0.2.1 2001:db8::1 -> b/v TCP/80 UDP/9 SCTP/1 ICMP PROTOCOL/47");
    allowed(&cluster, "b/v -> 192.0.2.1 2001:db8::1 TCP/80 UDP/9 SCTP/1 ICMP");
    let verdict = judge(&cluster, "a/u -> b/v TCP/80");
    assert_eq!([verdict.egress, verdict.ingress], [Judgement::NotIsolated, Judgement::NotIsolated]);
}

#[test]
fn rule_016_a_policy_isolates_the_pods_that_it_selects() {
    let cluster = ingress("[]");
    denied(&cluster, "a/v b/v 192.0.2.1 -> a/u TCP/80 UDP/53 SCTP/9 ICMP");
    allowed(&cluster, "b/v -> a/v a/w TCP/80");
    let isolating = judge(&cluster, "b/v -> a/u TCP/80").ingress.isolating();
    assert_eq!(isolating.iter().map(|policy| &policy.name).collect::<Vec<_>>(), [&ObjectName::new("a", "p")]);
}

#[test]
fn rule_017_directions_are_isolated_apart() {
    let cluster = ingress("[]");
    allowed(&cluster, "a/u -> a/v b/v 192.0.2.1 TCP/80 ICMP");
    let cluster = egress("[]");
    allowed(&cluster, "a/v b/v 192.0.2.1 -> a/u TCP/80 ICMP");
    denied(&cluster, "a/u -> a/v b/v 192.0.2.1 TCP/80 ICMP");
}

#[test]
fn rule_018_policies_add_up_in_any_order() {
    let from = |app| format!("- {{from: [{{podSelector: {{matchLabels: {{app: {app}}}}}}}], ports: [{{port: 80}}]}}");
    for names in [["a/p", "a/q"], ["a/q", "a/p"]] {
        let cluster = world(&(ingress_policy(names[0], &from("v")) + &ingress_policy(names[1], &from("w"))));
        allowed(&cluster, "a/v a/w -> a/u TCP/80");
        denied(&cluster, "a/v a/w -> a/u TCP/81");
        denied(&cluster, "b/v -> a/u TCP/80");
    }
}

#[test]
fn rule_019_allow_all_wins() {
    let strict = "- {from: [{podSelector: {matchLabels: {app: v}}}], ports: [{port: 81}]}";
    let cluster = world(&(ingress_policy("a/p", strict) + &policy("a/q", "ingress: [{}]")));
    allowed(&cluster, "b/v 192.0.2.1 -> a/u TCP/80 ICMP");
    let strict = strict.replace("from", "to");
    let all = policy("a/q", "policyTypes: [Egress]\negress: [{}]");
    let cluster = world(&(egress_policy("a/p", &strict) + &all));
    allowed(&cluster, "a/u -> b/v 192.0.2.1 TCP/80 ICMP");
}

#[test]
fn rule_020_both_ends_must_allow() {
    let closed_in = policy("b/in", "podSelector: {matchLabels: {app: v}}");
    let closed_out = policy("a/out", "podSelector: {matchLabels: {app: u}}\npolicyTypes: [Egress]");
    let open_in = policy("b/open", "ingress: [{}]");
    let open_out = policy("a/open", "policyTypes: [Egress]\negress: [{}]");
    denied(&world(&(closed_in.clone() + &open_out)), "a/u -> b/v TCP/80");
    denied(&world(&(closed_out.clone() + &open_in)), "a/u -> b/v TCP/80");
    denied(&world(&(closed_in.clone() + &closed_out)), "a/u -> b/v TCP/80");
    allowed(&world(&(closed_in + &closed_out + &open_in + &open_out)), "a/u -> b/v TCP/80");
}

#[test]
fn rule_021_subjects_are_of_the_policys_own_namespace() {
    let cluster = world(&policy("a/p", "podSelector: {}\npolicyTypes: [Ingress, Egress]"));
    denied(&cluster, "b/v -> a/u a/v a/w TCP/80");
    denied(&cluster, "a/u a/v a/w -> b/v TCP/80");
    allowed(&cluster, "c/v -> b/u b/v b/w TCP/80");
}

#[test]
fn rule_022_no_rules_deny_all() {
    let cluster = world(&policy("a/p", "policyTypes: [Ingress, Egress]"));
    denied(&cluster, "a/v b/v 192.0.2.1 2001:db8::1 -> a/u TCP/80 UDP/53 SCTP/9 ICMP PROTOCOL/47");
    denied(&cluster, "a/u -> a/v b/v 192.0.2.1 2001:db8::1 TCP/80 UDP/53 SCTP/9 ICMP PROTOCOL/47");
}

#[test]
fn rule_023_a_policy_waits_for_pods_that_match() {
    let waiting = policy("a/p", "podSelector: {matchLabels: {role: db}}");
    allowed(&world(&waiting), "b/v -> a/u TCP/80");
    denied(&world(&(waiting + &pod("a/u", "role: db", ""))), "b/v -> a/u TCP/80");
}

#[test]
fn rule_024_traffic_between_others_is_not_judged() {
    let cluster = world(&policy("a/p", "policyTypes: [Ingress, Egress]"));
    allowed(&cluster, "192.0.2.1 n1@10.1.0.1 -> 198.51.100.1 n2@10.1.0.2 TCP/80 ICMP");
    let verdict = judge(&cluster, "192.0.2.1 -> 198.51.100.1 TCP/80");
    assert_eq!([verdict.egress, verdict.ingress], [Judgement::NoSubject, Judgement::NoSubject]);
}

#[test]
fn rule_025_peers_and_ports_must_both_match() {
    let cluster = ingress("- {from: [{podSelector: {}}], ports: [{port: 80}]}");
    allowed(&cluster, "a/v -> a/u TCP/80");
    denied(&cluster, "a/v -> a/u TCP/81");
    denied(&cluster, "b/v -> a/u TCP/80");
}

#[test]
fn rule_026_any_peer_any_port_and_any_rule_will_do() {
    let cluster = ingress(
        "- from: [{podSelector: {matchLabels: {app: v}}}, {podSelector: {matchLabels: {app: w}}}]
  ports: [{port: 80}, {port: 53, protocol: UDP}]
- from: [{namespaceSelector: {matchLabels: {team: blue}}}]",
    );
    allowed(&cluster, "a/v a/w -> a/u TCP/80 UDP/53");
    denied(&cluster, "a/v a/w -> a/u UDP/80 TCP/53");
    allowed(&cluster, "b/u b/v b/w -> a/u TCP/1 UDP/2 ICMP");
    let Judgement::Allowed { policy, rule, peer, port, .. } = judge(&cluster, "a/w -> a/u UDP/53").ingress else {
        panic!()
    };
    assert_eq!((policy.name.to_string().as_str(), rule, peer, port), ("a/p", 0, Some(1), Some(1)));
}

#[test]
fn rule_027_no_cross_product_between_rules() {
    let cluster = ingress(
        "- {from: [{podSelector: {matchLabels: {app: v}}}], ports: [{port: 80}]}
- {from: [{podSelector: {matchLabels: {app: w}}}], ports: [{port: 81}]}",
    );
    allowed(&cluster, "a/v -> a/u TCP/80");
    allowed(&cluster, "a/w -> a/u TCP/81");
    denied(&cluster, "a/v -> a/u TCP/81");
    denied(&cluster, "a/w -> a/u TCP/80");
}

#[test]
fn rule_028_the_halves_of_a_policy_do_not_answer_for_each_other() {
    let cluster = world(&policy(
        "a/p",
        "podSelector: {matchLabels: {app: u}}
policyTypes: [Ingress, Egress]
ingress: [{from: [{podSelector: {matchLabels: {app: v}}}]}]
egress: [{to: [{podSelector: {matchLabels: {app: w}}}]}]",
    ));
    allowed(&cluster, "a/v -> a/u TCP/80");
    allowed(&cluster, "a/u -> a/w TCP/80");
    denied(&cluster, "a/u -> a/v TCP/80");
    denied(&cluster, "a/w -> a/u TCP/80");
}

#[test]
fn rule_029_repetitions_and_overlaps_are_harmless() {
    let peer = "{podSelector: {matchLabels: {app: v}}}";
    let rule = format!(
        "- {{from: [{peer}, {peer}, {{ipBlock: {{cidr: 10.0.0.0/8}}}}, {{ipBlock: {{cidr: 10.0.2.0/24}}}}], \
         ports: [{{port: 80}}, {{port: 80, endPort: 90}}, {{port: 85, endPort: 100}}, {{port: 80}}]}}\n"
    );
    let cluster = world(&(ingress_policy("a/p", &rule.repeat(2)) + &ingress_policy("a/q", &rule)));
    allowed(&cluster, "a/v 10.0.2.3 -> a/u TCP/80 TCP/90 TCP/100");
    denied(&cluster, "a/v 10.0.2.3 -> a/u TCP/101");
    denied(&cluster, "fd00::2:3 -> a/u TCP/80");
}

#[test]
fn invariant_1_a_policy_with_a_mistake_closes_its_pods_and_no_others() {
    let wrong = ingress_policy("a/p", "- from: [{}]");
    let manifest = crate::common::read(&(pod("a/u", "app: u", "") + &pod("a/v", "app: v", "") + &wrong));
    assert_eq!(manifest.errors().count(), 1);
    let closed = crate::common::objects(manifest);
    denied(&closed, "a/v 192.0.2.1 -> a/u TCP/80 ICMP");
    allowed(&closed, "a/u 192.0.2.1 -> a/v TCP/80 ICMP");
    let open = cluster(&pod("a/u", "app: u", ""));
    allowed(&open, "192.0.2.1 -> a/u TCP/80 ICMP");
}
