//! The agents of a cluster's nodes, as `manifests/` puts them there: with that ServiceAccount, those roles, that
//! container's arguments and its one capability.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use lab::Process;
use serde_json::Value;

use super::{Cluster, Kubeconfig, await_that, program, resource};
use crate::agent::{self, HTTP, IN_FORCE, PATIENCE};
use crate::{finish, podwall, root};

/// What `kubectl kustomize` makes of a folder of `manifests/`, object by object.
pub fn kustomize(folder: &str) -> Vec<Value> {
    let mut kubectl = Command::new(program("kubectl"));
    kubectl.arg("kustomize").arg(root().join("manifests").join(folder));
    let text = finish(kubectl, "").expect(0).stdout;
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{folder}: {error}"))
}

/// The objects of the overlay that clusters of the suites are on.
fn overlay() -> &'static [Value] {
    static OBJECTS: OnceLock<Vec<Value>> = OnceLock::new();
    OBJECTS.get_or_init(|| kustomize("overlays/bridge"))
}

/// Which of the objects there is one of.
fn only(kind: &str) -> &'static Value {
    overlay().iter().find(|object| resource::kind_of(object) == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// An agent, which is killed when this is dropped.
pub struct NodeAgent {
    /// The process.
    pub process: Process,
    kubeconfig: Kubeconfig,
    node: String,
}

impl Cluster {
    /// Applies what the agent needs of the API server, and says how it logs in.
    pub fn agent_account(&self) -> Kubeconfig {
        for object in overlay().iter().filter(|object| resource::kind_of(object) != "DaemonSet") {
            self.api().apply(object).unwrap_or_else(|error| panic!("{object}: {error}"));
        }
        let account = &only("ServiceAccount")["metadata"];
        let name = |field: &str| account[field].as_str().expect("a string").to_owned();
        self.control_plane().service_account(&name("namespace"), &name("name"))
    }

    /// Starts an agent on a node. It may not have listed anything yet.
    pub fn launch_agent(&self, node: &str, more: &[&str]) -> NodeAgent {
        self.launch_agent_by(node, self.agent_account(), more)
    }

    /// Starts one that logs in by this kubeconfig.
    pub fn launch_agent_by(&self, node: &str, kubeconfig: Kubeconfig, more: &[&str]) -> NodeAgent {
        let process = spawn(self, node, &kubeconfig, more);
        NodeAgent { process, kubeconfig, node: node.to_owned() }
    }

    /// Starts one and waits until it enforces.
    pub fn start_agent(&self, node: &str) -> NodeAgent {
        let mut agent = self.launch_agent(node, &[]);
        agent.await_line(IN_FORCE);
        agent
    }
}

impl NodeAgent {
    /// Waits for a line of its log, behind the last that was waited for.
    #[track_caller]
    pub fn await_line(&mut self, pattern: &str) -> String {
        self.process.wait_for_line(pattern, PATIENCE).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Kills it, as SIGKILL does, and starts it again.
    pub fn restart(&mut self, cluster: &Cluster) {
        self.process.kill().unwrap_or_else(|error| panic!("{error}"));
        self.process = spawn(cluster, &self.node, &self.kubeconfig, &[]);
    }

    /// What its `/status` says, by `podwall status` on the node.
    pub fn status(&self, cluster: &Cluster) -> Value {
        let run = crate::run_in(&cluster.namespace(&self.node), &["status", "-o", "json"]);
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", run.stdout, run.stderr))
    }

    /// One of its metrics, by the value of its only label.
    #[track_caller]
    pub fn metric(&self, cluster: &Cluster, name: &str) -> BTreeMap<String, f64> {
        let answer = agent::get(&cluster.namespace(&self.node), HTTP, "/metrics");
        let (_, text) = answer.expect("the agent answers HTTP");
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
        let series = lines.map(|line| {
            let (label, value) = line.rsplit_once("\"} ").unwrap_or_else(|| panic!("{name}: {line}"));
            let (_, label) = label.split_once("=\"").unwrap_or_else(|| panic!("{name}: {line}"));
            (label.to_owned(), value.parse().unwrap_or_else(|error| panic!("{line}: {error}")))
        });
        series.collect()
    }

    /// Waits until it is ready.
    #[track_caller]
    pub fn await_ready(&self, cluster: &Cluster) {
        await_that("the agent is ready", || self.status(cluster)["ready"] == true);
    }
}

/// As the container would be started, on the node's own `/proc/sys`, which a container sees elsewhere.
fn spawn(cluster: &Cluster, node: &str, kubeconfig: &Kubeconfig, more: &[&str]) -> Process {
    let container = &only("DaemonSet")["spec"]["template"]["spec"]["containers"][0];
    let arguments = container["args"]
        .as_array()
        .expect("a list of arguments")
        .iter()
        .map(|argument| argument.as_str().unwrap_or_else(|| panic!("{argument} is no string")));
    let mut command = Command::new("setpriv");
    // Tied to the thread that starts it, so that nothing is left where this process is killed.
    command.args(["--pdeathsig", "KILL", "--inh-caps=-all"]).arg(bounding_set(container)).arg(podwall());
    command.args(arguments.filter(|argument| !argument.starts_with("--sysctls")));
    command.args(["--log-format", "compact", "--kubeconfig", kubeconfig.argument()]).args(more);
    command.env("NODE_NAME", node).env("RUST_LOG", "info,enforcer=debug").stdout(Stdio::null());
    Process::spawn(&cluster.namespace(node), command).unwrap_or_else(|error| panic!("{error}"))
}

/// Root's processes get what is left of the bounding set, which is how a container's capabilities work.
fn bounding_set(container: &Value) -> String {
    let capabilities = &container["securityContext"]["capabilities"];
    assert_eq!(capabilities["drop"], serde_json::json!(["ALL"]));
    let added = capabilities["add"].as_array().expect("a list of capabilities");
    let names = added.iter().map(|name| format!(",+{}", name.as_str().expect("a name").to_lowercase()));
    format!("--bounding-set=-all{}", names.collect::<String>())
}
