//! Random clusters: what the policies say literally, what the compiled plan does with a packet, and what the plan that
//! follows every event does, are the same.
//!
//! `PODWALL_CASES` says how many clusters, `PODWALL_LONG=1` ten times as many, `PODWALL_SEED` which.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use podwall_tests::random::{self, Cases, RandomCluster, Size, external_address, node_address, pod_address};
use policy_compiler::cidr::{CidrRules, Family};
use policy_compiler::cluster::Cluster;
use policy_compiler::interpret::{self, ConnectionState, Outcome, Packet, Payload};
use policy_compiler::manifest::{self, Content};
use policy_compiler::model::{Namespace, Node, Object, Pod, Policy, Protocol, Rule};
use policy_compiler::plan::{self, Generation, LivePlan, Settings};
use policy_compiler::render;
use policy_compiler::ruleset::Table;
use policy_compiler::verdict::{self, Endpoint, Exemption, Flow, Host, Traffic};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// All of a usual run; each property has its share.
const CASES: u32 = 20_000;

/// ICMP, and its number in IPv6.
const ICMP: Traffic = Traffic::Other(1);

/// A cluster and the tables of its nodes.
struct Compiled<'c> {
    cluster: &'c Cluster,
    tables: BTreeMap<Arc<str>, Table>,
    /// Who has which address.
    ends: BTreeMap<IpAddr, Endpoint<'c>>,
}

impl<'c> Compiled<'c> {
    fn new(cluster: &'c Cluster) -> Self {
        let settings = Settings::default();
        let table = |node: &Arc<str>| plan::compile(cluster, node, &settings, Generation::FIRST).table;
        let tables = cluster.node_names().into_iter().map(|node| (node.clone(), table(&node))).collect();
        let ends = addresses(cluster).into_iter().map(|address| (address, Endpoint::resolve(cluster, address)));
        Self { cluster, tables, ends: ends.collect() }
    }

    /// Every flow of a family, at the ports where flows can differ.
    fn flows(&self) -> impl Iterator<Item = Flow<'c>> {
        let traffics = traffics(self.cluster);
        self.pairs()
            .flat_map(move |(from, to)| traffics.clone().into_iter().map(move |traffic| Flow { from, to, traffic }))
    }

    fn pairs(&self) -> impl Iterator<Item = (Endpoint<'c>, Endpoint<'c>)> {
        let ends: Vec<Endpoint<'c>> = self.ends.values().copied().collect();
        let is_ipv4 = |end: &Endpoint<'c>| end.address.is_some_and(|address| address.is_ipv4());
        let is_pod = |end: &Endpoint<'c>| matches!(end.host, Host::Pod(_));
        // What goes between two strangers is no policy's matter (rule 24); one that stays with itself will do.
        let counts = move |(from, to): &(Endpoint<'c>, Endpoint<'c>)| {
            is_ipv4(from) == is_ipv4(to) && (is_pod(from) || is_pod(to) || from == to)
        };
        let pairs = ends.clone().into_iter().flat_map(move |from| ends.clone().into_iter().map(move |to| (from, to)));
        pairs.filter(counts)
    }
}

/// Every address that a pod has or claims, that of a node, that of nobody among the pods', and some of outsiders.
fn addresses(cluster: &Cluster) -> BTreeSet<IpAddr> {
    let outside = Family::BOTH.into_iter().flat_map(|family| {
        [pod_address(family, 20), node_address(family, 3), external_address(family, 6), external_address(family, 7)]
    });
    cluster.pods().flat_map(|pod| pod.addresses.iter().copied()).chain(outside).collect()
}

