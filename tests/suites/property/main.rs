//! Random clusters: what the policies say literally, what the compiled plan does with a packet, and what the plan does
//! that has followed every event, are the same.
//!
//! `PODWALL_CASES` says how many clusters, `PODWALL_LONG=1` ten times as many, `PODWALL_SEED` which.

mod diff;
mod expectation;
mod flows;
mod kernel;
mod reach;
mod shared;

use std::collections::BTreeSet;
use std::sync::Arc;

use flows::{Flows, Tally};
use podwall_tests::random::{self, Cases, History, RandomCluster, Size};
use podwall_tests::{podwall, run};
use policy_compiler::cidr::CidrRules;
use policy_compiler::cluster::Cluster;
use policy_compiler::interpret::{ConnectionState, Packet, Payload};
use policy_compiler::manifest::{self, Content};
use policy_compiler::model::{Direction, Namespace, Node, Object, ObjectName, Pod, Policy, Rule, Service};
use policy_compiler::plan::{self, Generation, LivePlan, NodePlan, PlannedPod, Settings};
use policy_compiler::render;
use policy_compiler::ruleset::Table;
use policy_compiler::verdict::Flow;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// Of a usual run; each property has its share.
const CASES: u32 = 20_000;
/// Steps of a history.
const STEPS: usize = 4;

#[test]
fn rules_15_to_109_a_plan_does_what_the_policies_say() {
    let (cases, tally) = (Cases::share(17_000, CASES), Tally::default());
    random::run(
        cases,
        || random::cluster(&Size::JUDGED),
        |random| {
            let cluster = random.cluster();
            let plans = flows::compile(&cluster)?;
            for (node, plan) in &plans {
                names_who_is_isolated(&cluster, node, plan)?;
            }
            Flows::new(&cluster).judge_all(&flows::tables(&plans), &tally)
        },
    );
    tally.expect_both(cases);
}

/// The plan lists the node's pods with the policies that isolate them (rules 16, 17, 21), and those that wait for an
/// address (rule 127).
fn names_who_is_isolated(cluster: &Cluster, node: &str, plan: &NodePlan) -> Result<(), TestCaseError> {
    let local = || cluster.pods().filter(|pod| pod.is_selectable() && pod.node.as_deref() == Some(node));
    let owners: BTreeSet<&ObjectName> = cluster.address_owners().values().map(|pod| &pod.name).collect();
    let isolating = |pod: &Pod, direction| -> Vec<ObjectName> {
        let selecting = cluster.policies().filter(|policy| {
            policy.name.namespace == pod.name.namespace
                && policy.subject.matches(&pod.labels)
                && policy.rules(direction).is_some()
        });
        selecting.map(|policy| policy.name.clone()).collect()
    };
    let expected: Vec<PlannedPod> = local()
        .filter(|pod| owners.contains(&pod.name))
        .map(|pod| PlannedPod {
            name: pod.name.clone(),
            ingress: isolating(pod, Direction::Ingress),
            egress: isolating(pod, Direction::Egress),
        })
        .collect();
    prop_assert_eq!(&plan.pods, &expected);
    let waiting: Vec<_> = local().filter(|pod| pod.addresses.is_empty()).map(|pod| pod.name.clone()).collect();
    prop_assert_eq!(&plan.pending, &waiting);
    Ok(())
}

#[test]
fn rules_81_82_133_134_known_connections_are_judged_again_unless_stamped() {
    random::run(
        Cases::share(1_000, CASES),
        || random::cluster(&Size::JUDGED),
        |random| {
            let cluster = random.cluster();
            let plans = flows::compile(&cluster)?;
            let traffics = flows::traffics(&cluster);
            for (from, to) in Flows::new(&cluster).pairs() {
                for traffic in &traffics {
                    let flow = Flow { from, to, traffic: *traffic };
                    plans.values().try_for_each(|plan| is_judged_by_its_state(&plan.table, &flows::packet(&flow)))?;
                }
            }
            Ok(())
        },
    );
}

