//! Rules that add nothing to an allow-all (rules 18, 19).

use policy_compiler::model::{Direction, Rule};

use super::context::{Context, Subject, covers};
use super::{Code, Finding};

pub(super) fn findings(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for subjects in context.by_namespace().into_values() {
        for direction in Direction::BOTH {
            let wide: Vec<&Subject<'_>> =
                subjects.iter().copied().filter(|subject| allow_all(subject, direction).is_some()).collect();
            for subject in subjects.iter().copied().filter(|subject| !subject.is_idle) {
                findings.extend(of_policy(subject, direction, &wide));
            }
        }
    }
    findings
}

fn of_policy(subject: &Subject<'_>, direction: Direction, wide: &[&Subject<'_>]) -> Vec<Finding> {
    let by = match allow_all(subject, direction) {
        Some(index) => format!("{direction}[{index}] of the same policy"),
        None => {
            let other = wide.iter().find(|other| other.policy.name != subject.policy.name && covers(other, subject));
            match other {
                Some(other) => format!("NetworkPolicy {}, which selects at least the same pods,", other.policy.name),
                None => return Vec::new(),
            }
        }
    };
    let rules = subject.policy.rules(direction).unwrap_or_default();
    let narrow = rules.iter().enumerate().filter(|(_, rule)| !allows_all(rule));
    narrow
        .map(|(index, _)| {
            let message = format!("adds nothing: {by} allows all {direction}");
            let why =
                "Rules only ever allow. What one of them allows no other can take back, so this restricts nothing.";
            let path = format!("spec.{direction}[{index}]");
            subject
                .finding(Code::ShadowedRule, &path, message, why)
                .help("delete the rule that allows everything if this one is meant to restrict, else delete this one")
        })
        .collect()
}

/// The first rule for all peers and ports.
fn allow_all(subject: &Subject<'_>, direction: Direction) -> Option<usize> {
    subject.policy.rules(direction)?.iter().position(allows_all)
}

fn allows_all(rule: &Rule) -> bool {
    rule.peers.is_none() && rule.ports.is_none()
}
