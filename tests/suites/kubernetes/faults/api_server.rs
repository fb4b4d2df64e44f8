//! An API server that goes and comes, forgets, speaks otherwise, or cannot be reached.

use std::thread;
use std::time::Duration;

use podwall_tests::kubernetes::{ControlPlane, NoStreams, Proxy, await_that, objects};
use podwall_tests::random::Dice;
use podwall_tests::setting;
use serde_json::{Value, json};

use super::kernel::held;
use super::world::{NODES, World};

/// What an agent watches.
const KINDS: [&str; 4] = ["Namespace", "NetworkPolicy", "Node", "Pod"];
/// What an agent says whose server streams no lists.
const NO_STREAMS: &str = "asking for pages";
/// More objects than a page holds.
const MORE_THAN_A_PAGE: usize = 510;
/// TCP outlives this; what was lost is sent again.
const SILENCE: Duration = Duration::from_secs(10);
/// Agents do not wait for as long as this: watches end before.
const LONG_SILENCE: Duration = Duration::from_secs(150);

#[test]
fn an_api_server_is_killed_and_comes_back_with_changes_of_before_and_of_meanwhile() {
    let (_, seed) = Dice::thrown();
    let mut world = World::start();
    world.let_in("before");
    world.let_in("removed-meanwhile");
    world.converge();
    let churn = world.churn(seed);
    thread::sleep(Duration::from_millis(500));
    world.control_plane().kill_api_server();
    for agent in &mut world.agents {
        agent.await_line("watch failed");
    }
    world.control_plane().remove("NetworkPolicy", "shop/removed-meanwhile");
    world.check_flows();
    world.control_plane().start_api_server();
    // Where a watch was, is forgotten.
    for agent in &mut world.agents {
        agent.await_line("too old resource version");
    }
    assert!(churn.stop() > 0);
    world.let_in("after");
    world.converge();
    for node in NODES {
        assert!(!held(&world.node(node)).unwrap().contains("shop/removed-meanwhile"), "{node}");
    }
    world.finish();
}

#[test]
fn how_long_an_api_server_has_not_answered_is_told_and_the_agent_stays_ready() {
    let world = World::on(ControlPlane::start());
    let up = |world: &World| world.agents[0].metric(&world.cluster, "podwall_api_up");
    let age = |world: &World| world.agents[0].metric(&world.cluster, "podwall_api_state_age_seconds");
    let all = |value: f64| KINDS.map(|kind| (kind.to_owned(), value)).into();
    assert_eq!((up(&world), age(&world)), (all(1.0), all(0.0)));
    world.control_plane().kill_api_server();
    await_that("the loss is told", || up(&world) == all(0.0));
    let before = age(&world);
    thread::sleep(Duration::from_millis(100));
    let after = age(&world);
    assert!(
        KINDS.iter().all(|kind| before[*kind] > 0.0 && after[*kind] >= before[*kind] + 0.1),
        "{before:?} {after:?}"
    );
    let status = world.agents[0].status(&world.cluster);
    let told = |value: &Value| !value["connected"].as_bool().unwrap() && value["age_seconds"].as_f64().unwrap() > 0.0;
    let api = status["api"].as_array().unwrap();
    assert!(status["ready"] == true && api.len() == KINDS.len() && api.iter().all(told), "{status}");
    world.control_plane().start_api_server();
    await_that("all is well again", || up(&world) == all(1.0) && age(&world) == all(0.0));
    world.finish();
}

#[test]
fn what_etcd_has_forgotten_is_listed_anew() {
    let (_, seed) = Dice::thrown();
    let mut world = World::on(ControlPlane::start_with(&["--watch-cache=false"]));
    let churn = world.churn(seed);
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(300));
        world.control_plane().compact();
        world.control_plane().cut_connections();
        for agent in &mut world.agents {
            agent.await_line("too old");
        }
    }
    assert!(churn.stop() > 0);
    world.let_in("afterwards");
    world.finish();
}

#[test]
fn a_server_without_streaming_lists_is_asked_for_pages() {
    let control_plane = ControlPlane::start_with(&["--feature-gates=WatchList=false"]);
    let api = control_plane.api();
    api.create(&objects::namespace("crowd", json!({}))).unwrap();
    // Of all of them only the last, on the last page, is anybody's peer.
    thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || {
                for number in (part..MORE_THAN_A_PAGE).step_by(4) {
                    api.create(&objects::pod(&format!("crowd/pod-{number:04}"), "elsewhere", json!({}), &[])).unwrap();
                }
            });
        }
    });
    api.create(&objects::pod("crowd/the-last", "elsewhere", json!({"app": "last"}), &[])).unwrap();
    let status = json!({"phase": "Running", "podIP": "10.250.1.1", "podIPs": [{"ip": "10.250.1.1"}]});
    api.patch_status("Pod", "crowd/the-last", &status).unwrap();

    let mut world = World::on(control_plane);
    for agent in &mut world.agents {
        assert!(agent.process.stderr().iter().any(|line| line.contains(NO_STREAMS)));
    }
    let from_last = json!([{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "last"}}}]}]);
    let spec = json!({"podSelector": {"matchLabels": {"app": "server"}}, "ingress": from_last});
    world.api().create(&objects::policy("shop/last", spec)).unwrap();
    world.converge();
    assert!(held(&world.node("n1")).unwrap().contains("10.250.1.1"));
    world.finish();
}

#[test]
fn servers_that_refuse_to_stream_lists_in_other_ways_are_asked_for_pages() {
    let (_, seed) = Dice::thrown();
    let mut proxies = Vec::new();
    let mut world = World::with(ControlPlane::start(), |cluster| {
        [("n1", NoStreams::Event), ("n2", NoStreams::Invalid)].map(|(node, how)| {
            let account = cluster.agent_account();
            let proxy = Proxy::without_streams(cluster.control_plane(), &account, how);
            let agent = cluster.launch_agent_by(node, proxy.kubeconfig(&account), &[]);
            proxies.push(proxy);
            agent
        })
    });
    for agent in &mut world.agents {
        assert!(agent.process.stderr().iter().any(|line| line.contains(NO_STREAMS)));
    }
    let churn = world.churn(seed);
    await_that("much has changed", || churn.changes() > 100);
    assert!(churn.stop() > 100);
    world.finish();
}

#[test]
fn connections_are_cut_again_and_again_while_all_changes() {
    let (mut dice, seed) = Dice::thrown();
    let mut world = World::start();
    let churn = world.churn(seed);
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(dice.below(500)));
        world.control_plane().cut_connections();
        for agent in &mut world.agents {
            agent.await_line("watch failed");
        }
    }
    assert!(churn.stop() > 0);
    world.finish();
}

#[test]
fn a_node_that_the_api_server_is_silent_for_goes_on_and_catches_up() {
    let (_, seed) = Dice::thrown();
    let mut world = World::start();
    world.let_in("before");
    world.converge();
    world.cluster.link("n1").cut().unwrap();
    world.let_in("meanwhile");
    let churn = world.churn(seed);
    thread::sleep(if setting("PODWALL_LONG") == Some(1) { LONG_SILENCE } else { SILENCE });
    world.check_flows();
    assert!(!held(&world.node("n1")).unwrap().contains("shop/meanwhile"), "its link is cut");
    world.cluster.link("n1").mend().unwrap();
    assert!(churn.stop() > 0);
    world.finish();
}
