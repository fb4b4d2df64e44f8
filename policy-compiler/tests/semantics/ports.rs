//! Rules 56-74: numbers, ranges and names of ports.

use policy_compiler::verdict::{Judgement, ListMatch, Nearest, PortMiss};

use crate::common::{allowed, denied, egress, egress_policy, ingress, ingress_policy, judge, pod, policy, world};

#[test]
fn rule_056_a_number_is_the_destinations() {
    let cluster = ingress("- ports: [{port: 80}]");
    allowed(&cluster, "b/v 192.0.2.1 -> a/u TCP/80");
    denied(&cluster, "b/v 192.0.2.1 -> a/u TCP/79 TCP/81");
    allowed(&egress("- ports: [{port: 80}]"), "a/u -> b/v 192.0.2.1 TCP/80");
}

#[test]
fn rule_057_without_protocol_a_port_is_tcp() {
    let cluster = egress("- ports: [{port: 53}]");
    allowed(&cluster, "a/u -> b/v TCP/53");
    denied(&cluster, "a/u -> b/v UDP/53 SCTP/53");
}

#[test]
fn rule_058_a_protocol_alone_is_all_of_its_ports() {
    for (protocol, others) in [("TCP", "UDP/1 SCTP/1"), ("UDP", "TCP/1 SCTP/1"), ("SCTP", "TCP/1 UDP/1")] {
        let cluster = ingress(&format!("- ports: [{{protocol: {protocol}}}]"));
        allowed(&cluster, &format!("b/v -> a/u {protocol}/1 {protocol}/65535"));
        denied(&cluster, &format!("b/v -> a/u {others} ICMP"));
    }
}

#[test]
fn rules_059_and_060_ranges_include_both_ends() {
    let cluster = ingress("- ports: [{port: 80, endPort: 90}, {port: 53, endPort: 53, protocol: UDP}]");
    allowed(&cluster, "b/v -> a/u TCP/80 TCP/85 TCP/90 UDP/53");
    denied(&cluster, "b/v -> a/u TCP/79 TCP/91 UDP/80 UDP/52 UDP/54");
    let all = ingress("- ports: [{port: 1, endPort: 65535}]");
    allowed(&all, "b/v -> a/u TCP/1 TCP/65535");
    denied(&all, "b/v -> a/u UDP/1");
}

#[test]
fn rule_062_a_name_is_resolved_on_the_destination() {
    let pods = pod("a/u", "app: u", "{name: web, containerPort: 8080}")
        + &pod("b/v", "app: v", "{name: web, containerPort: 9090}");
    let cluster = world(&(pods.clone() + &ingress_policy("a/p", "- ports: [{port: web}]")));
    allowed(&cluster, "b/v b/w -> a/u TCP/8080");
    denied(&cluster, "b/v b/w -> a/u TCP/9090");
    let cluster = world(&(pods + &egress_policy("a/p", "- to: [{namespaceSelector: {}}]\n  ports: [{port: web}]")));
    allowed(&cluster, "a/u -> b/v TCP/9090");
    denied(&cluster, "a/u -> b/v TCP/8080");
    denied(&cluster, "a/u -> b/w TCP/8080 TCP/9090 TCP/80");
}

#[test]
fn rule_063_name_and_protocol_must_both_match() {
    let cluster = ingress("- ports: [{port: dns}, {port: http, protocol: UDP}]");
    denied(&cluster, "b/v -> a/u TCP/53 UDP/53 TCP/80 UDP/80");
    let Judgement::Denied { misses } = judge(&cluster, "b/v -> a/u TCP/53").ingress else { panic!() };
    let Nearest::Rule(rule) = &misses[0].nearest else { panic!() };
    let ListMatch::Nothing(misses) = &rule.ports else { panic!() };
    assert!(matches!(&misses[0], PortMiss::NameProtocol { declared, .. } if declared.name() == "UDP"), "{misses:?}");
}

#[test]
fn rule_064_an_unknown_name_matches_nothing_and_isolates_all_the_same() {
    let cluster = ingress("- ports: [{port: nobody}]");
    denied(&cluster, "a/v b/v 192.0.2.1 -> a/u TCP/80 TCP/1 UDP/53 ICMP");
    let cluster = egress("- {to: [{podSelector: {}}], ports: [{port: nobody}]}");
    denied(&cluster, "a/u -> a/v b/v 192.0.2.1 TCP/80 TCP/1 UDP/53 ICMP");
}

