//! Agents that die, are replaced, are sent away, or start without an API server.

use std::thread;
use std::time::Duration;

use lab::Signal;
use podwall_tests::agent::{COMMITTED, IN_FORCE};
use podwall_tests::kubernetes::await_that;
use podwall_tests::random::Dice;
use podwall_tests::{nft, run_in, setting};
use serde_json::{Value, json};

use super::kernel::held;
use super::world::{NODES, World};

/// How often agents are killed.
const KILLS: u64 = 50;
/// How long one has to end that is told to, which is promised.
const GRACE: Duration = Duration::from_secs(2);

#[test]
fn agents_killed_at_any_instant_of_a_busy_loop_lose_nothing() {
    let (mut dice, seed) = Dice::thrown();
    let mut world = World::start();
    let kills = if setting("PODWALL_LONG") == Some(1) { 10 * KILLS } else { KILLS };
    let mut churn = world.churn(seed);
    let mut changes = 0;
    for kill in 1..=kills {
        let agent = &mut world.agents[(kill % 2) as usize];
        agent.restart(&world.cluster);
        // While it reads the table, adopts it, or commits.
        if dice.below(2) == 0 {
            agent.await_line(COMMITTED);
            thread::sleep(Duration::from_micros(dice.below(20_000)));
        } else {
            thread::sleep(Duration::from_millis(dice.below(300)));
        }
        agent.process.kill().unwrap();
        if kill % 10 == 0 {
            changes += churn.stop();
            world.agents.iter_mut().for_each(|agent| agent.restart(&world.cluster));
            world.converge();
            churn = world.churn(seed + kill);
        }
    }
    assert!(changes > kills, "{changes} changes are no busy loop");
    churn.stop();
    world.finish();
}

#[test]
fn an_agent_that_is_told_to_end_leaves_its_rules_and_the_next_one_takes_over() {
    let mut world = World::start();
    let node = world.node("n1");
    let mut next = world.cluster.launch_agent("n1", &[]);
    next.await_line("owned");
    // The first goes on meanwhile.
    world.let_in("meanwhile");
    world.converge();
    assert!(!next.process.stderr().iter().any(|line| line.contains(IN_FORCE)));

    let before = held(&node);
    let handle = base_chain(&world);
    let first = &mut world.agents[0].process;
    first.signal(Signal::SIGTERM).unwrap();
    let ended = first.wait(GRACE).unwrap().expect("it ends within two seconds");
    assert_eq!(ended.code(), Some(0));
    assert_eq!(held(&node), before, "its rules stay");
    next.await_line(IN_FORCE);
    next.await_ready(&world.cluster);
    world.agents[0] = next;
    world.let_in("afterwards");
    world.converge();
    assert_eq!(base_chain(&world), handle, "never made anew");
    for agent in &mut world.agents {
        agent.process.signal(Signal::SIGTERM).unwrap();
        agent.process.wait(GRACE).unwrap().expect("it ends within two seconds");
    }
    world.finish();
}

#[test]
fn an_agent_whose_table_is_cleaned_up_lives_and_enforces_nothing_until_it_is_restarted() {
    let mut world = World::start();
    let node = world.node("n2");
    world.expect_leaks();
    let said = run_in(&node, &["cleanup"]).expect(0).stdout;
    assert_eq!(said, "the agent removed table inet podwall, and enforces nothing until it is restarted\n");
    assert_eq!(held(&node), None);
    let status = world.agents[1].status(&world.cluster);
    assert_eq!(status["ready"], false, "{status}");
    world.let_in("more");
    await_that("the other agent follows", || held(&world.node("n1")).unwrap().contains("shop/more"));
    assert_eq!(held(&node), None, "and this one does nothing");
    assert!(world.agents[1].process.wait(Duration::ZERO).unwrap().is_none(), "it lives");

    world.agents[1].restart(&world.cluster);
    world.agents[1].await_line(IN_FORCE);
    world.agents[1].await_ready(&world.cluster);
    world.converge();
    world.expect_no_more_leaks();
    world.finish();
}

#[test]
fn an_agent_without_an_api_server_guards_the_old_rules_and_edits_them_once_it_knows_all() {
    let mut world = World::start();
    world.let_in("old");
    world.converge();
    let node = world.node("n1");
    let before = (held(&node), base_chain(&world));
    world.agents[0].process.kill().unwrap();
    world.control_plane().kill_api_server();
    world.agents[0].restart(&world.cluster);
    world.agents[0].await_line("watch failed");
    // An owner is who keeps this from taking the table along.
    await_that("the agent owns the table", || is_owned(&world));
    nft(&node, &["flush", "ruleset"], "");
    assert_eq!((held(&node), base_chain(&world)), before);
    assert_eq!(world.agents[0].status(&world.cluster)["ready"], false);
    world.check_flows();

    world.control_plane().remove("NetworkPolicy", "shop/old");
    world.control_plane().start_api_server();
    world.agents[0].await_line(IN_FORCE);
    world.let_in("new");
    world.converge();
    assert_eq!(base_chain(&world), before.1, "never made anew");
    world.finish();
}

/// The handles of the table and of the base chain of the first node.
fn base_chain(world: &World) -> (Value, Value) {
    let text = nft(&world.node(NODES[0]), &["--json", "--handle", "list", "table", "inet", "podwall"], "");
    let listed: Value = serde_json::from_str(&text).unwrap();
    let objects = listed["nftables"].as_array().unwrap();
    let chain = objects.iter().map(|object| &object["chain"]).find(|chain| chain["name"] == "base_forward").unwrap();
    let table = objects.iter().map(|object| &object["table"]).find(|table| table["name"] == "podwall").unwrap();
    (table["handle"].clone(), json!([chain["handle"], chain["hook"]]))
}

/// Whether somebody owns the table of the first node.
fn is_owned(world: &World) -> bool {
    nft(&world.node(NODES[0]), &["list", "ruleset"], "").contains("progname podwall")
}
