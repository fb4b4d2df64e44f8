//! What must pass beside what policies speak of, or nothing would: neighbour discovery, and errors about what is allowed.

use lab::{OUTSIDE, Observed, Protocol, Traffic};
use policy_compiler::cidr::Family;

use super::flows::{Flows, TCP, UDP, address, deny_all, policy};
use super::shell::{self, Undo};
use crate::{Case, world::World};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(81, "isolated_pods_still_find_their_neighbours", isolated_pods_find_their_neighbours),
        Case::new(82, "an_unreachable_port_is_reported_to_who_may_ask", an_unreachable_port_is_reported),
        Case::new(82, "a_router_may_say_that_a_packet_is_too_big", a_router_may_say_that_a_packet_is_too_big),
        Case::new(82, "large_packets_of_allowed_connections_arrive", large_packets_arrive),
    ]
}

/// Admits between two kinds of pods one port of one protocol, and nothing else that a packet may be.
fn only_one_port(protocol: &str, port: u16) -> String {
    deny_all("x", "{}")
        + &policy(
            "in",
            &format!(
                "{{podSelector: {{matchLabels: {{pod: a}}}}, policyTypes: [Ingress], \
                 ingress: [{{from: [{{podSelector: {{}}}}], ports: [{{protocol: {protocol}, port: {port}}}]}}]}}"
            ),
        )
        + &policy(
            "out",
            &format!(
                "{{podSelector: {{}}, policyTypes: [Egress], \
                 egress: [{{to: [{{podSelector: {{matchLabels: {{pod: a}}}}}}], ports: [{{protocol: {protocol}, port: {port}}}]}}]}}"
            ),
        )
}

fn isolated_pods_find_their_neighbours(world: &mut World) -> Result<(), String> {
    world.apply(&only_one_port("TCP", 80))?;
    for family in ["-4", "-6"] {
        for everybody in ["x/a", "x/b", "x/c", "n1", "n2"] {
            // Those that pod networks have written down for good stay.
            shell::run(world, everybody, &format!("ip {family} neigh flush all"))?;
        }
    }
    let mut flows = Flows::of(world);
    flows.pass("x/b", "x/a", &[TCP])?;
    flows.pass("x/c", "x/a", &[TCP])?;
    flows.fail("x/b", "x/a", &[UDP, Traffic::Echo])?;
    flows.fail("y/a", "x/a", &[TCP])?;
    flows.check()
}

fn an_unreachable_port_is_reported(world: &mut World) -> Result<(), String> {
    // Nobody listens there.
    const IDLE: u16 = 5555;
    world.apply(&only_one_port("UDP", IDLE))?;
    let mut flows = Flows::of(world);
    for client in ["x/b", "x/c"] {
        flows.come_to(&Observed::Refused, client, "x/a", &[Traffic::Port(Protocol::Udp, IDLE)])?;
        // By itself it may send them no ICMP, nor anything else.
        flows.fail("x/a", client, &[Traffic::Echo, UDP])?;
    }
    // Who may not ask is told nothing.
    for stranger in ["y/a", "y/b", OUTSIDE] {
        flows.fail(stranger, "x/a", &[Traffic::Port(Protocol::Udp, IDLE)])?;
    }
    flows.check()
}

/// The node of the receiver is made to take smaller packets for it than anybody knows, so that it reports those of the
/// sender's first attempt. The report comes from afar, and to the sender's node it is a packet like any other.
fn a_router_may_say_that_a_packet_is_too_big(world: &mut World) -> Result<(), String> {
    world.apply(&only_one_port("TCP", 80))?;
    let mut undo = Undo::default();
    for family in Family::BOTH {
        let (ip, bits) = if family == Family::V4 { ("ip -4", 32) } else { ("ip -6", 128) };
        let receiver = address(world, "x/a", family)?;
        let before = shell::run(world, "n1", &format!("{ip} route show {receiver}/{bits}"))?;
        let link = shell::word(&shell::run(world, "n1", &format!("{ip} route get {receiver}"))?, "dev")?;
        let route = format!("{ip} route replace {receiver}/{bits} dev {link}");
        shell::run(world, "n1", &format!("{route} mtu 1280"))?;
        // The veth of a pod has such a route already, on the network ptp.
        let undone = if before.trim().is_empty() {
            route.replace("replace", "del")
        } else {
            format!("{ip} route replace {}", before.trim())
        };
        undo.then(world, "n1", undone)?;
        undo.then(world, "x/c", format!("{ip} route flush cache"))?;
        undo.then(world, "n2", format!("{ip} route flush cache"))?;
    }
    let mut flows = Flows::of(world);
    flows.pass("x/c", "x/a", &[TCP])?;
    flows.carry(20_000);
    flows.check()
}

/// Larger than what any link carries, both ways.
fn large_packets_arrive(world: &mut World) -> Result<(), String> {
    for (protocol, traffic) in [("TCP", TCP), ("UDP", UDP)] {
        world.apply(&only_one_port(protocol, 80))?;
        let mut flows = Flows::of(world);
        for client in ["x/b", "x/c"] {
            flows.pass(client, "x/a", &[traffic])?;
        }
        flows.carry(4000);
        flows.check()?;
    }
    Ok(())
}
