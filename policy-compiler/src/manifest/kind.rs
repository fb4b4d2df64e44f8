//! Which kinds are read, and what is nearly one of them.

use super::fields::shown;
use super::names::nearest;
use super::workload;

/// The kinds that policy depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Namespace,
    Node,
    Pod,
    NetworkPolicy,
    Service,
    Workload(workload::Kind),
}

/// What `kind` and `apiVersion` say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recognised {
    Kind(Kind),
    /// Read as this kind, so that a policy still closes its pods, but refused.
    Mistaken(Kind, Mistake),
    /// Nothing that policy depends on.
    Other,
}

/// The field that is wrong, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) field: &'static str,
    pub(super) message: String,
}

struct Known {
    name: &'static str,
    api_version: &'static str,
    kind: Kind,
}

const fn known(name: &'static str, api_version: &'static str, kind: Kind) -> Known {
    Known { name, api_version, kind }
}

const KNOWN: [Known; 12] = [
    known("Namespace", "v1", Kind::Namespace),
    known("Node", "v1", Kind::Node),
    known("Pod", "v1", Kind::Pod),
    known("Service", "v1", Kind::Service),
    known("NetworkPolicy", "networking.k8s.io/v1", Kind::NetworkPolicy),
    known("Deployment", "apps/v1", Kind::Workload(workload::Kind::Deployment)),
    known("StatefulSet", "apps/v1", Kind::Workload(workload::Kind::StatefulSet)),
    known("DaemonSet", "apps/v1", Kind::Workload(workload::Kind::DaemonSet)),
    known("ReplicaSet", "apps/v1", Kind::Workload(workload::Kind::ReplicaSet)),
    known("ReplicationController", "v1", Kind::Workload(workload::Kind::ReplicationController)),
    known("Job", "batch/v1", Kind::Workload(workload::Kind::Job)),
    known("CronJob", "batch/v1", Kind::Workload(workload::Kind::CronJob)),
];

/// A policy that is passed over because its kind is misspelt or its version is old leaves pods open, so what is nearly
/// a known kind is a mistake. The same name in a foreign group (`crd.projectcalico.org`) is another kind.
pub(super) fn recognise(kind: &str, api_version: &str) -> Recognised {
    if let Some(known) = KNOWN.iter().find(|known| known.name == kind) {
        if known.api_version == api_version {
            return Recognised::Kind(known.kind);
        }
        if is_foreign(api_version) {
            return Recognised::Other;
        }
        let message = format!("{} is not supported for {kind}; use {}", shown(api_version), known.api_version);
        return Recognised::Mistaken(known.kind, Mistake { field: "apiVersion", message });
    }
    let siblings = || KNOWN.iter().filter(|known| known.api_version == api_version);
    let meant = nearest(kind, siblings().map(|known| known.name));
    match siblings().find(|known| Some(known.name) == meant) {
        Some(known) => {
            let message = format!("{api_version} has no such kind; did you mean {}?", known.name);
            Recognised::Mistaken(known.kind, Mistake { field: "kind", message })
        }
        None => Recognised::Other,
    }
}

/// The version that `items` of a list such as PodList have where they do not say it.
pub(super) fn item_kind(list: &str) -> Option<&str> {
    list.strip_suffix("List").filter(|kind| !kind.is_empty())
}

/// Groups of the API server itself have no dot, or end in its domain.
fn is_foreign(api_version: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    group.contains('.') && !group.ends_with(".k8s.io")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_172_kinds_are_known_by_kind_and_version() {
        let policy = Recognised::Kind(Kind::NetworkPolicy);
        assert_eq!(recognise("NetworkPolicy", "networking.k8s.io/v1"), policy);
        for (kind, version) in [
            ("NetworkPolicy", "crd.projectcalico.org/v1"),
            ("NetworkPolicy", "projectcalico.org/v3"),
            ("ConfigMap", "v1"),
            ("Ingress", "networking.k8s.io/v1"),
            ("IngressClass", "networking.k8s.io/v1"),
            ("Secret", "v1"),
            ("Endpoints", "v1"),
            ("PodTemplate", "v1"),
            ("ControllerRevision", "apps/v1"),
            ("NodeMetrics", "metrics.k8s.io/v1beta1"),
        ] {
            assert_eq!(recognise(kind, version), Recognised::Other, "{kind} {version}");
        }
    }

    #[test]
    fn rule_172_what_is_nearly_a_policy_is_a_mistake() {
        for (kind, version, field, message) in [
            (
                "NetworkPolicy",
                "extensions/v1beta1",
                "apiVersion",
                "extensions/v1beta1 is not supported for NetworkPolicy; use networking.k8s.io/v1",
            ),
            ("NetworkPolicy", "v1", "apiVersion", "v1 is not supported for NetworkPolicy; use networking.k8s.io/v1"),
            (
                "NetworkPolicy",
                "networking.k8s.io/v1beta1",
                "apiVersion",
                "networking.k8s.io/v1beta1 is not supported for NetworkPolicy; use networking.k8s.io/v1",
            ),
            (
                "Networkpolicy",
                "networking.k8s.io/v1",
                "kind",
                "networking.k8s.io/v1 has no such kind; did you mean NetworkPolicy?",
            ),
            (
                "NetworkPolicies",
                "networking.k8s.io/v1",
                "kind",
                "networking.k8s.io/v1 has no such kind; did you mean NetworkPolicy?",
            ),
        ] {
            let mistake = Mistake { field, message: message.to_owned() };
            assert_eq!(recognise(kind, version), Recognised::Mistaken(Kind::NetworkPolicy, mistake));
        }
    }
}
