//! All flows of a cluster at once, held against the literal reading, flow by flow.

use std::net::IpAddr;

use analysis::matrix::{Cell, Fold, Matrix, Question, UnitName};
use analysis::reach::{self, Passage, PortSpace, Reach};
use podwall_tests::random::{self, Cases, Size};
use policy_compiler::cidr::{Cidr, CidrRules, Family};
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Object, Phase, Pod, Workload};
use policy_compiler::verdict::{self, Endpoint, Flow, Traffic};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::CASES;
use crate::flows;

/// Pods that somebody can speak to.
pub fn live(cluster: &Cluster) -> impl Iterator<Item = &Pod> {
    cluster.pods().filter(|pod| pod.phase != Phase::Finished)
}

/// The families in which two ends can meet, with the addresses that they then have; an end whose addresses are not
/// known may have any.
pub fn meetings(from: &[IpAddr], to: &[IpAddr]) -> Vec<(Family, Option<IpAddr>, Option<IpAddr>)> {
    let of = |addresses: &[IpAddr], family| addresses.iter().copied().find(|address| Family::of(*address) == family);
    let meet = |family| {
        let (source, destination) = (of(from, family), of(to, family));
        let possible = (source.is_some() || from.is_empty()) && (destination.is_some() || to.is_empty());
        possible.then_some((family, source, destination))
    };
    let found: Vec<_> = Family::BOTH.into_iter().filter_map(meet).collect();
    if from.is_empty() && to.is_empty() { found[..1].to_vec() } else { found }
}

fn passage(allowed: &[(Family, bool)]) -> Passage {
    match *allowed {
        [] => Passage::NoFamily,
        [(_, true)] | [(_, true), (_, true)] => Passage::Allowed,
        [(_, false)] | [(_, false), (_, false)] => Passage::Denied,
        [(family, true), _] | [_, (family, true), ..] => Passage::Only(family),
        _ => unreachable!("there are two families"),
    }
}

#[test]
fn rules_15_to_109_all_flows_at_once_are_what_the_policies_say_of_each() {
    random::run(
        Cases::share(3_000, CASES),
        || random::cluster(&Size::JUDGED),
        |random| {
            let cluster = random.cluster();
            let groups = reach::partition([&cluster]);
            let reach = Reach::new(&cluster, PortSpace::of([&cluster]), &groups);
            let traffics: Vec<Traffic> = flows::traffics(&cluster).into_iter().collect();
            for from in live(&cluster) {
                for to in live(&cluster).filter(|to| !reach::is_exempt(from, to)) {
                    let classes = (reach.class_of(&from.name).unwrap(), reach.class_of(&to.name).unwrap());
                    let ends = |source, destination| (Endpoint::pod(from, source), Endpoint::pod(to, destination));
                    judged_alike(&cluster, &reach, classes, &from.addresses, &to.addresses, ends, &traffics)?;
                }
                for (place, group) in groups.iter().enumerate() {
                    let outside = reach.class_of_outside(place).unwrap();
                    let pod = reach.class_of(&from.name).unwrap();
                    for family in Family::BOTH {
                        // Any address of the group stands for all of it.
                        let ranges = || group.ranges.iter().filter(|range| Family::of(range.first) == family);
                        let last = ranges().next_back().map(|range| range.last);
                        let Some(address) = last else { continue };
                        let mut there = group.ranges.iter().map(|range| range.last).collect::<Vec<_>>();
                        there.retain(|one| Family::of(*one) != family);
                        there.push(address);
                        let to = |source, destination: Option<IpAddr>| {
                            (Endpoint::pod(from, source), Endpoint::address(destination.expect("it has one")))
                        };
                        judged_alike(&cluster, &reach, (pod, outside), &from.addresses, &there, to, &traffics)?;
                        let back = |source: Option<IpAddr>, destination| {
                            (Endpoint::address(source.expect("it has one")), Endpoint::pod(from, destination))
                        };
                        judged_alike(&cluster, &reach, (outside, pod), &there, &from.addresses, back, &traffics)?;
                    }
                }
            }
            Ok(())
        },
    );
}

fn judged_alike<'c>(
    cluster: &'c Cluster,
    reach: &Reach<'c>,
    (from, to): (usize, usize),
    sources: &[IpAddr],
    destinations: &[IpAddr],
    ends: impl Fn(Option<IpAddr>, Option<IpAddr>) -> (Endpoint<'c>, Endpoint<'c>),
    traffics: &[Traffic],
) -> Result<(), TestCaseError> {
    let row = reach.row(from);
    let sets = row.traffic(to);
    for traffic in traffics {
        let judged: Vec<(Family, bool)> = meetings(sources, destinations)
            .into_iter()
            .map(|(family, source, destination)| {
                let (from, to) = ends(source, destination);
                (family, verdict::judge(cluster, &Flow { from, to, traffic: *traffic }).is_allowed())
            })
            .collect();
        let found = row.passage(to, *traffic);
        prop_assert_eq!(found, passage(&judged), "{:?} -> {:?} {}", sources, destinations, traffic);
        let listed: Vec<_> = sets.iter().map(|(family, set)| (*family, set.contains(*traffic))).collect();
        prop_assert_eq!(listed, judged);
    }
    Ok(())
}

