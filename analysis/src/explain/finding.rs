//! What one policy says about a flow, entry by entry.

use std::fmt::Write as _;

use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Direction, Origin, Policy, Rule};
use policy_compiler::verdict::{Flow, Judgement, ListMatch, Miss, Nearest, PeerMiss, PortMiss};

use super::words;

/// What one policy says about a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'c> {
    /// The policy.
    pub policy: &'c Policy,
    /// The place of the rule that allows the flow or comes nearest; none where the policy has no rule for the direction.
    pub rule: Option<usize>,
    /// Where that rule was written, without one where the policy was.
    pub origin: Option<&'c Origin>,
    /// How the rule takes the flow: of its peers, then of its ports, the entry that matches, or else every entry.
    pub entries: Vec<Entry>,
}

/// How one entry of a rule takes a flow, in words. They name neither end, so that they fit a group of flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `from[0]`, `ports[1]`; without a number where the rule has no such list.
    pub place: String,
    /// What it allows: `pods with app=web of namespace shop`.
    pub means: String,
    /// Why it does not mean the flow: `the source has app=db, not app=web`. Empty where it does.
    pub lacks: Vec<String>,
}

/// What the policies say that isolate the subject: the one that allows the flow, or else all of them, the nearest first.
pub(super) fn findings<'c>(
    cluster: &Cluster,
    direction: Direction,
    flow: &Flow<'_>,
    judgement: &Judgement<'c>,
) -> Vec<Finding<'c>> {
    match judgement {
        Judgement::NoSubject | Judgement::NotIsolated => Vec::new(),
        Judgement::Allowed { policy, rule: place, peer, port, .. } => {
            let peers = peer.map_or(ListMatch::Everything, ListMatch::Entry);
            let ports = port.map_or(ListMatch::Everything, ListMatch::Entry);
            vec![Telling { cluster, direction, flow }.rule(policy, *place, &peers, &ports)]
        }
        Judgement::Denied { misses } => {
            let telling = Telling { cluster, direction, flow };
            let finding = |miss: &&Miss<'c>| match &miss.nearest {
                Nearest::Rule(found) => telling.rule(miss.policy, found.rule, &found.peers, &found.ports),
                Nearest::Closed | Nearest::NoRules => Finding {
                    policy: miss.policy,
                    rule: None,
                    origin: miss.policy.origin.as_ref(),
                    entries: Vec::new(),
                },
            };
            let mut misses: Vec<&Miss<'c>> = misses.iter().collect();
            misses.sort_by_key(|miss| std::cmp::Reverse(nearness(miss)));
            misses.iter().map(finding).collect()
        }
    }
}

/// The greater, the less is missing: no rule at all, neither peer nor port, the peer, the port.
pub(super) fn nearness(miss: &Miss<'_>) -> (bool, bool, bool) {
    match &miss.nearest {
        Nearest::Closed | Nearest::NoRules => (false, false, false),
        Nearest::Rule(rule) => (true, rule.peers.place().is_ok(), rule.ports.place().is_ok()),
    }
}

impl Finding<'_> {
    /// Whether its rule allows the flow.
    pub fn allows(&self) -> bool {
        self.rule.is_some() && self.entries.iter().all(|entry| entry.lacks.is_empty())
    }

    /// What tells it from what other policies and rules say, and the same rule about other flows.
    pub(super) fn write_sameness(&self, key: &mut String) {
        // A String takes every write.
        _ = write!(key, "\n{} {:?}", self.policy.name, self.rule);
        for entry in &self.entries {
            _ = write!(key, " {} {:?}", entry.place, entry.lacks);
        }
    }
}

struct Telling<'a> {
    cluster: &'a Cluster,
    direction: Direction,
    flow: &'a Flow<'a>,
}

impl Telling<'_> {
    fn rule<'c>(
        &self,
        policy: &'c Policy,
        place: usize,
        peers: &ListMatch<PeerMiss<'_>>,
        ports: &ListMatch<PortMiss>,
    ) -> Finding<'c> {
        let rule = policy.rules(self.direction).and_then(|rules| rules.get(place));
        let entries = rule.map_or_else(Vec::new, |rule| {
            let mut entries = self.peers(policy, rule, peers);
            entries.extend(self.ports(rule, ports));
            entries
        });
        let origin = rule.and_then(|rule| rule.origin.as_ref()).or(policy.origin.as_ref());
        Finding { policy, rule: Some(place), origin, entries }
    }

    fn peers(&self, policy: &Policy, rule: &Rule, found: &ListMatch<PeerMiss<'_>>) -> Vec<Entry> {
        let list = words::peer_list(self.direction);
        let every = words::every_peer(self.direction);
        let means = |place: usize| {
            let peer = rule.peers.as_ref().and_then(|peers| peers.get(place));
            peer.map_or_else(String::new, |peer| words::peer(&policy.name.namespace, peer))
        };
        let end = self.flow.peer(self.direction);
        entries(list, every, found, means, |miss| words::peer_miss(self.cluster, self.direction, end, miss))
    }

    fn ports(&self, rule: &Rule, found: &ListMatch<PortMiss>) -> Vec<Entry> {
        let means = |place: usize| {
            let entry = rule.ports.as_ref().and_then(|ports| ports.get(place));
            entry.map_or_else(String::new, words::port)
        };
        entries("ports", words::EVERY_PORT, found, means, |miss| vec![words::port_miss(self.flow.traffic, miss)])
    }
}

fn entries<M>(
    list: &str,
    every: &str,
    found: &ListMatch<M>,
    means: impl Fn(usize) -> String,
    lacks: impl Fn(&M) -> Vec<String>,
) -> Vec<Entry> {
    let entry = |place: usize, lacks| Entry { place: format!("{list}[{place}]"), means: means(place), lacks };
    match found {
        ListMatch::Everything => vec![Entry { place: list.to_owned(), means: every.to_owned(), lacks: Vec::new() }],
        ListMatch::Entry(place) => vec![entry(*place, Vec::new())],
        ListMatch::Nothing(misses) => {
            misses.iter().enumerate().map(|(place, miss)| entry(place, lacks(miss))).collect()
        }
    }
}
