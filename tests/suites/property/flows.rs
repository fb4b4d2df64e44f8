//! A cluster's plans, and every flow that can tell them from the policies.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use podwall_tests::random::{Cases, external_address, node_address, pod_address};
use policy_compiler::cidr::Family;
use policy_compiler::cluster::Cluster;
use policy_compiler::interpret::{self, Outcome, Packet, Payload};
use policy_compiler::model::Protocol;
use policy_compiler::plan::{self, Generation, NodePlan, Settings};
use policy_compiler::ruleset::Table;
use policy_compiler::verdict::{self, Endpoint, Exemption, Flow, Host, Traffic};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// ICMP; its number in IPv6 is another, but none has ports.
const PING: Traffic = Traffic::Other(1);

/// A cluster and who has which address in it.
pub struct Flows<'c> {
    cluster: &'c Cluster,
    ends: Vec<Endpoint<'c>>,
}

impl<'c> Flows<'c> {
    pub fn new(cluster: &'c Cluster) -> Self {
        let ends = addresses(cluster).into_iter().map(|address| Endpoint::resolve(cluster, address)).collect();
        Self { cluster, ends }
    }

    /// Who can speak to whom.
    pub fn pairs(&self) -> impl Iterator<Item = (Endpoint<'c>, Endpoint<'c>)> + '_ {
        let pairs = self.ends.iter().flat_map(|from| self.ends.iter().map(|to| (*from, *to)));
        let is_ipv4 = |end: &Endpoint<'c>| end.address.is_some_and(|address| address.is_ipv4());
        let is_pod = |end: &Endpoint<'c>| matches!(end.host, Host::Pod(_));
        // What goes between two strangers is no policy's matter (rule 24); one that stays with itself will do.
        pairs.filter(move |(from, to)| is_ipv4(from) == is_ipv4(to) && (is_pod(from) || is_pod(to) || from == to))
    }

    /// Every flow at the ports where flows can differ.
    pub fn all(&self) -> impl Iterator<Item = Flow<'c>> + '_ {
        let traffics: Vec<Traffic> = traffics(self.cluster).into_iter().collect();
        self.pairs().flat_map(move |(from, to)| {
            let flow = move |traffic| Flow { from, to, traffic };
            traffics.clone().into_iter().map(flow)
        })
    }

    /// Each node judges what its own pods send and what they receive: for two pods of one node that is the whole
    /// verdict, for two of different nodes one node has the egress and the other the ingress, and for a stranger there
    /// is only the other end (rules 20, 24). A node that has neither pod lets the packet through.
    pub fn judge(&self, tables: &Tables<'_>, flow: &Flow<'_>) -> Result<bool, TestCaseError> {
        let verdict = verdict::judge(self.cluster, flow);
        // Between a pod and its own node no packet is forwarded, so that no table judges it (rules 102, 103).
        if verdict.exempt == Some(Exemption::OwnNode) {
            return Ok(true);
        }
        let packet = packet(flow);
        for (node, table) in tables {
            let is_own = |end: Endpoint<'_>| matches!(end.host, Host::Pod(pod) if pod.node.as_ref() == Some(node));
            let egress = !is_own(flow.from) || verdict.egress.is_allowed();
            let ingress = !is_own(flow.to) || verdict.ingress.is_allowed();
            let allowed = egress && ingress || verdict.exempt == Some(Exemption::SamePod);
            let outcome = send(table, &packet)?;
            prop_assert_eq!(
                outcome.is_accepted(),
                allowed,
                "{} ({} to {}) on node {}: the table says {:?}, the policies {:?}",
                flow,
                packet.source,
                packet.destination,
                node,
                outcome,
                verdict
            );
        }
        Ok(verdict.is_allowed())
    }

    /// Holds every flow against the tables.
    pub fn judge_all(&self, tables: &Tables<'_>, tally: &Tally) -> Result<(), TestCaseError> {
        let (mut flows, mut allowed) = (0, 0);
        for flow in self.all() {
            flows += 1;
            allowed += u64::from(self.judge(tables, &flow)?);
        }
        tally.flows.fetch_add(flows, Ordering::Relaxed);
        tally.allowed.fetch_add(allowed, Ordering::Relaxed);
        Ok(())
    }
}

