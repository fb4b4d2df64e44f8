//! From a write to the API server to the first packet that is judged by it, on an idle engine: 100 pods on the node,
//! 5,000 elsewhere, 100 policies and 1,000. Prints a table for `docs/performance.md`.
//!
//! One way, UDP, every fifth of a millisecond a datagram: what a change takes is known as exactly as that. The clock
//! starts before the request is sent, so that the API server's own work is in it; the table tells that apart.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lab::{Namespace, PodNetwork, PodSpec};
use podwall_tests::kubernetes::{Cluster, await_that, objects};
use podwall_tests::setting;
use serde_json::{Value, json};

const LOCAL_PODS: u64 = 100;
const REMOTE_PODS: u64 = 5_000;
const REMOTE_NODES: u64 = 50;
const NAMESPACES: u64 = 20;
const PORT: u16 = 7000;
const INTERVAL: Duration = Duration::from_micros(200);
/// No packet is that late: where none has come for so long, none comes.
const QUIET: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(20);
/// Before the first change: many writes keep the API server busy for a while.
const SETTLING: Duration = Duration::from_secs(3);
/// Between two changes, so that the engine is idle.
const PAUSE: Duration = Duration::from_millis(50);

/// A stream of numbered datagrams from one namespace to an address, and what has come of it.
struct Stream {
    /// When each was sent.
    sent: Arc<Mutex<Vec<Instant>>>,
    /// The number of the last that arrived, and of the first since it was last asked for; both counted from 1.
    last: Arc<AtomicU64>,
    first: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Stream {
    fn start(from: &Namespace, to: &Namespace, address: IpAddr) -> Self {
        let receiver = to.run(|| UdpSocket::bind(SocketAddr::new(address, PORT))).unwrap().unwrap();
        receiver.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let sender = from.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
        sender.connect(SocketAddr::new(address, PORT)).unwrap();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let [last, first] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let send = {
            let (sent, stop) = (sent.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = {
                        let mut sent = sent.lock().unwrap();
                        sent.push(Instant::now());
                        sent.len() as u64
                    };
                    _ = sender.send(&number.to_be_bytes());
                    thread::sleep(INTERVAL);
                }
            }
        };
        let receive = {
            let (last, first, stop) = (last.clone(), first.clone(), stop.clone());
            move || {
                let mut buffer = [0; 8];
                while !stop.load(Ordering::Relaxed) {
                    if receiver.recv(&mut buffer).is_ok_and(|length| length == 8) {
                        let number = u64::from_be_bytes(buffer);
                        last.store(number, Ordering::Relaxed);
                        _ = first.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
                    }
                }
            }
        };
        Self { sent, last, first, stop, threads: vec![thread::spawn(send), thread::spawn(receive)] }
    }

    fn sent_at(&self, number: u64) -> Instant {
        self.sent.lock().unwrap()[number as usize - 1]
    }

    /// How long it takes from a change until the first packet passes.
    fn until_allowed(&self, change: impl FnOnce()) -> (Duration, Duration) {
        self.first.store(0, Ordering::Relaxed);
        let start = Instant::now();
        change();
        let written = start.elapsed();
        wait_until(|| self.first.load(Ordering::Relaxed) > 0);
        (self.sent_at(self.first.load(Ordering::Relaxed)).saturating_duration_since(start), written)
    }

    /// How long it takes from a change until the first packet is lost.
    fn until_denied(&self, change: impl FnOnce()) -> (Duration, Duration) {
        let start = Instant::now();
        change();
        let written = start.elapsed();
        let last = || self.last.load(Ordering::Relaxed);
        wait_until(|| {
            let before = last();
            thread::sleep(QUIET);
            last() == before
        });
        (self.sent_at(last() + 1).saturating_duration_since(start), written)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "nothing has happened");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Does many things at once, as many clients would.
fn at_once(count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    work(number);
                }
            });
        }
    });
}

fn address(number: u64) -> String {
    format!("10.250.{}.{}", number / 250, number % 250 + 1)
}

fn running(addresses: &[String]) -> Value {
    let listed: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    json!({"phase": "Running", "podIP": addresses[0], "podIPs": listed})
}

