//! What changes between two clusters, held against the literal reading of both, flow by flow.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use analysis::diff::{self, Change, Connectivity, Effect, Side};
use analysis::matrix::{Fold, UnitName};
use analysis::reach;
use podwall_tests::random::{self, Cases, History, Size};
use policy_compiler::cidr::Family;
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Object, Pod, Workload};
use policy_compiler::plan::Settings;
use policy_compiler::render;
use policy_compiler::verdict::{self, Endpoint, Flow, Traffic};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::CASES;
use crate::flows;
use crate::reach::{live, meetings};

/// Two clusters that have much in common.
fn versions(history: &History) -> (Cluster, Cluster) {
    let old = history.start.cluster();
    let mut new = old.clone();
    history.steps.iter().flatten().for_each(|event| event.happen(&mut new));
    (employed(old), employed(new))
}

/// Most pods get a workload, the same in both versions.
fn employed(mut cluster: Cluster) -> Cluster {
    let pods: Vec<Pod> = cluster.pods().cloned().collect();
    for pod in pods {
        let kind = ["Deployment", "StatefulSet"].get(pod.name.name.len() % 3);
        let workload = kind.map(|kind| Workload { kind: (*kind).into(), name: "w".into() });
        _ = cluster.apply(Object::Pod(Pod { workload, ..pod }.into()));
    }
    cluster
}

#[test]
fn rules_15_to_109_the_difference_is_that_of_every_flow() {
    random::run(
        Cases::share(2_000, CASES),
        || random::history(&Size::JUDGED, 2),
        |history| {
            let (old, new) = versions(&history);
            let connectivity = Connectivity::between(&old, &new);
            let changes = expanded(&connectivity, &old, &new);
            let mut traffics = flows::traffics(&old);
            traffics.extend(flows::traffics(&new));
            for end in ends(&old, &new) {
                for other in ends(&old, &new) {
                    is_told(&changes, (&old, &new), (&end, &other), &traffics)?;
                }
            }
            Ok(())
        },
    );
}

/// Somebody who is in both versions.
#[derive(Clone, PartialEq)]
enum End<'c> {
    Pod(&'c Pod, &'c Pod),
    Outside(IpAddr),
}

impl<'c> End<'c> {
    fn addresses(&self) -> (Vec<IpAddr>, Vec<IpAddr>) {
        match self {
            Self::Pod(old, new) => (old.addresses.clone(), new.addresses.clone()),
            Self::Outside(address) => (vec![*address], vec![*address]),
        }
    }

    fn endpoints(&self, old: Option<IpAddr>, new: Option<IpAddr>) -> (Endpoint<'c>, Endpoint<'c>) {
        match self {
            Self::Pod(before, now) => (Endpoint::pod(before, old), Endpoint::pod(now, new)),
            Self::Outside(address) => (Endpoint::address(*address), Endpoint::address(*address)),
        }
    }

    fn is_in(&self, side: &Side) -> bool {
        match (self, side) {
            (Self::Pod(_, new), Side::Pods { unit, only }) => {
                UnitName::of(new, Fold::Workloads) == *unit && only.as_ref().is_none_or(|only| only.contains(&new.name))
            }
            (Self::Outside(address), Side::Outside { ranges, .. }) => {
                ranges.iter().any(|range| range.contains(*address))
            }
            _ => false,
        }
    }
}

fn ends<'c>(old: &'c Cluster, new: &'c Cluster) -> Vec<End<'c>> {
    let both = live(new).filter_map(|pod| Some(End::Pod(live(old).find(|other| other.name == pod.name)?, pod)));
    let groups = reach::partition([old, new]);
    let outside = groups.iter().flat_map(|group| group.ranges.iter()).map(|range| End::Outside(range.last));
    both.chain(outside).collect()
}

fn expanded<'d, 'c>(
    connectivity: &'d Connectivity,
    old: &'c Cluster,
    new: &'c Cluster,
) -> Vec<(&'d Change, Vec<End<'c>>, Vec<End<'c>>)> {
    let among = |sides: &[Side]| -> Vec<End<'c>> {
        ends(old, new).into_iter().filter(|end| sides.iter().any(|side| end.is_in(side))).collect()
    };
    connectivity.changes.iter().map(|change| (change, among(&change.from), among(&change.to))).collect()
}

