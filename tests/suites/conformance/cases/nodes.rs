//! Nodes, and pods that share the network of theirs.

use std::net::IpAddr;

use lab::{OUTSIDE, PodNetwork};
use policy_compiler::cidr::Family;

use super::flows::{ALL, Flows, OTHER_TCP, TCP, To, UDP, deny_all, policy};
use crate::{Case, world::World};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(95, "blocks_have_no_say_over_the_own_node", blocks_have_no_say_over_the_own_node),
        Case::new(96, "another_node_is_admitted_by_the_address_that_is_seen", another_node_is_admitted_by_its_address),
        Case::new(96, "another_node_is_reached_by_the_address_that_is_asked", another_node_is_reached_by_its_address),
        Case::new(102, "the_own_node_reaches_isolated_pods", the_own_node_reaches_isolated_pods),
        Case::new(103, "isolated_pods_reach_their_own_node", isolated_pods_reach_their_own_node),
        Case::new(104, "another_node_is_no_pod_and_no_exception", another_node_is_no_pod_and_no_exception),
        Case::new(105, "a_node_is_not_isolated_with_its_pods", host_network_pods_are_no_subjects),
        Case::new(106, "a_policy_for_host_network_pods_alone_isolates_nobody", only_host_network_pods_are_selected),
        Case::new(107, "labels_of_host_network_pods_admit_nothing", labels_of_host_network_pods_admit_nothing),
        Case::new(108, "host_network_clients_are_judged_as_their_node", host_network_clients_are_their_node),
        Case::new(109, "pods_that_share_an_address_with_their_node_own_it_not", pods_that_share_an_address),
    ]
}

/// From which address a node speaks to pods of other nodes, IPv4 first.
pub fn seen_from_afar(network: PodNetwork, node: u8) -> [IpAddr; 2] {
    let texts = match network {
        // What is sent through the tunnel has the tunnel's address.
        PodNetwork::FlannelVxlan => [format!("10.244.{node}.0"), format!("fd00:10:244:{node}::")],
        PodNetwork::Bridge | PodNetwork::Ptp | PodNetwork::FlannelHostGw => {
            [format!("172.30.0.{node}"), format!("fd00:30::{node}")]
        }
    };
    texts.map(|text| text.parse().unwrap_or_else(|error| panic!("{text}: {error}")))
}

/// Peers of a rule: these addresses and no others.
pub fn blocks(addresses: &[IpAddr]) -> String {
    let block = |address: &IpAddr| format!("{{ipBlock: {{cidr: \"{address}/{}\"}}}}", Family::of(*address).bits());
    addresses.iter().map(block).collect::<Vec<_>>().join(", ")
}

fn blocks_have_no_say_over_the_own_node(world: &mut World) -> Result<(), String> {
    let everywhere_else = "{ipBlock: {cidr: 0.0.0.0/0, except: [172.30.0.1/32, 10.244.1.0/24]}}, \
                           {ipBlock: {cidr: \"::/0\", except: [\"fd00:30::1/128\", \"fd00:10:244:1::/64\"]}}";
    world.apply(&policy(
        "elsewhere",
        &format!(
            "{{podSelector: {{matchLabels: {{pod: a}}}}, policyTypes: [Ingress, Egress], \
             ingress: [{{from: [{everywhere_else}]}}], egress: [{{to: [{everywhere_else}]}}]}}"
        ),
    ))?;
    let mut flows = Flows::of(world);
    for node in ["n1", "n2"] {
        flows.pass(node, "x/a", &ALL)?;
        flows.pass("x/a", node, &ALL)?;
    }
    flows.fail("x/b", "x/a", &ALL)?;
    flows.fail("x/a", "x/b", &ALL)?;
    flows.check()
}

fn another_node_is_admitted_by_its_address(world: &mut World) -> Result<(), String> {
    let seen = seen_from_afar(world.network(), 2);
    let admit = |peers: &str| {
        policy("from-n2", &format!("{{podSelector: {{}}, ingress: [{{from: [{peers}], ports: [{{port: 80}}]}}]}}"))
    };
    world.apply(&admit(&blocks(&seen)))?;
    let mut flows = Flows::of(world);
    flows.pass("n2", "x/a", &[TCP])?;
    flows.fail("n2", "x/a", &[OTHER_TCP, UDP])?;
    // What its pods may is another matter.
    flows.fail("y/b", "x/a", &[TCP])?;
    flows.check()?;

    world.apply(&admit(&blocks(&seen_from_afar(world.network(), 9))))?;
    let mut flows = Flows::of(world);
    flows.fail("n2", "x/a", &[TCP])?;
    flows.check()?;

    // Its other addresses are not those that pods of other nodes get to see.
    if world.network() == PodNetwork::FlannelVxlan {
        world.apply(&admit(&blocks(&seen_from_afar(PodNetwork::Bridge, 2))))?;
        let mut flows = Flows::of(world);
        flows.fail("n2", "x/a", &[TCP])?;
        flows.check()?;
    }
    Ok(())
}

