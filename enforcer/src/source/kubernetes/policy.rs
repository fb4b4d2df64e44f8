//! NetworkPolicies as the API server has them, read by the reader that manifests are read by: what it cannot make sense
//! of closes the pods that the policy selects (invariant 1).

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use policy_compiler::cidr::CidrRules;
use policy_compiler::manifest::{self, Content};
use policy_compiler::model::{Object, Policy};
use serde::Deserialize;
use serde_json::{Value, json};

use super::watched::{Complaint, object_name};

/// A policy, its spec as it came.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = k8s_openapi::api::networking::v1::NetworkPolicy)]
pub(super) struct ApiPolicy {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
}

impl ApiPolicy {
    /// The policy, or what closes its pods; none where there is no telling whose. And what is wrong or odd in it.
    pub(super) fn read(self) -> (Option<Policy>, Vec<Complaint>) {
        let name = object_name(&self.metadata);
        let spec = if self.spec.is_null() { json!({}) } else { self.spec };
        let object = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"namespace": &*name.namespace, "name": &*name.name},
            "spec": spec,
        });
        let file: Arc<str> = "API server".into();
        let read = manifest::read(&file, &object.to_string(), CidrRules::Legacy);
        let complaints = read.problems.into_iter().map(Complaint::of_manifest).collect();
        let policy = read.documents.into_iter().find_map(|document| match document.content {
            Content::Objects(objects) => objects.into_iter().find_map(|object| match object {
                Object::Policy(policy) => Some(*policy),
                _ => None,
            }),
            Content::Invalid { closed, .. } => closed,
            Content::Skipped => None,
        });
        (policy.map(placeless), complaints)
    }
}

/// Nothing from an API server stands in a line of a file.
fn placeless(mut policy: Policy) -> Policy {
    policy.origin = None;
    for rule in policy.ingress.iter_mut().chain(&mut policy.egress).flatten() {
        rule.origin = None;
    }
    policy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: Value) -> (Option<Policy>, Vec<String>) {
        let policy: ApiPolicy =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec})).unwrap();
        let (policy, complaints) = policy.read();
        (policy, complaints.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_the_api_server_stores_is_taken_as_it_means_it() {
        for spec in [
            json!(null),
            json!({}),
            json!({"podSelector": {}, "policyTypes": ["Ingress", "Ingress"], "ingress": [{"from": null}]}),
            json!({"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": null}}]}]}),
        ] {
            let (policy, complaints) = read(spec.clone());
            assert!(complaints.is_empty(), "{spec}: {complaints:?}");
            let policy = policy.unwrap();
            assert!(policy.ingress.is_some() && policy.egress.is_none() && !policy.closed, "{spec}: {policy:?}");
            assert!(policy.origin.is_none() && policy.ingress.iter().flatten().all(|rule| rule.origin.is_none()));
        }
    }

    #[test]
    fn rules_91_to_93_odd_cidrs_count_and_are_told() {
        for cidr in ["10.0.0.1/8", "010.0.0.0/8", "::ffff:10.0.0.0/104"] {
            let (policy, complaints) =
                read(json!({"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": cidr}}]}]}));
            assert!(!policy.unwrap().closed, "{cidr}");
            assert_eq!(complaints.len(), 1, "{cidr}: {complaints:?}");
            assert!(complaints[0].starts_with("spec.ingress[0].from[0].ipBlock.cidr: "), "{complaints:?}");
        }
    }

    #[test]
    fn a_policy_that_means_nothing_is_closed_and_told() {
        let (policy, complaints) =
            read(json!({"podSelector": {"matchLabels": {"app": "web"}}, "egress": [{"ports": [{"port": 0}]}]}));
        let policy = policy.unwrap();
        assert!(policy.closed && policy.ingress == Some(vec![]) && policy.egress == Some(vec![]), "{policy:?}");
        assert_eq!(complaints, ["spec.egress[0].ports[0].port: must be between 1 and 65535, is 0"]);
        let (policy, complaints) = read(json!({"podSelector": 5}));
        assert!(policy.is_none() && complaints.len() == 1, "{complaints:?}");
    }
}
