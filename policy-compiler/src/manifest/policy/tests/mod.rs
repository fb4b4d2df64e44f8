//! Helpers; the tests are sorted by what they ask for.

mod closed;
mod defaults;
mod validation;

use super::super::tests::{manifest, objects, problems};
use super::super::{Content, Problem, read as read_text};
use super::*;
use crate::model::{Object, ObjectId, ObjectName};

const HEAD: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\n";

/// A policy with this spec, which starts in line 5.
fn with_spec(spec: &str) -> String {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!("{HEAD}spec:\n{indented}")
}

fn parsed(text: &str) -> Policy {
    match objects(text).pop() {
        Some(Object::Policy(policy)) => *policy,
        other => panic!("no policy: {other:?}"),
    }
}

fn policy(spec: &str) -> Policy {
    parsed(&with_spec(spec))
}

/// The only rule of a policy for ingress.
fn only_rule(rule: &str) -> Rule {
    let mut rules = policy(&format!("ingress:\n- {rule}")).ingress.unwrap();
    assert_eq!(rules.len(), 1);
    rules.remove(0)
}

fn only_peer(peer: &str) -> Peer {
    only_rule(&format!("from: [{peer}]")).peers.unwrap().remove(0)
}

fn only_port(port: &str) -> PolicyPort {
    only_rule(&format!("ports: [{port}]")).ports.unwrap().remove(0)
}

/// The problems of a spec: `line:column: severity: path: message`, without the words that are always there.
fn complaints(spec: &str) -> Vec<String> {
    let found = problems(&manifest(&with_spec(spec)));
    found
        .iter()
        .map(|problem| problem.replace("m.yaml:", "").replace("error: NetworkPolicy shop/web: spec.", ""))
        .collect()
}

/// The problems of a peer that stands alone in `ingress[0].from[0]`, columns counted from its start.
fn peer_complaints(peer: &str) -> Vec<String> {
    entry_complaints("from", peer)
}

fn port_complaints(port: &str) -> Vec<String> {
    entry_complaints("ports", port)
}

fn entry_complaints(list: &str, entry: &str) -> Vec<String> {
    let prefix = format!("error: NetworkPolicy shop/web: spec.ingress[0].{list}[0]");
    let found = manifest(&with_spec(&format!("ingress:\n- {list}:\n  -\n    {entry}"))).problems;
    let told = |problem: &Problem| {
        assert_eq!(problem.origin.line, 8);
        let column = problem.origin.column - 6;
        let path = problem.path.as_ref().unwrap().replace(&format!("spec.ingress[0].{list}[0]"), "");
        format!("{column}: {path}: {}", problem.message)
    };
    assert!(
        found.iter().all(|problem| problem.to_string().contains(&prefix) || problem.to_string().contains("warning"))
    );
    found.iter().map(told).collect()
}

/// The stand-in for a policy with mistakes.
fn closed(text: &str) -> Option<Policy> {
    let manifest = manifest(text);
    assert!(manifest.errors().next().is_some(), "{text}");
    match &manifest.documents[0].content {
        Content::Invalid { closed, .. } => closed.clone(),
        other => panic!("{other:?}"),
    }
}

fn isolates(policy: &Policy) -> Vec<Direction> {
    Direction::BOTH.into_iter().filter(|direction| policy.rules(*direction).is_some()).collect()
}

const INGRESS: &[Direction] = &[Direction::Ingress];
const EGRESS: &[Direction] = &[Direction::Egress];
