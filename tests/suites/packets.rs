//! Random clusters in the lab: an agent enforces each, and every packet does what the policies say, in both families
//! over every protocol that the policies know and ICMP, which they do not.
//!
//! `PODWALL_CLUSTERS` says how many, `PODWALL_LONG=1` ten times as many, `PODWALL_SEED` which.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use lab::PodNetwork;
use lab::proof::{self, Claim, Proof};
use podwall_tests::random::{self, RandomCluster, Size};
use podwall_tests::{podwall, setting};
use policy_compiler::model::Object;
use policy_compiler::render;

/// Of a usual run.
const CLUSTERS: u64 = 50;
/// The first cluster of a usual run; the others follow it.
const SEED: u64 = 1;
/// Labs wait for silence most of the time, so that several have room beside each other.
const LABS: usize = 4;

/// What became of the flows of one kind.
#[derive(Debug, Default)]
struct Tally {
    allowed: usize,
    denied: usize,
}

#[test]
fn packets_do_what_random_policies_say() {
    let agent = podwall();
    let factor = if setting("PODWALL_LONG") == Some(1) { 10 } else { 1 };
    let first = setting("PODWALL_SEED").unwrap_or(SEED);
    let seeds = first..first + setting("PODWALL_CLUSTERS").unwrap_or(CLUSTERS * factor);
    let (next, tallies, failures) = (AtomicU64::new(seeds.start), Mutex::default(), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..LABS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    let random = random::sample(&random::cluster(&Size::PROBED), seed);
                    match prove(&random, agent) {
                        Ok(proof) => count(&proof, &mut tallies.lock().expect("no panics here")),
                        Err(failure) => {
                            let again = format!("(again with PODWALL_SEED={seed} PODWALL_CLUSTERS=1)");
                            failures.lock().expect("no panics here").push(format!("{failure}\n{random:?}{again}"));
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panics here");
    assert!(failures.is_empty(), "of seeds {seeds:?} {} failed; one is\n{}", failures.len(), failures[0]);
    let tallies: BTreeMap<String, Tally> = tallies.into_inner().expect("no panics here");
    // A protocol or family of which everything was allowed, or nothing, would prove little.
    assert!(tallies.len() == 8 && tallies.values().all(|tally| tally.allowed > 0 && tally.denied > 0), "{tallies:?}");
}

fn prove(random: &RandomCluster, agent: &std::path::Path) -> Result<Proof, String> {
    let is_read = |object: &&Object| matches!(object, Object::Namespace(_) | Object::Policy(_));
    let objects = random.objects.iter().filter(is_read).map(render::manifest::object).collect();
    let mut cluster = random.cluster();
    cluster.place_pods("lab");
    // As good as any draw, and the same for the same cluster.
    let network = PodNetwork::ALL[random.objects.len() % PodNetwork::ALL.len()];
    let claim = Claim { cluster: &cluster, network, objects, agent };
    let proof = proof::prove(&claim, |_| ()).map_err(|error| format!("{network}: {error}"))?;
    let wrong: Vec<String> = proof.mismatches().map(|trial| format!("{trial:?}\n")).collect();
    if wrong.is_empty() { Ok(proof) } else { Err(format!("{network}\n{}", wrong.concat())) }
}

fn count(proof: &Proof, tallies: &mut BTreeMap<String, Tally>) {
    for trial in &proof.trials {
        let family = if trial.address.is_ipv4() { "IPv4" } else { "IPv6" };
        let tally = tallies.entry(format!("{} over {family}", trial.traffic.protocol(trial.address))).or_default();
        *if trial.predicted { &mut tally.allowed } else { &mut tally.denied } += 1;
    }
}
