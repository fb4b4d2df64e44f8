//! Services: policies see the pod behind them, and the client as it is when it gets there.

use std::net::IpAddr;

use lab::{Protocol, Traffic};
use policy_compiler::model::ObjectName;

use super::flows::{Flows, To, addresses, deny_all, policy};
use super::node_ports::{NODE_PORT, at, node_port};
use super::nodes::{blocks, seen_from_afar};
use crate::{Case, world::World};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(139, "the_pod_behind_a_service_is_judged", the_pod_behind_is_judged),
        Case::new(140, "a_block_with_the_address_of_a_service_admits_nothing", a_block_with_its_address_admits_nothing),
        Case::new(141, "the_port_of_a_policy_is_the_target_port", the_port_is_the_target_port),
        Case::new(142, "labels_of_a_service_admit_nothing", labels_of_a_service_admit_nothing),
        Case::new(100, "a_pod_reaches_itself_through_its_service", a_pod_reaches_itself_through_its_service),
        Case::new(102, "the_own_node_reaches_isolated_pods_through_services", own_node_through_services),
        Case::new(98, "another_node_is_judged_by_its_address_through_services", another_node_through_services),
    ]
}

/// The Service's own ports; what it leads to listens on 80.
const PORTS: [Traffic; 3] =
    [Traffic::Port(Protocol::Tcp, 8080), Traffic::Port(Protocol::Udp, 8080), Traffic::Port(Protocol::Sctp, 8080)];
const TCP: [Traffic; 1] = [PORTS[0]];

/// A Service `x/web`, 8080 for 80 of a pod in x, by its label.
pub fn service(pod: &str, more: &str) -> String {
    let port = |protocol: &str| {
        let name = protocol.to_lowercase();
        format!("{{name: {name}, port: 8080, targetPort: 80, protocol: {protocol}}}")
    };
    let ports = ["TCP", "UDP", "SCTP"].map(port).join(", ");
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: x, labels: {{service: web}}}}\n\
         spec: {{ipFamilyPolicy: PreferDualStack, selector: {{pod: {pod}}}, ports: [{ports}]{more}}}\n"
    )
}

fn cluster_ips(world: &World) -> Result<Vec<IpAddr>, String> {
    let service = world.stage().cluster().service(&ObjectName::new("x", "web")).ok_or("there is no Service")?;
    if service.addresses.len() == 2 { Ok(service.addresses.clone()) } else { Err(format!("{:?}", service.addresses)) }
}