/// The table of each node.
pub type Tables<'p> = [(Arc<str>, &'p Table)];

/// The plan of each node, which a kernel would take.
pub fn compile(cluster: &Cluster) -> Result<BTreeMap<Arc<str>, NodePlan>, TestCaseError> {
    let settings = Settings::default();
    let plan = |node: Arc<str>| {
        let plan = plan::compile(cluster, &node, &settings, Generation::FIRST);
        check(&node, &plan.table)?;
        Ok((node, plan))
    };
    cluster.node_names().into_iter().map(plan).collect()
}

pub fn tables(plans: &BTreeMap<Arc<str>, NodePlan>) -> Vec<(Arc<str>, &Table)> {
    plans.iter().map(|(node, plan)| (node.clone(), &plan.table)).collect()
}

/// A kernel would take the table.
pub fn check(node: &str, table: &Table) -> Result<(), TestCaseError> {
    interpret::check(table).map_err(|fault| TestCaseError::fail(format!("node {node}: {fault}")))
}

/// Every address that a pod has or claims, that of a node, that of nobody among the pods', and an outsider's.
pub fn addresses(cluster: &Cluster) -> BTreeSet<IpAddr> {
    let of_family = |family| [pod_address(family, 20), node_address(family, 3), external_address(family, 7)];
    let strangers = Family::BOTH.into_iter().flat_map(of_family);
    cluster.pods().flat_map(|pod| pod.addresses.iter().copied()).chain(strangers).collect()
}

/// Every port that a container declares or a policy names, of every protocol; its neighbours; one that nobody names;
/// and what has no port.
pub fn traffics(cluster: &Cluster) -> BTreeSet<Traffic> {
    let around = cluster.ports().into_iter().flat_map(|(protocol, port)| {
        let neighbours = [port.saturating_sub(1).max(1), port.saturating_add(1)].map(|port| (protocol, port));
        Protocol::ALL.map(|protocol| (protocol, port)).into_iter().chain(neighbours)
    });
    let ports = around.chain(Protocol::ALL.map(|protocol| (protocol, 7777)));
    ports.map(|(protocol, port)| Traffic::Port(protocol, port)).chain([PING]).collect()
}

/// The first packet of a flow.
pub fn packet(flow: &Flow<'_>) -> Packet {
    let address = |end: Endpoint<'_>| end.address.expect("every end has an address here");
    Packet::new(address(flow.from), address(flow.to), payload(flow.traffic))
}

pub fn payload(traffic: Traffic) -> Payload {
    match traffic {
        Traffic::Port(protocol, port) => Payload::Port(protocol, port),
        Traffic::Other(_) => Payload::Other,
    }
}

pub fn send(table: &Table, packet: &Packet) -> Result<Outcome, TestCaseError> {
    interpret::judge(table, packet).map_err(|fault| TestCaseError::fail(format!("{packet:?}: {fault}")))
}

/// How many flows were held against each other, and how many of them were allowed.
#[derive(Default)]
pub struct Tally {
    flows: AtomicU64,
    allowed: AtomicU64,
}

impl Tally {
    /// A property of which almost all flows, or almost none, are allowed says little.
    pub fn expect_both(&self, cases: Cases) {
        let (flows, allowed) = (self.flows.load(Ordering::Relaxed), self.allowed.load(Ordering::Relaxed));
        assert!(
            (flows / 10..=flows / 10 * 9).contains(&allowed),
            "{allowed} of {flows} flows of {} clusters were allowed",
            cases.count()
        );
    }
}
