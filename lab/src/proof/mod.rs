//! The proof of a policy set: its cluster is built, an agent on each node enforces it, and every flow is tried with
//! packets and held against the verdict that the policies say literally. A cluster may go through several states.

mod agent;
mod connections;
mod expected;
mod outside;
mod plan;
mod trial;
mod ways;

pub use connections::Connections;
pub use trial::{End, Prediction, Proof, Trial};

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
    sync::Arc,
};

use policy_compiler::{
    cluster::Cluster,
    model::{Object, Pod, TargetPort},
};
use serde_json::Value;

use crate::{
    Lab, LabError, LabSpec, PodNetwork, PodSpec, Protocol, Traffic,
    services::{self, Served},
};
use agent::Agent;
use plan::Ground;
use ways::NodeAddresses;

/// A cluster at a moment.
#[derive(Debug, Clone)]
pub struct State {
    /// All of it; every pod has a node, addresses are given by the lab.
    pub cluster: Cluster,
    /// Its NetworkPolicy and Namespace objects as they were written, for the agents to read by themselves.
    pub objects: Vec<Value>,
}

/// What is to be proven, and how.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// The states that the cluster goes through, at least one.
    pub states: &'a [State],
    /// How pods of several nodes reach each other.
    pub network: PodNetwork,
    /// The program that enforces: `AGENT enforce --manifests DIR --node NAME ..`.
    pub agent: &'a Path,
    /// How many bytes each probe carries beside what it needs.
    pub payload: u16,
    /// Ports that are tried beside those that the states declare or name.
    pub ports: Vec<(Protocol, u16)>,
    /// Addresses outside that are tried beside those that the states' ipBlocks tell apart.
    pub outside: Vec<IpAddr>,
}

impl<'a> Claim<'a> {
    /// Nothing beside what the states say, over the simplest network.
    pub fn new(states: &'a [State], agent: &'a Path) -> Self {
        let network = PodNetwork::default();
        Self { states, network, agent, payload: 0, ports: Vec::new(), outside: Vec::new() }
    }
}

/// How far a proof is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Namespaces, links and addresses of this many pods are made.
    Building {
        /// The pods.
        pods: usize,
    },
    /// Agents have been started, or told of another state.
    Enforcing,
    /// Probes are on their way.
    Probing {
        /// Answered so far.
        done: usize,
        /// Of so many.
        all: usize,
    },
}

/// A cluster that stands, with an agent on each node.
#[derive(Debug)]
pub struct Stage {
    // In the order in which they must go: the agents, the network below.
    agents: BTreeMap<Arc<str>, Agent>,
    lab: Lab,
    network: PodNetwork,
    nodes: BTreeMap<Arc<str>, NodeAddresses>,
    outside: Vec<IpAddr>,
    ports: Vec<(Protocol, u16)>,
    payload: u16,
    cluster: Cluster,
    services: Vec<Served>,
}

impl Stage {
    /// Builds the first state of the cluster and has its policies enforced.
    ///
    /// # Errors
    /// When the machine lacks something, the lab cannot be built, or an agent does not come to enforce.
    pub fn build(claim: &Claim<'_>, mut progress: impl FnMut(Progress)) -> Result<Self, LabError> {
        let first = claim.states.first().ok_or(LabError::NoState)?;
        let clusters = || claim.states.iter().map(|state| &state.cluster);
        let ports = clusters().flat_map(|cluster| cluster.ports().into_iter().chain(targets(cluster)));
        let ports: BTreeSet<_> = ports.chain(claim.ports.iter().copied()).collect();
        let ports: Vec<_> = ports.into_iter().collect();
        let names: BTreeSet<Arc<str>> = clusters().flat_map(Cluster::node_names).collect();
        let mut outside = outside::representatives(clusters());
        outside.extend(&claim.outside);
        outside.sort_unstable();
        outside.dedup();

        let pods: Vec<PodSpec> = inhabitants(&first.cluster).map(|pod| pod_spec(pod, &ports)).collect();
        progress(Progress::Building { pods: pods.len() });
        let lab = Lab::build(&LabSpec {
            nodes: names.iter().map(ToString::to_string).collect(),
            network: claim.network,
            pods,
            outside: outside.clone(),
            host_ports: ports.clone(),
        })?;
        let addresses = |name: &Arc<str>| {
            let site = lab.node(name)?.site();
            let towards_pods = claim.network.addresses_towards_pods(site);
            Ok((name.clone(), NodeAddresses { own: site.addresses, towards_pods }))
        };
        let mut stage = Self {
            agents: BTreeMap::new(),
            network: claim.network,
            nodes: names.iter().map(addresses).collect::<Result<_, LabError>>()?,
            outside,
            ports,
            payload: claim.payload,
            cluster: Cluster::default(),
            services: Vec::new(),
            lab,
        };
        stage.settle(&first.cluster)?;
        progress(Progress::Enforcing);
        for name in &names {
            let node = stage.lab.namespace(name)?;
            let agent = Agent::start(claim.agent, claim.network, name, node, &stage.cluster, &first.objects)?;
            stage.agents.insert(name.clone(), agent);
        }
        Ok(stage)
    }

