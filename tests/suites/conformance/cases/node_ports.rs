//! Services by the ports of nodes: where nodes put their address in place of the client's, policies see the node.

use lab::{OUTSIDE, Protocol, Traffic};
use policy_compiler::cidr::Family;
use policy_compiler::model::ObjectName;

use super::flows::{Flows, To, address, addresses, policy};
use super::nodes::{blocks, seen_from_afar};
use super::services::service;
use crate::{Case, world::World};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(139, "a_node_port_of_the_own_node_leads_to_the_pod_behind", own_node_port_leads_to_the_pod),
        Case::new(98, "clients_outside_are_who_they_are_at_the_pods_node", clients_outside_at_the_pods_node),
        Case::new(98, "clients_outside_are_the_node_that_they_come_through", clients_outside_through_another_node),
        Case::new(98, "pods_are_the_node_that_they_come_through", pods_through_another_node),
    ]
}

/// Of a Service that is open at every node.
pub const NODE_PORT: &str = ", type: NodePort";
/// And leads from there to the node's own pods only.
const LOCAL: &str = ", type: NodePort, externalTrafficPolicy: Local";

/// The node port for one protocol.
pub fn node_port(world: &World, protocol: Protocol) -> Result<Traffic, String> {
    let service = world.stage().cluster().service(&ObjectName::new("x", "web")).ok_or("there is no Service")?;
    let port = service.ports.iter().find(|port| port.protocol == protocol).and_then(|port| port.node_port);
    port.map(|port| Traffic::Port(protocol, port)).ok_or_else(|| "there is no node port".to_owned())
}

/// A node's addresses; the answer must be the pod's.
pub fn at<'a>(world: &World, node: &str, pod: &'a [&'a str]) -> Result<To<'a>, String> {
    Ok(To::Addresses(addresses(world, node)?, pod))
}

fn own_node_port_leads_to_the_pod(world: &mut World) -> Result<(), String> {
    let from_b = policy(
        "from-b",
        "{podSelector: {matchLabels: {pod: a}}, ingress: [{from: [{podSelector: {matchLabels: {pod: b}}}], ports: [{port: 80}]}]}",
    );
    for kind in [NODE_PORT, LOCAL] {
        world.apply(&(service("a", kind) + &from_b))?;
        let port = node_port(world, Protocol::Tcp)?;
        let mut flows = Flows::of(world);
        flows.pass("x/b", at(world, "n1", &["x/a"])?, &[port])?;
        flows.fail("y/a", at(world, "n1", &["x/a"])?, &[port])?;
        flows.check()?;
    }
    Ok(())
}

/// The blocks of [`OUTSIDE`].
const ABROAD: &str = "{ipBlock: {cidr: 192.0.2.0/24}}, {ipBlock: {cidr: \"2001:db8::/64\"}}";

fn from(peers: &str) -> String {
    policy(
        "from",
        &format!("{{podSelector: {{matchLabels: {{pod: a}}}}, ingress: [{{from: [{peers}], ports: [{{port: 80}}]}}]}}"),
    )
}

fn clients_outside_at_the_pods_node(world: &mut World) -> Result<(), String> {
    for kind in [NODE_PORT, LOCAL] {
        world.apply(&(service("a", kind) + &from(ABROAD)))?;
        let (tcp, udp) = (node_port(world, Protocol::Tcp)?, node_port(world, Protocol::Udp)?);
        let mut flows = Flows::of(world);
        flows.pass(OUTSIDE, at(world, "n1", &["x/a"])?, &[tcp])?;
        flows.fail(OUTSIDE, at(world, "n1", &["x/a"])?, &[udp])?;
        flows.check()?;

        // A pod is not meant by where it may be reached at.
        world.apply(
            &(service("a", kind) + &from("{ipBlock: {cidr: 172.30.0.0/24}}, {ipBlock: {cidr: \"fd00:30::/64\"}}")),
        )?;
        let mut flows = Flows::of(world);
        flows.fail(OUTSIDE, at(world, "n1", &["x/a"])?, &[tcp])?;
        flows.check()?;
    }
    Ok(())
}

fn clients_outside_through_another_node(world: &mut World) -> Result<(), String> {
    let through_n2 = blocks(&seen_from_afar(world.network(), 2));
    world.apply(&(service("a", NODE_PORT) + &from(&through_n2)))?;
    let port = node_port(world, Protocol::Tcp)?;
    let mut flows = Flows::of(world);
    flows.pass(OUTSIDE, at(world, "n2", &["x/a"])?, &[port])?;
    flows.fail(OUTSIDE, at(world, "n1", &["x/a"])?, &[port])?;
    flows.check()?;

    world.apply(&(service("a", NODE_PORT) + &from(ABROAD)))?;
    let port = node_port(world, Protocol::Tcp)?;
    let mut flows = Flows::of(world);
    flows.fail(OUTSIDE, at(world, "n2", &["x/a"])?, &[port])?;
    flows.check()?;

    // With externalTrafficPolicy Local a node leads to its own pods only, and n2 has none.
    world.apply(&(service("a", LOCAL) + &from(&format!("{ABROAD}, {through_n2}"))))?;
    let port = node_port(world, Protocol::Tcp)?;
    let mut flows = Flows::of(world);
    flows.fail(OUTSIDE, at(world, "n2", &["x/a"])?, &[port])?;
    flows.pass(OUTSIDE, at(world, "n1", &["x/a"])?, &[port])?;
    flows.check()
}

fn pods_through_another_node(world: &mut World) -> Result<(), String> {
    let node = address(world, "n2", Family::V4)?;
    let to_n2 = format!("{{ipBlock: {{cidr: {node}/32}}}}");
    let leaves = policy(
        "leaves",
        &format!("{{podSelector: {{matchLabels: {{pod: b}}}}, policyTypes: [Egress], egress: [{{to: [{to_n2}]}}]}}"),
    );
    let through_n2 = from(&blocks(&seen_from_afar(world.network(), 2)));
    // Where it leaves it speaks to the other node, to judge by what anybody there can see.
    world.apply(&(service("a", NODE_PORT) + &leaves + &through_n2))?;
    let port = node_port(world, Protocol::Tcp)?;
    let mut flows = Flows::of(world);
    flows.pass_only(Family::V4, "x/b", at(world, "n2", &["x/a"])?, &[port])?;
    flows.check()?;

    world.apply(&(service("a", NODE_PORT) + &from("{podSelector: {matchLabels: {pod: b}}}")))?;
    let port = node_port(world, Protocol::Tcp)?;
    let mut flows = Flows::of(world);
    flows.fail("x/b", at(world, "n2", &["x/a"])?, &[port])?;
    flows.pass("x/b", at(world, "n1", &["x/a"])?, &[port])?;
    flows.check()
}
