//! Namespaces whose pods are open unless somebody thinks of them (rules 15, 22).

use std::collections::{BTreeMap, BTreeSet};

use policy_compiler::model::{Direction, Origin};

use super::context::Context;
use super::{Code, Finding};

pub(super) fn findings(context: &Context<'_>) -> Vec<Finding> {
    let mut denied: BTreeSet<(&str, Direction)> = BTreeSet::new();
    for policy in context.cluster.policies().filter(|policy| policy.subject.is_everything()) {
        let directions = Direction::BOTH.into_iter().filter(|direction| policy.rules(*direction).is_some());
        denied.extend(directions.map(|direction| (&*policy.name.namespace, direction)));
    }
    let mut namespaces: BTreeMap<&str, (usize, Option<&Origin>)> = BTreeMap::new();
    for group in context.population.groups() {
        let (pods, origin) = namespaces.entry(group.namespace).or_default();
        *pods += group.pods.len();
        *origin = origin.or_else(|| group.pods.iter().find_map(|pod| pod.origin.as_ref()));
    }
    let mut findings = Vec::new();
    // Those of the platform are not for users to close.
    for (namespace, (pods, origin)) in namespaces.into_iter().filter(|(name, _)| !name.starts_with("kube-")) {
        let is_open = |direction: &Direction| !denied.contains(&(namespace, *direction));
        let open: Vec<Direction> = Direction::BOTH.into_iter().filter(is_open).collect();
        let Some(origin) = context.namespace_origin(namespace).or(origin) else { continue };
        if pods > 0 && !open.is_empty() {
            findings.push(finding(namespace, &open, origin));
        }
    }
    findings
}

fn finding(namespace: &str, open: &[Direction], origin: &Origin) -> Finding {
    let directions = open.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let types = open.iter().map(|direction| direction.policy_type()).collect::<Vec<_>>().join(", ");
    let message = format!("namespace {namespace} has pods and no default deny for {directions}");
    let why = "A pod that no policy selects may speak to everyone and be spoken to, new ones above all.";
    let help = format!(
        "add a policy that selects every pod and allows nothing:\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata:\n  name: default-deny\n  namespace: {namespace}\nspec:\n  podSelector: {{}}\n  policyTypes: [{types}]"
    );
    let finding = Finding::new(Code::NoDefaultDeny, origin.clone(), message, why);
    Finding { object: Some(format!("Namespace {namespace}")), ..finding.help(help) }
}
