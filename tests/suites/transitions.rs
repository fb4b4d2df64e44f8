//! Packets that are on their way while a transaction comes into force: none is judged by rules of which it sees half.
//!
//! As many packets as a processor can send meet as many transactions as the other can make, in the form in which the agent
//! makes them: deltas of a live plan, committed over netlink.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use enforcer::kernel::{Kernel, Repair};
use lab::{Lab, LabSpec, PodNetwork, PodSpec};
use policy_compiler::cidr::CidrRules;
use policy_compiler::delta::{ChainChange, SetChange};
use policy_compiler::manifest::{self, Content};
use policy_compiler::model::{Object, ObjectId, ObjectName, Pod};
use policy_compiler::plan::{Generation, LivePlan, Settings, UnknownPods};

const NODE: &str = "node";
/// Nothing else listens there.
const PORT: u16 = 7000;
/// A leak of one packet in a thousand transactions shows in nearly every run.
const DURATION: Duration = Duration::from_secs(5);
/// How many packets may be on their way.
const AHEAD: u64 = 100;
/// How long nothing may have arrived for all to have arrived.
const STRAGGLERS: Duration = Duration::from_millis(200);

/// The pods `shop/subject` and `shop/asker` of a node, each with label app: NAME.
struct World {
    lab: Lab,
    live: LivePlan,
}

/// What became of the packets.
struct Outcome {
    sent: u64,
    arrived: u64,
    /// How often all changes were made.
    rounds: u64,
}

/// One thing that happens.
enum Event {
    Apply(Object),
    Remove(ObjectId),
}

/// What becomes of chains and sets that nothing refers to any more.
#[derive(PartialEq)]
enum Garbage {
    /// They are deleted, as by the agent. That waits for packets, and so there are fewer rounds.
    Goes,
    /// They are left.
    Stays,
}

impl World {
    /// These pods the plan knows of.
    fn new(known: &[&str]) -> Self {
        let pods =
            ["subject", "asker"].map(|name| PodSpec { id: format!("shop/{name}"), node: NODE.into(), ports: vec![] });
        let spec = LabSpec { nodes: vec![NODE.into()], pods: pods.into(), ..LabSpec::default() };
        let lab = Lab::build(&spec).unwrap_or_else(|error| panic!("{error}"));
        let settings = Settings {
            pod_interfaces: vec![PodNetwork::default().pod_interface().parse().unwrap()],
            unknown_pods: UnknownPods::Drop,
            ..Settings::default()
        };
        let mut world = Self { lab, live: LivePlan::new(NODE, settings, Generation::FIRST) };
        known.iter().for_each(|name| world.live.apply(world.pod(name)));
        world
    }

    fn address(&self, name: &str) -> Ipv4Addr {
        let addresses = self.lab.addresses(&format!("shop/{name}")).unwrap().iter();
        let is_v4 = |address: &IpAddr| if let IpAddr::V4(address) = address { Some(*address) } else { None };
        addresses.copied().find_map(|address| is_v4(&address)).unwrap()
    }

    fn pod(&self, name: &str) -> Object {
        object(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}, \
             spec: {{nodeName: {NODE}, containers: [{{name: c}}]}}, status: {{phase: Running, podIP: {}}}}}",
            self.address(name)
        ))
    }

    /// Makes changes over and over, each in a commit of its own, while the asker sends to the subject as fast as it can.
    /// `changes` are those of a round, by its number.
    fn try_packets(&mut self, garbage: Garbage, changes: impl Fn(u64) -> Vec<Event>) -> Outcome {
        let namespace = |id: &str| self.lab.namespace(id).unwrap();
        let socket = |name: &str, port| {
            let bind = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port));
            namespace(&format!("shop/{name}")).run(bind).unwrap().unwrap()
        };
        let (sender, receiver) = (socket("asker", 0), socket("subject", PORT));
        let target = SocketAddr::new(self.address("subject").into(), PORT);
        let mut kernel = namespace(NODE).run(|| Kernel::open("podwall")).unwrap().unwrap();
        kernel.repair(&Repair::create(self.live.table())).unwrap();
        _ = self.live.delta();

        let (stop, arrived) = (AtomicBool::new(false), AtomicU64::new(0));
        let (sent, rounds) = thread::scope(|scope| {
            scope.spawn(|| count(&receiver, &arrived, &stop).unwrap());
            let sent = scope.spawn(|| send(&sender, target, &arrived, &stop));
            let rounds = change(&mut self.live, &mut kernel, garbage, changes);
            stop.store(true, Ordering::Relaxed);
            (sent.join().unwrap(), rounds)
        });
        Outcome { sent, arrived: arrived.into_inner(), rounds }
    }
}

impl Outcome {
    /// That there were packets enough, and so many rounds, to meet.
    fn has_met(&self, least: u64) {
        let Self { sent, rounds, .. } = self;
        assert!(*sent > 10_000 && *rounds >= least, "{sent} packets have met {rounds} rounds, which are too few");
    }
}

