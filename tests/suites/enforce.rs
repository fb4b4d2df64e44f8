//! `podwall enforce --manifests` and `podwall cleanup`: edits, faults, restarts, while packets flow.

use std::time::Duration;

use lab::{
    Connection, Expectation, Flood, FloodReceiver, Lab, LabSpec, Observed, PodNetwork, PodSpec, Probe, Process,
    Protocol, Signal, Traffic,
};
use podwall_tests::agent::{self, COMMITTED, PATIENCE};
use podwall_tests::{Manifests, assert_same_lines, listing, namespace, nft, run_in};

const NODE: &str = "node";
/// Where floods are received; nothing else listens there.
const FLOOD: u16 = 7000;
const RATE: u32 = 1000;
const DROP_UNKNOWN: [&str; 4] = ["--pod-interface", "cni0", "--unknown-pods", "drop"];

/// A node with these pods (label app: NAME) in namespace shop, which listen on TCP 80 and UDP 53.
struct Cluster {
    lab: Lab,
    manifests: Manifests,
}

impl Cluster {
    fn new(pods: &[&str]) -> Self {
        let spec = |name: &&str| PodSpec {
            id: format!("shop/{name}"),
            node: NODE.into(),
            ports: vec![(Protocol::Tcp, 80), (Protocol::Udp, 53)],
        };
        let lab = Lab::build(&LabSpec {
            nodes: vec![NODE.into()],
            network: PodNetwork::default(),
            pods: pods.iter().map(spec).collect(),
            ..LabSpec::default()
        })
        .unwrap_or_else(|error| panic!("{error}"));
        let manifests = Manifests::new(&[]);
        let mut text = String::new();
        for name in pods {
            let addresses = lab.addresses(&format!("shop/{name}")).unwrap();
            let ips: Vec<String> = addresses.iter().map(|address| format!("{{ip: \"{address}\"}}")).collect();
            text += &format!(
                "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}, \
                 spec: {{nodeName: {NODE}, containers: [{{name: c, ports: [{{name: web, containerPort: 80}}]}}]}}, \
                 status: {{phase: Running, podIPs: [{}]}}}}\n",
                ips.join(", ")
            );
        }
        manifests.write("pods.yaml", &text);
        Self { lab, manifests }
    }

    fn start(&self) -> Process {
        agent::start(self.lab.namespace(NODE).unwrap(), self.manifests.argument(), NODE, &DROP_UNKNOWN)
    }

    /// Over TCP 80 and both families, which must agree.
    #[track_caller]
    fn reaches(&self, from: &str, to: &str, expected: bool) {
        let expectation = if expected { Expectation::Allowed } else { Expectation::Denied };
        let probe = |to| Probe::new(format!("shop/{from}"), to, Traffic::Port(Protocol::Tcp, 80), expectation);
        let probes: Vec<_> = self.lab.addresses(&format!("shop/{to}")).unwrap().iter().map(|to| probe(*to)).collect();
        let observed = self.lab.probe_all(&probes, |_, _| {}).unwrap();
        let wanted = if expected { Observed::Allowed } else { Observed::Denied };
        assert_eq!(observed, vec![wanted; probes.len()], "{from} -> {to}");
    }

    /// How many TCP segments a pod has sent again: each is one that got lost.
    fn retransmitted(&self, pod: &str) -> u64 {
        let namespace = self.lab.namespace(&format!("shop/{pod}")).unwrap();
        let counters = namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp")).unwrap().unwrap();
        let mut tcp = counters.lines().filter_map(|line| line.strip_prefix("Tcp:")).map(str::split_whitespace);
        let (names, values) = (tcp.next().unwrap(), tcp.next().unwrap());
        let (_, count) = names.zip(values).find(|(name, _)| *name == "RetransSegs").unwrap();
        count.parse().unwrap()
    }

    fn flood(&self, from: &str, receiver: &FloodReceiver, to: &str, family: usize) -> Flood {
        let address = self.lab.addresses(&format!("shop/{to}")).unwrap()[family];
        Flood::start(self.lab.namespace(&format!("shop/{from}")).unwrap(), address, receiver, RATE).unwrap()
    }
}

#[track_caller]
fn committed(agent: &mut Process) -> String {
    agent.wait_for_line(COMMITTED, PATIENCE).unwrap_or_else(|error| panic!("{error}"))
}

