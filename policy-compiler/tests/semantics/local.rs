//! Rules 99-109: a pod itself, its node, and pods that are their node.

use policy_compiler::verdict::{Exemption, Host, Judgement};

use crate::common::{allowed, denied, egress_policy, ingress, ingress_policy, judge, parse, pod, policy, world};

const CLOSED: &str = "policyTypes: [Ingress, Egress]";

/// `b/v`, on the network of node `n2`, and `a/v`, on that of `n1`, where `a/u` is.
fn host_pods() -> String {
    let host = |name: &str, node, address| {
        let text = pod(name, "app: v", "{name: http, containerPort: 80}");
        let status = text.find("status:").unwrap();
        text[..status].replace("spec: {", "spec: {hostNetwork: true, ")
            + &format!("status: {{phase: Running, podIP: {address}}}\n# on {node}\n")
    };
    host("a/v", "n1", "10.1.0.1") + &host("b/v", "n2", "10.1.0.2")
}

#[test]
fn rules_099_and_100_a_pod_may_always_speak_to_itself() {
    let cluster = world(&policy("a/p", CLOSED));
    allowed(&cluster, "a/u -> a/u TCP/80 UDP/53 ICMP");
    allowed(&cluster, "10.0.1.1 -> 10.0.1.1 TCP/80");
    assert_eq!(judge(&cluster, "a/u -> a/u TCP/80").exempt, Some(Exemption::SamePod));
    denied(&cluster, "a/u -> a/v TCP/80");
}

#[test]
fn rules_102_and_103_a_pod_and_its_node_may_always_speak() {
    let cluster = world(&policy("a/p", CLOSED));
    allowed(&cluster, "n1@10.1.0.1 -> a/u TCP/80 ICMP");
    allowed(&cluster, "a/u -> n1@10.1.0.1 TCP/80 ICMP");
    assert_eq!(judge(&cluster, "n1@10.1.0.1 -> a/u TCP/80").exempt, Some(Exemption::OwnNode));
}

#[test]
fn rule_104_other_nodes_are_ordinary_peers() {
    let cluster = world(&policy("a/p", CLOSED));
    denied(&cluster, "n2@10.1.0.2 -> a/u TCP/80");
    denied(&cluster, "a/u -> n2@10.1.0.2 TCP/80");
}

#[test]
fn rules_105_and_106_a_host_network_pod_is_no_subject() {
    let cluster = world(&(host_pods() + &policy("b/p", CLOSED)));
    allowed(&cluster, "a/u 192.0.2.1 -> b/v TCP/80");
    allowed(&cluster, "b/v -> a/u 192.0.2.1 TCP/80");
    assert_eq!(judge(&cluster, "a/u -> b/v TCP/80").ingress, Judgement::NoSubject);
}

#[test]
fn rule_107_a_host_network_pod_is_no_peer_of_a_selector() {
    for peer in [
        "{podSelector: {}}",
        "{namespaceSelector: {}}",
        "{namespaceSelector: {}, podSelector: {matchLabels: {app: v}}}",
    ] {
        let rules = format!("- from: [{peer}]");
        let cluster = world(&(host_pods() + &ingress_policy("a/p", &rules)));
        denied(&cluster, "b/v 10.1.0.2 -> a/u TCP/80");
        let cluster = world(&(host_pods() + &egress_policy("a/p", &rules.replace("from", "to"))));
        denied(&cluster, "a/u -> b/v 10.1.0.2 TCP/80");
    }
}

#[test]
fn rule_107_a_host_network_pod_has_no_named_ports() {
    let cluster = world(&(host_pods() + &egress_policy("a/p", "- ports: [{port: http}]")));
    denied(&cluster, "a/u -> b/v TCP/80");
}

#[test]
fn rule_108_a_host_network_pod_is_let_in_as_its_node() {
    let cluster = world(&(host_pods() + &policy("a/p", CLOSED)));
    allowed(&cluster, "a/v -> a/u TCP/80");
    allowed(&cluster, "a/u -> a/v TCP/80");
    denied(&cluster, "b/v -> a/u TCP/80");
    let block = ingress_policy("a/q", "- from: [{ipBlock: {cidr: 10.1.0.0/24}}]");
    allowed(&world(&(host_pods() + &block)), "b/v -> a/u TCP/80");
    allowed(&world(&(host_pods() + &ingress_policy("a/q", "- ports: [{port: 80}]"))), "b/v -> a/u TCP/80");
}

#[test]
fn rule_109_the_address_of_a_host_network_pod_is_its_nodes() {
    let cluster = world(&host_pods());
    let host = |address| parse(&cluster, address)[0].from.host;
    assert_eq!(host("10.1.0.2 -> a/u TCP/80"), Host::Node("n2"));
    assert!(matches!(host("10.0.2.1 -> a/u TCP/80"), Host::Pod(pod) if pod.name.to_string() == "b/u"));
    assert_eq!(host("192.0.2.1 -> a/u TCP/80"), Host::Outside);
}

#[test]
fn a_pod_without_a_node_shares_none() {
    let floating = pod("a/u", "app: u", "").replace("nodeName: n1, ", "");
    let cluster = world(&(floating + &policy("a/p", CLOSED)));
    let verdict = judge(&cluster, "n1@10.1.0.1 -> a/u TCP/80");
    assert_eq!((verdict.exempt, verdict.is_allowed()), (None, false));
    allowed(&ingress("- from: [{ipBlock: {cidr: 10.1.0.1/32}}]"), "n1@10.1.0.1 -> a/u TCP/80");
}
