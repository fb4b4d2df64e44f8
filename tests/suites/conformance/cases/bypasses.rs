//! Ways around rules that a pod may try. Each is first shown to lead there where nothing judges.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::time::Duration;

use lab::{PodNetwork, Traffic};
use podwall_tests::run_in;
use policy_compiler::cidr::Family;

use super::flows::{ALL, Flows, address, addresses, policy};
use super::frames::{Ear, Frame, Link, port};
use super::nodes::{blocks, seen_from_afar};
use crate::world::EVERYWHERE;
use crate::{Case, world::World};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(22, "bypass_by_link_local_address", by_link_local_address),
        Case::new(22, "bypass_by_multicast_and_broadcast", by_multicast_and_broadcast),
        Case::new(22, "bypass_by_tags_of_vlan_0", by_tags_of_vlan_0),
        Case::new(22, "bypass_while_bridges_hide_their_packets", while_bridges_hide_their_packets),
        Case::new(88, "bypass_by_addresses_that_no_pod_of_the_node_has", by_borrowed_addresses),
        Case::new(88, "bypass_by_the_address_of_a_neighbour", by_the_address_of_a_neighbour),
        Case::new(99, "bypass_by_the_address_of_the_target", by_the_address_of_the_target),
    ]
}

/// Who is isolated, who may speak to it, and who tries to; all on one node.
const TARGET: &str = "x/a";
const FRIEND: &str = "x/b";
const STRANGER: &str = "y/a";
const NODE: &str = "n1";

/// What the friend says, who must always be heard.
const FRIENDLY: &str = "friendly";

const PATIENCE: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_millis(500);

/// Isolates the target, which hears only the friend and these.
fn isolation(peers: &str) -> String {
    policy(
        "isolation",
        &format!(
            "{{podSelector: {{matchLabels: {{pod: a}}}}, policyTypes: [Ingress, Egress], \
             ingress: [{{from: [{{podSelector: {{matchLabels: {{pod: b}}}}}}{peers}]}}]}}"
        ),
    )
}

type Attempts<'a> = dyn Fn(&World) -> Result<BTreeSet<String>, String> + 'a;

/// Attempts, that come as names or send them to an [`Ear`], must all fail; and those that are said to must succeed while
/// there are no rules.
fn must_fail(world: &mut World, isolation: &str, attempts: &Attempts<'_>, otherwise: &[&str]) -> Result<(), String> {
    world.apply(isolation)?;
    let names = otherwise.iter().chain([&FRIENDLY]).map(|&name| name.to_owned());
    let names: BTreeSet<String> = names.collect();
    let heard = world.without_agent(NODE, |world| {
        let node = world.lab().namespace(NODE).map_err(|error| error.to_string())?;
        let cleanup = run_in(node, &["cleanup"]);
        if cleanup.status != Some(0) {
            return Err(cleanup.stderr);
        }
        listen(world, attempts, &names, PATIENCE)
    })?;
    if heard != names {
        return Err(format!("without any rules {heard:?} came through, which should have been {names:?}"));
    }
    let heard = listen(world, attempts, &BTreeSet::new(), SILENCE)?;
    match heard.iter().eq([FRIENDLY]) {
        true => Ok(()),
        false => Err(format!("what came through is {heard:?}")),
    }
}

/// What of the attempts succeeds.
fn listen(
    world: &World,
    attempts: &Attempts<'_>,
    awaited: &BTreeSet<String>,
    patience: Duration,
) -> Result<BTreeSet<String>, String> {
    let ear = Ear::of(world, TARGET)?;
    // Finds the neighbours that attempts need.
    let mut flows = Flows::of(world);
    flows.pass(STRANGER, NODE, &[Traffic::Echo])?;
    flows.check()?;
    for target in addresses(world, TARGET)? {
        say(world, FRIEND, target, FRIENDLY)?;
    }
    let succeeded = attempts(world)?;
    let awaited = awaited.difference(&succeeded).cloned().collect();
    Ok(&ear.hear(&awaited, patience)? | &succeeded)
}

/// Has a pod send a datagram to who listens.
fn say(world: &World, from: &str, to: IpAddr, text: &str) -> Result<(), String> {
    say_to(world, from, SocketAddr::new(to, port(to)), text)
}

