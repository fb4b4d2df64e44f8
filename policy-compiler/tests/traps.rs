//! Mistakes that other engines make or made, and that this one must not: each by verdict and by plan.

#![cfg(test)]

mod common;

use std::collections::BTreeSet;

use common::{allowed, cluster, denied, egress, egress_policy, ingress, ingress_policy, pod, policy, read, world};
use policy_compiler::cluster::Cluster;
use policy_compiler::plan::{self, Generation, Settings};

/// kube-router marks a packet in one chain for both directions, so egress of the client opened the server.
#[test]
fn trap_direction_leak_both_types_in_one_policy() {
    let cluster = world(&policy("a/p", "policyTypes: [Ingress, Egress]\ningress: []\negress: [{}]"));
    denied(&cluster, "a/v a/w -> a/u TCP/80 ICMP");
    allowed(&cluster, "a/u -> b/v 192.0.2.1 TCP/80");
    let mirrored = world(&policy("a/p", "policyTypes: [Ingress, Egress]\ningress: [{}]\negress: []"));
    denied(&mirrored, "a/v a/w -> a/u TCP/80 ICMP");
    allowed(&mirrored, "b/v 192.0.2.1 -> a/u TCP/80");
}

/// An accept for egress ended the evaluation before the server's ingress was judged.
#[test]
fn trap_accepted_egress_skips_ingress_on_the_same_node() {
    let cluster = world(&(egress_policy("a/p", "- {}") + &policy("a/q", "podSelector: {matchLabels: {app: v}}")));
    denied(&cluster, "a/u -> a/v TCP/80");
}

/// Ports that are all names without a pod left no ports, which was taken for all ports.
#[test]
fn trap_unresolved_named_port_opens_all_ports() {
    denied(&ingress("- {from: [{podSelector: {}}], ports: [{port: nobody}]}"), "a/v -> a/u TCP/80 TCP/1 UDP/53 ICMP");
    denied(&ingress("- ports: [{port: nobody}]"), "b/v 192.0.2.1 -> a/u TCP/80 TCP/1 UDP/53 ICMP");
    denied(&egress("- {to: [{podSelector: {}}], ports: [{port: nobody}]}"), "a/u -> a/v TCP/80 TCP/1 UDP/53 ICMP");
    denied(&egress("- ports: [{port: nobody}]"), "a/u -> b/v 192.0.2.1 TCP/80 TCP/1 UDP/53 ICMP");
}

/// The number that a name has on some pod was opened towards every destination.
#[test]
fn trap_egress_named_port_any_destination() {
    let cluster = world(&(pod("b/v", "app: v", "") + &egress_policy("a/p", "- ports: [{port: http}]")));
    denied(&cluster, "a/u -> b/v 192.0.2.1 2001:db8::1 n2@10.1.0.2 TCP/80");
    allowed(&cluster, "a/u -> a/v b/u c/w TCP/80");
}

/// Names for egress without peers were looked up in the policy's own namespace only.
#[test]
fn trap_egress_named_port_own_namespace_only() {
    allowed(&egress("- ports: [{port: http}]"), "a/u -> b/v c/w TCP/80");
}

/// All numbers of a name were opened on all of its pods.
#[test]
fn trap_same_name_union_of_numbers() {
    let pods = pod("a/u", "app: u", "{name: web, containerPort: 81}")
        + &pod("a/v", "app: v", "{name: web, containerPort: 82}");
    let cluster = world(&(pods.clone() + &policy("a/p", "ingress: [{ports: [{port: web}]}]")));
    denied(&cluster, "b/v -> a/u TCP/82");
    denied(&cluster, "b/v -> a/v TCP/81");
    let cluster = world(&(pods + &policy("b/p", "policyTypes: [Egress]\negress: [{ports: [{port: web}]}]")));
    denied(&cluster, "b/v -> a/u TCP/82");
    denied(&cluster, "b/v -> a/v TCP/81");
    allowed(&cluster, "b/v -> a/v TCP/82");
}

/// A set of a name kept one address of the pods that have it.
#[test]
fn trap_named_port_set_keeps_one_address() {
    let cluster = world(&policy("a/p", "ingress: [{ports: [{port: http}]}]"));
    allowed(&cluster, "b/v -> a/u a/v a/w TCP/80");
}

/// Excepts of all blocks of a rule were taken from all of them.
#[test]
fn trap_except_merged_per_rule() {
    let excepted = "{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}";
    for other in ["{ipBlock: {cidr: 192.0.2.128/25}}", "{ipBlock: {cidr: 192.0.0.0/16}}"] {
        allowed(&ingress(&format!("- from: [{excepted}, {other}]")), "192.0.2.1 192.0.2.200 -> a/u TCP/80");
        allowed(&ingress(&format!("- from: [{other}, {excepted}]")), "192.0.2.1 192.0.2.200 -> a/u TCP/80");
    }
}

