//! What changes through the API, packets of both nodes follow: both families, new connections and live ones.

use std::time::Duration;

use lab::{Connection, Expectation, Observed, PodNetwork, Traffic};
use podwall_tests::kubernetes::{Cluster, NodeAgent, await_that, objects};
use policy_compiler::model::Protocol;
use serde_json::{Value, json};

const HTTP: (Protocol, u16) = (Protocol::Tcp, 80);
const WEB: Traffic = Traffic::Port(HTTP.0, HTTP.1);
/// Some retransmissions.
const SILENCE: Duration = Duration::from_secs(2);

/// Two nodes with an agent each; `shop/web` on the first, clients on both, one of them in a namespace of its own.
struct World {
    cluster: Cluster,
    _agents: [NodeAgent; 2],
}

impl World {
    fn start() -> Self {
        let cluster = Cluster::start(&["n1", "n2"], PodNetwork::Bridge);
        let agents = ["n1", "n2"].map(|node| cluster.start_agent(node));
        for (name, labels) in [("shop", json!({})), ("team", json!({"kind": "team"}))] {
            cluster.api().create(&objects::namespace(name, labels)).unwrap();
        }
        for (id, node, app) in [
            ("shop/web", "n1", "web"),
            ("shop/near", "n1", "client"),
            ("shop/far", "n2", "client"),
            ("team/other", "n2", "client"),
        ] {
            cluster.run(&objects::pod(id, node, json!({"app": app}), &[HTTP]));
        }
        let world = Self { cluster, _agents: agents };
        // From the API server's word on a pod's addresses on, and not before.
        ["shop/near", "shop/far", "team/other"].into_iter().for_each(|from| world.allowed(from));
        world
    }

    fn policy(&self, name: &str, spec: Value) {
        self.cluster.api().apply(&objects::policy(&format!("shop/{name}"), spec)).unwrap();
    }

    fn label(&self, kind: &str, id: &str, labels: Value) {
        self.cluster.api().patch(kind, id, &json!({"metadata": {"labels": labels}})).unwrap();
    }

    /// Waits until both families are judged so.
    #[track_caller]
    fn becomes(&self, expected: Expectation, from: &str, to: &str) {
        let observed = || self.cluster.observe(from, to, WEB, expected);
        let wanted = if expected == Expectation::Allowed { Observed::Allowed } else { Observed::Denied };
        await_that(&format!("{from} -> {to} becomes {expected:?}"), || {
            observed().iter().all(|observed| *observed == wanted)
        });
    }

    #[track_caller]
    fn allowed(&self, from: &str) {
        self.becomes(Expectation::Allowed, from, "shop/web");
    }

    #[track_caller]
    fn denied(&self, from: &str) {
        self.becomes(Expectation::Denied, from, "shop/web");
    }

    /// A connection of each family.
    fn connect(&self, from: &str, to: &str) -> Vec<Connection> {
        let namespace = self.cluster.namespace(from);
        let open = |address| Connection::open(&namespace, address, HTTP.1).unwrap_or_else(|error| panic!("{error}"));
        self.cluster.addresses(to).into_iter().map(open).collect()
    }
}

fn from_clients() -> Value {
    json!({
        "podSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}], "ports": [{"port": HTTP.1}]}],
    })
}

fn from_teams() -> Value {
    json!({
        "podSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"kind": "team"}}}]}],
    })
}

#[track_caller]
fn assert_alive(connections: &mut [Connection]) {
    for connection in connections {
        connection.echo("still there", Duration::from_secs(5)).unwrap();
    }
}

#[track_caller]
fn assert_cut(connections: &mut [Connection]) {
    for connection in connections {
        connection.echo("gone", SILENCE).expect_err("a denied connection says nothing");
    }
}

#[test]
fn policies_come_change_and_go() {
    let world = World::start();
    world.policy("web", from_clients());
    world.denied("team/other");
    world.allowed("shop/near");
    world.allowed("shop/far");
    world.policy("web", from_teams());
    world.denied("shop/near");
    world.denied("shop/far");
    world.allowed("team/other");
    // Egress is the sender's node's matter.
    world.policy("client", json!({"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"]}));
    world.cluster.api().delete("NetworkPolicy", "shop/web").unwrap();
    world.allowed("team/other");
    world.denied("shop/far");
    world.cluster.api().delete("NetworkPolicy", "shop/client").unwrap();
    world.allowed("shop/far");
    world.allowed("shop/near");
}

#[test]
fn labels_of_pods_and_namespaces_count_as_they_are_now() {
    let world = World::start();
    world.policy("web", from_clients());
    world.denied("team/other");
    world.label("Pod", "shop/far", json!({"app": "stranger"}));
    world.denied("shop/far");
    world.allowed("shop/near");
    world.label("Pod", "shop/far", json!({"app": "client"}));
    world.allowed("shop/far");

    world.policy("web", from_teams());
    world.denied("shop/far");
    world.label("Namespace", "team", json!({"kind": null}));
    world.denied("team/other");
    world.label("Namespace", "shop", json!({"kind": "team"}));
    world.allowed("shop/far");
    // The subject itself can walk away from its policy.
    world.label("Pod", "shop/web", json!({"app": "free"}));
    world.allowed("team/other");
}

#[test]
fn pods_are_isolated_from_their_first_moment_and_their_addresses_are_nobodys_after_their_last() {
    let world = World::start();
    world.policy("closed", json!({"podSelector": {"matchLabels": {"app": "late"}}}));
    world.cluster.run(&objects::pod("shop/late", "n1", json!({"app": "late"}), &[HTTP]));
    world.becomes(Expectation::Denied, "shop/far", "shop/late");
    world.policy("web", from_clients());
    world.denied("team/other");
    world.cluster.delete("shop/far");
    world.cluster.run(&objects::pod("team/next", "n2", json!({"app": "client"}), &[HTTP]));
    world.becomes(Expectation::Allowed, "team/next", "shop/near");
    world.denied("team/next");
    world.cluster.run(&objects::pod("shop/far", "n2", json!({"app": "client"}), &[HTTP]));
    world.allowed("shop/far");
}

#[test]
fn rule_133_what_tightens_cuts_live_connections_and_what_loosens_disturbs_none() {
    let world = World::start();
    world.policy("web", from_clients());
    world.denied("team/other");
    let mut near = world.connect("shop/near", "shop/web");
    let mut far = world.connect("shop/far", "shop/web");

    // Loosening.
    world.policy("more", from_teams());
    world.allowed("team/other");
    let mut other = world.connect("team/other", "shop/web");
    [&mut near, &mut far, &mut other].into_iter().for_each(|connections| assert_alive(connections));

    // A namespace's labels, on another node.
    world.label("Namespace", "team", json!({"kind": null}));
    world.denied("team/other");
    assert_cut(&mut other);
    [&mut near, &mut far].into_iter().for_each(|connections| assert_alive(connections));

    // A remote pod's labels.
    world.label("Pod", "shop/far", json!({"app": "stranger"}));
    world.denied("shop/far");
    assert_cut(&mut far);
    assert_alive(&mut near);

    // A policy.
    world.policy("web", json!({"podSelector": {"matchLabels": {"app": "web"}}}));
    world.denied("shop/near");
    assert_cut(&mut near);
}
