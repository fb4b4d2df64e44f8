//! Policies that apply to nobody (rules 23, 105).

use std::collections::{BTreeMap, BTreeSet};

use policy_compiler::selector::Selector;

use super::context::{Context, Subject};
use super::finding::{count, some};
use super::population::Population;
use super::{Code, Finding, typo};

pub(super) fn findings(context: &Context<'_>) -> Vec<Finding> {
    let of_subject = |subject| selects_nothing(context, subject).or_else(|| on_host(context, subject));
    context.subjects.iter().filter_map(of_subject).collect()
}

const NO_EFFECT: &str =
    "The policy has no effect: the pods that it was written for are as open, or as closed, as without it.";

fn selects_nothing(context: &Context<'_>, subject: &Subject<'_>) -> Option<Finding> {
    if !subject.groups.is_empty() {
        return None;
    }
    let namespace = &*subject.policy.name.namespace;
    let population = &context.population;
    let groups = population.of_namespace(namespace);
    if groups.is_empty() {
        // Somebody who wrote a namespace down may prepare it for pods to come.
        return context.namespace_origin(namespace).is_none().then(|| empty_namespace(population, subject));
    }
    let selector = &subject.policy.subject;
    let labels = groups.iter().map(|group| population.group(*group).labels);
    if let Some(correction) = typo::correction(selector, labels) {
        return Some(typo(subject, "spec.podSelector", selector, &correction, NO_EFFECT));
    }
    let message = format!("{selector} selects no pod of namespace {namespace}");
    let finding = subject.finding(Code::SelectsNothing, "spec.podSelector", message, NO_EFFECT);
    Some(finding.help(format!("use labels that pods have: {}", labels_of(population, groups, selector))))
}

fn empty_namespace(population: &Population<'_>, subject: &Subject<'_>) -> Finding {
    let namespace = &*subject.policy.name.namespace;
    let known = || population.namespaces().keys().filter(|name| !population.of_namespace(name).is_empty());
    let (path, help) = if subject.has("metadata.namespace") {
        let help = match known().filter_map(|name| Some((typo::near(namespace, name)?, name))).min() {
            Some((_, meant)) => format!("did you mean namespace: {meant}?"),
            None => format!("use a namespace with pods: {}", some(known())),
        };
        ("metadata.namespace", help)
    } else {
        ("metadata", format!("write the namespace down: namespace: {}", some(known())))
    };
    let message = format!("no pod is in namespace {namespace}, so the policy selects nothing");
    subject.finding(Code::SelectsNothing, path, message, NO_EFFECT).help(help)
}

fn on_host(context: &Context<'_>, subject: &Subject<'_>) -> Option<Finding> {
    let groups = || subject.groups.iter().map(|group| context.population.group(*group));
    let on_host: usize = groups().map(|group| group.on_host.len()).sum();
    let others: usize = groups().map(|group| group.pods.len()).sum();
    let first = groups().flat_map(|group| &group.on_host).map(|pod| &pod.name).min()?;
    // A default deny is for whoever is there; it is not about these.
    if others > 0 && subject.policy.subject.is_everything() {
        return None;
    }
    let of = if others > 0 { format!("{on_host} of {} pods", on_host + others) } else { count(on_host, "pod") };
    let message = format!("selects {of} with hostNetwork, such as {first}, to which no policy applies");
    let why =
        "A pod with hostNetwork is its node to the network: no policy isolates it, and its traffic is the node's.";
    let finding = subject.finding(Code::HostNetworkSubject, "spec.podSelector", message, why);
    Some(finding.help("take hostNetwork: true from the workload, or filter on the node itself"))
}

/// A selector that matches nothing, and the word that is probably wrong.
pub(super) fn typo(
    subject: &Subject<'_>,
    path: &str,
    selector: &Selector,
    correction: &typo::Correction,
    why: &str,
) -> Finding {
    let (key, value) = &correction.meant;
    let message = format!("{selector} matches nothing; with {key}={value} it would");
    let path = subject.requirement(path, &correction.key);
    subject.finding(Code::LabelTypo, &path, message, why).help(format!("write {key}: {value}"))
}

/// Labels to choose from: the values of the selector's keys where pods have these, else all.
pub(super) fn labels_of(population: &Population<'_>, groups: &[usize], selector: &Selector) -> String {
    let wanted: BTreeSet<&str> = selector.requirements().iter().map(|requirement| &*requirement.key).collect();
    let labels = || groups.iter().flat_map(|group| population.group(*group).labels.iter());
    choices(labels().filter(|(key, _)| wanted.contains(key)))
        .or_else(|| choices(labels()))
        .unwrap_or_else(|| "they have none".to_owned())
}

/// `app: api or web; tier: back or front`.
pub(super) fn choices<'l>(labels: impl Iterator<Item = (&'l str, &'l str)>) -> Option<String> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    labels.for_each(|(key, value)| _ = values.entry(key).or_default().insert(value));
    let lines: Vec<String> = values.iter().map(|(key, values)| format!("{key}: {}", some(values))).collect();
    (!lines.is_empty()).then(|| some(lines.iter().map(|line| line.replace(", ", " or "))))
}