fn another_node_is_reached_by_its_address(world: &mut World) -> Result<(), String> {
    let to = |peers: &str| {
        policy(
            "to-n2",
            &format!(
                "{{podSelector: {{}}, policyTypes: [Egress], egress: [{{to: [{peers}], ports: [{{port: 80}}]}}]}}"
            ),
        )
    };
    let asked = seen_from_afar(PodNetwork::Bridge, 2);
    world.apply(&to(&blocks(&asked)))?;
    let mut flows = Flows::of(world);
    flows.pass("x/a", "n2", &[TCP])?;
    flows.fail("x/a", "n2", &[OTHER_TCP, UDP])?;
    flows.fail("x/a", "y/b", &[TCP])?;
    flows.check()?;

    world.apply(&to("{namespaceSelector: {}, podSelector: {}}"))?;
    let mut flows = Flows::of(world);
    flows.fail("x/a", "n2", &ALL)?;
    flows.pass("x/a", "y/b", &[TCP])?;
    flows.check()
}

fn the_own_node_reaches_isolated_pods(world: &mut World) -> Result<(), String> {
    world.apply(&deny_all("x", "{}"))?;
    let mut flows = Flows::of(world);
    for (own, other, pod) in [("n1", "n2", "x/a"), ("n1", "n2", "x/b"), ("n2", "n1", "x/c")] {
        flows.pass(own, pod, &ALL)?;
        flows.fail(other, pod, &ALL)?;
    }
    flows.check()
}

fn isolated_pods_reach_their_own_node(world: &mut World) -> Result<(), String> {
    world.apply(&deny_all("x", "{}"))?;
    let mut flows = Flows::of(world);
    for (own, number, other, pod) in [("n1", 1, "n2", "x/a"), ("n2", 2, "n1", "x/c")] {
        flows.pass(pod, own, &ALL)?;
        flows.fail(pod, other, &ALL)?;
        // The address that it has as its pods' router is an address of the node as well.
        let router = [format!("10.244.{number}.1"), format!("fd00:10:244:{number}::1")];
        let router = router.iter().map(|text| text.parse().map_err(|error| format!("{text}: {error}")));
        let own = [own];
        flows.pass(pod, To::Addresses(router.collect::<Result<_, _>>()?, &own), &ALL)?;
    }
    flows.check()
}

fn another_node_is_no_pod_and_no_exception(world: &mut World) -> Result<(), String> {
    let from = |rule: &str| policy("from", &format!("{{podSelector: {{}}, ingress: [{rule}]}}"));
    world.apply(&from("{from: [{namespaceSelector: {}, podSelector: {}}, {podSelector: {}}]}"))?;
    let mut flows = Flows::of(world);
    flows.fail("n2", "x/a", &ALL)?;
    flows.fail("n1", "x/c", &ALL)?;
    flows.pass("y/b", "x/a", &ALL)?;
    flows.check()?;

    world.apply(&from("{}"))?;
    let mut flows = Flows::of(world);
    flows.pass("n2", "x/a", &ALL)?;
    flows.pass("n1", "x/c", &ALL)?;
    flows.check()?;

    world.apply(&from("{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}"))?;
    let mut flows = Flows::of(world);
    flows.pass_only(Family::V4, "n2", "x/a", &ALL)?;
    flows.pass_only(Family::V4, "n1", "x/c", &ALL)?;
    flows.check()
}