/// An except was a verdict of its own and ended what other rules and policies allow.
#[test]
fn trap_except_denies_other_rules() {
    let excepted = "- from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.2.0/24]}}]";
    let cluster = ingress(&format!("{excepted}\n- from: [{{namespaceSelector: {{matchLabels: {{team: blue}}}}}}]"));
    allowed(&cluster, "b/v -> a/u TCP/80");
    denied(&ingress(excepted), "10.0.2.2 -> a/u TCP/80");
}

/// Blocks of one rule that overlap are refused by an interval set, and the policy closed its pods.
#[test]
fn trap_overlapping_blocks_conflict() {
    let cluster = ingress(
        "- from: [{ipBlock: {cidr: 10.0.0.0/8}}, {ipBlock: {cidr: 10.1.0.0/16}}, {ipBlock: {cidr: 10.0.0.0/8}}]
  ports: [{port: 80, endPort: 90}, {port: 85, endPort: 95}]",
    );
    allowed(&cluster, "10.0.2.2 10.1.2.3 10.9.9.9 -> a/u TCP/80 TCP/95");
    let nested = ingress("- from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.1.1.0/24, 10.1.0.0/17]}}]");
    allowed(&nested, "10.2.0.0 10.0.255.255 -> a/u TCP/80");
    denied(&nested, "10.1.0.0 10.1.1.1 10.1.255.255 -> a/u TCP/80");
}

/// Namespace `team` with policy `adb`, and `teama` with `db`, came to one name.
#[test]
fn trap_hash_without_separator() {
    let pods = ["team", "teama"].map(|namespace| {
        let last = namespace.len();
        format!(
            "\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: {namespace}}}\nspec: {{nodeName: n1}}\n\
             status: {{podIP: 10.7.0.{last}}}\n"
        )
    });
    let policies =
        policy("team/adb", "ingress: [{ports: [{port: 1}]}]") + &policy("teama/db", "ingress: [{ports: [{port: 2}]}]");
    let cluster = cluster(&(pods.concat() + &policies));
    allowed(&cluster, "192.0.2.1 -> team/p TCP/1");
    denied(&cluster, "192.0.2.1 -> team/p TCP/2");
    allowed(&cluster, "192.0.2.1 -> teama/p TCP/2");
    denied(&cluster, "192.0.2.1 -> teama/p TCP/1");
}

/// `::/0` was 2000::/3 and fd00::/8.
#[test]
fn trap_v6_zero_narrowed() {
    let cluster = egress("- to: [{ipBlock: {cidr: '::/0'}}]");
    allowed(
        &cluster,
        "a/u -> ::1 64:ff9b::1 fc00::1 fe80::1 ff02::1 2001:db8::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff TCP/80",
    );
}

/// NotIn was false for pods without the key.
#[test]
fn trap_not_in_with_missing_key() {
    let selector = "{matchExpressions: [{key: role, operator: NotIn, values: [db]}]}";
    allowed(&ingress(&format!("- from: [{{podSelector: {selector}}}]")), "a/v -> a/u TCP/80");
    allowed(&ingress(&format!("- from: [{{namespaceSelector: {selector}}}]")), "a/v b/v c/v -> a/u TCP/80");
    denied(&world(&policy("a/p", &format!("podSelector: {selector}"))), "b/v -> a/u TCP/80");
}

/// `key: ""` matched pods without the key.
#[test]
fn trap_empty_value_matches_missing_key() {
    let selector = "{matchLabels: {role: ''}}";
    denied(&ingress(&format!("- from: [{{podSelector: {selector}}}]")), "a/v -> a/u TCP/80");
    allowed(&world(&policy("a/p", &format!("podSelector: {selector}"))), "b/v -> a/u TCP/80");
}

/// A policy that allows nothing made no rules, and without rules there was no isolation.
#[test]
fn trap_empty_peers_lost_isolation() {
    let nobody = "podSelector: {matchLabels: {app: nobody}}";
    denied(&ingress(&format!("- from: [{{{nobody}}}]")), "a/v 192.0.2.1 -> a/u TCP/80 ICMP");
    denied(&egress(&format!("- to: [{{{nobody}}}]")), "a/u -> a/v 192.0.2.1 TCP/80 ICMP");
    denied(&egress("[]"), "a/u -> a/v 192.0.2.1 TCP/80 ICMP");
}

/// An empty list of rules was taken for allow all.
#[test]
fn trap_empty_section_allows_all() {
    denied(&world(&policy("a/p", "ingress: []")), "b/v -> a/u TCP/80");
    denied(&world(&policy("a/p", "policyTypes: [Egress]\negress: []")), "a/u -> b/v TCP/80");
}

/// Blocks were assumed never to match pods.
#[test]
fn trap_block_never_matches_pods() {
    allowed(&ingress("- from: [{ipBlock: {cidr: 10.0.2.0/24}}]"), "10.0.2.2 10.0.2.3 10.0.2.99 -> a/u TCP/80");
    denied(&ingress("- from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.2.0/24]}}]"), "10.0.2.2 -> a/u TCP/80");
}