/// `new` is the first packet of a connection.
fn is_judged_by_its_state(table: &Table, new: &Packet) -> Result<(), TestCaseError> {
    const OTHER_BITS: u32 = 0x0005_5555;
    let mask = Settings::default().mark_mask;
    let (current, stale) = (Generation::FIRST.value(mask), Generation::FIRST.next(mask).value(mask));
    let end = |connection, mark| flows::send(table, &Packet { connection, mark, ..new.clone() });

    let first = end(ConnectionState::New, OTHER_BITS)?;
    if first.is_accepted() {
        prop_assert_eq!(first.mark, current | OTHER_BITS, "an allowed connection is stamped, and nothing else changes");
    }
    let known = ConnectionState::Established { reply: false };
    let again = end(known, stale | OTHER_BITS)?;
    prop_assert_eq!(again.end, first.end, "judged again");
    prop_assert!(!again.is_accepted() || again.mark == first.mark, "and stamped again");
    prop_assert!(end(known, current | OTHER_BITS)?.is_accepted(), "stamped with the current generation");
    prop_assert!(end(ConnectionState::Established { reply: true }, stale)?.is_accepted(), "a reply");
    prop_assert!(end(ConnectionState::Related, 0)?.is_accepted(), "an error about another connection");
    let neighbour = Packet { payload: Payload::NeighbourDiscovery, ..new.clone() };
    prop_assert!(flows::send(table, &neighbour)?.is_accepted(), "neighbour discovery");
    Ok(())
}

#[test]
fn rules_110_to_131_a_plan_that_follows_events_is_the_plan_of_where_they_lead() {
    let (cases, tally) = (Cases::share(3_000, CASES), Tally::default());
    random::run(cases, || random::history(&Size::JUDGED, STEPS), |history| follows(&history, &tally));
    tally.expect_both(cases);
}

/// Follows a history on every node at once.
fn follows(history: &History, tally: &Tally) -> Result<(), TestCaseError> {
    let settings = Settings::default();
    let mut cluster = Cluster::default();
    let mut nodes: Vec<Follower> = ["n1", "n2", "n3"].map(|node| Follower::new(node, &settings)).into();
    let start = history.start.objects.iter().cloned().map(random::Event::Apply).collect();
    for step in std::iter::once(&start).chain(&history.steps) {
        let before = cluster.clone();
        step.iter().for_each(|event| event.happen(&mut cluster));
        for node in &mut nodes {
            node.follow(step, &settings, &before, &cluster)?;
        }
    }
    let tables: Vec<_> = nodes.iter().map(|node| (node.name.clone(), node.live.table())).collect();
    Flows::new(&cluster).judge_all(&tables, tally)
}

/// A node's plan that follows events, and what a kernel holds that gets its deltas.
struct Follower {
    name: Arc<str>,
    live: LivePlan,
    kernel: Table,
}

impl Follower {
    fn new(node: &str, settings: &Settings) -> Self {
        let live = LivePlan::new(node, settings.clone(), Generation::FIRST);
        Self { name: node.into(), kernel: live.table().clone(), live }
    }

    fn follow(
        &mut self,
        events: &[random::Event],
        settings: &Settings,
        before: &Cluster,
        after: &Cluster,
    ) -> Result<(), TestCaseError> {
        for event in events {
            match event {
                random::Event::Apply(object) => self.live.apply(object.clone()),
                random::Event::Remove(id) => self.live.remove(id),
            }
        }
        if self.live.tightens() {
            self.live.set_generation(self.live.generation().next(settings.mark_mask));
        } else {
            denies_nothing_new(&self.kernel, self.live.table(), before)?;
        }
        let compiled = plan::compile(after, &self.name, settings, self.live.generation());
        let live = self.live.table();
        prop_assert!(live == &compiled.table, "node {}:\n{}", self.name, differences(live, &compiled.table));
        prop_assert_eq!(render::text::table(live), render::text::table(&compiled.table));
        prop_assert_eq!((self.live.pods(), self.live.pending()), (compiled.pods, compiled.pending));
        flows::check(&self.name, live)?;

        self.live.delta().apply(&mut self.kernel);
        let live = self.live.table();
        prop_assert!(live == &self.kernel, "kernel of {}:\n{}", self.name, differences(live, &self.kernel));
        prop_assert!(self.live.delta().is_empty(), "nothing has changed since");
        Ok(())
    }
}

