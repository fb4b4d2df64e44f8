//! Objects that no API server takes and etcd has all the same.

use lab::{Expectation, Observed, Traffic};
use podwall_tests::agent::IN_FORCE;
use podwall_tests::kubernetes::{await_that, objects};
use serde_json::{Value, json};

use super::world::{HTTP, NODES, World};

/// What is wrong with each policy, and what is said of it.
const BROKEN: [(&str, &str); 2] =
    [("shop/block", "spec.ingress[0].from[0].ipBlock.cidr"), ("shop/port", "spec.ingress[0].ports[0].port")];

#[test]
fn malformed_objects_in_the_middle_of_a_list_are_reported_and_only_theirs_is_closed() {
    let mut world = World::start();
    for (id, app) in [("shop/blocked", "blocked"), ("shop/ported", "ported")] {
        world.cluster.run(&objects::pod(id, "n1", json!({"app": app}), &[HTTP]));
    }
    let block =
        json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"podSelector": {"matchLabels": {"app": "bad"}}}]});
    let port =
        json!({"from": [{"podSelector": {"matchLabels": {"app": "bad"}}}], "ports": [{"port": 1}, {"port": 80}]});
    for (id, app, rule) in [("shop/block", "blocked", block), ("shop/port", "ported", port)] {
        let spec = json!({"podSelector": {"matchLabels": {"app": app}}, "ingress": [rule]});
        world.api().create(&objects::policy(id, spec)).unwrap();
    }
    world.api().create(&objects::pod("shop/odd", "elsewhere", json!({"app": "good"}), &[])).unwrap();
    let status = json!({"phase": "Running", "podIP": "10.250.1.1", "podIPs": [{"ip": "10.250.1.1"}]});
    world.api().patch_status("Pod", "shop/odd", &status).unwrap();
    world.converge();
    becomes(&world, Observed::Allowed);

    corrupt(&world, "NetworkPolicy", "shop/block", "/spec/ingress/0/from/0/ipBlock/cidr", json!("10.0.0.0/99"));
    corrupt(&world, "NetworkPolicy", "shop/port", "/spec/ingress/0/ports/0/port", json!(0));
    corrupt(&world, "Pod", "shop/odd", "/status/podIP", json!("300.1.1.1"));
    corrupt(&world, "Pod", "shop/odd", "/status/podIPs/0/ip", json!("300.1.1.1"));
    becomes(&world, Observed::Denied);
    world.let_in("afterwards");
    world.converge_reading(as_meant);
    told(&mut world);

    // Once more, in a list.
    for agent in &mut world.agents {
        agent.restart(&world.cluster);
        agent.await_line(IN_FORCE);
    }
    told(&mut world);
    becomes(&world, Observed::Denied);
    world.let_in("after-the-list");
    world.converge_reading(as_meant);

    for (id, _) in BROKEN {
        world.api().delete("NetworkPolicy", id).unwrap();
    }
    world.api().delete_now("Pod", "shop/odd").unwrap();
    becomes(&world, Observed::Allowed);
    await_that("nothing is wrong any more", || problems(&world, 0).is_empty() && problems(&world, 1).is_empty());
    world.finish();
}

/// Changes what is stored, as nobody may.
fn corrupt(world: &World, kind: &str, id: &str, field: &str, value: Value) {
    let mut object = world.api().get(kind, id).unwrap();
    *object.pointer_mut(field).unwrap_or_else(|| panic!("{id} has no {field}")) = value;
    world.control_plane().store(kind, id, &object);
}

/// What the malformed policies come to: nothing is let in. The pod comes to one without an address.
fn as_meant(mut object: Value) -> Value {
    let id = format!("{}/{}", object["metadata"]["namespace"], object["metadata"]["name"]).replace('"', "");
    if BROKEN.iter().any(|(broken, _)| *broken == id) {
        object["spec"]["ingress"] = json!([]);
    }
    if id == "shop/odd" {
        object["status"] = json!({"phase": "Running"});
    }
    object
}

#[track_caller]
fn becomes(world: &World, wanted: Observed) {
    let expectation = if wanted == Observed::Allowed { Expectation::Allowed } else { Expectation::Denied };
    for to in ["shop/blocked", "shop/ported"] {
        await_that(&format!("{to} becomes {wanted:?}"), || {
            let observed = world.cluster.observe("shop/bad", to, Traffic::Port(HTTP.0, HTTP.1), expectation);
            observed.iter().all(|observed| *observed == wanted)
        });
    }
}

fn problems(world: &World, agent: usize) -> Vec<Value> {
    world.agents[agent].status(&world.cluster)["problems"].as_array().unwrap().clone()
}

#[track_caller]
fn told(world: &mut World) {
    for (agent, node) in NODES.iter().enumerate() {
        for (id, field) in BROKEN {
            let closed = |problem: &Value| {
                let message = problem["message"].as_str().unwrap();
                problem["policy"] == id && problem["closed"] == true && message.contains(field)
            };
            await_that(&format!("{node} tells of {id}"), || problems(world, agent).iter().any(closed));
        }
        let odd = |problem: &Value| {
            let message = problem["message"].as_str().unwrap();
            message.contains("shop/odd") && message.contains("status.podIP") && message.contains("300.1.1.1")
        };
        await_that(&format!("{node} tells of shop/odd"), || problems(world, agent).iter().any(odd));
        for said in ["ipBlock.cidr", "ports[0].port", "300.1.1.1"] {
            let lines = world.agents[agent].process.stderr();
            assert!(lines.iter().any(|line| line.contains(said)), "{node} says nothing of {said}");
        }
    }
}
