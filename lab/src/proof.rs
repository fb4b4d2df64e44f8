//! The proof of a policy set: its cluster is built, an agent on each node enforces it, and every flow between pods is tried with
//! packets and held against the verdict that the policies say literally.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Object, ObjectName, Pod};
use policy_compiler::render;
use policy_compiler::verdict::{self, Endpoint, Flow};
use serde_json::{Value, json};

use crate::scratch::Scratch;
use crate::{Expectation, Lab, LabError, LabSpec, Observed, PodNetwork, PodSpec, Probe, Process, Protocol, Traffic};

/// How long an agent may take until its first commit.
const START: Duration = Duration::from_secs(30);
/// What the agent logs once its rules are in force.
const IN_FORCE: &str = "policies are in force";

/// What is to be proven.
#[derive(Debug)]
pub struct Claim<'a> {
    /// The cluster; every pod has a node, addresses are given here.
    pub cluster: &'a Cluster,
    /// How pods of several nodes reach each other.
    pub network: PodNetwork,
    /// NetworkPolicy and Namespace objects as they were written, for the agent to read by itself.
    pub objects: Vec<Value>,
    /// The program that enforces: `AGENT enforce --manifests DIR --node NAME ..`.
    pub agent: &'a Path,
}

/// How far a proof is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Namespaces, links and addresses of this many pods are made.
    Building {
        /// The pods.
        pods: usize,
    },
    /// The agent has been started.
    Enforcing,
    /// Probes are on their way.
    Probing {
        /// Answered so far.
        done: usize,
        /// Of so many.
        all: usize,
    },
}

/// Every flow that was tried.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The pods that took part, by name.
    pub pods: Vec<ObjectName>,
    /// The flows, by source, destination, traffic and family.
    pub trials: Vec<Trial>,
}

impl Proof {
    /// The trials in which packets and policies disagree.
    pub fn mismatches(&self) -> impl Iterator<Item = &Trial> {
        self.trials.iter().filter(|trial| !trial.agrees())
    }
}

/// One flow, predicted and tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Who opens it.
    pub from: ObjectName,
    /// Who it is opened to.
    pub to: ObjectName,
    /// The address of `to` that was tried.
    pub address: IpAddr,
    /// What was sent.
    pub traffic: Traffic,
    /// Whether the policies allow it.
    pub predicted: bool,
    /// What the packets did.
    pub observed: Observed,
}

impl Trial {
    /// Whether the packets did what the policies say. Every pod listens on every port that is tried, and
    /// its kernel answers echo requests, so a refusal can only come from a rule.
    pub fn agrees(&self) -> bool {
        match self.observed {
            Observed::Allowed => self.predicted,
            Observed::Denied | Observed::Refused => !self.predicted,
            Observed::Broken(_) => false,
        }
    }
}

/// Builds, enforces, probes, and compares.
///
/// # Errors
/// When the machine lacks something, the lab cannot be built, or the agent does not come to enforce.
pub fn prove(claim: &Claim<'_>, mut progress: impl FnMut(Progress)) -> Result<Proof, LabError> {
    let pods: Vec<&Pod> = claim.cluster.pods().filter(|pod| pod.is_selectable()).collect();
    let ports: Vec<(Protocol, u16)> = claim.cluster.ports().into_iter().collect();
    progress(Progress::Building { pods: pods.len() });
    let spec = |pod: &&Pod| PodSpec {
        id: pod.name.to_string(),
        node: pod.node.as_deref().unwrap_or_default().to_owned(),
        ports: ports.clone(),
    };
    let lab = Lab::build(&LabSpec {
        nodes: claim.cluster.node_names().iter().map(ToString::to_string).collect(),
        network: claim.network,
        pods: pods.iter().map(spec).collect(),
    })?;
    let mut cluster = claim.cluster.clone();
    for pod in &pods {
        let addresses = lab.addresses(&pod.name.to_string())?.to_vec();
        let placed = Pod { addresses, ..(*pod).clone() };
        _ = cluster.apply(Object::Pod(placed.into()));
    }

    progress(Progress::Enforcing);
    let nodes = cluster.node_names();
    let _agents: Vec<Process> =
        nodes.iter().map(|node| enforce(&lab, node, &cluster, claim)).collect::<Result<_, _>>()?;

    let (mut trials, probes) = plan(&cluster, &pods, &ports);
    let all = probes.len();
    let mut done = 0;
    let observations = lab.probe_all(&probes, |_, _| {
        done += 1;
        progress(Progress::Probing { done, all });
    })?;
    for (trial, observed) in trials.iter_mut().zip(observations) {
        trial.observed = observed;
    }
    Ok(Proof { pods: pods.iter().map(|pod| pod.name.clone()).collect(), trials })
}

/// Writes the cluster down, as a directory that nobody but the agent sees, and waits until the agent enforces it.
fn enforce(lab: &Lab, name: &str, cluster: &Cluster, claim: &Claim<'_>) -> Result<Process, LabError> {
    let pods = cluster.pods().filter(|pod| pod.is_selectable()).map(render::manifest::pod);
    let items: Vec<Value> = claim.objects.iter().cloned().chain(pods).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let node = lab.namespace(name)?;
    let failed = || node.error("write the agent's manifests");
    let scratch = Scratch::new().map_err(failed())?;
    let folder = scratch.write("manifests", "cluster.json", list.to_string().as_bytes()).map_err(failed())?;

    let mut command = Command::new(claim.agent);
    command.arg("enforce").arg("--manifests").arg(folder).args(["--node", name]);
    command.args(["--pod-interface", claim.network.pod_interface(), "--unknown-pods", "drop"]);
    command.args(["--log-format", "compact", "--end-with-parent"]);
    let mut agent = Process::spawn_seeing(node, &scratch, command)?;
    agent.wait_for_line(IN_FORCE, START)?;
    Ok(agent)
}

/// Every pair of different pods, on every port and by echo, in both families: as trials that nothing has been observed
/// of, and as the probes for them. A pod's own traffic never leaves it.
fn plan(cluster: &Cluster, pods: &[&Pod], ports: &[(Protocol, u16)]) -> (Vec<Trial>, Vec<Probe>) {
    let ports = ports.iter().map(|&(protocol, port)| Traffic::Port(protocol, port));
    let kinds: Vec<Traffic> = ports.chain([Traffic::Echo]).collect();
    let placed: Vec<&Pod> = pods.iter().filter_map(|pod| cluster.pod(&pod.name)).collect();
    let (mut trials, mut probes) = (Vec::new(), Vec::new());
    for from in &placed {
        for to in placed.iter().filter(|to| to.name != from.name) {
            for &traffic in &kinds {
                for address in &to.addresses {
                    let source = from.addresses.iter().find(|source| source.is_ipv4() == address.is_ipv4());
                    let (from_end, to_end) = (Endpoint::pod(from, source.copied()), Endpoint::pod(to, Some(*address)));
                    let flow = Flow { from: from_end, to: to_end, traffic: traffic.judged(*address) };
                    let predicted = verdict::judge(cluster, &flow).is_allowed();
                    probes.push(Probe {
                        from: from.name.to_string(),
                        to: *address,
                        traffic,
                        expectation: if predicted { Expectation::Allowed } else { Expectation::Denied },
                    });
                    trials.push(Trial {
                        from: from.name.clone(),
                        to: to.name.clone(),
                        address: *address,
                        traffic,
                        predicted,
                        observed: Observed::Broken("was not tried".to_owned()),
                    });
                }
            }
        }
    }
    (trials, probes)
}