/// Connections keep what they are stamped with where nothing tightens, so nothing that was allowed may be denied now.
fn denies_nothing_new(before: &Table, now: &Table, cluster: &Cluster) -> Result<(), TestCaseError> {
    if before == now {
        return Ok(());
    }
    let traffics = flows::traffics(cluster);
    for (from, to) in Flows::new(cluster).pairs() {
        for traffic in &traffics {
            let flow = Flow { from, to, traffic: *traffic };
            let packet = flows::packet(&flow);
            if flows::send(before, &packet)?.is_accepted() {
                prop_assert!(flows::send(now, &packet)?.is_accepted(), "{} is cut, which does not tighten", flow);
            }
        }
    }
    Ok(())
}

/// The lines that are in one table only.
fn differences(live: &Table, other: &Table) -> String {
    let (live, other) = (render::text::table(live), render::text::table(other));
    let only = |mark: &str, text: &str, than: &str| -> String {
        let than: BTreeSet<&str> = than.lines().collect();
        text.lines().filter(|line| !than.contains(line)).map(|line| format!("{mark} {line}\n")).collect()
    };
    only("live    ", &live, &other) + &only("expected", &other, &live)
}

#[test]
fn what_a_failure_prints_is_read_back_as_the_same_objects() {
    random::run(
        Cases::share(1_000, CASES),
        || (random::cluster(&Size::JUDGED), random::service(Size::JUDGED.ports)),
        |(mut random, service)| {
            random.objects.push(Object::Service(service.into()));
            prop_assert_eq!(read(&random.yaml())?, random.objects.iter().map(as_written).collect::<Vec<_>>());
            let json = render::manifest::object(&random.objects[0]).to_string();
            prop_assert_eq!(read(&json)?, [as_written(&random.objects[0])]);
            Ok(())
        },
    );
}

/// The objects of a text in which nothing is wrong. Much of what is random deserves a warning.
fn read(text: &str) -> Result<Vec<Object>, TestCaseError> {
    let manifest = manifest::read(&"random.yaml".into(), text, CidrRules::Strict);
    prop_assert!(manifest.errors().next().is_none(), "{:?}\n{}", manifest.problems, text);
    let contents = manifest.documents.into_iter().map(|document| document.content);
    let objects = contents.flat_map(|content| match content {
        Content::Objects(objects) => objects,
        Content::Skipped | Content::Invalid { .. } => Vec::new(),
    });
    Ok(objects.map(|object| as_written(&object)).collect())
}

/// Without what manifests do not say: where they were read, and that a policy stands for a broken one.
fn as_written(object: &Object) -> Object {
    let rules = |rules: &Option<Vec<Rule>>| -> Option<Vec<Rule>> {
        Some(rules.as_ref()?.iter().map(|rule| Rule { origin: None, ..rule.clone() }).collect())
    };
    match object.clone() {
        Object::Namespace(namespace) => Object::Namespace(Namespace { origin: None, ..namespace }),
        Object::Node(node) => Object::Node(Node { origin: None, ..node }),
        Object::Pod(pod) => Object::Pod(Pod { origin: None, ..*pod }.into()),
        Object::Service(service) => Object::Service(Service { origin: None, ..*service }.into()),
        Object::Policy(policy) => {
            let (ingress, egress) = (rules(&policy.ingress), rules(&policy.egress));
            Object::Policy(Policy { ingress, egress, closed: false, origin: None, ..*policy }.into())
        }
    }
}

#[test]
fn podwall_compiles_what_a_failure_prints() {
    podwall(); // a binary that does not build is not a random cluster's fault
    random::run(
        Cases::share(20, CASES),
        || random::cluster(&Size::JUDGED),
        |random: RandomCluster| {
            let compiled = run(&["compile", "-f", "-"], &random.yaml());
            prop_assert_eq!(compiled.status, Some(0), "{}", compiled.stderr);
            let mut cluster = random.cluster();
            cluster.place_pods("node");
            for plan in flows::compile(&cluster)?.values() {
                let table = render::text::table(&plan.table);
                prop_assert!(compiled.stdout.contains(&table), "{}\nlacks\n{}", compiled.stdout, table);
            }
            Ok(())
        },
    );
}