/// Policies of a real cluster's kind: each is about some apps of one namespace, and admits some of its own and another.
fn background(number: u64) -> Value {
    let namespace = format!("ns{}", number % NAMESPACES);
    let app = |n: u64| json!({"matchLabels": {"app": format!("app{}", n % 40)}});
    objects::policy(
        &format!("{namespace}/background-{number}"),
        json!({
            "podSelector": app(number),
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"podSelector": app(number + 1)}], "ports": [{"port": 8000 + number % 100}]},
                {"from": [{"namespaceSelector": {"matchLabels": {"team": format!("team{}", number % 5)}}, "podSelector": app(number + 2)}]},
            ],
        }),
    )
}

struct Bench {
    cluster: Cluster,
    /// In the order in which they were first measured.
    kinds: Vec<&'static str>,
    samples: BTreeMap<(&'static str, u64), Vec<(Duration, Duration)>>,
}

impl Bench {
    fn record(&mut self, kind: &'static str, policies: u64, sample: (Duration, Duration)) {
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
        self.samples.entry((kind, policies)).or_default().push(sample);
        thread::sleep(PAUSE);
    }

    fn measure(&mut self, stream: &Stream, remote: &str, policies: u64, rounds: u64) {
        let api = self.cluster.api().clone();
        let deny = objects::policy("bench/deny", json!({"podSelector": {"matchLabels": {"app": "server"}}}));
        let allow = |from: Value| {
            objects::policy(
                "bench/allow",
                json!({"podSelector": {"matchLabels": {"app": "server"}}, "ingress": [{"from": [from]}]}),
            )
        };
        let label = |kind: &str, id: &str, labels: Value| {
            api.patch(kind, id, &json!({"metadata": {"labels": labels}})).unwrap();
        };
        for _ in 0..rounds {
            let denied = stream.until_denied(|| _ = api.create(&deny).unwrap());
            self.record("policy create", policies, denied);
            let allowed = stream.until_allowed(|| _ = api.delete("NetworkPolicy", "bench/deny").unwrap());
            self.record("policy delete", policies, allowed);
        }
        api.apply(&allow(json!({"podSelector": {"matchLabels": {"role": "client"}}}))).unwrap();
        for _ in 0..rounds {
            let denied = stream.until_denied(|| label("Pod", "bench/client", json!({"role": null})));
            self.record("pod label", policies, denied);
            let allowed = stream.until_allowed(|| label("Pod", "bench/client", json!({"role": "client"})));
            self.record("pod label", policies, allowed);
        }
        for _ in 0..rounds {
            let denied = stream.until_denied(|| _ = api.delete_now("Pod", "bench/client").unwrap());
            self.record("remote pod delete", policies, denied);
            api.create(&client()).unwrap();
            thread::sleep(PAUSE);
            // Its address makes it somebody.
            let status = running(&[remote.to_owned()]);
            let allowed = stream.until_allowed(|| _ = api.patch_status("Pod", "bench/client", &status).unwrap());
            self.record("remote pod create", policies, allowed);
        }
        api.apply(&allow(json!({"namespaceSelector": {"matchLabels": {"bench": "yes"}}}))).unwrap();
        thread::sleep(Duration::from_millis(500));
        for _ in 0..rounds {
            let denied = stream.until_denied(|| label("Namespace", "bench", json!({"bench": null})));
            self.record("namespace label", policies, denied);
            let allowed = stream.until_allowed(|| label("Namespace", "bench", json!({"bench": "yes"})));
            self.record("namespace label", policies, allowed);
        }
        api.delete("NetworkPolicy", "bench/allow").unwrap();
        thread::sleep(Duration::from_millis(500));
    }

