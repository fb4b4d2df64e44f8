//! One flow, judged literally from the policies: written to read like the specification, and sharing nothing with the
//! plan above selectors, CIDRs and labels, so that each can be held against the other.

mod flow;
mod judgement;
mod miss;
mod peer;
mod port;

#[cfg(test)]
mod tests;

pub use flow::{Endpoint, Flow, Host, Traffic};
pub use judgement::{Exemption, Judgement, Verdict};
pub use miss::{ListMatch, Miss, NamespaceMiss, Nearest, PeerMiss, PortMiss, RuleMatch};

use crate::cluster::Cluster;
use crate::model::{Direction, Policy, Rule};

/// Judges a flow.
pub fn judge<'c>(cluster: &'c Cluster, flow: &Flow<'_>) -> Verdict<'c> {
    Verdict {
        exempt: exemption(flow),
        egress: judge_direction(cluster, Direction::Egress, flow),
        ingress: judge_direction(cluster, Direction::Ingress, flow),
    }
}

fn exemption(flow: &Flow<'_>) -> Option<Exemption> {
    if let (Host::Pod(from), Host::Pod(to)) = (flow.from.host, flow.to.host)
        && from.name == to.name
    {
        return Some(Exemption::SamePod);
    }
    let is_on = |one: Endpoint<'_>, other: Endpoint<'_>| {
        let node = one.selectable().and_then(|pod| pod.node.as_deref());
        node.is_some() && node == other.as_node()
    };
    (is_on(flow.from, flow.to) || is_on(flow.to, flow.from)).then_some(Exemption::OwnNode)
}

fn judge_direction<'c>(cluster: &'c Cluster, direction: Direction, flow: &Flow<'_>) -> Judgement<'c> {
    let Some(subject) = flow.subject(direction).selectable() else {
        return Judgement::NoSubject;
    };
    // Rules 16 and 21.
    let isolating: Vec<&Policy> = cluster
        .policies()
        .filter(|policy| policy.name.namespace == subject.name.namespace)
        .filter(|policy| policy.subject.matches(&subject.labels))
        .filter(|policy| policy.rules(direction).is_some())
        .collect();
    if isolating.is_empty() {
        return Judgement::NotIsolated;
    }
    // Any rule of any of them will do (rule 18).
    let mut misses = Vec::new();
    for policy in isolating.iter().copied() {
        let mut nearest: Option<RuleMatch<'_>> = None;
        for (place, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
            let found = match_rule(cluster, policy, direction, place, rule, flow);
            if let (Ok(peer), Ok(port)) = (found.peers.place(), found.ports.place()) {
                return Judgement::Allowed { policy, rule: place, peer, port, isolating };
            }
            if nearest.as_ref().is_none_or(|nearest| nearest.nearness() < found.nearness()) {
                nearest = Some(found);
            }
        }
        let nearest = match nearest {
            Some(rule) => Nearest::Rule(rule),
            None if policy.closed => Nearest::Closed,
            None => Nearest::NoRules,
        };
        misses.push(Miss { policy, nearest });
    }
    Judgement::Denied { misses }
}

/// Peers and ports are asked one by one and apart; a rule of which both lists match admits the flow (rules 25-27).
fn match_rule<'c>(
    cluster: &Cluster,
    policy: &Policy,
    direction: Direction,
    place: usize,
    rule: &'c Rule,
    flow: &Flow<'_>,
) -> RuleMatch<'c> {
    let own = &*policy.name.namespace;
    RuleMatch {
        rule: place,
        peers: ListMatch::of(rule.peers.as_deref(), |peer| peer::miss(cluster, own, peer, flow.peer(direction))),
        ports: ListMatch::of(rule.ports.as_deref(), |entry| port::miss(entry, flow)),
    }
}
