//! Pods that have finished, and whose addresses others have by now.

use policy_compiler::cidr::Family;

use super::flows::{ALL, Flows, address, policy};
use crate::{Case, world::World};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(124, "a_finished_pod_is_neither_subject_nor_peer", finished_pods_count_for_nothing),
        Case::new(128, "a_peer_that_finishes_is_a_peer_no_more", a_peer_finishes),
        Case::new(129, "an_address_is_its_living_owners", addresses_are_of_the_living),
    ]
}

/// `x/a` hears friends, who are these pods.
fn friends_only() -> String {
    policy(
        "friends-only",
        "{podSelector: {matchLabels: {pod: a}}, ingress: [{from: [{podSelector: {matchLabels: {friend: \"yes\"}}}]}]}",
    )
}

/// A pod `x/NAME` on a node, whose phase and addresses somebody tells.
fn pod(name: &str, node: &str, labels: &str, status: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: x, labels: {{{labels}}}}}\n\
         spec: {{nodeName: {node}, containers: [{{name: c, image: c}}]}}\nstatus: {{{status}}}\n"
    )
}

/// Finished, with the addresses that a pod has now.
fn finished_with(world: &World, owner: &str) -> Result<String, String> {
    let [v4, v6] = [address(world, owner, Family::V4)?, address(world, owner, Family::V6)?];
    Ok(format!("phase: Succeeded, podIP: \"{v4}\", podIPs: [{{ip: \"{v4}\"}}, {{ip: \"{v6}\"}}]"))
}

fn finished_pods_count_for_nothing(world: &mut World) -> Result<(), String> {
    // On the node of who had its address before, and on the other one.
    let mut objects = friends_only() + &policy("jobs-hear-nobody", "{podSelector: {matchLabels: {job: \"yes\"}}}");
    for (name, node, owner) in [("done-1", "n1", "x/b"), ("done-2", "n2", "x/c")] {
        objects += &pod(name, node, "friend: \"yes\", job: \"yes\"", &finished_with(world, owner)?);
    }
    world.apply(&objects)?;
    let mut flows = Flows::of(world);
    for stranger in ["x/b", "x/c"] {
        // Their labels are not its own, so it is no friend; and it is not isolated by what isolates them.
        flows.fail(stranger, "x/a", &ALL)?;
        flows.pass("y/a", stranger, &ALL)?;
    }
    flows.check()
}

fn a_peer_finishes(world: &mut World) -> Result<(), String> {
    let running = pod("guest", "n2", "friend: \"yes\"", "phase: Running");
    world.apply(&(friends_only() + &running))?;
    let mut flows = Flows::of(world);
    flows.pass("x/guest", "x/a", &ALL)?;
    flows.fail("x/c", "x/a", &ALL)?;
    flows.check()?;
    // It is done, and another pod of its node has its address.
    let done = pod("guest", "n2", "friend: \"yes\"", &finished_with(world, "x/c")?);
    world.apply(&(friends_only() + &done))?;
    let mut flows = Flows::of(world);
    flows.fail("x/c", "x/a", &ALL)?;
    flows.check()
}

fn addresses_are_of_the_living(world: &mut World) -> Result<(), String> {
    // Who has the address now is a friend, who had it before was none; by name it comes before and after.
    let heir = pod("heir", "n2", "friend: \"yes\"", "phase: Running");
    world.apply(&(friends_only() + &heir))?;
    for name in ["ancestor", "zombie"] {
        let dead = pod(name, "n2", "friend: \"no\"", &finished_with(world, "x/heir")?);
        world.apply(&(friends_only() + &heir + &dead))?;
        let mut flows = Flows::of(world);
        flows.pass("x/heir", "x/a", &ALL)?;
        flows.fail("x/c", "x/a", &ALL)?;
        flows.check()?;
    }
    Ok(())
}