/// Pings passed whatever policies said.
#[test]
fn trap_ping_ignores_policy() {
    denied(&ingress("- ports: [{port: 80}]"), "a/v b/v 192.0.2.1 2001:db8::1 -> a/u ICMP");
}

/// Whoever spoke from a node's own address, or the own node for egress, was let through to other nodes' pods.
#[test]
fn trap_any_node_is_the_own_node() {
    denied(&ingress("[]"), "n2@10.1.0.2 n3@10.1.0.3 -> a/u TCP/80");
    denied(&egress("[]"), "a/u -> n2@10.1.0.2 TCP/80");
}

/// Labels of hostNetwork pods brought their nodes' addresses into sets, and isolated nodes.
#[test]
fn trap_host_network_pod_in_sets() {
    let host = pod("b/v", "app: v", "{name: http, containerPort: 80}")
        .replace("spec: {", "spec: {hostNetwork: true, ")
        .replace("10.0.2.2", "10.1.0.2")
        .replace("fd00::2:2", "fd01::2");
    let cluster = world(&(host.clone() + &ingress_policy("a/p", "- from: [{namespaceSelector: {}}]")));
    denied(&cluster, "10.1.0.2 fd01::2 -> a/u TCP/80");
    let cluster = world(&(host.clone() + &egress_policy("a/p", "- ports: [{port: http}]")));
    denied(&cluster, "a/u -> 10.1.0.2 fd01::2 TCP/80");
    allowed(&world(&(host + &policy("b/p", ""))), "a/u 192.0.2.1 -> 10.1.0.2 TCP/80");
}

/// A finished pod's address stayed in sets and let in whoever got it next.
#[test]
fn trap_address_of_a_finished_pod() {
    let finished = pod("a/v", "app: v", "").replace("phase: Running", "phase: Succeeded");
    let cluster = world(&(finished + &ingress_policy("a/p", "- from: [{podSelector: {matchLabels: {app: v}}}]")));
    denied(&cluster, "10.0.1.2 -> a/u TCP/80");
}

/// A pod lost its peers when its deletion began.
#[test]
fn trap_terminating_pod_loses_access() {
    let leaving =
        pod("a/v", "app: v", "").replace("metadata: {", "metadata: {deletionTimestamp: '2024-01-02T03:04:05Z', ");
    allowed(&world(&(leaving + &ingress_policy("a/p", "- from: [{podSelector: {}}]"))), "a/v -> a/u TCP/80");
}

/// One policy that could not be compiled stopped all of them.
#[test]
fn trap_one_bad_policy_stops_the_world() {
    let text = pod("a/u", "app: u", "")
        + &pod("a/v", "app: v", "")
        + &policy("a/bad", "podSelector: {matchLabels: {app: u}}\ningress: [{ports: [{port: 0}]}]")
        + &policy("a/good", "podSelector: {matchLabels: {app: v}}\ningress: [{ports: [{port: 80}]}]");
    let cluster = common::objects(read(&text));
    denied(&cluster, "192.0.2.1 -> a/u TCP/80");
    allowed(&cluster, "192.0.2.1 -> a/v TCP/80");
    denied(&cluster, "192.0.2.1 -> a/v TCP/81");
}

/// A rule for a whole protocol was refused by nft, comments of more than 128 bytes too.
#[test]
fn trap_what_nft_would_refuse() {
    let name = format!("a/{}", "n".repeat(253));
    let values: Vec<String> = (0..60).map(|number| format!("value-{number}")).collect();
    let selector = format!("{{matchExpressions: [{{key: k, operator: NotIn, values: [{}]}}]}}", values.join(", "));
    let cluster =
        world(&ingress_policy(&name, &format!("- from: [{{podSelector: {selector}}}]\n  ports: [{{protocol: UDP}}]")));
    allowed(&cluster, "a/v -> a/u UDP/53");
    denied(&cluster, "a/v -> a/u TCP/53");
}

/// A pod could not speak to itself through a Service, which comes back as its own address.
#[test]
fn trap_hairpin_denied() {
    allowed(&world(&policy("a/p", "policyTypes: [Ingress, Egress]")), "10.0.1.1 -> 10.0.1.1 TCP/80");
}

/// Names change with every sync in some engines, so that nothing can be compared.
#[test]
fn trap_names_change_without_a_reason() {
    let text =
        ingress_policy("a/p", "- {from: [{podSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: http}]}");
    let plan = |cluster: Cluster| plan::compile(&cluster, "n1", &Settings::default(), Generation::FIRST).table;
    assert_eq!(plan(world(&text)), plan(world(&text)));
    let names = |documents: &str| plan(world(documents)).sets.into_keys().collect::<BTreeSet<_>>();
    assert_eq!(names(&text), names(&(text.clone() + &ingress_policy("a/q", "- {from: [{podSelector: {}}]}"))));
}
