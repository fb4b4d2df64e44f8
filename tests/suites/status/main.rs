//! What an agent tells of itself, and what may be asked of it: `podwall status`, `doctor` and `cleanup`, probes, metrics.

mod doctor;
mod metrics;
mod withdrawal;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

use lab::{Namespace, Process, Signal};
use podwall_tests::agent::{self, HTTP, PATIENCE, get};
use podwall_tests::{Manifests, Run, assert_coloured, assert_documented, finish, namespace, nft, podwall, run_in};
use serde_json::Value;

const NODE: &str = "n1";

const PODS: &str = "---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}},
 spec: {nodeName: n1, containers: [{name: c}]}, status: {phase: Running, podIPs: [{ip: 10.244.1.3}, {ip: 'fd00::3'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: waiting, namespace: shop}, spec: {nodeName: n1, containers: [{name: c}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: remote, namespace: shop},
 spec: {nodeName: n2, containers: [{name: c}]}, status: {phase: Running, podIPs: [{ip: 10.244.2.3}]}}
";
const POLICY: &str = "---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: web-in, namespace: shop},
 spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}}
";
const BROKEN: &str = "---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: broken, namespace: shop},
 spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{ports: [{port: 99999}]}]}}
";

/// A namespace in which HTTP can be answered.
fn node() -> Namespace {
    let node = namespace("node");
    let up = node.run(|| Command::new("ip").args(["link", "set", "lo", "up"]).status()).unwrap();
    assert!(up.expect("ip is installed").success());
    node
}

fn manifests() -> Manifests {
    Manifests::new(&[("pods.yaml", PODS), ("policy.yaml", POLICY)])
}

fn start(node: &Namespace, manifests: &Manifests, more: &[&str]) -> Process {
    agent::start(node, manifests.argument(), NODE, more)
}

/// Asks until it is so.
#[track_caller]
fn until<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn probe(node: &Namespace, path: &str) -> (u16, String) {
    until("HTTP is answered", || get(node, HTTP, path))
}

fn status(node: &Namespace, exit: i32) -> Value {
    serde_json::from_str(&run_in(node, &["status", "-o", "json"]).expect(exit).stdout).unwrap()
}

/// Runs `podwall` as somebody who is not root.
fn run_as_nobody(node: &Namespace, arguments: &[&str]) -> Run {
    const NOBODY: u32 = 65_534;
    // What is built may lie where others cannot go.
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let binary = directory.path().join("podwall");
    std::fs::copy(podwall(), &binary).unwrap();
    let mut command = Command::new(&binary);
    command.args(arguments).current_dir("/").uid(NOBODY).gid(NOBODY);
    node.run(|| finish(command, "")).unwrap()
}

