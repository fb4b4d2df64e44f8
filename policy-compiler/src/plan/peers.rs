//! The peers that rules of this node look up, and which of them select a group of pods, without asking each.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use super::names;
use crate::cidr::Family;
use crate::model::{Labels, NamespaceScope};
use crate::ruleset::Name;
use crate::selector::{Operator, Selector};

pub(super) type PeerId = usize;

/// What tells one pod peer from another: the policy's namespace only where it matters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PeerKey {
    /// Set where there is no namespaceSelector.
    own: Option<Arc<str>>,
    namespaces: Selector,
    pods: Selector,
}

impl PeerKey {
    pub(super) fn new(own: &Arc<str>, scope: &NamespaceScope, pods: &Selector) -> Self {
        let (own, namespaces) = match scope {
            NamespaceScope::Own => (Some(own.clone()), Selector::everything()),
            NamespaceScope::Matching(namespaces) => (None, namespaces.clone()),
        };
        Self { own, namespaces, pods: pods.clone() }
    }

    /// The sets of its pods' addresses.
    pub(super) fn set_names(&self) -> [Name; 2] {
        // The debug form quotes what label values may contain, so that no two peers come to the same text.
        let text = format!("{self:?}");
        Family::BOTH.map(|family| names::peer(&text, family))
    }

    /// Which pods it selects, in words.
    pub(super) fn describe(&self) -> String {
        let pods = if self.pods.is_everything() { "all pods".to_owned() } else { format!("pods {}", self.pods) };
        match &self.own {
            Some(own) => format!("{pods} in namespace {own}"),
            None if self.namespaces.is_everything() => format!("{pods} in every namespace"),
            None => format!("{pods} in namespaces {}", self.namespaces),
        }
    }

    pub(super) fn scope(&self) -> NamespaceScope {
        match &self.own {
            Some(_) => NamespaceScope::Own,
            None => NamespaceScope::Matching(self.namespaces.clone()),
        }
    }

    pub(super) fn own(&self) -> &str {
        self.own.as_deref().unwrap_or_default()
    }

    pub(super) fn pods(&self) -> &Selector {
        &self.pods
    }

    /// Whether a change of a namespace's labels brings it in or takes it out; none where it does neither.
    pub(super) fn flips(&self, before: &Labels, after: &Labels) -> Option<bool> {
        let (was, is) = (self.namespaces.matches(before), self.namespaces.matches(after));
        (self.own.is_none() && was != is).then_some(is)
    }

    fn selects(&self, namespace: &str, namespace_labels: &Labels, labels: &Labels) -> bool {
        let in_scope = match &self.own {
            Some(own) => **own == *namespace,
            None => self.namespaces.matches(namespace_labels),
        };
        in_scope && self.pods.matches(labels)
    }
}

/// A peer in use.
#[derive(Clone, Debug)]
pub(super) struct PeerRecord {
    pub(super) key: PeerKey,
    pub(super) sets: [Name; 2],
}

/// One thing that must be true of a namespace for a peer to select any of its pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum NamespaceAnchor {
    Name(Arc<str>),
    Label(Arc<str>, Arc<str>),
    None,
}

/// One label that a pod must have for a peer to select it; none where there is no such label.
type PodAnchor = Option<(Arc<str>, Arc<str>)>;

/// All peers in use.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerStore {
    peers: Slab<PeerRecord>,
    anchors: HashMap<(NamespaceAnchor, PodAnchor), Vec<PeerId>>,
}

impl PeerStore {
    pub(super) fn get(&self, id: PeerId) -> Option<&PeerRecord> {
        self.peers.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerId, &PeerRecord)> {
        self.peers.iter()
    }

    pub(super) fn add(&mut self, key: PeerKey) -> PeerId {
        let anchors = anchors(&key);
        let sets = key.set_names();
        let id = self.peers.insert(PeerRecord { key, sets });
        for anchor in anchors {
            self.anchors.entry(anchor).or_default().push(id);
        }
        id
    }

    pub(super) fn remove(&mut self, id: PeerId) -> Option<PeerRecord> {
        let record = self.peers.try_remove(id)?;
        for anchor in anchors(&record.key) {
            if let Some(peers) = self.anchors.get_mut(&anchor) {
                peers.retain(|peer| *peer != id);
                if peers.is_empty() {
                    self.anchors.remove(&anchor);
                }
            }
        }
        Some(record)
    }

    /// The peers that select pods of a namespace with these labels.
    pub(super) fn selecting(&self, namespace: &Arc<str>, namespace_labels: &Labels, labels: &Labels) -> Vec<PeerId> {
        let of_namespace = namespace_labels
            .entries()
            .map(|(key, value)| NamespaceAnchor::Label(key.clone(), value.clone()))
            .chain([NamespaceAnchor::Name(namespace.clone()), NamespaceAnchor::None]);
        let mut found = Vec::new();
        for namespace_anchor in of_namespace {
            let of_pod = labels.entries().map(|(key, value)| Some((key.clone(), value.clone()))).chain([None]);
            for pod_anchor in of_pod {
                let candidates = self.anchors.get(&(namespace_anchor.clone(), pod_anchor)).into_iter().flatten();
                found.extend(candidates.copied().filter(|id| {
                    self.get(*id).is_some_and(|peer| peer.key.selects(namespace, namespace_labels, labels))
                }));
            }
        }
        found
    }
}

/// Where a peer is found: under each value of the first label that it asks of a namespace and of a pod.
fn anchors(key: &PeerKey) -> Vec<(NamespaceAnchor, PodAnchor)> {
    let needed = |selector: &Selector| {
        selector.requirements().iter().find_map(|requirement| match &requirement.operator {
            Operator::In(values) => Some(values.iter().map(|value| (requirement.key.clone(), value.clone())).collect()),
            Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => None,
        })
    };
    let of_namespace: Vec<NamespaceAnchor> = match (&key.own, needed(&key.namespaces)) {
        (Some(own), _) => vec![NamespaceAnchor::Name(own.clone())],
        (None, Some(labels)) => {
            let labels: Vec<_> = labels;
            labels.into_iter().map(|(key, value)| NamespaceAnchor::Label(key, value)).collect()
        }
        (None, None) => vec![NamespaceAnchor::None],
    };
    let of_pod: Vec<PodAnchor> = match needed(&key.pods) {
        Some(labels) => labels.into_iter().map(Some).collect(),
        None => vec![None],
    };
    let pairs =
        of_namespace.into_iter().flat_map(|namespace| of_pod.iter().map(move |pod| (namespace.clone(), pod.clone())));
    pairs.collect()
}