#[test]
fn rule_065_a_name_opens_on_each_pod_that_pods_number_only() {
    let pods = pod("a/u", "app: u", "{name: web, containerPort: 81}")
        + &pod("a/v", "app: v", "{name: web, containerPort: 82}")
        + &pod("b/u", "app: u", "{name: web, containerPort: 83}");
    let cluster = world(&(pods.clone() + &policy("a/p", "ingress: [{ports: [{port: web}]}]")));
    for (own, others) in [("a/u TCP/81", "a/u TCP/82 TCP/83"), ("a/v TCP/82", "a/v TCP/81 TCP/83")] {
        allowed(&cluster, &format!("c/u -> {own}"));
        denied(&cluster, &format!("c/u -> {others}"));
    }
    let cluster = world(&(pods + &egress_policy("a/p", "- ports: [{port: web}]")));
    allowed(&cluster, "a/u -> a/v TCP/82");
    allowed(&cluster, "a/u -> b/u TCP/83");
    denied(&cluster, "a/u -> a/v TCP/81 TCP/83");
    denied(&cluster, "a/u -> b/u TCP/81 TCP/82");
}

#[test]
fn rule_066_a_name_leaves_other_ports_closed() {
    let cluster = ingress("- ports: [{port: http}]");
    allowed(&cluster, "b/v -> a/u TCP/80");
    denied(&cluster, "b/v -> a/u TCP/81 TCP/53 UDP/53 UDP/80");
}

#[test]
fn rule_067_an_egress_name_without_peers_is_every_pod_that_has_it() {
    for to in ["", "to: [], "] {
        let cluster = egress(&format!("- {{{to}ports: [{{port: http}}]}}"));
        allowed(&cluster, "a/u -> a/v b/v c/w TCP/80");
        denied(&cluster, "a/u -> 192.0.2.1 2001:db8::1 n2@10.1.0.2 TCP/80");
        denied(&cluster, "a/u -> b/v TCP/81");
    }
}

#[test]
fn rule_068_a_name_with_a_block_resolves_on_pods_in_the_block() {
    let cluster = egress("- {to: [{ipBlock: {cidr: 10.0.2.0/24}}], ports: [{port: http}]}");
    allowed(&cluster, "a/u -> 10.0.2.2 TCP/80");
    denied(&cluster, "a/u -> 10.0.2.2 TCP/81");
    denied(&cluster, "a/u -> 10.0.3.2 10.0.2.77 TCP/80");
    let cluster = ingress("- {from: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: http}]}");
    allowed(&cluster, "192.0.2.1 -> a/u TCP/80");
    denied(&cluster, "192.0.2.1 -> a/u TCP/81");
}

#[test]
fn rule_069_there_are_no_names_outside_the_cluster() {
    let cluster = egress("- {to: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: http}]}");
    denied(&cluster, "a/u -> 192.0.2.1 TCP/80");
}

#[test]
fn rule_070_of_a_name_that_stands_more_than_once_each_counts() {
    let ports =
        "{name: web, containerPort: 81}, {name: web, containerPort: 82}, {name: web, containerPort: 83, protocol: UDP}";
    let rules = "- ports: [{port: web}]";
    let cluster = world(&(pod("a/u", "app: u", ports) + &ingress_policy("a/p", rules)));
    allowed(&cluster, "b/v -> a/u TCP/81 TCP/82");
    denied(&cluster, "b/v -> a/u TCP/83 UDP/83 UDP/81");
    let both = ingress_policy("a/p", "- ports: [{port: web}, {port: web, protocol: UDP}]");
    allowed(&world(&(pod("a/u", "app: u", ports) + &both)), "b/v -> a/u TCP/81 TCP/82 UDP/83");
}

#[test]
fn rule_071_names_of_restartable_init_containers_count() {
    let init = "initContainers: [{name: once, ports: [{name: once, containerPort: 81}]}, \
                {name: side, restartPolicy: Always, ports: [{name: side, containerPort: 82}]}], containers";
    let pod = pod("a/u", "app: u", "").replace("containers", init);
    let cluster = world(&(pod + &ingress_policy("a/p", "- ports: [{port: once}, {port: side}]")));
    allowed(&cluster, "b/v -> a/u TCP/82");
    denied(&cluster, "b/v -> a/u TCP/81");
}

#[test]
fn rule_072_numbers_need_not_be_declared() {
    allowed(&ingress("- ports: [{port: 4242}]"), "b/v -> a/u TCP/4242");
    denied(&ingress("- ports: [{port: 4242}]"), "b/v -> a/u TCP/80");
}

#[test]
fn rule_073_a_host_port_is_not_the_port() {
    let pod = pod("a/u", "app: u", "{name: web, containerPort: 8080, hostPort: 80}");
    let cluster = world(&(pod + &ingress_policy("a/p", "- ports: [{port: web}]")));
    allowed(&cluster, "b/v -> a/u TCP/8080");
    denied(&cluster, "b/v -> a/u TCP/80");
}

#[test]
fn rule_074_a_name_follows_the_pod() {
    let rules = ingress_policy("a/p", "- ports: [{port: web}]");
    let before = pod("a/u", "app: u", "{name: web, containerPort: 81}");
    let after = pod("a/u", "app: u", "{name: web, containerPort: 82}");
    let cluster = world(&(before + &rules + &after));
    allowed(&cluster, "b/v -> a/u TCP/82");
    denied(&cluster, "b/v -> a/u TCP/81");
}
