//! Whether policies are what is expected of them.

use std::collections::{BTreeMap, BTreeSet};

use policy_compiler::cidr::{Family, IpRange};
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{ObjectName, Phase, Pod};
use policy_compiler::verdict::{self, Endpoint, Flow, Host, Traffic, Verdict};

use super::Expectation;
use crate::party::Pattern;
use crate::reach::{self, AddressGroup, ClassId, PortSpace, Reach, Row, TrafficSet};

/// What became of one expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<'c> {
    /// How many pairs of parties it speaks of; a group of addresses outside counts as one.
    pub pairs: usize,
    /// Why it does not hold; empty where it does.
    pub flaws: Vec<Flaw<'c>>,
}

impl Outcome<'_> {
    /// Whether the expectation holds.
    pub fn holds(&self) -> bool {
        self.flaws.is_empty()
    }
}

/// Why an expectation does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw<'c> {
    /// A pattern means nobody: the expectation would hold whatever the policies say.
    Nobody(Pattern),
    /// There is nobody but one and the same pod at both ends, of whom no policy speaks; or only strangers.
    NoFlow,
    /// Flows that policies judge otherwise.
    Flows(Box<Failure<'c>>),
}

/// Flows that are not as expected, all for the same reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure<'c> {
    /// How many pairs of parties.
    pub pairs: usize,
    /// One of their flows.
    pub example: Flow<'c>,
    /// What policies say of it, and why.
    pub verdict: Verdict<'c>,
    /// Everything between them that is not as expected.
    pub traffic: TrafficSet,
}

/// Holds a cluster against expectations; there is an outcome for each.
///
/// A pod and itself are no pair where a pattern means several pods: that flow always passes (rule 99).
pub fn check<'c>(cluster: &'c Cluster, expectations: &[Expectation]) -> Vec<Outcome<'c>> {
    let mut outside = Vec::new();
    let parties: Vec<[Parties<'c>; 2]> = expectations
        .iter()
        .map(|expectation| [&expectation.from, &expectation.to].map(|who| Parties::of(cluster, who, &mut outside)))
        .collect();
    let reach = Reach::new(cluster, PortSpace::of([cluster]), &outside);
    let checking = Checking { cluster, reach, outside: &outside };
    let outcome = |(expectation, [from, to]): (&Expectation, &[Parties<'c>; 2])| {
        for (parties, pattern) in [(from, &expectation.from), (to, &expectation.to)] {
            if parties.is_empty() {
                return Outcome { pairs: 0, flaws: vec![Flaw::Nobody(pattern.clone())] };
            }
        }
        checking.outcome(expectation, from, to)
    };
    expectations.iter().zip(&parties).map(outcome).collect()
}

/// Who is meant by a pattern.
struct Parties<'c> {
    pods: Vec<&'c Pod>,
    /// Places in the list of all groups.
    outside: Vec<usize>,
}

impl<'c> Parties<'c> {
    fn of(cluster: &'c Cluster, pattern: &Pattern, groups: &mut Vec<AddressGroup>) -> Self {
        let mut found = match pattern {
            Pattern::Address(address) => match Endpoint::resolve(cluster, *address).host {
                Host::Pod(pod) => return Self { pods: vec![pod], outside: Vec::new() },
                _ => vec![AddressGroup { ranges: vec![IpRange { first: *address, last: *address }], rest: false }],
            },
            Pattern::Block(cidr) => reach::split(cluster, *cidr),
            Pattern::Name { .. } | Pattern::Short { .. } | Pattern::Labels { .. } => {
                let live = pattern.pods(cluster).into_iter().filter(|pod| pod.phase != Phase::Finished);
                return Self { pods: live.collect(), outside: Vec::new() };
            }
        };
        let outside = (groups.len()..groups.len() + found.len()).collect();
        groups.append(&mut found);
        Self { pods: Vec::new(), outside }
    }

    fn is_empty(&self) -> bool {
        self.pods.is_empty() && self.outside.is_empty()
    }
}

/// Parties of one class: pods, or one group of addresses.
struct Part<'c> {
    class: ClassId,
    pods: Vec<&'c Pod>,
    outside: Option<usize>,
}

struct Checking<'g, 'c> {
    cluster: &'c Cluster,
    reach: Reach<'c>,
    outside: &'g [AddressGroup],
}