#[test]
fn status_tells_what_is_enforced() {
    let (node, manifests) = (node(), manifests());
    manifests.write("broken.yaml", BROKEN);
    let agent = start(&node, &manifests, &[]);
    let found = status(&node, 0);
    assert_eq!((&found["node"], &found["table"], &found["ready"]), (&NODE.into(), &"podwall".into(), &true.into()));
    let pod = &found["pods"][0];
    assert_eq!((&pod["name"], &pod["addresses"][1]), (&"shop/web".into(), &"fd00::3".into()));
    assert_eq!((&pod["ingress"], &pod["egress"]), (&["shop/web-in"][..].into(), &["shop/broken"][..].into()));
    assert_eq!((&found["pending"], &found["known_pods"]), (&["shop/waiting"][..].into(), &3.into()));
    assert_eq!((&found["policies"], &found["owned"]), (&2.into(), &true.into()));
    // A table made from nothing begins anywhere.
    assert!((1..=4095).contains(&found["generation"].as_u64().unwrap()), "{found}");
    let problem = &found["problems"][0];
    assert_eq!((&problem["policy"], &problem["closed"]), (&"shop/broken".into(), &true.into()));
    assert!(problem["message"].as_str().unwrap().contains("spec.egress[0].ports[0].port"), "{problem}");
    let listed = nft(&node, &["list", "table", "inet", "podwall"], "");
    assert_eq!(found["size"]["chains"], listed.matches("\tchain ").count());
    assert_eq!(found["size"]["sets"], listed.matches("\tset ").count() + listed.matches("\tmap ").count());
    assert_eq!((&found["commits"], found["last_commit"]["operations"].as_u64() > Some(10)), (&1.into(), true));
    // The keys of the API server's answers are documented as well, and tested where there is one.
    assert_documented("status", &[found]);

    let text = run_in(&node, &["status"]).expect(0).stdout;
    for line in [
        "node n1: ready podwall ",
        "[+] committed  the kernel holds what it should\n",
        "table          inet podwall, guarded by the kernel: generation ",
        "pods           2 here, 1 of them isolated; 3 in the cluster\n",
        "no address     shop/waiting\n",
        "shop/web  10.244.1.3  fd00::3  web-in   broken\n",
        "closed: ",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    node.run(|| assert_coloured(&["status"], &["\u{1b}[32mready", "\u{1b}[1mnode n1", "\u{1b}[31mclosed"])).unwrap();

    manifests.remove("broken.yaml");
    manifests.remove("policy.yaml");
    let open = until("both policies are gone", || Some(status(&node, 0)).filter(|found| found["policies"] == 0));
    assert!(open["pods"][0]["ingress"] == Value::Array(Vec::new()) && open["problems"][0].is_null(), "{open}");
    drop(agent);
}

#[test]
fn without_an_agent_status_tells_what_is_left() {
    let (node, manifests) = (node(), manifests());
    let nobody = run_in(&node, &["status"]).expect(2);
    assert_eq!(nobody.stdout, "");
    assert!(nobody.stderr.contains("no agent runs") && nobody.stderr.contains("no such table"), "{}", nobody.stderr);
    start(&node, &manifests, &[]).kill().unwrap();
    let left = run_in(&node, &["status", "-o", "json"]).expect(2);
    assert!(left.stdout.is_empty() && left.stderr.contains("its rules are in force"), "{}", left.stderr);
    let other = run_in(&node, &["status", "--table", "other"]).expect(2);
    assert!(other.stderr.contains("no such table"), "{}", other.stderr);
}

#[test]
fn probes_answer_and_can_be_turned_off_or_moved() {
    let (node, manifests) = (node(), manifests());
    let mut agent = start(&node, &manifests, &[]);
    let (code, ready) = probe(&node, "/readyz");
    let names: Vec<&str> = ready.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!((code, &names[..]), (200, &["[+]preflight", "[+]synced", "[+]committed", "[+]enforcing"][..]));
    let (code, live) = probe(&node, "/livez");
    assert!(code == 200 && live.starts_with("[+]heartbeat: "), "{live}");
    assert_eq!(probe(&node, "/status").0, 404, "that is for the control socket");
    agent.signal(Signal::SIGTERM).unwrap();
    agent.wait(PATIENCE).unwrap().unwrap();

    let mut agent = start(&node, &manifests, &["--http", "off"]);
    assert_eq!(status(&node, 0)["ready"], true);
    assert_eq!(get(&node, HTTP, "/livez"), None);
    agent.kill().unwrap();
    let _agent = start(&node, &manifests, &["--http", "[::1]:9000"]);
    until("HTTP is answered elsewhere", || get(&node, "[::1]:9000", "/livez"));
    for wrong in ["9469", "localhost:9469", "on"] {
        run_in(&node, &["enforce", "--manifests", "x", "--node", NODE, "--http", wrong]).expect(2);
    }
}

#[test]
fn an_agent_is_not_ready_while_bridged_packets_are_not_judged() {
    let (node, manifests) = (node(), manifests());
    let empty = tempfile::tempdir().unwrap();
    let _agent = start(&node, &manifests, &["--sysctls", empty.path().to_str().unwrap()]);
    let (code, text) = probe(&node, "/readyz");
    assert!(code == 503 && text.contains("[-]preflight: br_netfilter: the module"), "{text}");
    let found = status(&node, 1);
    assert_eq!((&found["ready"], &found["live"], found["size"].is_object()), (&false.into(), &true.into(), true));
    let shown = run_in(&node, &["status"]).expect(1).stdout;
    assert!(shown.contains("node n1: not ready") && shown.contains("[-] preflight  br_netfilter: "), "{shown}");
}

#[test]
fn who_turns_the_bridge_filter_off_does_so_for_a_second() {
    let (node, manifests) = (node(), manifests());
    let mut agent = start(&node, &manifests, &[]);
    let setting = "bridge-nf-call-iptables";
    let counted = || {
        let metric = format!("podwall_bridge_filter_turned_off_total{{setting=\"{setting}\"}} 1\n");
        Some(()).filter(|()| probe(&node, "/metrics").1.contains(&metric))
    };
    assert_eq!(counted(), None);
    node.set_sysctls(&[(&format!("net/bridge/{setting}"), "0")]).unwrap();
    until("it is turned on again, and counted", counted);
    let now = node.run(|| std::fs::read_to_string(format!("/proc/sys/net/bridge/{setting}"))).unwrap().unwrap();
    assert_eq!(now.trim(), "1");
    let told = agent.wait_for_line("somebody turned it off", PATIENCE).unwrap();
    assert!(told.contains(setting), "{told}");
    assert_eq!(probe(&node, "/readyz").0, 200);
}

#[test]
fn only_root_and_the_agents_own_user_are_answered() {
    let (node, manifests) = (node(), manifests());
    let _agent = start(&node, &manifests, &[]);
    for verb in ["status", "cleanup"] {
        let refused = run_as_nobody(&node, &[verb]).expect(2);
        assert!(refused.stdout.is_empty() && refused.stderr.contains("only root may ask"), "{}", refused.stderr);
    }
    assert_eq!(status(&node, 0)["ready"], true);
}
