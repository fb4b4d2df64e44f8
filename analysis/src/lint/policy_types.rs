//! `policyTypes` and the sections that should go with them (rules 1-8).

use policy_compiler::model::Direction;

use super::context::{Context, Subject, covers};
use super::{Code, Finding};

pub(super) fn findings(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for subjects in context.by_namespace().into_values() {
        for subject in &subjects {
            for direction in Direction::BOTH {
                findings.extend(ignored_section(subject, direction));
                findings.extend(missing_section(subject, direction, &subjects));
            }
        }
    }
    findings
}

/// Rules 3, 7 and 8.
fn ignored_section(subject: &Subject<'_>, direction: Direction) -> Option<Finding> {
    let path = format!("spec.{direction}");
    if subject.policy.rules(direction).is_some() || !subject.has(&path) {
        return None;
    }
    let has_types = subject.has("spec.policyTypes[0]");
    let types =
        Direction::BOTH.into_iter().filter(|other| *other == direction || subject.policy.rules(*other).is_some());
    let types: Vec<&str> = types.map(Direction::policy_type).collect();
    let help = format!("policyTypes: [{}]", types.join(", "));
    let code = Code::SectionWithoutPolicyType;
    if subject.has(&format!("{path}[0]")) {
        let message = format!("these rules are ignored: policyTypes does not list {}", direction.policy_type());
        let why =
            format!("The policy does not isolate its pods for {direction}, and what it says of it means nothing.");
        return Some(subject.finding(code, &path, message, why).help(format!("list the direction:\n{help}")));
    }
    // Templates write empty sections beside types; without types somebody wanted to say something.
    (!has_types).then(|| {
        let message = format!("an empty section does not isolate: without policyTypes, {direction} stays open");
        let why = format!("Left out, policyTypes lists {} only where there are rules for it.", direction.policy_type());
        subject.finding(code, &path, message, why).help(format!("to deny all {direction}, list the direction:\n{help}"))
    })
}

/// Rules 4, 5 and 22.
fn missing_section(subject: &Subject<'_>, direction: Direction, all: &[&Subject<'_>]) -> Option<Finding> {
    let other = match direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    };
    let rules = subject.policy.rules(direction)?;
    // A policy that allows nothing at all is a deny-all, and meant so.
    let says_more = subject.policy.rules(other).is_some_and(|rules| !rules.is_empty());
    if !rules.is_empty() || !says_more || subject.has(&format!("spec.{direction}")) {
        return None;
    }
    // Where another policy isolates these pods anyway, this one changes nothing by it.
    let isolates = |wider: &&&Subject<'_>| {
        wider.policy.name != subject.policy.name && wider.policy.rules(direction).is_some() && covers(wider, subject)
    };
    if all.iter().any(|wider| isolates(&wider)) {
        return None;
    }
    let why = format!("All {direction} of the selected pods is denied, unless another policy allows it.");
    let code = Code::PolicyTypeWithoutSection;
    let only = format!("policyTypes: [{}]", other.policy_type());
    let Some(entry) = entry(subject, direction) else {
        let message = format!("without policyTypes the policy isolates for {direction} too, and allows none");
        let help = format!("if it is about {other} alone, say so:\n{only}");
        return Some(subject.finding(code, &format!("spec.{other}"), message, why).help(help));
    };
    let message = format!("lists {}, but there is no section {direction}", direction.policy_type());
    let help =
        format!("if it is about {other} alone:\n{only}\nif all {direction} is to be denied, say so:\n{direction}: []");
    Some(subject.finding(code, &entry, message, why).help(help))
}

/// The entry of `policyTypes` that lists a direction; none where there is no such list.
fn entry(subject: &Subject<'_>, direction: Direction) -> Option<String> {
    let json = subject.document.to_json();
    let types = json.pointer("/spec/policyTypes").and_then(|types| types.as_array())?;
    let index = types.iter().position(|value| value.as_str() == Some(direction.policy_type()))?;
    Some(format!("spec.policyTypes[{index}]"))
}
