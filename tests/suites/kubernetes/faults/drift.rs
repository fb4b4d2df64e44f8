//! Somebody else changes the table.

use std::process::Command;
use std::time::{Duration, Instant};

use lab::Namespace;
use podwall_tests::agent::IN_FORCE;
use podwall_tests::kubernetes::{Cluster, Lease};
use podwall_tests::{Run, finish, nft};

use super::kernel::held;
use super::world::{NODES, World};

/// How soon an edit is undone, which is promised.
const REPAIR: Duration = Duration::from_millis(200);
/// As often is it tried: a machine that is busy with something else is not the agent's fault.
const ATTEMPTS: usize = 3;

/// What somebody does to the first node's table, as nft has it. None of it denies what is always allowed.
fn edits(cluster: &Cluster) -> [Vec<String>; 3] {
    let server = &cluster.addresses("shop/server")[0];
    [
        words(&format!("delete element inet podwall dispatch_egress_v4 {{ {server} }}")),
        words("flush chain inet podwall dispatch_ingress"),
        words("insert rule inet podwall base_forward accept"),
    ]
}

/// The same, with the table. Packets that are on their way through its rules meanwhile find their sets gone, and may be
/// denied: that is the kernel's doing, with and without an agent.
fn deletions() -> [Vec<String>; 2] {
    [words("delete table inet podwall"), words("flush ruleset")]
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn edits_of_a_table_that_nobody_owns_are_undone_within_200_milliseconds() {
    let mut world = World::with(Lease::new(), |cluster| {
        NODES.map(|node| {
            // A table that was made without an owner never gets one.
            nft(&cluster.namespace(node), &["add", "table", "inet", "podwall"], "");
            cluster.launch_agent(node, &[])
        })
    });
    assert_eq!(world.agents[0].status(&world.cluster)["owned"], false);
    // Until it is undone, an edit lets through what it lets through.
    world.expect_leaks();
    for edit in edits(&world.cluster) {
        is_undone(&mut world, &edit);
    }
    world.expect_losses();
    for edit in deletions() {
        is_undone(&mut world, &edit);
    }
    world.converge();
    world.expect_no_more_losses();
    world.expect_no_more_leaks();
    world.let_in("afterwards");
    world.finish();
}

#[test]
fn edits_of_an_owned_table_are_refused_and_change_nothing() {
    let mut world = World::start();
    let node = world.node("n1");
    let before = nft(&node, &["--stateless", "--handle", "list", "ruleset"], "");
    for edit in edits(&world.cluster).into_iter().chain(deletions()) {
        let run = attempt(&node, &edit);
        if edit[0] == "flush" && edit[1] == "ruleset" {
            assert_eq!(run.status, Some(0), "{}", run.stderr);
        } else {
            assert!(
                run.status == Some(1) && run.stderr.contains("Operation not permitted"),
                "{edit:?}: {}",
                run.stderr
            );
        }
        assert_eq!(nft(&node, &["--stateless", "--handle", "list", "ruleset"], ""), before, "{edit:?}");
    }
    let said = world.agents[0].process.stderr().iter();
    assert_eq!(said.filter(|line| line.contains(IN_FORCE)).count(), 1, "nothing had to be adopted again");
    world.finish();
}

/// An edit of the first node's table is undone in time, and told of.
#[track_caller]
fn is_undone(world: &mut World, edit: &[String]) {
    let node = world.node("n1");
    let mut took = Vec::new();
    while took.iter().all(|took| *took > REPAIR) {
        assert!(took.len() < ATTEMPTS, "{edit:?} was undone after {took:?}");
        took.push(undone_after(&node, edit));
    }
    world.agents[0].await_line("somebody changed the table");
}

fn attempt(node: &Namespace, edit: &[String]) -> Run {
    let mut command = Command::new("nft");
    command.args(edit);
    node.run(|| finish(command, "")).unwrap()
}

/// Edits the table, and measures until it is what it was. Listing it takes a part of that time.
#[track_caller]
fn undone_after(node: &Namespace, edit: &[String]) -> Duration {
    let before = held(node);
    // From the first moment at which the kernel may have it.
    let start = Instant::now();
    attempt(node, edit);
    loop {
        let now = held(node);
        let took = start.elapsed();
        if now == before {
            return took;
        }
        assert!(took < Duration::from_secs(20), "{edit:?} is not undone");
    }
}