/// A policy in namespace shop that isolates `subject` for ingress and allows these pods.
fn allow(name: &str, subject: &str, from: &[&str]) -> String {
    let peers: Vec<String> =
        from.iter().map(|app| format!("{{podSelector: {{matchLabels: {{app: {app}}}}}}}")).collect();
    let rules = if from.is_empty() { String::new() } else { format!("{{from: [{}]}}", peers.join(", ")) };
    format!(
        "---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}, namespace: shop}}, \
         spec: {{podSelector: {{matchLabels: {{app: {subject}}}}}, policyTypes: [Ingress], ingress: [{rules}]}}}}\n"
    )
}

#[test]
fn two_hundred_edits_under_a_flood_leak_nothing_and_lose_nothing() {
    let cluster = Cluster::new(&["good", "bad", "other", "server"]);
    cluster.manifests.write("always.yaml", &allow("always", "server", &["good"]));
    let mut agent = cluster.start();
    let receiver = FloodReceiver::start(cluster.lab.namespace("shop/server").unwrap(), FLOOD).unwrap();
    let floods: Vec<_> = ["good", "bad"]
        .into_iter()
        .flat_map(|from| [0, 1].map(|family| (from, cluster.flood(from, &receiver, "server", family))))
        .collect();

    let loose = allow("edited", "server", &["other", "good"]);
    let tight = allow("edited", "server", &[]);
    for _ in 0..50 {
        cluster.manifests.write("edited.yaml", &loose);
        committed(&mut agent);
        cluster.manifests.overwrite("edited.yaml", &tight);
        committed(&mut agent);
        cluster.manifests.overwrite("edited.yaml", &loose);
        committed(&mut agent);
        cluster.manifests.remove("edited.yaml");
        committed(&mut agent);
    }
    for (from, flood) in floods {
        let result = flood.stop().unwrap();
        assert!(result.sent > 1000, "{from}: {} packets are no flood", result.sent);
        match from {
            "good" => assert_eq!(result.lost, [0; 0], "of {}", result.sent),
            _ => assert_eq!(result.arrived, 0, "of {}", result.sent),
        }
    }
}

#[test]
fn a_denied_connection_is_cut_by_its_next_packet_and_others_never_notice() {
    let cluster = Cluster::new(&["good", "other", "server"]);
    cluster.manifests.write("policy.yaml", &allow("policy", "server", &["good", "other"]));
    let mut agent = cluster.start();
    for family in [0, 1] {
        let server = cluster.lab.addresses("shop/server").unwrap()[family];
        let open = |from| Connection::open(cluster.lab.namespace(from).unwrap(), server, 80).unwrap();
        let (mut good, mut other) = (open("shop/good"), open("shop/other"));
        let second = Duration::from_secs(1);
        good.echo("before", second).unwrap();
        other.echo("before", second).unwrap();
        let retransmitted = cluster.retransmitted("good");

        cluster.manifests.write("policy.yaml", &allow("policy", "server", &["good"]));
        committed(&mut agent);
        let cut = other.echo("after", second).unwrap_err();
        assert_eq!(cut.kind(), std::io::ErrorKind::TimedOut);
        assert!(cluster.retransmitted("other") > 0, "what was cut is sent again");
        (0..20).for_each(|_| good.echo("after", PATIENCE).unwrap());
        assert_eq!(cluster.retransmitted("good"), retransmitted, "a packet of an allowed connection was lost");
        cluster.manifests.write("policy.yaml", &allow("policy", "server", &["good", "other"]));
        committed(&mut agent);
        other.echo("allowed again", Duration::from_secs(10)).unwrap();
    }
}

#[test]
fn edits_are_followed_and_other_pods_are_untouched() {
    let cluster = Cluster::new(&["a", "b", "server"]);
    let mut agent = cluster.start();
    cluster.reaches("a", "server", true);
    cluster.manifests.write("policy.yaml", &allow("policy", "server", &["a"]));
    committed(&mut agent);
    cluster.reaches("a", "server", true);
    cluster.reaches("b", "server", false);
    cluster.reaches("server", "b", true);
    cluster.manifests.remove("policy.yaml");
    committed(&mut agent);
    cluster.reaches("b", "server", true);
}

const MISSPELT: &str = "---\n{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: wrong, namespace: shop}, \
     spec: {podSelector: {matchLabels: {app: server}}, ingress: [{form: [{podSelector: {}}]}]}}\n";

