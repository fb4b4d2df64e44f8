//! The whole agent over a directory, each test in a network namespace of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use enforcer::engine::{self, Agent, EngineError};
use enforcer::observe::control::Request;
use enforcer::source::{Event, News, Source};
use policy_compiler::cidr::CidrRules;
use policy_compiler::manifest::{self, Content};
use policy_compiler::model::{Object, PolicyPort, PortMatch, Protocol};
use support::{TABLE, agent, in_namespace, load, nft, released, try_nft};
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
    tokio::task::spawn_local(engine::run(agent(directory, NODE)))
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

/// A source that says what a test tells it to.
struct Told(tokio::sync::mpsc::UnboundedReceiver<News>);

impl Source for Told {
    type Error = std::io::Error;

    async fn next(&mut self) -> Result<News, std::io::Error> {
        match self.0.recv().await {
            Some(news) => Ok(news),
            None => std::future::pending().await,
        }
    }
}

/// The objects of a text.
fn read(text: &str) -> Vec<Object> {
    let manifest = manifest::read(&"test".into(), text, CidrRules::Legacy);
    assert!(manifest.problems.is_empty(), "{:?}", manifest.problems);
    let objects = |document: manifest::Document| match document.content {
        Content::Objects(objects) => objects,
        _ => Vec::new(),
    };
    manifest.documents.into_iter().flat_map(objects).collect()
}

fn news(objects: impl IntoIterator<Item = Object>) -> News {
    let events = objects.into_iter().map(|object| Event::apply(object, Instant::now())).collect();
    News { events, problems: None }
}

/// A policy that nobody can write, and that the kernel does not take: its ports end before they begin.
fn refused(name: &str, app: &str) -> Object {
    let Some(Object::Policy(mut policy)) = read(&policy(name, app, 80)).pop() else { panic!("no policy") };
    let backwards = |first, last| PolicyPort { protocol: Protocol::Tcp, ports: PortMatch::Range(first, last) };
    policy.ingress.as_mut().unwrap()[0].ports = Some(vec![backwards(90, 80), backwards(85, 70)]);
    Object::Policy(policy)
}

#[test]
fn a_policy_that_the_kernel_refuses_is_closed_and_the_others_are_in_force() {
    in_agent_namespace(async |_| {
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        let agent = support::agent_of(Told(told), NODE);
        let observer = agent.observer.clone();
        let agent = tokio::task::spawn_local(engine::run(agent));
        let pods = ["web", "db", "api"].iter().zip(11..).map(|(name, n)| pod(name, &format!("10.244.1.{n}")));
        tell.send(news(pods.flat_map(|pod| read(&pod)).chain(read(&policy("db-in", "db", 5432))))).unwrap();
        until("the policy is in force", || ruleset().contains("tcp dport 5432")).await;

        let closed = || -> Vec<String> {
            let status = observer.status();
            status.problems.into_iter().filter(|problem| problem.closed).filter_map(|problem| problem.policy).collect()
        };
        tell.send(news([refused("web-in", "web")].into_iter().chain(read(&policy("api-in", "api", 8080))))).unwrap();
        until("the others are in force", || ruleset().contains("tcp dport 8080")).await;
        assert!(ruleset().contains("tcp dport 5432"));
        assert!(ruleset().contains("chain pod_ingress/shop/web"), "its pod is isolated:\n{}", ruleset());
        assert_eq!(closed(), ["shop/web-in"]);
        let committed = observer.conditions().into_iter().find(|condition| condition.name == "committed").unwrap();
        assert!(committed.holds, "{committed:?}");

        // Told again, it is refused no second time; mended, it is in force.
        let before = observer.status().commits;
        tell.send(news([refused("web-in", "web")])).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!((observer.status().commits, closed()), (before, vec!["shop/web-in".to_owned()]));
        tell.send(news(read(&policy("web-in", "web", 443)))).unwrap();
        until("it has been mended", || ruleset().contains("tcp dport 443")).await;
        assert_eq!(closed(), [""; 0]);
        stop(agent).await;
    });
}

/// A source that takes its time, which it counts anew whenever it is asked anew.
struct Slow(Told, Duration);

impl Source for Slow {
    type Error = std::io::Error;

    async fn next(&mut self) -> Result<News, std::io::Error> {
        tokio::time::sleep(self.1).await;
        self.0.next().await
    }
}

#[test]
fn a_source_that_takes_its_time_is_not_asked_anew_whenever_something_else_happens() {
    in_agent_namespace(async |_| {
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        tell.send(news(read(&(pod("web", "10.244.1.11") + &policy("web-in", "web", 80))))).unwrap();
        // Longer than the loop is ever quiet.
        let slow = Slow(Told(told), Duration::from_millis(2500));
        let agent = tokio::task::spawn_local(engine::run(support::agent_of(slow, NODE)));
        until("the policy is in force", || ruleset().contains("tcp dport 80")).await;
        stop(agent).await;
    });
}

/// How long this thread has been at work.
fn busy() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn an_agent_whose_rules_are_refused_and_that_is_sent_away_then_rests() {
    in_agent_namespace(async |_| {
        // As many chains as a hook has room for: a table of ours is refused.
        let chain = |number| format!("add chain inet other c{number} {{ type filter hook forward priority 0; }}\n");
        load(&(0..1024).map(chain).fold("add table inet other\n".to_owned(), |text, chain| text + &chain));
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        let (ask, requests) = enforcer::observe::control::channel();
        let agent = Agent { requests, ..support::agent_of(Told(told), NODE) };
        let observer = agent.observer.clone();
        let agent = tokio::task::spawn_local(engine::run(agent));
        tell.send(news(read(&(pod("web", "10.244.1.11") + &policy("web-in", "web", 80))))).unwrap();
        let refused = || observer.conditions().iter().any(|it| it.name == "committed" && it.reason.contains("refus"));
        until("it is refused", refused).await;
        let (answer, answered) = tokio::sync::oneshot::channel();
        ask.send(Request::Withdraw { answer }).await.unwrap();
        assert!(!answered.await.unwrap().unwrap(), "there is no table");
        let before = busy();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(busy() - before < Duration::from_millis(300), "{:?}", busy() - before);
        stop(agent).await;
    });
}