/// A pod with hostNetwork on n2, in namespace x.
fn host_pod(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: x, labels: {{pod: {name}, host: \"yes\"}}}}\n\
         spec: {{nodeName: n2, hostNetwork: true, \
         containers: [{{name: main, image: echo, ports: [{{name: http, containerPort: 80}}]}}]}}\n\
         status: {{phase: Running, podIPs: [{{ip: 172.30.0.2}}, {{ip: \"fd00:30::2\"}}]}}\n"
    )
}

fn host_network_pods_are_no_subjects(world: &mut World) -> Result<(), String> {
    world.apply(&(host_pod("h") + &deny_all("x", "{}")))?;
    let mut flows = Flows::of(world);
    // x/c shows that the policy is at work on this node.
    flows.fail("y/b", "x/c", &ALL)?;
    node_is_free(&mut flows)?;
    flows.check()
}

fn only_host_network_pods_are_selected(world: &mut World) -> Result<(), String> {
    world.apply(&(host_pod("h") + &host_pod("i") + &deny_all("x", "{matchLabels: {host: \"yes\"}}")))?;
    let mut flows = Flows::of(world);
    node_is_free(&mut flows)?;
    for pod in ["x/a", "x/b", "x/c"] {
        flows.pass("n2", pod, &ALL)?;
        flows.pass(pod, "n2", &ALL)?;
        flows.pass(pod, "y/a", &ALL)?;
    }
    flows.check()
}

/// Nobody judges n2, nor what it says to pods without policies.
fn node_is_free(flows: &mut Flows<'_>) -> Result<(), String> {
    for pod in ["y/a", "y/b", "z/a"] {
        flows.pass(pod, "n2", &ALL)?;
        flows.pass("n2", pod, &ALL)?;
    }
    for host in ["n1", OUTSIDE] {
        flows.pass(host, "n2", &ALL)?;
    }
    flows.pass("n2", "n1", &ALL)
}

fn labels_of_host_network_pods_admit_nothing(world: &mut World) -> Result<(), String> {
    let peers = "{podSelector: {matchLabels: {host: \"yes\"}}}, {podSelector: {matchLabels: {pod: b}}}, \
                 {namespaceSelector: {matchLabels: {ns: x}}, podSelector: {matchLabels: {host: \"yes\"}}}";
    world.apply(
        &(host_pod("h")
            + &policy(
                "hosts",
                &format!(
                    "{{podSelector: {{matchLabels: {{pod: a}}}}, policyTypes: [Ingress, Egress], \
                     ingress: [{{from: [{peers}]}}], egress: [{{to: [{peers}]}}]}}"
                ),
            )),
    )?;
    let mut flows = Flows::of(world);
    flows.fail("n2", "x/a", &ALL)?;
    flows.fail("x/a", "n2", &ALL)?;
    flows.pass("x/b", "x/a", &ALL)?;
    flows.pass("x/a", "x/b", &ALL)?;
    flows.check()
}

fn host_network_clients_are_their_node(world: &mut World) -> Result<(), String> {
    world.apply(&(host_pod("h") + &deny_all("x", "{}")))?;
    let mut flows = Flows::of(world);
    flows.pass("n2", "x/c", &ALL)?;
    flows.fail("n2", "x/a", &ALL)?;
    flows.check()?;

    let seen = seen_from_afar(world.network(), 2);
    let by_block = policy("by-block", &format!("{{podSelector: {{}}, ingress: [{{from: [{}]}}]}}", blocks(&seen)));
    world.apply(&(host_pod("h") + &by_block))?;
    let mut flows = Flows::of(world);
    flows.pass("n2", "x/a", &ALL)?;
    flows.fail("n1", "x/c", &ALL)?;
    flows.check()?;

    world.apply(&(host_pod("h") + &policy("everybody", "{podSelector: {}, ingress: [{ports: [{port: 80}]}]}")))?;
    let mut flows = Flows::of(world);
    flows.pass("n2", "x/a", &[TCP])?;
    flows.fail("n2", "x/a", &[UDP])?;
    flows.check()
}

fn pods_that_share_an_address(world: &mut World) -> Result<(), String> {
    // Were the address one's of them, its isolation or its peer would come and go with which of them is known last.
    let to = policy(
        "to-h",
        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {pod: h}}}]}]}",
    );
    let policies = deny_all("x", "{matchLabels: {pod: i}}") + &to;
    for pods in [host_pod("h") + &host_pod("i"), host_pod("i"), host_pod("i") + &host_pod("j"), host_pod("h")] {
        world.apply(&(pods + &policies))?;
        let mut flows = Flows::of(world);
        node_is_free(&mut flows)?;
        flows.fail("x/a", "n2", &ALL)?;
        flows.pass("x/b", "n2", &ALL)?;
        flows.pass("n2", "x/c", &ALL)?;
        flows.check()?;
    }
    Ok(())
}
