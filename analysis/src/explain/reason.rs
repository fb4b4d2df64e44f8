//! One judgement in one short line, for tables and for tests that fail.

use policy_compiler::model::{Direction, Origin, Policy, PolicyPort, Rule};
use policy_compiler::verdict::{Judgement, Miss, Nearest, RuleMatch};

use super::finding::nearness;
use super::words;

/// As many policies are listed in a line; of more than that only the number.
const LISTED: usize = 3;

/// What one direction says, in one line: `not isolated`, `shop/web ingress[0] allows it (shop.yaml:12)`, `denied by
/// shop/default-deny, shop/web: ingress[0] lacks the port: only TCP 3000 (shop.yaml:14)`. Of several policies that deny
/// the one that comes nearest stands last, and what it lacks after it.
pub fn reason(judgement: &Judgement<'_>, direction: Direction) -> String {
    match judgement {
        Judgement::NoSubject => "no pod that policy could select".to_owned(),
        Judgement::NotIsolated => "not isolated".to_owned(),
        Judgement::Allowed { policy, rule, .. } => {
            let origin = rule_at(policy, direction, *rule).and_then(|rule| rule.origin.as_ref());
            let place = in_brackets(origin.or(policy.origin.as_ref()));
            format!("{} {direction}[{rule}] allows it{place}", policy.name)
        }
        Judgement::Denied { misses } => denied(misses, direction),
    }
}

fn denied(misses: &[Miss<'_>], direction: Direction) -> String {
    let mut nearest: Option<&Miss<'_>> = None;
    for miss in misses {
        if nearest.is_none_or(|nearest| nearness(nearest) <= nearness(miss)) {
            nearest = Some(miss);
        }
    }
    let Some(nearest) = nearest else { return "denied".to_owned() };
    let others = misses.iter().filter(|miss| miss.policy.name != nearest.policy.name);
    let by = if misses.len() <= LISTED {
        others.map(|miss| format!("{}, ", miss.policy.name)).collect()
    } else {
        format!("{} policies, nearest ", misses.len())
    };
    let (lacks, origin) = lacks(nearest, direction);
    format!("denied by {by}{}: {lacks}{}", nearest.policy.name, in_brackets(origin))
}

fn lacks<'c>(miss: &Miss<'c>, direction: Direction) -> (String, Option<&'c Origin>) {
    let policy = miss.policy;
    match &miss.nearest {
        Nearest::Closed => ("it cannot be compiled and allows nothing".to_owned(), policy.origin.as_ref()),
        Nearest::NoRules => (format!("it has no {direction} rule"), policy.origin.as_ref()),
        Nearest::Rule(found) => {
            let rule = rule_at(policy, direction, found.rule);
            let origin = rule.and_then(|rule| rule.origin.as_ref()).or(policy.origin.as_ref());
            let lacks = rule.map_or_else(String::new, |rule| rule_lacks(policy, rule, found));
            (format!("{direction}[{}] lacks {lacks}", found.rule), origin)
        }
    }
}

fn rule_lacks(policy: &Policy, rule: &Rule, found: &RuleMatch<'_>) -> String {
    let peers = || rule.peers.iter().flatten().map(|peer| words::peer(&policy.name.namespace, peer));
    let ports = || rule.ports.iter().flatten().map(|entry: &PolicyPort| words::port(entry));
    match (found.peers.place().is_ok(), found.ports.place().is_ok()) {
        (true, _) => format!("the port: only {}", first_few(ports().collect())),
        (false, true) => format!("the peer: only {}", first_few(peers().collect())),
        (false, false) => "peer and port".to_owned(),
    }
}

fn first_few(all: Vec<String>) -> String {
    match all.get(..2) {
        Some(few) if all.len() > 2 => format!("{} and {} more", few.join(", "), all.len() - 2),
        _ => all.join(", "),
    }
}

fn rule_at(policy: &Policy, direction: Direction, place: usize) -> Option<&Rule> {
    policy.rules(direction).and_then(|rules| rules.get(place))
}

fn in_brackets(origin: Option<&Origin>) -> String {
    origin.map_or_else(String::new, |origin| format!(" ({})", words::place(origin)))
}