    fn print(&self, policies: &[u64]) {
        let mut out = std::io::stdout();
        writeln!(out, "| change | policies | p50 | p99 | the API server's answer, p50 | of the slowest | n |").unwrap();
        writeln!(out, "|---|---|---|---|---|---|---|").unwrap();
        for kind in &self.kinds {
            for count in policies {
                let Some(samples) = self.samples.get(&(*kind, *count)) else { continue };
                let mut samples = samples.clone();
                let rank = |percent: usize| (samples.len() * percent).div_ceil(100).max(1) - 1;
                let (half, most) = (rank(50), rank(99));
                samples.sort_unstable_by_key(|(_, written)| *written);
                let written = samples[half].1;
                samples.sort_unstable();
                let slowest = samples.last().map_or(Duration::ZERO, |(_, written)| *written);
                let [p50, p99, written, slowest] = [samples[half].0, samples[most].0, written, slowest]
                    .map(|time| format!("{:.1} ms", time.as_secs_f64() * 1e3));
                let n = samples.len();
                writeln!(out, "| {kind} | {count} | {p50} | {p99} | {written} | {slowest} | {n} |").unwrap();
            }
        }
    }
}

fn client() -> Value {
    objects::pod("bench/client", "elsewhere", json!({"role": "client", "app": "client"}), &[])
}

fn main() {
    let rounds = setting("PODWALL_ROUNDS").unwrap_or(50);
    let (few, many) = (setting("PODWALL_FEW").unwrap_or(100), setting("PODWALL_MANY").unwrap_or(1_000));
    let remote_pods = setting("PODWALL_REMOTE_PODS").unwrap_or(REMOTE_PODS);
    let local_pods = setting("PODWALL_LOCAL_PODS").unwrap_or(LOCAL_PODS);
    let cluster = Cluster::start(&["n1", "n2"], PodNetwork::Bridge);
    let api = cluster.api().clone();
    let say = |text: &str| _ = writeln!(std::io::stderr(), "{text}");

    say("namespaces, pods, policies");
    api.create(&objects::namespace("bench", json!({"bench": "yes"}))).unwrap();
    for number in 0..NAMESPACES {
        api.create(&objects::namespace(&format!("ns{number}"), json!({"team": format!("team{}", number % 5)})))
            .unwrap();
    }
    at_once(remote_pods, |number| {
        let id = format!("ns{}/remote-{number}", number % NAMESPACES);
        let node = format!("remote{}", number % REMOTE_NODES);
        let labels = json!({"app": format!("app{}", number % 40), "number": format!("{}", number % 7)});
        api.create(&objects::pod(&id, &node, labels, &[])).unwrap();
        api.patch_status("Pod", &id, &running(&[address(number)])).unwrap();
    });
    at_once(local_pods - 1, |number| {
        let id = format!("ns{}/local-{number}", number % NAMESPACES);
        api.create(&objects::pod(&id, "n1", json!({"app": format!("app{}", number % 40)}), &[])).unwrap();
    });
    at_once(few, |number| _ = api.create(&background(number)).unwrap());
    cluster.run(&objects::pod("bench/server", "n1", json!({"app": "server"}), &[]));
    for number in 0..local_pods - 1 {
        cluster.await_running(&format!("ns{}/local-{number}", number % NAMESPACES));
    }
    // The other end is on the second node, but no kubelet knows of it: it comes and goes as the API says.
    let far = PodSpec { id: "bench/client".to_owned(), node: "n2".to_owned(), ports: Vec::new() };
    cluster.lab().add_pod(&far).unwrap();
    let remote = cluster.addresses("bench/client")[0];
    api.create(&client()).unwrap();
    api.patch_status("Pod", "bench/client", &running(&[remote.to_string()])).unwrap();

    say("the agent");
    let agent = cluster.start_agent("n1");
    agent.await_ready(&cluster);
    let (from, to) = (cluster.namespace("bench/client"), cluster.namespace("bench/server"));
    let stream = Stream::start(&from, &to, cluster.addresses("bench/server")[0]);
    await_that("packets pass", || stream.last.load(Ordering::Relaxed) > 0);

    let mut bench = Bench { cluster, kinds: Vec::new(), samples: BTreeMap::new() };
    thread::sleep(SETTLING);
    say(&format!("{few} policies"));
    bench.measure(&stream, &remote.to_string(), few, rounds);
    at_once(many - few, |number| _ = api.create(&background(few + number)).unwrap());
    thread::sleep(SETTLING);
    say(&format!("{many} policies"));
    bench.measure(&stream, &remote.to_string(), many, rounds);
    bench.print(&[few, many]);
    let text = std::fs::read_to_string(format!("/proc/{}/status", agent.process.id())).unwrap();
    let size = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let mut out = std::io::stdout();
    writeln!(out, "the agent's memory: {}, at most {}", size("VmRSS:"), size("VmHWM:")).unwrap();
    drop((stream, agent));
}