impl<'c> Checking<'_, 'c> {
    fn outcome(&self, expectation: &Expectation, from: &Parties<'c>, to: &Parties<'c>) -> Outcome<'c> {
        let receivers = self.parts(to);
        let mut outcome = Outcome { pairs: 0, flaws: Vec::new() };
        for sender in self.parts(from) {
            let row = self.reach.row(sender.class);
            for receiver in &receivers {
                self.judge(expectation, &row, &sender, receiver, &mut outcome);
            }
        }
        let alone = from.pods.len() == 1 && to.pods == from.pods;
        match outcome.pairs {
            0 if alone => self.itself(expectation, from.pods[0], &mut outcome),
            0 => outcome.flaws.push(Flaw::NoFlow),
            _ => (),
        }
        outcome
    }

    fn parts(&self, parties: &Parties<'c>) -> Vec<Part<'c>> {
        let mut parts: BTreeMap<ClassId, Vec<&'c Pod>> = BTreeMap::new();
        for pod in &parties.pods {
            if let Some(class) = self.reach.class_of(&pod.name) {
                parts.entry(class).or_default().push(pod);
            }
        }
        let outside = parties.outside.iter().filter_map(|group| {
            Some(Part { class: self.reach.class_of_outside(*group)?, pods: Vec::new(), outside: Some(*group) })
        });
        parts.into_iter().map(|(class, pods)| Part { class, pods, outside: None }).chain(outside).collect()
    }

    /// A pod to itself, where nobody else was asked for.
    fn itself(&self, expectation: &Expectation, pod: &'c Pod, outcome: &mut Outcome<'c>) {
        outcome.pairs = 1;
        if !expectation.allowed {
            let end = Endpoint::pod(pod, pod.addresses.first().copied());
            outcome.flaws.push(Flaw::Flows(Box::new(self.failure(expectation, 1, end, end, TrafficSet::everything()))));
        }
    }

    fn judge(
        &self,
        expectation: &Expectation,
        row: &Row<'_>,
        sender: &Part<'c>,
        receiver: &Part<'c>,
        outcome: &mut Outcome<'c>,
    ) {
        if sender.outside.is_some() && receiver.outside.is_some() {
            return;
        }
        let pairs = Pairs::of(&sender.pods, &receiver.pods);
        outcome.pairs += pairs.exempt.0 + pairs.judged.0;
        if let (count @ 1.., Some((from, to))) = pairs.exempt
            && !expectation.allowed
        {
            let ends = |pod: &'c Pod| Endpoint::pod(pod, pod.addresses.first().copied());
            let failure = self.failure(expectation, count, ends(from), ends(to), TrafficSet::everything());
            outcome.flaws.push(Flaw::Flows(Box::new(failure)));
        }
        if pairs.judged.0 == 0 {
            return;
        }
        for (family, allowed) in row.traffic(receiver.class) {
            let wrong = if expectation.allowed { allowed.complement() } else { allowed };
            if expectation.traffic.map_or(!wrong.is_empty(), |traffic| wrong.contains(traffic)) {
                let pods = pairs.judged.1;
                let from = self.end(sender, pods.map(|(from, _)| from), family);
                let to = self.end(receiver, pods.map(|(_, to)| to), family);
                let (Some(from), Some(to)) = (from, to) else { continue };
                outcome.flaws.push(Flaw::Flows(Box::new(self.failure(expectation, pairs.judged.0, from, to, wrong))));
                return;
            }
        }
    }

    fn failure(
        &self,
        expectation: &Expectation,
        pairs: usize,
        from: Endpoint<'c>,
        to: Endpoint<'c>,
        traffic: TrafficSet,
    ) -> Failure<'c> {
        let one = expectation.traffic.or(traffic.first()).unwrap_or(Traffic::Other(1));
        let example = Flow { from, to, traffic: one };
        Failure { pairs, verdict: verdict::judge(self.cluster, &example), example, traffic }
    }

    /// One of a part, speaking over a family.
    fn end(&self, part: &Part<'c>, pod: Option<&'c Pod>, family: Family) -> Option<Endpoint<'c>> {
        match part.outside {
            Some(group) => self.outside.get(group)?.address(family).map(Endpoint::address),
            None => {
                let pod = pod.or(part.pods.first().copied())?;
                let address = pod.addresses.iter().copied().find(|address| Family::of(*address) == family);
                Some(Endpoint::pod(pod, address))
            }
        }
    }
}

/// How many pairs there are, with one of them: those of a pod and its own node, and those that policies judge. A pod and
/// itself are none.
struct Pairs<'c> {
    exempt: (usize, Option<(&'c Pod, &'c Pod)>),
    judged: (usize, Option<(&'c Pod, &'c Pod)>),
}

impl<'c> Pairs<'c> {
    /// The pods of each list are of one class; a list without pods stands for addresses.
    fn of(from: &[&'c Pod], to: &[&'c Pod]) -> Self {
        if from.is_empty() || to.is_empty() {
            return Self { exempt: (0, None), judged: (from.len().max(1) * to.len().max(1), None) };
        }
        // Pods of one class are hostNetwork pods all, or none is.
        let of_nodes = |pods: &[&Pod]| pods.iter().any(|pod| pod.host_network);
        if of_nodes(from) != of_nodes(to) {
            return Self::with_nodes(from, to);
        }
        let senders: BTreeSet<&ObjectName> = from.iter().map(|pod| &pod.name).collect();
        let same = to.iter().filter(|pod| senders.contains(&pod.name)).count();
        let mut others =
            from.iter().take(2).flat_map(|sender| to.iter().take(2).map(move |receiver| (*sender, *receiver)));
        let example = others.find(|(sender, receiver)| sender.name != receiver.name);
        Self { exempt: (0, None), judged: (from.len() * to.len() - same, example) }
    }

    /// Between pods that are their nodes and pods that are not.
    fn with_nodes(from: &[&'c Pod], to: &[&'c Pod]) -> Self {
        let mut on_node: BTreeMap<&str, Vec<&'c Pod>> = BTreeMap::new();
        for pod in to {
            on_node.entry(pod.node.as_deref().unwrap_or_default()).or_default().push(pod);
        }
        let mut pairs = Self { exempt: (0, None), judged: (0, None) };
        for sender in from {
            let own = sender.node.as_deref().and_then(|node| on_node.get(node)).map_or(&[][..], Vec::as_slice);
            let elsewhere = || on_node.values().filter_map(|pods| pods.first()).find(|pod| pod.node != sender.node);
            for (kind, count, example) in
                [(&mut pairs.exempt, own.len(), own.first()), (&mut pairs.judged, to.len() - own.len(), elsewhere())]
            {
                kind.0 += count;
                kind.1 = kind.1.or(example.map(|receiver| (*sender, *receiver)));
            }
        }
        pairs
    }
}
