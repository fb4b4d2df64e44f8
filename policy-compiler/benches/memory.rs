//! What a pod of another node costs a live plan, in bytes of resident memory, the elements of sets that it is in
//! included. Needs /proc.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod shape;

use policy_compiler::model::Object;
use policy_compiler::plan::{Generation, LivePlan, Settings};

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

const PODS: usize = 100_000;

/// Each count of policies in a process of its own, since what one frees the next would get for nothing.
fn main() {
    match std::env::args().nth(1).and_then(|argument| argument.parse().ok()) {
        Some(policies) => measure(policies),
        None => {
            for policies in ["0", "1000", "10000"] {
                let status = std::process::Command::new(std::env::current_exe().unwrap()).arg(policies).status();
                assert!(status.unwrap().success());
            }
        }
    }
}

fn measure(policies: usize) {
    // First the node's own pods, and the policies.
    let mut live = LivePlan::new("node-3", Settings::default(), Generation::FIRST);
    (0..policies).for_each(|number| live.apply(Object::Policy(shape::policy(number, PODS / 100).into())));
    let is_local = |number: &usize| shape::node(*number, PODS) == 3;
    (0..PODS).filter(is_local).for_each(|number| live.apply(Object::Pod(shape::pod(number, PODS).into())));
    _ = live.delta();
    let before = resident();
    let mut remote = 0;
    for number in (0..PODS).filter(|number| !is_local(number)) {
        live.apply(Object::Pod(shape::pod(number, PODS).into()));
        remote += 1;
        if remote % 100 == 0 {
            _ = live.delta();
        }
    }
    let bytes = (resident() - before) / remote;
    let sets = &live.table().sets;
    let elements: usize = sets.values().map(|set| set.elements.len()).sum();
    println!(
        "{policies} policies, {remote} remote pods: {bytes} bytes a pod; {} sets, {elements} elements",
        sets.len()
    );
}
