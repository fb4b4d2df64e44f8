//! Labs that stay: `podwall lab --keep`, `shell`, `list` and `down`; and that no lab, however it ends, leaves anything.
//!
//! Every test has a network namespace of its own, which is the root namespace to its labs. Labs are found by abstract
//! sockets, so that those of other tests, and of whoever works on this machine, are not seen there.

mod background;
mod inside;
mod killed;
mod rootless;
mod traces;

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lab::Namespace;
use lab::lineage::ProcessId;
use podwall_tests::{Manifests, Run, podwall_at_terminal, root, run_in};
use serde_json::Value;

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pods that listen on port 80, of which only `client` may speak to `server`.
fn manifests() -> Manifests {
    manifests_of(&["client", "server", "other"])
}

fn manifests_of(pods: &[&str]) -> Manifests {
    let pod = |name: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {name}}}}}, \
             spec: {{containers: [{{name: c, ports: [{{containerPort: 80}}]}}]}}}}\n"
        )
    };
    let policy = "---\n{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: server}, spec: {\
         podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}}\n";
    Manifests::new(&[("all.yaml", &(pods.iter().map(|name| pod(name)).collect::<String>() + policy))])
}

/// Where labs are made.
struct Ground {
    network: Namespace,
}

impl Ground {
    fn new() -> Self {
        Self { network: podwall_tests::namespace("ground") }
    }

    /// Runs `podwall lab`.
    fn lab(&self, arguments: &[&str]) -> Run {
        run_in(&self.network, &[&["lab"], arguments].concat())
    }

    /// Starts `podwall lab`, and does not wait for it.
    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = podwall_at_terminal();
        command.arg("lab").args(arguments).current_dir(root());
        self.spawn(command)
    }

    fn spawn(&self, mut command: Command) -> Child {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.network.run(|| command.spawn()).unwrap().unwrap()
    }

    /// Runs a program in a place of the only lab.
    fn shell(&self, place: &str, command: &[&str]) -> Run {
        self.lab(&[&["shell", place, "--"], command].concat())
    }

    /// What `podwall lab list` tells.
    fn labs(&self) -> Vec<Value> {
        let listed = self.lab(&["list", "-o", "json"]).expect(0).stdout;
        let mut listed: Value = serde_json::from_str(&listed).unwrap();
        serde_json::from_value(listed["labs"].take()).unwrap()
    }

    /// The keeper of the only lab.
    fn keeper(&self) -> ProcessId {
        let [lab] = &self.labs()[..] else { panic!("not one lab: {:?}", self.labs()) };
        ProcessId::of(lab["keeper"].as_u64().unwrap() as u32).unwrap()
    }

    /// The links of the network that to its labs is the root namespace.
    fn links(&self) -> Vec<String> {
        let links = self.network.run(|| std::fs::read_to_string("/proc/thread-self/net/dev")).unwrap().unwrap();
        links.lines().skip(2).filter_map(|line| line.split(':').next()).map(|name| name.trim().to_owned()).collect()
    }
}

impl Drop for Ground {
    /// A test that fails leaves no lab, either.
    fn drop(&mut self) {
        self.lab(&["down"]);
    }
}

/// The IPv4 address of a pod or node of a lab.
fn address(lab: &Value, place: &str) -> String {
    let places = ["nodes", "pods"].iter().flat_map(|kind| lab[kind].as_array().unwrap());
    let place = places.into_iter().find(|candidate| candidate["name"] == place).expect("the lab has it");
    place["addresses"][0].as_str().unwrap().to_owned()
}

/// A command that says what a port says first, or nothing.
fn listen_to(address: &str, port: u16) -> Vec<String> {
    let script = format!("exec 3<>/dev/tcp/{address}/{port} && read -r line <&3 && echo \"$line\"");
    ["timeout", "1", "bash", "-c", &script].map(str::to_owned).into()
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Waits for the end of a process, but not for ever.
#[track_caller]
fn end_of(child: &mut Child) -> ExitStatus {
    wait_for("the end of a process", || child.try_wait().unwrap())
}

/// Waits for something that takes a moment.
#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}