#[test]
fn an_invalid_policy_at_start_closes_its_pods_and_all_others_are_enforced() {
    let cluster = Cluster::new(&["a", "b", "server", "free"]);
    cluster.manifests.write("wrong.yaml", MISSPELT);
    cluster.manifests.write("right.yaml", &allow("right", "b", &["a"]));
    let mut agent = cluster.start();
    assert!(
        agent.stderr().iter().any(|line| line.contains("wrong.yaml:2") && line.contains("spec.ingress[0].form")),
        "{:#?}",
        agent.stderr()
    );
    cluster.reaches("a", "server", false);
    cluster.reaches("server", "free", true);
    cluster.reaches("a", "b", true);
    cluster.reaches("free", "b", false);
    // The others go on following their edits.
    cluster.manifests.write("right.yaml", &allow("right", "b", &["free"]));
    committed(&mut agent);
    cluster.reaches("a", "b", false);
    cluster.reaches("free", "b", true);
    cluster.manifests.write("wrong.yaml", &MISSPELT.replace("form", "from"));
    committed(&mut agent);
    cluster.reaches("a", "server", true);
}

#[test]
fn an_edit_that_makes_a_policy_invalid_keeps_its_last_good_version() {
    let cluster = Cluster::new(&["a", "b", "server"]);
    let good = allow("wrong", "server", &["a"]);
    cluster.manifests.write("policies.yaml", &(good.clone() + &allow("right", "b", &["a"])));
    let mut agent = cluster.start();
    for broken in [MISSPELT, "{"] {
        // One time a policy that is invalid, with a neighbour in its file; the other time no YAML at all.
        let neighbour = if broken == "{" { "" } else { &allow("right", "b", &["server"]) };
        cluster.manifests.write("policies.yaml", &(broken.to_owned() + neighbour));
        agent.wait_for_line("policies.yaml", PATIENCE).unwrap_or_else(|error| panic!("{error}"));
        if !neighbour.is_empty() {
            committed(&mut agent);
            cluster.reaches("server", "b", true);
        }
        cluster.reaches("a", "server", true);
        cluster.reaches("b", "server", false);
    }
    cluster.manifests.write("policies.yaml", &allow("wrong", "server", &["b"]));
    committed(&mut agent);
    cluster.reaches("a", "server", false);
    cluster.reaches("b", "server", true);
}

#[test]
fn a_directory_that_cannot_be_read_at_start_is_an_error_and_the_old_rules_stay() {
    let cluster = Cluster::new(&["a", "b", "server"]);
    cluster.manifests.write("policy.yaml", &allow("policy", "server", &["a"]));
    let node = cluster.lab.namespace(NODE).unwrap();
    let mut agent = cluster.start();
    agent.signal(Signal::SIGTERM).unwrap();
    assert_eq!(agent.wait(Duration::from_secs(2)).unwrap().map(|status| status.code()), Some(Some(0)));
    let before = listing(node);
    let run = run_in(node, &["enforce", "--manifests", "/nonexistent/manifests", "--node", NODE]).expect(2);
    assert!(run.stderr.contains("/nonexistent/manifests"), "{}", run.stderr);
    assert_same_lines(&listing(node), &before, "after an error at start");
    cluster.reaches("a", "server", true);
    cluster.reaches("b", "server", false);
}

#[test]
fn kills_and_restarts_under_a_flood_leak_nothing_and_lose_nothing() {
    let cluster = Cluster::new(&["good", "bad", "server"]);
    cluster.manifests.write("policy.yaml", &allow("policy", "server", &["good"]));
    let node = cluster.lab.namespace(NODE).unwrap();
    let mut agent = cluster.start();
    let receiver = FloodReceiver::start(cluster.lab.namespace("shop/server").unwrap(), FLOOD).unwrap();
    let (good, bad) = (cluster.flood("good", &receiver, "server", 0), cluster.flood("bad", &receiver, "server", 0));
    let before = listing(node);
    for round in 0..6 {
        if round % 2 == 0 {
            agent.kill().unwrap();
        } else {
            agent.signal(Signal::SIGTERM).unwrap();
            agent.wait(Duration::from_secs(2)).unwrap().expect("it ends within two seconds");
        }
        agent = cluster.start();
        assert_same_lines(&listing(node), &before, "a restart without a change changes nothing");
    }
    let (good, bad) = (good.stop().unwrap(), bad.stop().unwrap());
    assert_eq!(good.lost, [0; 0], "of {}", good.sent);
    assert_eq!(bad.arrived, 0, "of {}", bad.sent);
}

