//! Random clusters in the lab: agents enforce each, and every packet does what the policies say, between pods, nodes, the
//! world outside and Services, in both families, over every protocol that the policies know and ICMP, which they do not.
//! Then the cluster changes, and so do new connections and those that are open.
//!
//! `PODWALL_CLUSTERS` says how many, `PODWALL_LONG=1` ten times as many, `PODWALL_SEED` which.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use lab::PodNetwork;
use lab::proof::{Claim, Prediction, Proof, Stage, State};
use podwall_tests::random::{self, RandomCluster, Size};
use podwall_tests::{podwall, setting};
use policy_compiler::model::{Labels, Object, ObjectName, Service};
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
                    let (first, second) = states(seed);
                    match prove(&first, &second, agent) {
                        Ok(proofs) => {
                            let mut tallies = tallies.lock().expect("no panics here");
                            proofs.iter().for_each(|proof| count(proof, &mut tallies));
                        }
                        Err(failure) => {
                            let again = format!("(again with PODWALL_SEED={seed} PODWALL_CLUSTERS=1)");
                            let states = format!("{first:?}\n--- then\n{second:?}");
                            failures.lock().expect("no panics here").push(format!("{failure}\n{states}{again}"));
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
    assert!(tallies.len() == 12 && tallies.values().all(|tally| tally.allowed > 0 && tally.denied > 0), "{tallies:?}");
}

/// A cluster with Services, and what becomes of it: another one, or the same with other policies.
fn states(seed: u64) -> (RandomCluster, RandomCluster) {
    let cluster = |seed| random::sample(&random::cluster(&Size::PROBED), seed);
    let (mut first, mut second) = (cluster(seed), cluster(seed.wrapping_add(1 << 32)));
    if seed.is_multiple_of(2) {
        let is_policy = |object: &Object| matches!(object, Object::Policy(_));
        second.objects.retain(is_policy);
        second.objects.extend(first.objects.iter().filter(|object| !is_policy(object)).cloned());
    }
    add_services(&mut first, seed);
    add_services(&mut second, seed / 2);
    (first, second)
}

/// Services that somebody stands behind: each selects pods by a label that one of them has.
fn add_services(random: &mut RandomCluster, seed: u64) {
    let labelled = random.objects.iter().filter_map(|object| match object {
        Object::Pod(pod) => {
            pod.labels.iter().next().map(|label| (pod.name.namespace.clone(), [label].into_iter().collect()))
        }
        _ => None,
    });
    let labelled: Vec<(_, Labels)> = labelled.collect();
    let services = random::sample(&proptest::collection::vec(random::service(Size::PROBED.ports), 1..=4), seed);
    let mut services: Vec<Object> = services
        .into_iter()
        .zip(labelled.iter().cycle().skip(seed as usize % 7))
        .map(|(service, (namespace, selector))| {
            let name = ObjectName::new(namespace.clone(), service.name.name.clone());
            Object::Service(Service { name, selector: Some(selector.clone()), ..service }.into())
        })
        .collect();
    services.sort_by_key(Object::id);
    services.dedup_by_key(|service| service.id());
    random.objects.extend(services);
}

fn prove(first: &RandomCluster, second: &RandomCluster, agent: &std::path::Path) -> Result<[Proof; 2], String> {
    let is_read = |object: &&Object| matches!(object, Object::Namespace(_) | Object::Policy(_));
    let states = [first, second].map(|random| {
        let objects = random.objects.iter().filter(is_read).map(render::manifest::object).collect();
        let mut cluster = random.cluster();
        cluster.place_pods("lab");
        State { cluster, objects }
    });
    // As good as any draw, and the same for the same cluster.
    let network = PodNetwork::ALL[first.objects.len() % PodNetwork::ALL.len()];
    let claim = Claim { network, ..Claim::new(&states, agent) };
    let proofs = || {
        let mut stage = Stage::build(&claim, |_| ())?;
        let before = stage.prove(|_| ())?;
        let open = stage.connect(&before)?;
        stage.advance(&states[1], |_| ())?;
        let connections = stage.review(open);
        Ok::<_, lab::LabError>([before, Proof { connections, ..stage.prove(|_| ())? }])
    };
    let proofs = proofs().map_err(|error| format!("{network}: {error}"))?;
    let wrong: Vec<String> = proofs.iter().flat_map(Proof::mismatches).map(|trial| format!("{trial:?}\n")).collect();
    if wrong.is_empty() { Ok(proofs) } else { Err(format!("{network}\n{}", wrong.concat())) }
}

fn count(proof: &Proof, tallies: &mut BTreeMap<String, Tally>) {
    let direct = proof.trials.iter().map(|trial| (trial, trial.traffic.protocol(trial.address)));
    let direct = direct.map(|(trial, protocol)| (trial, if trial.to.is_service() { "a Service" } else { protocol }));
    let connections = proof.connections.iter().map(|trial| (trial, "an open connection"));
    for (trial, kind) in direct.chain(connections) {
        let family = if trial.address.is_ipv4() { "IPv4" } else { "IPv6" };
        let tally = tallies.entry(format!("{kind} over {family}")).or_default();
        match trial.predicted {
            Prediction::Allowed => tally.allowed += 1,
            Prediction::Denied => tally.denied += 1,
            Prediction::Partly => {}
        }
    }
}