fn change(live: &mut LivePlan, kernel: &mut Kernel, garbage: Garbage, changes: impl Fn(u64) -> Vec<Event>) -> u64 {
    let started = Instant::now();
    let mut rounds = 0;
    while started.elapsed() < DURATION {
        for event in changes(rounds) {
            match event {
                Event::Apply(object) => live.apply(object),
                Event::Remove(id) => live.remove(&id),
            }
            let mut delta = live.delta();
            if garbage == Garbage::Stays {
                delta.chains.retain(|_, change| *change != ChainChange::Delete);
                delta.sets.retain(|_, change| *change != SetChange::Delete);
            }
            kernel.commit(&delta).unwrap();
        }
        rounds += 1;
    }
    rounds
}

fn send(socket: &UdpSocket, target: SocketAddr, arrived: &AtomicU64, stop: &AtomicBool) -> u64 {
    let (mut sent, mut last_arrival) = (0, Instant::now());
    let mut before = 0;
    while !stop.load(Ordering::Relaxed) {
        let arrived = arrived.load(Ordering::Relaxed);
        if arrived != before {
            (before, last_arrival) = (arrived, Instant::now());
        }
        // What arrives must not be lost because nobody fetches it; what was denied is not waited for.
        if sent - arrived > AHEAD && last_arrival.elapsed() < STRAGGLERS {
            thread::sleep(Duration::from_micros(20));
        } else {
            sent += u64::from(socket.send_to(b"?", target).is_ok());
        }
    }
    sent
}

fn count(socket: &UdpSocket, arrived: &AtomicU64, stop: &AtomicBool) -> io::Result<()> {
    loop {
        match lab::receive(socket, &mut [0; 8], STRAGGLERS) {
            Ok(_) => _ = arrived.fetch_add(1, Ordering::Relaxed),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            Err(_) if stop.load(Ordering::Relaxed) => return Ok(()),
            Err(_) => {}
        }
    }
}

fn policy(name: &str, spec: &str) -> Object {
    let metadata = format!("metadata: {{name: {name}, namespace: shop}}");
    object(&format!("{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, {metadata}, spec: {spec}}}"))
}

fn object(text: &str) -> Object {
    let read = manifest::read(&"test.yaml".into(), text, CidrRules::Legacy);
    let mut contents = read.documents.into_iter().map(|document| document.content);
    match (contents.next(), &read.problems[..]) {
        (Some(Content::Objects(mut objects)), []) => objects.remove(0),
        (_, problems) => panic!("{problems:?}"),
    }
}

/// Isolates `subject`, and allows it peers.
fn allow(name: &str, peers: &str) -> Object {
    policy(name, &format!("{{podSelector: {{matchLabels: {{app: subject}}}}, ingress: [{{from: [{peers}]}}]}}"))
}

#[test]
fn a_new_pod_is_isolated_for_packets_that_are_on_their_way_to_it() {
    let mut world = World::new(&["asker"]);
    let Object::Pod(subject) = world.pod("subject") else { panic!("a pod is a pod") };
    world.live.apply(policy("none", "{podSelector: {}, policyTypes: [Ingress]}"));
    // Another pod each time, so that its chains are new though those of the last one stay.
    let outcome = world.try_packets(Garbage::Stays, |round| {
        let name = ObjectName::new("shop", format!("new-{round}"));
        let new = Object::Pod(Box::new(Pod { name, ..(*subject).clone() }));
        let gone = new.id();
        vec![Event::Apply(new), Event::Remove(gone)]
    });
    assert_eq!(outcome.arrived, 0, "of {} packets, while {} pods were new", outcome.sent, outcome.rounds);
    outcome.has_met(500);
}

#[test]
fn whoever_is_never_allowed_gets_nothing_through_while_policies_change() {
    let mut world = World::new(&["subject", "asker"]);
    world.live.apply(policy("none", "{podSelector: {}, policyTypes: [Ingress]}"));
    let others = [
        allow("other", "{podSelector: {matchLabels: {app: other}}}"),
        allow("other", "{ipBlock: {cidr: 10.0.0.0/8, except: [10.244.0.0/16]}}"),
        allow("other", "{namespaceSelector: {matchLabels: {is: not}}}, {ipBlock: {cidr: 192.0.2.0/24}}"),
    ];
    let outcome = world.try_packets(Garbage::Goes, |_| {
        let gone = Event::Remove(others[0].id());
        others.iter().cloned().map(Event::Apply).chain([gone]).collect()
    });
    assert_eq!(outcome.arrived, 0, "of {} packets in {} rounds", outcome.sent, outcome.rounds);
    outcome.has_met(20);
}

#[test]
fn whoever_is_always_allowed_loses_nothing_while_policies_change() {
    let mut world = World::new(&["subject", "asker"]);
    let asker = allow("asker", "{podSelector: {matchLabels: {app: asker}}}");
    let everybody = allow("asker", "{podSelector: {}}");
    let other = allow("other", "{podSelector: {matchLabels: {app: other}}}");
    // At the end of each round the subject is not isolated at all.
    let outcome = world.try_packets(Garbage::Goes, |_| {
        let applied = [&asker, &other, &everybody].map(|policy| Event::Apply(policy.clone()));
        let removed = [&other, &asker].map(|policy| Event::Remove(policy.id()));
        applied.into_iter().chain(removed).collect()
    });
    assert_eq!(outcome.sent - outcome.arrived, 0, "of {} packets in {} rounds", outcome.sent, outcome.rounds);
    outcome.has_met(20);
}