#[test]
fn rules_15_to_109_a_matrix_says_what_the_policies_say_of_each_pair_of_pods() {
    let blocks = ["10.244.1.0/24", "192.0.2.0/24", "2001:db8::/32"];
    let external: Vec<Cidr> = blocks.iter().map(|text| Cidr::parse(text, CidrRules::Strict).unwrap().0).collect();
    random::run(
        Cases::share(1_500, CASES),
        || random::cluster(&Size::JUDGED),
        |random| {
            let mut cluster: Cluster = random.objects.iter().cloned().enumerate().map(employed).collect();
            cluster.place_pods("n1");
            let question = Question { fold: Fold::Pods, external: external.clone(), ..Question::default() };
            let matrix = Matrix::of(&cluster, &question).unwrap();
            for (row, from) in matrix.rows.iter().enumerate() {
                for (column, to) in matrix.columns.iter().enumerate() {
                    for (place, (protocol, port)) in matrix.ports.iter().enumerate() {
                        let addresses = |name: &UnitName| match name {
                            UnitName::Pod(name) => cluster.pod(name).unwrap().addresses.clone(),
                            UnitName::Outside(range) => vec![range.last],
                            UnitName::Workload { .. } => unreachable!("pods are not folded"),
                        };
                        let end = |name: &UnitName, address: Option<IpAddr>| match name {
                            UnitName::Pod(name) => Endpoint::pod(cluster.pod(name).unwrap(), address),
                            _ => Endpoint::address(address.unwrap()),
                        };
                        let meetings = meetings(&addresses(&from.name), &addresses(&to.name));
                        let judged: Vec<(Family, bool)> = meetings
                            .into_iter()
                            .map(|(family, source, destination)| {
                                let (from, to) = (end(&from.name, source), end(&to.name, destination));
                                let flow = Flow::new(from, to, *protocol, *port);
                                (family, verdict::judge(&cluster, &flow).is_allowed())
                            })
                            .collect();
                        let both_outside = from.pods.is_empty() && to.pods.is_empty();
                        let expected = match passage(&judged) {
                            _ if both_outside => Cell::NoWay,
                            _ if from.name == to.name => Cell::Itself,
                            // A pod and its own node speak locally, whatever addresses they have.
                            Passage::NoFamily if own_node(from.pods.first(), to.pods.first()) => Cell::Allowed,
                            Passage::NoFamily => Cell::NoWay,
                            Passage::Allowed => Cell::Allowed,
                            Passage::Denied => Cell::Denied,
                            Passage::Only(family) => Cell::Only(family),
                        };
                        prop_assert_eq!(matrix.cell(row, column, place), expected, "{} -> {}", from.name, to.name);
                    }
                }
            }
            folds(&cluster, &matrix, &external)
        },
    );
}

/// Some pods get a workload.
fn employed((place, object): (usize, Object)) -> Object {
    let workload = |kind: &str, name: &str| Some(Workload { kind: kind.into(), name: name.into() });
    match object {
        Object::Pod(mut pod) => {
            pod.workload = match place % 4 {
                0 | 1 => workload("Deployment", "w"),
                2 => workload("StatefulSet", "w"),
                _ => None,
            };
            Object::Pod(pod)
        }
        other => other,
    }
}

fn own_node(from: Option<&&Pod>, to: Option<&&Pod>) -> bool {
    from.zip(to).is_some_and(|(from, to)| reach::is_exempt(from, to))
}

/// A folded cell is what the cells of its pods have in common.
fn folds(cluster: &Cluster, pods: &Matrix<'_>, external: &[Cidr]) -> Result<(), TestCaseError> {
    let question = Question { external: external.to_vec(), ports: pods.ports.clone(), ..Question::default() };
    let folded = Matrix::of(cluster, &question).unwrap();
    let members = |name: &UnitName| -> Vec<usize> {
        let is_in = |unit: &&analysis::matrix::Unit<'_>| match unit.pods.first() {
            Some(pod) => UnitName::of(pod, Fold::Workloads) == *name,
            None => unit.name == *name,
        };
        let all = pods.rows.iter().enumerate();
        all.filter(|(_, unit)| is_in(unit)).map(|(place, _)| place).collect()
    };
    for (row, from) in folded.rows.iter().enumerate() {
        for (column, to) in folded.columns.iter().enumerate() {
            for port in 0..folded.ports.len() {
                let pairs =
                    members(&from.name).into_iter().flat_map(|a| members(&to.name).into_iter().map(move |b| (a, b)));
                let mut cells: Vec<Cell> = pairs.map(|(a, b)| pods.cell(a, b, port)).collect();
                cells.sort_by_key(|cell| cell.symbol());
                cells.dedup();
                for silent in [Cell::NoWay, Cell::Itself] {
                    if cells.len() > 1 {
                        cells.retain(|cell| *cell != silent);
                    }
                }
                let expected = match cells[..] {
                    [one] => one,
                    _ => Cell::Some,
                };
                prop_assert_eq!(folded.cell(row, column, port), expected, "{} -> {}", from.name, to.name);
            }
        }
    }
    Ok(())
}
