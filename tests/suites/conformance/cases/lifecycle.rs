//! Agents that are killed, pods that are new, and what stays when policies go.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lab::{Flood, FloodReceiver, Namespace, PodNetwork};
use policy_compiler::cidr::Family;

use super::flows::{ALL, Flows, TCP, address, addresses, deny_all, policy};
use super::shell::{self, Undo};
use crate::{Case, world::World};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(110, "a_new_pod_is_isolated_from_its_first_moment", a_new_pod_is_isolated),
        Case::new(111, "what_a_new_pod_is_allowed_comes_after_its_isolation", allowances_come_after_isolation),
        Case::new(137, "a_killed_and_restarted_agent_leaks_nothing_and_loses_nothing", restarts_leak_nothing),
        Case::new(137, "a_killed_agent_leaves_its_rules_in_force", a_killed_agent_leaves_its_rules),
        Case::new(138, "nothing_of_a_deleted_policy_stays_in_the_kernel", nothing_of_a_deleted_policy_stays),
    ]
}

/// Where floods are received; nothing else listens there.
const FLOOD: u16 = 7000;
const RATE: u32 = 500;

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn namespace<'w>(world: &'w World, id: &str) -> Result<&'w Namespace, String> {
    world.lab().namespace(id).map_err(text)
}

fn only_y(port: &str) -> String {
    policy(
        "only-y",
        &format!(
            "{{podSelector: {{}}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{ns: \"y\"}}}}}}]{port}}}]}}"
        ),
    )
}

fn restarts_leak_nothing(world: &mut World) -> Result<(), String> {
    world.apply(&only_y(""))?;
    let receiver = FloodReceiver::start(namespace(world, "x/a")?, FLOOD).map_err(text)?;
    let mut floods = Vec::new();
    for (from, allowed) in [("y/a", true), ("y/b", true), ("x/b", false), ("z/a", false)] {
        for family in Family::BOTH {
            let target = address(world, "x/a", family)?;
            floods.push((from, allowed, Flood::start(namespace(world, from)?, target, &receiver, RATE).map_err(text)?));
        }
    }
    for node in ["n1", "n2", "n1"] {
        world.without_agent(node, |_| {
            thread::sleep(Duration::from_millis(100));
            Ok(())
        })?;
    }
    for (from, allowed, flood) in floods {
        let result = flood.stop().map_err(text)?;
        if result.sent < 100 {
            return Err(format!("{from}: {} packets are no flood", result.sent));
        }
        if allowed && !result.lost.is_empty() {
            return Err(format!(
                "{from}: of {} packets {} were lost: {:?}",
                result.sent,
                result.lost.len(),
                result.lost
            ));
        }
        if !allowed && result.arrived > 0 {
            return Err(format!("{from}: of {} packets {} arrived", result.sent, result.arrived));
        }
    }
    Ok(())
}

fn a_killed_agent_leaves_its_rules(world: &mut World) -> Result<(), String> {
    world.apply(&only_y(", ports: [{port: 80}]"))?;
    let show = |world: &World| {
        let mut flows = Flows::of(world);
        flows.pass("y/a", "x/a", &[TCP])?;
        flows.pass("y/b", "x/a", &[TCP])?;
        flows.fail("y/a", "x/a", &ALL[1..])?;
        flows.fail("x/b", "x/a", &ALL)?;
        flows.fail("x/c", "x/a", &ALL)?;
        flows.check()
    };
    world.without_agent("n1", show)?;
    show(world)
}

fn nothing_of_a_deleted_policy_stays(world: &mut World) -> Result<(), String> {
    // Of every kind: peers, blocks with their excepts, named ports, both directions.
    let everything = policy(
        "everything",
        "{podSelector: {}, policyTypes: [Ingress, Egress], \
         ingress: [{from: [{podSelector: {matchLabels: {tier: web}}}, {ipBlock: {cidr: 198.18.0.0/15, except: [198.18.7.0/24]}}], ports: [{port: http}]}], \
         egress: [{to: [{namespaceSelector: {matchLabels: {ns: z}}}, {ipBlock: {cidr: \"2001:db8:7::/48\"}}], ports: [{port: admin}, {port: 4000, endPort: 5000}]}]}",
    );
    world.apply("")?;
    let before = [held(world, "n1")?, held(world, "n2")?];
    world.apply(&everything)?;
    for (node, before) in ["n1", "n2"].into_iter().zip(&before) {
        let added = &held(world, node)? - before;
        for kind in ["chain", "set"] {
            if !added.iter().any(|name| name.starts_with(kind)) {
                return Err(format!("{node}: the policy has brought no {kind}, only {added:?}"));
            }
        }
    }
    world.apply("")?;
    for (node, before) in ["n1", "n2"].into_iter().zip(&before) {
        let left = &held(world, node)? - before;
        if !left.is_empty() {
            return Err(format!("{node}: there is still {left:?}"));
        }
    }
    Ok(())
}

/// The kinds and names of all that the table of a node has.
fn held(world: &World, node: &str) -> Result<BTreeSet<String>, String> {
    let listing = shell::run(world, node, "nft --terse list table inet podwall")?;
    let lines = listing.lines().map(|line| line.trim().trim_end_matches(" {").to_owned());
    Ok(lines.filter(|line| ["chain ", "set ", "map "].iter().any(|kind| line.starts_with(kind))).collect())
}

/// How long a flood goes on after the agents are in step.
const AFTERWARDS: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(5);

fn a_new_pod_is_isolated(world: &mut World) -> Result<(), String> {
    let policies = deny_all("x", "{matchLabels: {pod: new}}");
    let answers = answers_of_a_new_pod(world, &policies, &["x/b", "x/c", "y/a"], &[])?;
    match answers.iter().all(|(_, count)| *count == 0) {
        true => Ok(()),
        false => Err(format!("the new pod has answered: {answers:?}")),
    }
}