/// The ClusterIPs; the answer must be that pod's.
fn web<'a>(world: &World, pod: &'a [&'a str]) -> Result<To<'a>, String> {
    Ok(To::Addresses(cluster_ips(world)?, pod))
}

fn the_pod_behind_is_judged(world: &mut World) -> Result<(), String> {
    // On the client's node and on the other one.
    for (pod, of_pod) in [("a", ["x/a"]), ("c", ["x/c"])] {
        let of = |to: &str| {
            service(pod, "")
                + &policy(
                    "server",
                    &format!(
                        "{{podSelector: {{matchLabels: {{pod: {pod}}}}}, \
                         ingress: [{{from: [{{podSelector: {{matchLabels: {{pod: b}}}}}}], ports: [{{port: 80}}]}}]}}"
                    ),
                )
                + &policy(
                    "client",
                    &format!(
                        "{{podSelector: {{matchLabels: {{pod: b}}}}, policyTypes: [Egress], \
                         egress: [{{to: [{to}]}}]}}"
                    ),
                )
        };
        world.apply(&of(&format!("{{podSelector: {{matchLabels: {{pod: {pod}}}}}}}")))?;
        let mut flows = Flows::of(world);
        flows.pass("x/b", web(world, &of_pod)?, &TCP)?;
        flows.fail("x/b", web(world, &of_pod)?, &PORTS[1..])?;
        for stranger in ["y/a", "y/b", "z/a"] {
            flows.fail(stranger, web(world, &of_pod)?, &PORTS)?;
        }
        flows.check()?;

        // Its egress as well is judged by the pod, not by the Service.
        world.apply(&of("{namespaceSelector: {matchLabels: {ns: \"y\"}}}"))?;
        let mut flows = Flows::of(world);
        flows.fail("x/b", web(world, &of_pod)?, &PORTS)?;
        flows.check()?;
    }
    Ok(())
}

fn a_block_with_its_address_admits_nothing(world: &mut World) -> Result<(), String> {
    let to = |peers: &str| {
        policy(
            "to",
            &format!(
                "{{podSelector: {{matchLabels: {{pod: b}}}}, policyTypes: [Egress], egress: [{{to: [{peers}]}}]}}"
            ),
        )
    };
    world.apply(&service("a", ""))?;
    let (own, behind) = (cluster_ips(world)?, addresses(world, "x/a")?);
    world.apply(&(service("a", "") + &to(&blocks(&own))))?;
    let mut flows = Flows::of(world);
    flows.fail("x/b", web(world, &["x/a"])?, &PORTS)?;
    flows.check()?;

    world.apply(&(service("a", "") + &to(&blocks(&behind))))?;
    let mut flows = Flows::of(world);
    flows.pass("x/b", web(world, &["x/a"])?, &PORTS)?;
    flows.check()
}

fn the_port_is_the_target_port(world: &mut World) -> Result<(), String> {
    let policies = |port: u16| {
        let ports = format!("[{{port: {port}}}, {{port: {port}, protocol: UDP}}, {{port: {port}, protocol: SCTP}}]");
        service("a", "")
            + &policy("in", &format!("{{podSelector: {{matchLabels: {{pod: a}}}}, ingress: [{{ports: {ports}}}]}}"))
            + &policy(
                "out",
                &format!(
                    "{{podSelector: {{matchLabels: {{pod: b}}}}, policyTypes: [Egress], egress: [{{ports: {ports}}}]}}"
                ),
            )
    };
    world.apply(&policies(80))?;
    let mut flows = Flows::of(world);
    flows.pass("x/b", web(world, &["x/a"])?, &PORTS)?;
    flows.pass("y/b", web(world, &["x/a"])?, &PORTS)?;
    flows.check()?;

    world.apply(&policies(8080))?;
    let mut flows = Flows::of(world);
    flows.fail("x/b", web(world, &["x/a"])?, &PORTS)?;
    flows.fail("y/b", web(world, &["x/a"])?, &PORTS)?;
    flows.check()
}

fn labels_of_a_service_admit_nothing(world: &mut World) -> Result<(), String> {
    let to = |label: &str| {
        service("a", "")
            + &policy(
                "to",
                &format!(
                    "{{podSelector: {{matchLabels: {{pod: b}}}}, policyTypes: [Egress], \
                     egress: [{{to: [{{podSelector: {{matchLabels: {{{label}}}}}}}]}}]}}"
                ),
            )
    };
    world.apply(&to("service: web"))?;
    let mut flows = Flows::of(world);
    flows.fail("x/b", web(world, &["x/a"])?, &PORTS)?;
    flows.check()?;

    world.apply(&to("pod: a"))?;
    let mut flows = Flows::of(world);
    flows.pass("x/b", web(world, &["x/a"])?, &PORTS)?;
    flows.check()
}

fn a_pod_reaches_itself_through_its_service(world: &mut World) -> Result<(), String> {
    for (pod, own) in [("a", "x/a"), ("c", "x/c")] {
        world.apply(&(service(pod, NODE_PORT) + &deny_all("x", "{}")))?;
        let mut flows = Flows::of(world);
        flows.pass(own, web(world, &[own])?, &PORTS)?;
        // x/b is on the node of x/a and not on that of x/c.
        flows.fail("x/b", web(world, &[own])?, &PORTS)?;
        let node = if pod == "a" { "n1" } else { "n2" };
        flows.pass(own, at(world, node, &[own])?, &[node_port(world, Protocol::Tcp)?])?;
        flows.check()?;
    }
    Ok(())
}

fn own_node_through_services(world: &mut World) -> Result<(), String> {
    for (pod, own, other, behind) in [("a", "n1", "n2", ["x/a"]), ("c", "n2", "n1", ["x/c"])] {
        world.apply(&(service(pod, NODE_PORT) + &deny_all("x", "{}")))?;
        let port = node_port(world, Protocol::Tcp)?;
        let mut flows = Flows::of(world);
        flows.pass(own, web(world, &behind)?, &PORTS)?;
        flows.pass(own, at(world, own, &behind)?, &[port])?;
        flows.fail(other, web(world, &behind)?, &PORTS)?;
        flows.fail(other, at(world, own, &behind)?, &[port])?;
        flows.check()?;
    }
    Ok(())
}

fn another_node_through_services(world: &mut World) -> Result<(), String> {
    let from_n2 = blocks(&seen_from_afar(world.network(), 2));
    world.apply(
        &(service("a", "") + &policy("from-n2", &format!("{{podSelector: {{}}, ingress: [{{from: [{from_n2}]}}]}}"))),
    )?;
    let mut flows = Flows::of(world);
    flows.pass("n2", web(world, &["x/a"])?, &PORTS)?;
    flows.check()?;
    world.apply(
        &(service("c", "") + &policy("from-n2", &format!("{{podSelector: {{}}, ingress: [{{from: [{from_n2}]}}]}}"))),
    )?;
    let mut flows = Flows::of(world);
    flows.fail("n1", web(world, &["x/c"])?, &PORTS)?;
    flows.check()
}
