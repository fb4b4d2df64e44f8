//! A lab whose nodes are nodes of an API server, and whose pods are that server's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lab::probe::{self, Question};
use lab::{Expectation, Lab, LabSpec, Namespace, Observed, PodNetwork, Port, Probe, Traffic};
use serde_json::Value;

use super::{Api, ControlPlane, Kubelet, Lease, objects, resource};
use crate::agent::PATIENCE;

const PAUSE: Duration = Duration::from_millis(5);

/// Nodes, a control plane, and a kubelet on each node. Pods come and go through the API.
pub struct Cluster {
    // In the order in which they must go.
    _kubelets: Vec<Kubelet>,
    links: BTreeMap<String, Port>,
    lab: Arc<Mutex<Lab>>,
    control_plane: Lease,
}

impl Cluster {
    /// Builds the nodes, on a control plane that no other test uses meanwhile.
    pub fn start(nodes: &[&str], network: PodNetwork) -> Self {
        Self::on(Lease::new(), nodes, network)
    }

    /// Builds the nodes, on a control plane with nothing on it.
    pub fn on(control_plane: impl Into<Lease>, nodes: &[&str], network: PodNetwork) -> Self {
        let control_plane = control_plane.into();
        let nodes = nodes.iter().map(|&node| node.to_owned()).collect();
        let lab = Lab::build(&LabSpec { nodes, network, ..LabSpec::default() });
        let lab = lab.unwrap_or_else(|error| panic!("{error}"));
        let api = control_plane.api();
        let mut links = BTreeMap::new();
        for node in lab.nodes() {
            links.insert(node.name().to_owned(), control_plane.connect(node));
            let (object, status) = objects::node(node);
            let stored = api.create(&object).and_then(|_| api.patch_status("Node", node.name(), &status));
            stored.unwrap_or_else(|error| panic!("node {}: {error}", node.name()));
        }
        let lab = Arc::new(Mutex::new(lab));
        let kubelets = links.keys().map(|node| Kubelet::start(api, &lab, node)).collect();
        Self { _kubelets: kubelets, links, lab, control_plane }
    }

    /// What its nodes are nodes of.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The API server, for its administrator.
    pub fn api(&self) -> &Api {
        self.control_plane.api()
    }

    /// A node's link to the API server.
    pub fn link(&self, node: &str) -> &Port {
        self.links.get(node).unwrap_or_else(|| panic!("there is no node {node}"))
    }

    /// The lab. Kubelets wait for as long as the guard is there.
    pub fn lab(&self) -> MutexGuard<'_, Lab> {
        self.lab.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a pod and waits until it runs.
    #[track_caller]
    pub fn run(&self, pod: &Value) {
        self.api().create(pod).unwrap_or_else(|error| panic!("{error}"));
        self.await_running(&resource::id_of("Pod", pod));
    }

    /// Waits until a pod runs.
    #[track_caller]
    pub fn await_running(&self, id: &str) {
        await_that(&format!("{id} runs"), || {
            let pod = self.api().get("Pod", id).unwrap_or_else(|error| panic!("{id}: {error}"));
            pod["status"]["phase"] == "Running"
        });
    }

    /// Deletes a pod and waits until nothing of it is left.
    #[track_caller]
    pub fn delete(&self, id: &str) {
        self.api().delete("Pod", id).unwrap_or_else(|error| panic!("{id}: {error}"));
        await_that(&format!("{id} is gone"), || self.api().get("Pod", id).is_err());
    }

    /// The addresses that a pod or node has in the lab, IPv4 first.
    pub fn addresses(&self, id: &str) -> Vec<IpAddr> {
        self.lab().addresses(id).unwrap_or_else(|error| panic!("{error}")).to_vec()
    }

    /// The network namespace of a pod or node, for connections and floods.
    pub fn namespace(&self, id: &str) -> Namespace {
        self.lab().namespace(id).unwrap_or_else(|error| panic!("{error}")).clone()
    }

    /// What becomes of a flow between two pods, or nodes, to each address of the second.
    pub fn observe(&self, from: &str, to: &str, traffic: Traffic, likely: Expectation) -> Vec<Observed> {
        let namespace = self.namespace(from);
        let question = |address: &IpAddr| {
            let mut probe = Probe::new(from, *address, traffic, likely);
            probe.answerers.push(to.to_owned());
            Question { from: namespace.clone(), probe }
        };
        let questions = self.addresses(to).iter().map(question).collect();
        // Not by the lab, which would keep the kubelets waiting.
        probe::ask(questions, |_, _| ()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Both families come through.
    #[track_caller]
    pub fn assert_allowed(&self, from: &str, to: &str, traffic: Traffic) {
        let observed = self.observe(from, to, traffic, Expectation::Allowed);
        assert_eq!(observed, [Observed::Allowed, Observed::Allowed], "{from} -> {to} {traffic:?}");
    }

    /// Neither family comes through.
    #[track_caller]
    pub fn assert_denied(&self, from: &str, to: &str, traffic: Traffic) {
        let observed = self.observe(from, to, traffic, Expectation::Denied);
        assert_eq!(observed, [Observed::Denied, Observed::Denied], "{from} -> {to} {traffic:?}");
    }
}

/// Waits until something is so.
#[track_caller]
pub fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "still not so after {PATIENCE:?}: {what}");
        thread::sleep(PAUSE);
    }
}
