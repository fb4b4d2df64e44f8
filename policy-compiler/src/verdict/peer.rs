//! Whether one entry of `from` or `to` means the other end of a flow.

use super::flow::{Endpoint, Host};
use super::miss::{NamespaceMiss, PeerMiss};
use crate::cluster::Cluster;
use crate::model::{IpBlock, Labels, NamespaceScope, Peer, Pod};
use crate::selector::{Requirement, Selector};

/// Why a peer of a policy in namespace `own` does not mean the other end; `None` where it does.
pub(super) fn miss<'c>(cluster: &Cluster, own: &str, peer: &'c Peer, other: Endpoint<'_>) -> Option<PeerMiss<'c>> {
    match peer {
        Peer::Block(block) => block_miss(block, other),
        // Selectors mean pods, and of them those that have a network of their own and have not finished.
        Peer::Pods { namespaces, pods } => match other.host {
            Host::Pod(pod) if pod.is_selectable() => labels_miss(cluster, own, namespaces, pods, pod),
            Host::Pod(pod) if pod.host_network => Some(PeerMiss::Node),
            Host::Pod(_) => Some(PeerMiss::Finished),
            Host::Node(_) => Some(PeerMiss::Node),
            Host::Outside => Some(PeerMiss::OutsideCluster),
        },
    }
}

/// Addresses of pods are no exception (rule 87), nor are nodes' (rule 96).
fn block_miss(block: &IpBlock, other: Endpoint<'_>) -> Option<PeerMiss<'static>> {
    let Some(address) = other.address else { return Some(PeerMiss::NoAddress) };
    if !block.cidr.contains(address) {
        return Some(PeerMiss::OutsideBlock { cidr: block.cidr });
    }
    // Any of them takes the address out, whatever the others say (rule 86).
    block.except.iter().find(|except| except.contains(address)).map(|except| PeerMiss::Excepted { except: *except })
}

/// Namespace and pod must both match (rule 50).
fn labels_miss<'c>(
    cluster: &Cluster,
    own: &str,
    namespaces: &'c NamespaceScope,
    pods: &'c Selector,
    pod: &Pod,
) -> Option<PeerMiss<'c>> {
    let theirs = &*pod.name.namespace;
    let namespace = match namespaces {
        NamespaceScope::Own => (theirs != own).then_some(NamespaceMiss::NotOwn),
        NamespaceScope::Matching(selector) => {
            let unmet = unmet(selector, &cluster.namespace_labels(theirs));
            (!unmet.is_empty()).then_some(NamespaceMiss::Labels(unmet))
        }
    };
    let pod = unmet(pods, &pod.labels);
    (namespace.is_some() || !pod.is_empty()).then_some(PeerMiss::Labels { namespace, pod })
}

/// All requirements must hold (rule 43); these do not.
fn unmet<'c>(selector: &'c Selector, labels: &Labels) -> Vec<&'c Requirement> {
    selector.requirements().iter().filter(|requirement| !requirement.matches(labels)).collect()
}
