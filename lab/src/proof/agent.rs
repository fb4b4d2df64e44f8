//! The agent of a node, and what it reads.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use policy_compiler::{cluster::Cluster, render};
use serde_json::{Value, json};

use crate::{LabError, Namespace, PodNetwork, Process, scratch::Scratch};

/// How long an agent may take until its first commit, and until each later one.
const PATIENCE: Duration = Duration::from_secs(30);
/// What it logs once its rules are in force.
const IN_FORCE: &str = "policies are in force";
/// What it logs whenever its rules are what its manifests say.
const IN_STEP: &str = "in step";
const FOLDER: &str = "manifests";
const FILE: &str = "cluster.json";

/// An agent that enforces. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Agent {
    process: Process,
    start: Start,
    node: Namespace,
    scratch: Scratch,
    /// How often it has been given a state.
    states: usize,
}

/// How it is started, every time.
#[derive(Debug)]
struct Start {
    program: PathBuf,
    arguments: Vec<String>,
}

impl Agent {
    /// Starts it on a cluster, which it finds in a directory that nobody else sees, and waits until it enforces.
    pub(super) fn start(
        program: &Path,
        network: PodNetwork,
        name: &str,
        node: &Namespace,
        cluster: &Cluster,
        objects: &[Value],
    ) -> Result<Self, LabError> {
        let failed = || node.error("write the agent's manifests");
        let scratch = Scratch::new().map_err(failed())?;
        let text = manifests(cluster, objects, 0).to_string();
        let folder = scratch.write(FOLDER, FILE, text.as_bytes()).map_err(failed())?;

        let arguments =
            ["enforce", "--node", name, "--pod-interface", network.pod_interface(), "--unknown-pods", "drop"];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
        arguments.extend(["--manifests".to_owned(), folder.display().to_string()]);
        let start = Start { program: program.to_owned(), arguments };
        let process = start.spawn(node, &scratch)?;
        let mut agent = Self { process, start, node: node.clone(), scratch, states: 1 };
        agent.wait_for_start()?;
        Ok(agent)
    }

    /// Has it end without a chance to do anything. Its rules stay.
    pub(super) fn kill(&mut self) -> Result<(), LabError> {
        self.process.kill().map(drop)
    }

    /// Starts it again on what it was told last, and waits until it enforces.
    pub(super) fn restart(&mut self) -> Result<(), LabError> {
        self.process.kill()?;
        self.process = self.start.spawn(&self.node, &self.scratch)?;
        self.wait_for_start()
    }

    fn wait_for_start(&mut self) -> Result<(), LabError> {
        self.process.wait_for_line(IN_FORCE, PATIENCE)?;
        self.process.wait_for_line(IN_STEP, PATIENCE).map(drop)
    }

    /// Gives it another state of the cluster. [`Agent::wait`] says when it enforces it.
    pub(super) fn tell(&mut self, cluster: &Cluster, objects: &[Value]) -> Result<(), LabError> {
        let text = manifests(cluster, objects, self.states).to_string();
        self.states += 1;
        let written = self.scratch.write(FOLDER, FILE, text.as_bytes());
        written.map(drop).map_err(self.node.error("write the agent's manifests"))
    }

    /// Waits until it enforces what it was told last.
    pub(super) fn wait(&mut self) -> Result<(), LabError> {
        self.process.wait_for_line(IN_STEP, PATIENCE).map(drop)
    }
}

impl Start {
    fn spawn(&self, node: &Namespace, scratch: &Scratch) -> Result<Process, LabError> {
        let mut command = Command::new(&self.program);
        command.env("RUST_LOG", "info,enforcer=debug").args(&self.arguments);
        command.args(["--log-format", "compact", "--end-with-parent", &std::process::id().to_string()]);
        // Of a lab that is kept nobody's pipe stays open, and nothing of the file system busy.
        command.stdout(Stdio::null()).current_dir("/");
        Process::spawn_seeing(node, scratch, command)
    }
}

/// Policies and namespaces as they were written, pods as they are in the lab; those that policies are not about as well,
/// for it is the agent that must know them from others. A namespace without pods, a new one each time, has the agent see
/// a change in any case.
fn manifests(cluster: &Cluster, objects: &[Value], state: usize) -> Value {
    let marker = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("podwall-lab-state-{state}")},
    });
    let pods = cluster.pods().map(render::manifest::pod);
    let items: Vec<Value> = objects.iter().cloned().chain([marker]).chain(pods).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}
