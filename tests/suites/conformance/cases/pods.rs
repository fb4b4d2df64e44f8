//! Pods among themselves, and a pod with itself.

use lab::{Protocol, Traffic};

use super::flows::{ALL, Flows, To, UDP, deny_all, policy};
use crate::{Case, world::World};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(79, "datagrams_in_fragments_are_judged_like_whole_ones", fragments_are_judged_like_whole_ones),
        Case::new(99, "a_pod_reaches_itself", a_pod_reaches_itself),
    ]
}

/// Only the first fragment has ports. Two pods of one node, and two of different ones.
fn fragments_are_judged_like_whole_ones(world: &mut World) -> Result<(), String> {
    world.apply(&policy(
        "large",
        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress, Egress], \
         ingress: [{from: [{podSelector: {}}], ports: [{protocol: UDP, port: 80}]}], \
         egress: [{to: [{podSelector: {}}], ports: [{protocol: UDP, port: 80}]}]}",
    ))?;
    let other = Traffic::Port(Protocol::Udp, 9999);
    for payload in [4000, 9000] {
        let mut flows = Flows::of(world);
        for friend in ["x/b", "x/c"] {
            flows.pass(friend, "x/a", &[UDP])?;
            flows.pass("x/a", friend, &[UDP])?;
            flows.fail(friend, "x/a", &[other, Traffic::Echo])?;
            flows.fail("x/a", friend, &[other, Traffic::Echo])?;
        }
        for stranger in ["y/a", "y/b"] {
            flows.fail(stranger, "x/a", &[UDP])?;
            flows.fail("x/a", stranger, &[UDP])?;
        }
        flows.pass("y/a", "y/b", &[UDP, other, Traffic::Echo])?;
        flows.carry(payload);
        flows.check()?;
    }
    Ok(())
}

/// What containers of a pod say to each other never leaves its network namespace.
fn a_pod_reaches_itself(world: &mut World) -> Result<(), String> {
    world.apply(&deny_all("x", "{}"))?;
    let mut flows = Flows::of(world);
    for pod in ["x/a", "x/c"] {
        flows.pass(pod, pod, &ALL)?;
        let itself = [pod];
        let loopback = ["127.0.0.1", "::1"].map(|text| text.parse().map_err(|error| format!("{text}: {error}")));
        let loopback = loopback.into_iter().collect::<Result<_, String>>()?;
        flows.pass(pod, To::Addresses(loopback, &itself), &ALL)?;
    }
    // And that they are isolated.
    flows.fail("x/b", "x/a", &ALL)?;
    flows.fail("y/b", "x/c", &ALL)?;
    flows.check()
}