fn say_to(world: &World, from: &str, to: SocketAddr, text: &str) -> Result<(), String> {
    let send = || {
        let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.set_broadcast(true)?;
        socket.send_to(text.as_bytes(), to)
    };
    let namespace = world.lab().namespace(from).map_err(|error| error.to_string())?;
    let sent: io::Result<usize> = namespace.run(send).map_err(|error| error.to_string())?;
    sent.map(drop).map_err(|error| format!("{from} to {to}: {error}"))
}

/// Routed pods have no link in common, and no such packet is routed.
fn on_a_bridge<'a>(world: &World, names: &'a [&'a str]) -> &'a [&'a str] {
    if world.network() == PodNetwork::Ptp { &[] } else { names }
}

fn by_link_local_address(world: &mut World) -> Result<(), String> {
    let attempts = |world: &World| {
        let local = Link::of(world, TARGET)?.local;
        let via = Link::of(world, STRANGER)?.index;
        let at = |port| SocketAddr::from(SocketAddrV6::new(local, port, 0, via));
        say_to(world, STRANGER, at(port(local.into())), "UDP")?;
        let namespace = world.lab().namespace(STRANGER).map_err(|error| error.to_string())?;
        let connected = namespace.run(|| TcpStream::connect_timeout(&at(80), SILENCE));
        let connected = connected.map_err(|error| error.to_string())?.is_ok();
        Ok(connected.then(|| "TCP".to_owned()).into_iter().collect())
    };
    let otherwise = on_a_bridge(world, &["TCP", "UDP"]);
    must_fail(world, &isolation(""), &attempts, otherwise)
}

fn by_multicast_and_broadcast(world: &mut World) -> Result<(), String> {
    const NAMES: [&str; 4] = ["all nodes", "all hosts", "the subnet", "everybody"];
    let attempts = |world: &World| {
        let via = Link::of(world, STRANGER)?.index;
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        say_to(world, STRANGER, SocketAddrV6::new(all_nodes, port(all_nodes.into()), 0, via).into(), NAMES[0])?;
        let v4 = [[224, 0, 0, 1], [10, 244, 1, 255], [255, 255, 255, 255]];
        for (target, name) in v4.into_iter().zip(&NAMES[1..]) {
            say(world, STRANGER, Ipv4Addr::from(target).into(), name)?;
        }
        Ok(BTreeSet::new())
    };
    let otherwise = on_a_bridge(world, &NAMES);
    must_fail(world, &isolation(""), &attempts, otherwise)
}

/// A bridge passes them on as they are, and does not look into them unless told to. A router takes the tag off.
fn by_tags_of_vlan_0(world: &mut World) -> Result<(), String> {
    let attempts = |world: &World| {
        for (family, text) in Family::BOTH.into_iter().zip(["tagged IPv4", "tagged IPv6"]) {
            forge(world, address(world, STRANGER, family)?, true, text)?;
        }
        Ok(BTreeSet::new())
    };
    must_fail(world, &isolation(""), &attempts, &["tagged IPv4", "tagged IPv6"])
}

/// Has the stranger send the target a frame in somebody's name.
fn forge(world: &World, from: IpAddr, tagged: bool, text: &str) -> Result<(), String> {
    let links = (Link::of(world, STRANGER)?.address, Link::towards(world, STRANGER, TARGET)?);
    let to = addresses(world, TARGET)?.into_iter().find(|to| to.is_ipv4() == from.is_ipv4());
    let frame = Frame { links, tagged, addresses: (from, to.ok_or("the target lacks an address")?), text };
    let namespace = world.lab().namespace(STRANGER).map_err(|error| error.to_string())?;
    namespace.send_frame("eth0", &frame.bytes()?).map_err(|error| error.to_string())
}

/// Somebody has turned br_netfilter off: what a bridge carries is not shown to any rule. An agent turns it on.
fn while_bridges_hide_their_packets(world: &mut World) -> Result<(), String> {
    const SETTINGS: [&str; 2] = ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];
    world.apply(&isolation(""))?;
    let hidden = world.without_agent(NODE, |world| {
        let node = world.lab().namespace(NODE).map_err(|error| error.to_string())?;
        node.set_sysctls(&SETTINGS.map(|setting| (setting, "0"))).map_err(|error| error.to_string())?;
        let mut flows = Flows::of(world);
        match world.network() {
            // Nothing is bridged, and so nothing is hidden.
            PodNetwork::Ptp => flows.fail(STRANGER, TARGET, &ALL)?,
            _ => flows.pass(STRANGER, TARGET, &ALL)?,
        }
        flows.check()
    });
    let judged = hidden.and_then(|()| {
        let mut flows = Flows::of(world);
        flows.fail(STRANGER, TARGET, &ALL)?;
        flows.pass(FRIEND, TARGET, &ALL)?;
        flows.check()
    });
    // The cases that come next rely on it, whoever has turned it on.
    let node = world.lab().namespace(NODE).map_err(|error| error.to_string())?;
    node.set_sysctls(&SETTINGS.map(|setting| (setting, "1"))).map_err(|error| error.to_string())?;
    judged
}

