//! The cluster that all cases stand on, once for each pod network, and what a case may do with it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use analysis::expectation::{self, Expectation};
use lab::proof::{Claim, Stage, State, Trial};
use lab::{Lab, PodNetwork, Protocol};
use podwall_tests::{fixture, podwall};
use policy_compiler::cidr::CidrRules;
use policy_compiler::cluster::Cluster;
use policy_compiler::manifest::{self, Content, Severity};
use policy_compiler::model::{Object, ObjectId};
use serde_json::Value;

/// Ports that everybody listens on beside those that the cluster declares.
const PORTS: [(Protocol, u16); 3] = [(Protocol::Tcp, 9999), (Protocol::Udp, 9999), (Protocol::Sctp, 9999)];

/// The labs, one for each network, made when it is first wanted and used by one case at a time.
pub struct Grounds(BTreeMap<PodNetwork, Mutex<Option<World>>>);

impl Grounds {
    /// No lab yet.
    pub fn new() -> Self {
        Self(PodNetwork::ALL.into_iter().map(|network| (network, Mutex::default())).collect())
    }

    /// Has a case work with the lab of a network. A panic is a failure, and costs the lab.
    pub fn lend(&self, network: PodNetwork, work: impl FnOnce(&mut World) -> Result<(), String>) -> Result<(), String> {
        let mut ground = self.0[&network].lock().unwrap_or_else(PoisonError::into_inner);
        let there = ground.take();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut world = there.map_or_else(|| World::build(network), Ok)?;
            let outcome = work(&mut world);
            *ground = Some(world);
            outcome
        }));
        outcome.unwrap_or_else(|panic| Err(words(&*panic)))
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("panicked").to_owned()
}

/// A lab with an agent on each node.
pub struct World {
    network: PodNetwork,
    stage: Stage,
    state: State,
}

impl World {
    fn build(network: PodNetwork) -> Result<Self, String> {
        let state = state("")?;
        let states = [state.clone()];
        let mut claim = Claim { network, ports: PORTS.to_vec(), ..Claim::new(&states, podwall()) };
        claim.provide_for(&super::data::expectations());
        claim.outside.extend(EVERYWHERE);
        let stage = Stage::build(&claim, |_| ()).map_err(|error| error.to_string())?;
        Ok(Self { network, stage, state })
    }

    /// Takes the cluster to a state: `fixtures/conformance/cluster.yaml` with these objects beside its own, or in place
    /// of those of the same name. Returns when every agent enforces it.
    pub fn apply(&mut self, objects: &str) -> Result<(), String> {
        self.state = state(objects)?;
        self.stage.advance(&self.state, |_| ()).map_err(|error| error.to_string())
    }

    /// Does something while the agent of a node is gone, and starts the agent again, whatever came of it.
    pub fn without_agent<T>(&mut self, node: &str, work: impl FnOnce(&Self) -> Result<T, String>) -> Result<T, String> {
        self.stage.kill_agent(node).map_err(|error| error.to_string())?;
        let outcome = work(self);
        self.stage.restart_agent(node).map_err(|error| error.to_string())?;
        outcome
    }

    /// Has policies judge what is expected, and packets show it. Every flow that is otherwise is told.
    pub fn expect_all(&self, expectations: &[Expectation]) -> Result<(), String> {
        let mut wrong = Vec::new();
        for (expectation, outcome) in expectations.iter().zip(expectation::check(self.input(), expectations)) {
            if !outcome.holds() {
                wrong.push(format!("{}: policies say otherwise: {:?}", expectation.origin, outcome.flaws));
            }
        }
        let trials = expectations.iter().map(|one| self.stage.trials_for(self.input(), one));
        let mut trials: Vec<Trial> = trials.collect::<Vec<_>>().concat();
        self.stage.try_all(&mut trials, |_| ()).map_err(|error| error.to_string())?;
        wrong.extend(trials.iter().filter(|trial| !trial.agrees()).map(|trial| {
            let Trial { from, to, address, traffic, predicted, observed, .. } = trial;
            format!("{from} -> {to} ({address}) {traffic:?}: expected {predicted:?}, observed {observed:?}")
        }));
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    /// The cluster as it was read: pods have the addresses of their manifests.
    pub fn input(&self) -> &Cluster {
        &self.state.cluster
    }

    /// How pods reach each other here.
    pub fn network(&self) -> PodNetwork {
        self.network
    }

    /// The cluster as it stands.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The lab, for what expectations cannot say.
    pub fn lab(&self) -> &Lab {
        self.stage.lab()
    }
}

/// Addresses outside that cases may use without having an expectation about them.
pub const EVERYWHERE: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// The common cluster with more objects, or other ones.
pub fn state(objects: &str) -> Result<State, String> {
    let base = std::fs::read_to_string(fixture("conformance/cluster.yaml")).map_err(|error| error.to_string())?;
    let mut state = State { cluster: Cluster::default(), objects: Vec::new() };
    let mut written: BTreeMap<ObjectId, Value> = BTreeMap::new();
    for (name, text) in [("cluster.yaml", base.as_str()), ("objects.yaml", objects)] {
        let read = manifest::read(&name.into(), text, CidrRules::Legacy);
        let error = read.problems.iter().find(|problem| problem.severity == Severity::Error);
        if let Some(error) = error {
            return Err(error.to_string());
        }
        for document in &read.documents {
            let Content::Objects(objects) = &document.content else { continue };
            for object in objects {
                _ = state.cluster.apply(object.clone());
                if matches!(object, Object::Policy(_) | Object::Namespace(_)) {
                    written.insert(object.id(), document.to_json());
                }
            }
        }
    }
    state.cluster.place_pods("n1");
    state.objects = written.into_values().collect();
    Ok(state)
}
