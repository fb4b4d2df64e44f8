//! Whether one entry of `from` or `to` means the other end of a flow.

use super::Endpoint;
use crate::cluster::Cluster;
use crate::model::{NamespaceScope, Peer};

/// Whether a peer of a policy in namespace `own` matches.
pub(super) fn matches(cluster: &Cluster, own: &str, peer: &Peer, other: Endpoint<'_>) -> bool {
    match peer {
        // Addresses of pods are no exception (rule 87).
        Peer::Block(block) => other.address.is_some_and(|address| block.contains(address)),
        Peer::Pods { namespaces, pods } => {
            let Some(pod) = other.pod.filter(|pod| pod.is_selectable()) else {
                return false; // selectors never match what is no pod (rules 41, 107)
            };
            let namespace = &*pod.name.namespace;
            let in_scope = match namespaces {
                NamespaceScope::Own => namespace == own,
                NamespaceScope::Matching(selector) => selector.matches(&cluster.namespace_labels(namespace)),
            };
            in_scope && pods.matches(&pod.labels)
        }
    }
}
