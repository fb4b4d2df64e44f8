//! The whole agent over a directory, each test in a network namespace of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use enforcer::engine::{self, EngineError, Options};
use enforcer::kernel::Kernel;
use enforcer::source::Directory;
use policy_compiler::cidr::CidrRules;
use policy_compiler::plan::Settings;
use support::{TABLE, in_namespace, nft, released, try_nft};
use tokio::task::JoinHandle;

const NODE: &str = "node-a";

fn pod(name: &str, address: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}\n\
         spec: {{nodeName: {NODE}, containers: [{{name: c, image: i}}]}}\n\
         status: {{phase: Running, podIPs: [{{ip: {address}}}]}}\n"
    )
}

fn policy(name: &str, app: &str, port: u32) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{podSelector: {{matchLabels: {{app: {app}}}}}, policyTypes: [Ingress], ingress: [{{ports: [{{port: {port}}}]}}]}}\n"
    )
}

fn ruleset() -> String {
    try_nft(&["list", "table", "inet", TABLE], "").unwrap_or_default()
}

/// The ruleset's generation, as the mark stands in the listing.
fn stamp() -> String {
    let text = ruleset();
    let rule =
        text.lines().find(|line| line.contains("ct mark &") && line.contains("accept") || line.contains("ct mark 0x"));
    rule.map(str::trim).unwrap_or_default().to_owned()
}

fn start(directory: &Path) -> JoinHandle<Result<(), EngineError>> {
    let source = Directory::open(directory, CidrRules::Legacy).unwrap();
    let options = Options { node: NODE.into(), settings: Settings::default() };
    tokio::task::spawn_local(engine::run(source, Kernel::open(TABLE).unwrap(), options))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}:\n{}", ruleset());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn stop(agent: JoinHandle<Result<(), EngineError>>) {
    agent.abort();
    assert!(agent.await.unwrap_err().is_cancelled());
    released();
}

fn in_agent_namespace(test: impl AsyncFnOnce(&Path) + Send) {
    in_namespace(|| {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test(directory.path()));
    });
}

#[test]
fn edits_reach_the_kernel_and_tightening_counts_the_generation_on() {
    in_agent_namespace(async |directory| {
        fs::write(directory.join("pods.yaml"), pod("web", "10.244.1.11") + &pod("db", "10.244.1.12")).unwrap();
        let agent = start(directory);
        until("both pods are known", || ruleset().contains("10.244.1.12")).await;
        let first = stamp();
        assert!(!first.is_empty(), "{}", ruleset());

        fs::write(directory.join("policy.yaml"), policy("web-in", "web", 80)).unwrap();
        until("the policy is in force", || ruleset().contains("tcp dport 80")).await;
        let isolated = stamp();
        assert_ne!(isolated, first, "isolation tightens");

        fs::write(directory.join("more.yaml"), pod("new", "10.244.1.13")).unwrap();
        until("the new pod is known", || ruleset().contains("10.244.1.13")).await;
        assert_eq!(stamp(), isolated, "a new pod without policies tightens nothing");

        fs::write(directory.join("policy.yaml"), policy("web-in", "web", 81)).unwrap();
        until("the edit is in force", || ruleset().contains("tcp dport 81")).await;
        assert!(!ruleset().contains("tcp dport 80 "));
        assert_ne!(stamp(), isolated);

        fs::remove_file(directory.join("policy.yaml")).unwrap();
        until("nobody is isolated", || !ruleset().contains("tcp dport")).await;
        stop(agent).await;
    });
}

#[test]
fn an_invalid_policy_closes_its_pods_or_changes_nothing() {
    in_agent_namespace(async |directory| {
        fs::write(directory.join("pods.yaml"), pod("web", "10.244.1.11") + &pod("db", "10.244.1.12")).unwrap();
        fs::write(directory.join("db.yaml"), policy("db-in", "db", 5432)).unwrap();
        fs::write(directory.join("web.yaml"), policy("web-in", "web", 99999)).unwrap();
        let agent = start(directory);
        until("the valid policy is in force", || ruleset().contains("tcp dport 5432")).await;
        let chains = nft("list chains inet");
        assert!(
            chains.contains("shop/web") || ruleset().contains("shop/web"),
            "the pod of the invalid one is isolated:\n{}",
            ruleset()
        );

        fs::write(directory.join("web.yaml"), policy("web-in", "web", 80)).unwrap();
        until("it has been mended", || ruleset().contains("tcp dport 80")).await;
        let before = ruleset();
        fs::write(directory.join("web.yaml"), policy("web-in", "web", 99999)).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(ruleset(), before, "what was valid counts on");
        stop(agent).await;
    });
}

#[test]
fn a_restart_sends_nothing_unless_something_changed() {
    in_agent_namespace(async |directory| {
        fs::write(directory.join("a.yaml"), pod("web", "10.244.1.11") + &policy("web-in", "web", 80)).unwrap();
        let agent = start(directory);
        until("the policy is in force", || ruleset().contains("tcp dport 80")).await;
        fs::write(directory.join("a.yaml"), pod("web", "10.244.1.11") + &policy("web-in", "web", 81)).unwrap();
        until("the edit is in force", || ruleset().contains("tcp dport 81")).await;
        let (before, generation) = (ruleset(), stamp());
        stop(agent).await;

        let agent = start(directory);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let owned = |text: &str| {
            text.lines()
                .filter(|l| !l.contains("flags") && !l.starts_with("table"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(owned(&ruleset()), owned(&before));
        assert_eq!(stamp(), generation);
        assert!(ruleset().contains("progname"), "the new agent owns the table");
        stop(agent).await;

        nft("flush chain inet podwall base_forward");
        let agent = start(directory);
        until("the damage is repaired", || ruleset().contains("ct state vmap")).await;
        assert_ne!(stamp(), generation, "whatever passed meanwhile is judged again");
        stop(agent).await;
    });
}

#[test]
fn a_second_agent_waits_for_the_first() {
    in_agent_namespace(async |directory| {
        fs::write(directory.join("a.yaml"), pod("web", "10.244.1.11")).unwrap();
        let first = start(directory);
        until("the pod is known", || ruleset().contains("10.244.1.11")).await;
        let second_directory = tempfile::tempdir().unwrap();
        fs::write(second_directory.path().join("a.yaml"), pod("web", "10.244.1.22")).unwrap();
        let second = start(second_directory.path());
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(ruleset().contains("10.244.1.11") && !second.is_finished());
        first.abort();
        until("the second one takes over", || ruleset().contains("10.244.1.22")).await;
        assert!(!ruleset().contains("10.244.1.11"));
        stop(second).await;
    });
}