fn allowances_come_after_isolation(world: &mut World) -> Result<(), String> {
    let policies = only_y("");
    let answers = answers_of_a_new_pod(world, &policies, &["x/b", "x/c", "y/a", "y/b"], &["y/a", "y/b"])?;
    match answers.iter().all(|(from, count)| (*count > 0) == from.starts_with("y/")) {
        true => Ok(()),
        false => Err(format!("the new pod may answer y alone, and has answered: {answers:?}")),
    }
}

fn new_pod(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: x, labels: {{pod: {name}}}}}\n\
         spec: {{nodeName: n1, containers: [{{name: main, image: echo}}]}}\nstatus: {{phase: Running}}\n"
    )
}

/// Adds a pod `x/new` to n1 while some pods keep asking it, from before it exists until after all agents know it. Says
/// how often it has answered whom. Its own node asks as well: it must have got an answer, or nothing has been shown. Those
/// who are to get one are waited for, too: to find a neighbour takes its time.
fn answers_of_a_new_pod(
    world: &mut World,
    policies: &str,
    askers: &[&str],
    awaited: &[&str],
) -> Result<Vec<(String, u64)>, String> {
    // Addresses are given out in turn, so another new pod tells which ones come next.
    world.apply(&(policies.to_owned() + &new_pod("scout")))?;
    let next: Vec<IpAddr> =
        addresses(world, "x/scout")?.into_iter().flat_map(|last| (1..=3).map(move |step| later(last, step))).collect();
    let askers: Vec<&str> = askers.iter().copied().chain(["n1"]).collect();
    let _undo = search_impatiently(world, &askers)?;
    let stop = AtomicBool::new(false);
    let counts: Vec<AtomicU64> = askers.iter().map(|_| AtomicU64::new(0)).collect();
    let places: Vec<Namespace> = askers.iter().map(|id| namespace(world, id).cloned()).collect::<Result<_, _>>()?;
    thread::scope(|scope| {
        let asking: Vec<_> = places
            .iter()
            .zip(&counts)
            .map(|(place, count)| scope.spawn(|| place.run(|| ask(&next, count, &stop)).map_err(text)?.map_err(text)))
            .collect();
        let outcome = world.apply(&(policies.to_owned() + &new_pod("scout") + &new_pod("new"))).map(|()| {
            let deadline = Instant::now() + PATIENCE;
            let is_awaited = |id: &str| id == "n1" || awaited.contains(&id);
            let waits = || {
                let mut asked = askers.iter().zip(&counts);
                asked.any(|(id, count)| is_awaited(id) && count.load(Ordering::Relaxed) == 0)
            };
            while waits() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
            thread::sleep(AFTERWARDS);
        });
        stop.store(true, Ordering::Relaxed);
        for asker in asking {
            asker.join().map_err(|_| "an asker has panicked")??;
        }
        outcome
    })?;
    if !addresses(world, "x/new")?.iter().all(|address| next.contains(address)) {
        return Err(format!("the new pod has got {:?}, and {next:?} were asked", addresses(world, "x/new")?));
    }
    let mut answers: Vec<(String, u64)> =
        askers.iter().zip(&counts).map(|(id, count)| ((*id).to_owned(), count.load(Ordering::Relaxed))).collect();
    match answers.pop() {
        Some((_, count)) if count > 0 => Ok(answers),
        _ => Err("the new pod has not even answered its own node".to_owned()),
    }
}

/// Who has looked for a neighbour in vain looks again every second; by then a new pod is known to its agent.
fn search_impatiently(world: &World, ids: &[&str]) -> Result<Undo, String> {
    let mut undo = Undo::default();
    for id in ids {
        // Of a routed pod the node finds the link anew, so that it has looked for nothing yet.
        let link = match id.contains('/') {
            true => "eth0",
            false if world.network() == PodNetwork::Ptp => continue,
            false => world.network().pod_interface(),
        };
        for table in ["arp_cache", "ndisc_cache"] {
            let change = format!("ip ntable change name {table} dev {link} retrans");
            shell::run(world, id, &format!("{change} 10"))?;
            undo.then(world, id, format!("{change} 1000"))?;
        }
    }
    Ok(undo)
}

fn later(address: IpAddr, step: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits().wrapping_add(step.into())).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits().wrapping_add(step.into())).into(),
    }
}

/// Sends datagrams in the calling thread's namespace, and counts the answers of the new pod. Every one is a flow of its
/// own: one that was let through by mistake must not be the reason for the next.
fn ask(targets: &[IpAddr], count: &AtomicU64, stop: &AtomicBool) -> std::io::Result<()> {
    let mut open: Vec<UdpSocket> = Vec::new();
    let mut buffer = [0; 256];
    while !stop.load(Ordering::Relaxed) {
        for target in targets {
            let socket = UdpSocket::bind(if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
            socket.set_nonblocking(true)?;
            // Until the pod is there, whoever is in its place may say that nobody is.
            _ = socket.send_to(b"?", SocketAddr::new(*target, 80));
            open.push(socket);
        }
        thread::sleep(Duration::from_millis(2));
        for socket in &open {
            match socket.recv(&mut buffer) {
                Ok(length) if buffer[..length].starts_with(b"podwall-lab x/new\n") => {
                    _ = count.fetch_add(1, Ordering::Relaxed)
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => {}
                _ => {}
            }
        }
        let old = open.len().saturating_sub(256);
        open.drain(..old);
    }
    Ok(())
}