/// All of them are admitted, by block or by label; but they are not here, whoever says so.
fn by_borrowed_addresses(world: &mut World) -> Result<(), String> {
    let names = ["the own node", "the router", "another node", "the world outside", "a pod of another node", "nobody"];
    let fixed = |texts: [&str; 2]| texts.map(|text| text.parse().map_err(|error| format!("{text}: {error}")));
    let fixed = |texts| fixed(texts).into_iter().collect::<Result<Vec<IpAddr>, String>>();
    let borrowed = [
        addresses(world, NODE)?,
        fixed(["10.244.1.1", "fd00:10:244:1::1"])?,
        seen_from_afar(world.network(), 2).to_vec(),
        EVERYWHERE.to_vec(),
        addresses(world, "x/c")?,
        fixed(["10.244.1.251", "fd00:10:244:1::fb"])?,
    ];
    let peers: Vec<String> = borrowed.iter().map(|addresses| blocks(addresses)).collect();
    let peers = format!(", {{podSelector: {{matchLabels: {{pod: c}}}}}}, {}", peers.join(", "));
    let attempts = |world: &World| {
        for (addresses, name) in borrowed.iter().zip(names) {
            for from in addresses {
                forge(world, *from, false, &format!("{name} {}", if from.is_ipv4() { 4 } else { 6 }))?;
            }
        }
        Ok(BTreeSet::new())
    };
    let all: Vec<String> = [4, 6].iter().flat_map(|family| names.map(|name| format!("{name} {family}"))).collect();
    // A router refuses IPv4 that claims to be its own.
    let is_refused = |name: &str| matches!(name, "the own node 4" | "the router 4");
    let is_routed = world.network() == PodNetwork::Ptp;
    let all: Vec<&str> = all.iter().map(String::as_str).filter(|name| !(is_routed && is_refused(name))).collect();
    must_fail(world, &isolation(&peers), &attempts, &all)
}

/// A pod may always speak to itself, and a stranger may say that it is the pod. Its kernel believes that of IPv6.
fn by_the_address_of_the_target(world: &mut World) -> Result<(), String> {
    let attempts = |world: &World| {
        for (family, text) in Family::BOTH.into_iter().zip(["IPv4", "IPv6"]) {
            forge(world, address(world, TARGET, family)?, false, text)?;
        }
        Ok(BTreeSet::new())
    };
    must_fail(world, &isolation(""), &attempts, &["IPv6"])
}

/// Whoever sends in the name of another pod of the node is judged as that pod (`docs/limits.md`): it gains what the other
/// may, and no more.
fn by_the_address_of_a_neighbour(world: &mut World) -> Result<(), String> {
    let other = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: d, namespace: x}\n\
                 spec: {nodeName: n1, containers: [{name: c, image: c}]}\n";
    world.apply(&(isolation("") + other))?;
    let attempts = |world: &World| {
        for (neighbour, name) in [("x/d", "another"), (FRIEND, "a friend")] {
            for family in Family::BOTH {
                forge(world, address(world, neighbour, family)?, false, &format!("{name} {}", family.bits()))?;
            }
        }
        Ok(BTreeSet::new())
    };
    let admitted: BTreeSet<String> = [FRIENDLY, "a friend 32", "a friend 128"].map(str::to_owned).into();
    // What is sent first is heard first, if at all.
    let heard = listen(world, &attempts, &admitted, PATIENCE)?;
    if heard == admitted { Ok(()) } else { Err(format!("what came through is {heard:?}")) }
}
