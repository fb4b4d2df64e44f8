//! A cluster of two nodes with an agent each, and traffic between them that no fault may change.

use std::thread;
use std::time::{Duration, Instant};

use lab::{Namespace, PodNetwork};
use podwall_tests::assert_same_lines;
use podwall_tests::kubernetes::{Api, Cluster, ControlPlane, Lease, NodeAgent, objects};
use policy_compiler::model::Protocol;
use serde_json::{Value, json};

use super::churn::Churn;
use super::flows::Flows;
use super::kernel::{held, wanted};

pub(super) const HTTP: (Protocol, u16) = (Protocol::Tcp, 80);
pub(super) const NODES: [&str; 2] = ["n1", "n2"];

/// Judged by both nodes: the sender's lets it out, the receiver's lets it in.
pub(super) const ALLOWED: (&str, &str) = ("shop/good", "shop/server");
/// The first is denied by the receiver's node, the second by the sender's.
pub(super) const DENIED: [(&str, &str); 2] = [("shop/bad", "shop/server"), ("shop/captive", "shop/bad")];

/// Longer than connections take that have lost packets for seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct World {
    flows: Flows,
    pub(super) agents: [NodeAgent; 2],
    pub(super) cluster: Cluster,
}

impl World {
    /// With agents that are in force.
    pub(super) fn start() -> Self {
        Self::on(Lease::new())
    }

    /// The same, on a control plane of its own.
    pub(super) fn on(control_plane: impl Into<Lease>) -> Self {
        Self::with(control_plane, |cluster| NODES.map(|node| cluster.launch_agent(node, &[])))
    }

    /// With agents that are started this way.
    pub(super) fn with(control_plane: impl Into<Lease>, launch: impl FnOnce(&Cluster) -> [NodeAgent; 2]) -> Self {
        let cluster = Cluster::on(control_plane, &NODES, PodNetwork::Bridge);
        let api = cluster.api();
        for (name, labels) in [("shop", json!({})), ("busy", json!({"busy": "yes"}))] {
            api.create(&objects::namespace(name, labels)).unwrap();
        }
        for policy in policies() {
            api.create(&policy).unwrap();
        }
        for (id, node) in [("shop/server", "n1"), ("shop/good", "n2"), ("shop/bad", "n2"), ("shop/captive", "n2")] {
            let app = id.trim_start_matches("shop/");
            cluster.api().create(&objects::pod(id, node, json!({"app": app}), &[HTTP])).unwrap();
        }
        let agents = launch(&cluster);
        for id in ["shop/server", "shop/good", "shop/bad", "shop/captive"] {
            cluster.await_running(id);
        }
        converge(&cluster, |object| object);
        let mut flows = Flows::start(&cluster);
        flows.check();
        Self { flows, agents, cluster }
    }

    pub(super) fn api(&self) -> &Api {
        self.cluster.api()
    }

    pub(super) fn control_plane(&self) -> &ControlPlane {
        self.cluster.control_plane()
    }

    pub(super) fn node(&self, node: &str) -> Namespace {
        self.cluster.namespace(node)
    }

    /// Changes all the time what may change.
    pub(super) fn churn(&self, seed: u64) -> Churn {
        Churn::start(self.api(), seed)
    }

    /// Adds something to each node's table: the server lets this one in as well.
    pub(super) fn let_in(&self, name: &str) {
        let ingress = json!([{"from": [{"podSelector": {"matchLabels": {"app": name}}}], "ports": [{"port": 81}]}]);
        let spec = json!({"podSelector": {"matchLabels": {"app": "server"}}, "ingress": ingress});
        self.api().apply(&objects::policy(&format!("shop/{name}"), spec)).unwrap();
    }

    /// Waits until every node's kernel holds what a plan from scratch says; the traffic is as it must be so far.
    #[track_caller]
    pub(super) fn converge(&mut self) {
        self.converge_reading(|object| object);
    }

    /// The same, where objects are meant that the compiler would not take.
    #[track_caller]
    pub(super) fn converge_reading(&mut self, read: impl Fn(Value) -> Value) {
        converge(&self.cluster, read);
        self.flows.check();
    }

    /// The traffic is as it must be so far.
    #[track_caller]
    pub(super) fn check_flows(&mut self) {
        self.flows.check();
    }

    /// The same as [`Self::converge`], and the traffic was as it must be all the time.
    #[track_caller]
    pub(super) fn finish(mut self) {
        self.converge();
        self.flows.finish();
    }

    /// What is never allowed was denied so far, and may get through from now on.
    #[track_caller]
    pub(super) fn expect_leaks(&mut self) {
        self.flows.stop_denied();
    }

    /// Nothing of what is always allowed was lost so far, and single packets may be from now on. Connections last.
    #[track_caller]
    pub(super) fn expect_losses(&mut self) {
        self.flows.stop_allowed();
    }

    /// Nothing is lost any more.
    pub(super) fn expect_no_more_losses(&mut self) {
        self.flows.start_allowed(&self.cluster);
    }

    /// What is never allowed is denied again.
    #[track_caller]
    pub(super) fn expect_no_more_leaks(&mut self) {
        self.flows.start_denied(&self.cluster);
    }
}

fn policies() -> [Value; 3] {
    let app = |app: &str| json!({"podSelector": {"matchLabels": {"app": app}}});
    let subject = |app: &str| json!({"matchLabels": {"app": app}});
    [
        objects::policy("shop/server", json!({"podSelector": subject("server"), "ingress": [{"from": [app("good")]}]})),
        objects::policy(
            "shop/good",
            json!({"podSelector": subject("good"), "policyTypes": ["Egress"], "egress": [{"to": [app("server")]}]}),
        ),
        objects::policy("shop/captive", json!({"podSelector": subject("captive"), "policyTypes": ["Egress"]})),
    ]
}

#[track_caller]
fn converge(cluster: &Cluster, read: impl Fn(Value) -> Value) {
    let start = Instant::now();
    for node in NODES {
        let namespace = cluster.namespace(node);
        loop {
            let wanted = wanted(cluster.api(), node, &read);
            let held = held(&namespace);
            if held == wanted {
                break;
            }
            if start.elapsed() > PATIENCE {
                let text = |table: Option<String>| table.unwrap_or_else(|| "no table".to_owned());
                assert_same_lines(&text(held), &text(wanted), &format!("{node}: its kernel and a plan from scratch"));
            }
            thread::sleep(PAUSE);
        }
    }
}