/// Every port that a container declares or a policy names, of every protocol; its neighbours; one that nobody names;
/// and what has no port.
fn traffics(cluster: &Cluster) -> BTreeSet<Traffic> {
    let around = cluster.ports().into_iter().flat_map(|(protocol, port)| {
        let neighbours = [port.saturating_sub(1).max(1), port.saturating_add(1)].map(|port| (protocol, port));
        Protocol::ALL.map(|protocol| (protocol, port)).into_iter().chain(neighbours)
    });
    let ports = around.chain(Protocol::ALL.map(|protocol| (protocol, 7777)));
    ports.map(|(protocol, port)| Traffic::Port(protocol, port)).chain([ICMP]).collect()
}

fn packet(flow: &Flow<'_>) -> Packet {
    let address = |end: Endpoint<'_>| end.address.expect("every end has an address here");
    let payload = match flow.traffic {
        Traffic::Port(protocol, port) => Payload::Port(protocol, port),
        Traffic::Other(_) => Payload::Other,
    };
    Packet::new(address(flow.from), address(flow.to), payload)
}

fn send(table: &Table, packet: &Packet) -> Result<Outcome, TestCaseError> {
    interpret::judge(table, packet).map_err(|fault| TestCaseError::fail(format!("{packet:?}: {fault}")))
}

/// How many flows were held against each other, and how many of them were allowed.
#[derive(Default)]
struct Tally {
    flows: AtomicU64,
    allowed: AtomicU64,
}

impl Tally {
    /// A property that almost everything or almost nothing passes says little.
    fn expect_both(&self, cases: Cases) {
        let (flows, allowed) = (self.flows.load(Ordering::Relaxed), self.allowed.load(Ordering::Relaxed));
        println!("{} clusters, {flows} flows, {allowed} of them allowed", cases.count());
        assert!((flows / 10..flows / 10 * 9).contains(&allowed), "{allowed} of {flows} flows were allowed");
    }
}

#[test]
fn rules_15_to_109_a_plan_does_what_the_policies_say() {
    let (cases, tally) = (Cases::share(16_000, CASES), Tally::default());
    random::run(
        cases,
        || random::cluster(&Size::JUDGED),
        |random| {
            let cluster = random.cluster();
            let compiled = Compiled::new(&cluster);
            for (node, table) in &compiled.tables {
                interpret::check(table).map_err(|fault| TestCaseError::fail(format!("node {node}: {fault}")))?;
            }
            for flow in compiled.flows() {
                let allowed = does_what_the_policies_say(&compiled, &flow)?;
                tally.flows.fetch_add(1, Ordering::Relaxed);
                tally.allowed.fetch_add(allowed.into(), Ordering::Relaxed);
            }
            Ok(())
        },
    );
    tally.expect_both(cases);
}

/// Each node judges what its own pods send and what they receive: for two pods of one node that is the whole verdict,
/// for two of different nodes one node has the egress and the other the ingress, and for a stranger there is only the
/// other end (rules 20, 24). Nodes that have neither pod let the packet through.
fn does_what_the_policies_say(compiled: &Compiled<'_>, flow: &Flow<'_>) -> Result<bool, TestCaseError> {
    let verdict = verdict::judge(compiled.cluster, flow);
    // Between a pod and its own node no packet is forwarded, so that no table judges it (rules 102, 103).
    if verdict.exempt == Some(Exemption::OwnNode) {
        return Ok(true);
    }
    for (node, table) in &compiled.tables {
        let is_own = |end: Endpoint<'_>| matches!(end.host, Host::Pod(pod) if pod.node.as_ref() == Some(node));
        let expected = verdict.exempt == Some(Exemption::SamePod)
            || (!is_own(flow.from) || verdict.egress.is_allowed())
                && (!is_own(flow.to) || verdict.ingress.is_allowed());
        let outcome = send(table, &packet(flow))?;
        let (from, to) = (flow.from.address, flow.to.address);
        prop_assert_eq!(
            outcome.is_accepted(),
            expected,
            "{} ({:?} to {:?}) on node {}: the table says {:?}, the policies {:?}",
            flow,
            from,
            to,
            node,
            outcome,
            verdict
        );
    }
    Ok(verdict.is_allowed())
}
