//! One flow, judged literally from the policies: written to read like the specification, and sharing nothing with the
//! plan above selectors, CIDRs and labels, so that each can be held against the other.

mod flow;
mod peer;

pub use flow::{Endpoint, Flow};

use crate::cluster::Cluster;
use crate::model::{Direction, Policy};

/// What policy says about a flow, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<'c> {
    /// Set where policy does not apply to the flow at all.
    pub exempt: Option<Exemption>,
    /// Judged at the source, from its policies (rule 20).
    pub egress: Judgement<'c>,
    /// Judged at the destination, from its policies (rule 20).
    pub ingress: Judgement<'c>,
}

impl Verdict<'_> {
    /// Whether the flow passes: both directions admit it, or it is exempt.
    pub fn is_allowed(&self) -> bool {
        self.exempt.is_some() || (self.egress.is_allowed() && self.ingress.is_allowed())
    }
}

/// Traffic that no policy judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exemption {
    /// A pod to itself (rules 99, 100).
    SamePod,
    /// Between a pod and its own node, hostNetwork pods of that node included (rules 102, 103, 108).
    OwnNode,
}

/// What one direction says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement<'c> {
    /// The subject is no pod that policy can select (rules 24, 105).
    NoSubject,
    /// No policy isolates the subject for this direction (rule 15).
    NotIsolated,
    /// A rule of an isolating policy admits the flow (rule 18).
    Allowed {
        /// The first policy, by name, that has such a rule.
        policy: &'c Policy,
        /// The rule's place in its section.
        rule: usize,
    },
    /// The subject is isolated and no rule admits the flow (rules 18, 22).
    Denied {
        /// The policies that isolate it, by name.
        policies: Vec<&'c Policy>,
    },
}

impl Judgement<'_> {
    /// Whether this direction admits the flow.
    pub fn is_allowed(&self) -> bool {
        !matches!(self, Self::Denied { .. })
    }
}

/// Judges a flow.
pub fn judge<'c>(cluster: &'c Cluster, flow: &Flow<'_>) -> Verdict<'c> {
    Verdict {
        exempt: exemption(flow),
        egress: judge_direction(cluster, Direction::Egress, flow),
        ingress: judge_direction(cluster, Direction::Ingress, flow),
    }
}

fn exemption(flow: &Flow<'_>) -> Option<Exemption> {
    let (from, to) = (flow.from.pod?, flow.to.pod?);
    if from.name == to.name {
        return Some(Exemption::SamePod);
    }
    let one_is_the_node = from.host_network || to.host_network;
    let same_node = from.node.is_some() && from.node == to.node;
    (one_is_the_node && same_node).then_some(Exemption::OwnNode)
}

fn judge_direction<'c>(cluster: &'c Cluster, direction: Direction, flow: &Flow<'_>) -> Judgement<'c> {
    let Some(subject) = flow.subject(direction).pod.filter(|pod| pod.is_selectable()) else {
        return Judgement::NoSubject;
    };
    let isolating: Vec<&Policy> = cluster
        .policies()
        .filter(|policy| policy.name.namespace == subject.name.namespace)
        .filter(|policy| policy.subject.matches(&subject.labels))
        .filter(|policy| policy.rules(direction).is_some())
        .collect();
    if isolating.is_empty() {
        return Judgement::NotIsolated;
    }
    for policy in &isolating {
        for (number, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
            let peer_matches = match &rule.peers {
                None => true,
                Some(peers) => {
                    peers.iter().any(|p| peer::matches(cluster, &policy.name.namespace, p, flow.peer(direction)))
                }
            };
            let port_matches = match &rule.ports {
                None => true,
                Some(ports) => ports.iter().any(|port| flow.matches_port(port)),
            };
            if peer_matches && port_matches {
                return Judgement::Allowed { policy, rule: number };
            }
        }
    }
    Judgement::Denied { policies: isolating }
}
