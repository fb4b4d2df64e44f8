//! Expectations, held against every flow that they speak of.

use std::collections::BTreeSet;
use std::net::IpAddr;

use analysis::expectation::{self, Expectation};
use analysis::party::Pattern;
use podwall_tests::random::{self, Cases, Size};
use policy_compiler::cidr::Cidr;
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Origin, Pod};
use policy_compiler::verdict::{self, Endpoint, Flow, Traffic};
use proptest::prelude::*;
use proptest::sample::select;

use crate::CASES;
use crate::flows;
use crate::reach::{live, meetings};

const PARTIES: [&str; 9] = ["*/*", "a/*", "a-b/*", "*/x", "*/b*", "app=a", "a:!tier", "10.244.1.2", "192.0.2.7"];

fn expectations() -> impl Strategy<Value = Vec<(Pattern, Pattern, Option<usize>, bool)>> {
    let party = || select(&PARTIES[..]).prop_map(|text| text.parse::<Pattern>().unwrap());
    prop::collection::vec((party(), party(), prop::option::of(0..100usize), any::<bool>()), 12)
}

#[test]
fn rules_15_to_109_an_expectation_holds_if_every_flow_is_so() {
    random::run(
        Cases::share(1_500, CASES),
        || (random::cluster(&Size::JUDGED), expectations()),
        |(random, expectations)| {
            let mut cluster = random.cluster();
            cluster.place_pods("n1");
            let traffics: Vec<Traffic> = flows::traffics(&cluster).into_iter().collect();
            let origin = Origin { file: "e.yaml".into(), line: 1, column: 1 };
            let expectations: Vec<Expectation> = expectations
                .into_iter()
                .map(|(from, to, traffic, allowed)| {
                    let traffic = traffic.map(|place| traffics[place % traffics.len()]);
                    Expectation { from, to, traffic, allowed, note: None, origin: origin.clone() }
                })
                .collect();
            for (expectation, outcome) in expectations.iter().zip(expectation::check(&cluster, &expectations)) {
                let (pairs, holds) = literal(&cluster, expectation, &traffics);
                prop_assert_eq!((outcome.pairs, outcome.holds()), (pairs, holds && pairs > 0), "{:?}", expectation);
                for flaw in &outcome.flaws {
                    let expectation::Flaw::Flows(failure) = flaw else { continue };
                    prop_assert_ne!(failure.verdict.is_allowed(), expectation.allowed, "{}", failure.example);
                    prop_assert!(failure.traffic.contains(failure.example.traffic));
                }
            }
            Ok(())
        },
    );
}

/// Who a pattern means: a pod, or an address outside.
#[derive(Clone, Copy, PartialEq)]
enum Who<'c> {
    Pod(&'c Pod),
    Outside(IpAddr),
}

fn meant<'c>(cluster: &'c Cluster, pattern: &Pattern) -> Vec<Who<'c>> {
    match pattern {
        Pattern::Address(address) => match cluster.address_owners().get(address) {
            Some(pod) => vec![Who::Pod(pod)],
            None => vec![Who::Outside(*address)],
        },
        pattern => live(cluster).filter(|pod| pattern.matches(pod)).map(Who::Pod).collect(),
    }
}

/// How many pairs there are, and whether each of their flows is as expected.
fn literal(cluster: &Cluster, expectation: &Expectation, traffics: &[Traffic]) -> (usize, bool) {
    let (from, to) = (meant(cluster, &expectation.from), meant(cluster, &expectation.to));
    let alone = from.len() == 1 && from == to;
    let (mut pairs, mut holds) = (0, true);
    for from in &from {
        for to in &to {
            let strangers = matches!((from, to), (Who::Outside(_), Who::Outside(_)));
            if strangers || from == to && !alone {
                continue;
            }
            pairs += 1;
            let asked: BTreeSet<Traffic> = match expectation.traffic {
                Some(traffic) => [traffic].into(),
                None => traffics.iter().copied().collect(),
            };
            let addresses = |who: &Who<'_>| match who {
                Who::Pod(pod) => pod.addresses.clone(),
                Who::Outside(address) => vec![*address],
            };
            let end = |who: &Who<'_>, address: Option<IpAddr>| match who {
                Who::Pod(pod) => Endpoint::pod(cluster.pod(&pod.name).unwrap(), address),
                Who::Outside(address) => Endpoint::address(*address),
            };
            let mut meetings = meetings(&addresses(from), &addresses(to));
            // What never leaves the node needs no family.
            let exempt = matches!((from, to), (Who::Pod(from), Who::Pod(to)) if analysis::reach::is_exempt(from, to));
            if meetings.is_empty() && exempt {
                meetings.push((policy_compiler::cidr::Family::V4, None, None));
            }
            for (_, source, destination) in meetings {
                for traffic in &asked {
                    let flow = Flow { from: end(from, source), to: end(to, destination), traffic: *traffic };
                    holds &= verdict::judge(cluster, &flow).is_allowed() == expectation.allowed;
                }
            }
        }
    }
    (pairs, holds)
}

#[test]
fn a_block_is_all_of_its_addresses() {
    random::run(
        Cases::share(500, CASES),
        || (random::cluster(&Size::JUDGED), random::block(), any::<bool>()),
        |(random, block, allowed)| {
            let mut cluster = random.cluster();
            cluster.place_pods("n1");
            let cidr: Cidr = block.cidr;
            let origin = Origin { file: "e.yaml".into(), line: 1, column: 1 };
            let (from, to) = ("*/*".parse().unwrap(), Pattern::Block(cidr));
            let expectation = Expectation { from, to, traffic: None, allowed, note: None, origin };
            let outcome = expectation::check(&cluster, std::slice::from_ref(&expectation)).remove(0);
            let traffics: Vec<Traffic> = flows::traffics(&cluster).into_iter().collect();
            // Where any ipBlock of the cluster begins or ends.
            let groups = analysis::reach::split(&cluster, cidr);
            let ends = groups.iter().flat_map(|group| &group.ranges).flat_map(|range| [range.first, range.last]);
            let mut holds = live(&cluster).next().is_some();
            for address in ends {
                for pod in live(&cluster) {
                    for (_, source, _) in meetings(&pod.addresses, &[address]) {
                        for traffic in &traffics {
                            let (from, to) = (Endpoint::pod(pod, source), Endpoint::address(address));
                            let flow = Flow { from, to, traffic: *traffic };
                            holds &= verdict::judge(&cluster, &flow).is_allowed() == allowed;
                        }
                    }
                }
            }
            prop_assert_eq!(outcome.holds(), holds);
            Ok(())
        },
    );
}