#[test]
fn what_changed_while_no_agent_ran_is_in_force_after_the_next_start() {
    let cluster = Cluster::new(&["a", "b", "server"]);
    cluster.manifests.write("policy.yaml", &allow("policy", "server", &["a"]));
    drop(cluster.start());
    let server = cluster.lab.addresses("shop/server").unwrap()[0];
    let mut connection = Connection::open(cluster.lab.namespace("shop/a").unwrap(), server, 80).unwrap();
    connection.echo("before", Duration::from_secs(1)).unwrap();
    cluster.manifests.write("policy.yaml", &allow("policy", "server", &["b"]));
    cluster.reaches("a", "server", true);
    let _agent = cluster.start();
    cluster.reaches("a", "server", false);
    cluster.reaches("b", "server", true);
    // Nobody knows what connections the old rules let through: all are judged again.
    connection.echo("after", Duration::from_secs(1)).unwrap_err();
}

#[test]
fn cleanup_removes_the_table_and_nothing_else() {
    let cluster = Cluster::new(&["a", "server"]);
    cluster.manifests.write("policy.yaml", &allow("policy", "server", &[]));
    let node = cluster.lab.namespace(NODE).unwrap();
    nft(node, &["-f", "-"], "table inet other { chain c { counter; }\n}\ntable ip podwall { chain c { counter; }\n}\n");
    let agent = cluster.start();
    drop(agent);
    cluster.reaches("a", "server", false);
    let run = run_in(node, &["cleanup"]).expect(0);
    assert_eq!(run.stdout, "removed table inet podwall\n");
    cluster.reaches("a", "server", true);
    assert_eq!(nft(node, &["list", "tables"], ""), "table inet other\ntable ip podwall\n");
    assert_eq!(run_in(node, &["cleanup"]).expect(0).stdout, "there is no table inet podwall\n");
}

#[test]
fn a_second_agent_is_refused_while_the_first_owns_the_table() {
    let node = namespace("node");
    let manifests = Manifests::new(&[("policy.yaml", &allow("policy", "server", &[]))]);
    let _first = agent::start(&node, manifests.argument(), NODE, &[]);
    let mut second = agent::launch(&node, manifests.argument(), NODE, &[]);
    second.wait_for_line("owned", PATIENCE).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_base_chain_and_the_table_are_never_made_anew() {
    let cluster = Cluster::new(&["a", "server"]);
    let mut agent = cluster.start();
    let node = cluster.lab.namespace(NODE).unwrap();
    let handles = || {
        let text = nft(node, &["--handle", "list", "table", "inet", "podwall"], "");
        let lines = text.lines().filter(|line| line.starts_with("table") || line.contains("chain base_forward"));
        // A table that nobody owns at the moment lists without the name of its owner.
        lines.map(|line| line.split(" progname").next().unwrap_or(line).to_owned()).collect::<Vec<_>>()
    };
    let before = handles();
    assert_eq!(before.len(), 2, "{before:?}");
    for from in [&["a"][..], &[], &["a", "server"]] {
        cluster.manifests.write("policy.yaml", &allow("policy", "server", from));
        committed(&mut agent);
    }
    drop(agent);
    cluster.manifests.remove("policy.yaml");
    drop(cluster.start());
    assert_eq!(handles(), before);
}

#[test]
fn objects_that_nothing_needs_any_more_are_collected() {
    let cluster = Cluster::new(&["a", "server"]);
    let mut agent = cluster.start();
    let node = cluster.lab.namespace(NODE).unwrap();
    // All but the generation, which goes up and never comes back.
    let held =
        || -> String { listing(node).lines().filter(|line| !line.contains("ct mark")).collect::<Vec<_>>().join("\n") };
    let before = held();
    cluster.manifests.write("policy.yaml", &allow("policy", "server", &["a"]));
    committed(&mut agent);
    assert!(held().contains("chain pod_ingress/shop/server"));
    cluster.manifests.remove("policy.yaml");
    committed(&mut agent);
    assert_same_lines(&held(), &before, "after the last policy has gone");
}