fn is_told(
    changes: &[(&Change, Vec<End<'_>>, Vec<End<'_>>)],
    (old, new): (&Cluster, &Cluster),
    (from, to): (&End<'_>, &End<'_>),
    traffics: &BTreeSet<Traffic>,
) -> Result<(), TestCaseError> {
    match (from, to) {
        (End::Outside(_), End::Outside(_)) => return Ok(()),
        (End::Pod(old_from, new_from), End::Pod(old_to, new_to))
            if reach::is_exempt(old_from, old_to) || reach::is_exempt(new_from, new_to) =>
        {
            return Ok(());
        }
        _ => (),
    }
    let told: Vec<&Change> = changes
        .iter()
        .filter(|(_, senders, receivers)| senders.contains(from) && receivers.contains(to))
        .map(|(change, _, _)| *change)
        .collect();
    let ((old_from, new_from), (old_to, new_to)) = (from.addresses(), to.addresses());
    let (before, now) = (meetings(&old_from, &old_to), meetings(&new_from, &new_to));
    let unknown = |from: &[IpAddr], to: &[IpAddr]| from.is_empty() && to.is_empty();
    for family in Family::BOTH {
        // Two ends without addresses meet in any family, and alike.
        let meeting = |meetings: &[(Family, Option<IpAddr>, Option<IpAddr>)], unknown: bool| match unknown {
            true => Some((family, None, None)),
            false => meetings.iter().copied().find(|(of, _, _)| *of == family),
        };
        let before = meeting(&before, unknown(&old_from, &old_to));
        let now = meeting(&now, unknown(&new_from, &new_to));
        for traffic in traffics {
            let said: Vec<Effect> = told
                .iter()
                .filter(|change| change.family.is_none_or(|of| of == family) && change.traffic.contains(*traffic))
                .map(|change| change.effect)
                .collect();
            let (Some((_, old_source, old_destination)), Some((_, new_source, new_destination))) = (before, now) else {
                continue;
            };
            let (sources, destinations) =
                (from.endpoints(old_source, new_source), to.endpoints(old_destination, new_destination));
            let judge = |cluster: &Cluster, from, to| {
                verdict::judge(cluster, &Flow { from, to, traffic: *traffic }).is_allowed()
            };
            let expected = match (judge(old, sources.0, destinations.0), judge(new, sources.1, destinations.1)) {
                (false, true) => vec![Effect::Allowed],
                (true, false) => vec![Effect::Denied],
                _ => vec![],
            };
            prop_assert_eq!(said, expected, "{} -> {} {} {:?}", sources.1, destinations.1, traffic, family);
        }
    }
    Ok(())
}

#[test]
fn the_rules_view_turns_the_old_plan_into_the_new_one() {
    random::run(
        Cases::share(1_000, CASES),
        || random::history(&Size::JUDGED, 2),
        |history| {
            let (mut old, mut new) = versions(&history);
            diff::place_alike(&mut old, &mut new, "n1", None).unwrap();
            let nodes: BTreeSet<Arc<str>> = old.node_names().union(&new.node_names()).cloned().collect();
            for node in diff::rules(&old, &new, &nodes, &Settings::default()) {
                let mut table = node.old.clone();
                node.delta.apply(&mut table);
                prop_assert_eq!(&table, &node.new);
                let (before, now) = (render::text::table(&node.old), render::text::table(&node.new));
                prop_assert_ne!(&before, &now);
                prop_assert_eq!(patched(&before, &node.unified()), now);
            }
            Ok(())
        },
    );
}

/// What a unified difference makes of a text.
fn patched(text: &str, patch: &str) -> String {
    let mut lines = text.lines();
    let (mut taken, mut out) = (0, Vec::new());
    for line in patch.lines().skip(2) {
        match line.split_at(1) {
            ("@", _) => {
                let span = line.split(' ').nth(1).unwrap().trim_start_matches('-');
                let start = span.split_once(',').unwrap().0.parse::<usize>().unwrap() - 1;
                out.extend(lines.by_ref().take(start - taken));
                taken = start;
            }
            (sign, rest) => {
                if sign != "+" {
                    assert_eq!(lines.next(), Some(rest));
                    taken += 1;
                }
                if sign != "-" {
                    out.push(rest);
                }
            }
        }
    }
    out.extend(lines);
    out.join("\n") + "\n"
}