    /// Takes the cluster to another of the states that it was built for: pods come and go, the others stay, and agents
    /// are told as the API server would.
    ///
    /// # Errors
    /// When a pod cannot be made or taken away, or an agent does not follow.
    pub fn advance(&mut self, state: &State, mut progress: impl FnMut(Progress)) -> Result<(), LabError> {
        let wanted: BTreeMap<String, &Pod> =
            inhabitants(&state.cluster).map(|pod| (pod.name.to_string(), pod)).collect();
        let stays = |pod: &Pod| wanted.get(&pod.name.to_string()).is_some_and(|wanted| wanted.node == pod.node);
        let gone: Vec<String> =
            inhabitants(&self.cluster).filter(|pod| !stays(pod)).map(|pod| pod.name.to_string()).collect();
        gone.iter().try_for_each(|pod| self.lab.remove_pod(pod))?;
        let there: BTreeSet<String> = self.lab.pods().map(str::to_owned).collect();
        let new = wanted.values().filter(|pod| !there.contains(&pod.name.to_string()));
        let new: Vec<PodSpec> = new.map(|pod| pod_spec(pod, &self.ports)).collect();
        progress(Progress::Building { pods: new.len() });
        new.iter().try_for_each(|pod| self.lab.add_pod(pod))?;

        self.settle(&state.cluster)?;
        progress(Progress::Enforcing);
        let Self { agents, cluster, .. } = self;
        agents.values_mut().try_for_each(|agent| agent.tell(cluster, &state.objects))?;
        agents.values_mut().try_for_each(Agent::wait)
    }

    /// Kills the agent of a node. Its rules stay, and nothing follows changes there until it runs again.
    ///
    /// # Errors
    /// When there is no such node, or the agent does not end.
    pub fn kill_agent(&mut self, node: &str) -> Result<(), LabError> {
        self.agent(node)?.kill()
    }

    /// Starts the agent of a node again, killing the one that runs, and waits until it enforces.
    ///
    /// # Errors
    /// When there is no such node, or the agent does not come to enforce.
    pub fn restart_agent(&mut self, node: &str) -> Result<(), LabError> {
        self.agent(node)?.restart()
    }

    fn agent(&mut self, node: &str) -> Result<&mut Agent, LabError> {
        self.agents.get_mut(node).ok_or_else(|| LabError::Unknown(node.into()))
    }

    /// Gives pods and Services the addresses that they have here, and loads what leads to Services.
    fn settle(&mut self, cluster: &Cluster) -> Result<(), LabError> {
        let mut settled = cluster.clone();
        for pod in cluster.pods() {
            let addresses = match &pod.node {
                Some(node) if pod.host_network => self.lab.addresses(node)?,
                _ if pod.is_selectable() => self.lab.addresses(&pod.name.to_string())?,
                // A pod that has finished may tell of the address that it had.
                _ => &pod.addresses,
            };
            let placed = Pod { addresses: addresses.to_vec(), ..pod.clone() };
            _ = settled.apply(Object::Pod(placed.into()));
        }
        services::assign(&mut settled);
        self.cluster = settled;
        let served = services::served(&self.cluster);
        if served != self.services {
            // Also on nodes that only a later state tells of.
            services::load_on(&self.lab, self.nodes.keys(), &served)?;
            self.services = served;
        }
        Ok(())
    }

    /// The lab that it stands in.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The cluster as it stands: pods and Services have the addresses that they have in the lab.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// One flow, in every family that both ends have, as it will be tried.
    pub fn trials_of(&self, from: &End, to: &End, traffic: Traffic) -> Vec<Trial> {
        self.ground().direct(from, to, traffic)
    }

    /// All traffic that is tried: every port, and echo.
    pub fn traffics(&self) -> Vec<Traffic> {
        self.ground().traffics()
    }

    /// Tries flows.
    ///
    /// # Errors
    /// When probes cannot be sent.
    pub fn try_all(&self, trials: &mut [Trial], mut progress: impl FnMut(Progress)) -> Result<(), LabError> {
        let probes: Vec<_> = trials.iter().map(|trial| trial.probe(self.payload)).collect();
        let all = probes.len();
        let mut done = 0;
        let observations = self.lab.probe_all(&probes, |_, _| {
            done += 1;
            progress(Progress::Probing { done, all });
        })?;
        for (trial, observed) in trials.iter_mut().zip(observations) {
            trial.observed = Some(observed);
        }
        Ok(())
    }

    /// Tries every flow that can be told apart.
    ///
    /// # Errors
    /// When probes cannot be sent.
    pub fn prove(&self, progress: impl FnMut(Progress)) -> Result<Proof, LabError> {
        let mut proof = Proof { trials: self.ground().trials(), connections: Vec::new() };
        self.try_all(&mut proof.trials, progress)?;
        Ok(proof)
    }

    fn ground(&self) -> Ground<'_> {
        Ground {
            cluster: &self.cluster,
            network: self.network,
            nodes: &self.nodes,
            outside: &self.outside,
            services: &self.services,
            ports: &self.ports,
        }
    }
}

/// The pods that have a network of their own.
fn inhabitants(cluster: &Cluster) -> impl Iterator<Item = &Pod> {
    cluster.pods().filter(|pod| pod.is_selectable())
}

/// What Services lead to by number, which no container need declare. What they lead to by name is declared.
fn targets(cluster: &Cluster) -> impl Iterator<Item = (Protocol, u16)> {
    cluster.services().flat_map(|service| &service.ports).filter_map(|port| match port.target {
        TargetPort::Number(number) => Some((port.protocol, number)),
        TargetPort::Name(_) => None,
    })
}

fn pod_spec(pod: &Pod, ports: &[(Protocol, u16)]) -> PodSpec {
    let node = pod.node.as_deref().unwrap_or_default().to_owned();
    PodSpec { id: pod.name.to_string(), node, ports: ports.to_vec() }
}
