//! Pods and policies by their labels, so that resolving a selector does not visit every pod, nor finding a pod's
//! policies every policy.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use crate::cluster::Cluster;
use crate::model::{Labels, NamespaceScope, Pod, Policy};
use crate::selector::{Operator, Requirement, Selector};

/// A selectable pod that has at least one address of its own.
pub(super) struct IndexedPod<'c> {
    pub(super) pod: &'c Pod,
    /// Addresses that are this pod's and no other's (rule 129).
    pub(super) addresses: Vec<IpAddr>,
}

/// Positions in `PodIndex::pods`, ascending.
type Positions = Vec<u32>;

/// Selectable pods with addresses, by namespace and by label.
pub(super) struct PodIndex<'c> {
    pub(super) pods: Vec<IndexedPod<'c>>,
    namespaces: BTreeMap<&'c str, (Labels, Positions)>,
    labels: HashMap<&'c str, BTreeMap<&'c str, Positions>>,
}

impl<'c> PodIndex<'c> {
    pub(super) fn new(cluster: &'c Cluster) -> Self {
        let owners = cluster.address_owners();
        let mut index = Self { pods: Vec::new(), namespaces: BTreeMap::new(), labels: HashMap::new() };
        for pod in cluster.pods().filter(|pod| pod.is_selectable()) {
            let own = |address: &&IpAddr| owners.get(address).is_some_and(|owner| owner.name == pod.name);
            let addresses: Vec<_> = pod.addresses.iter().filter(own).copied().collect();
            if addresses.is_empty() {
                continue;
            }
            let position = index.pods.len() as u32;
            index.pods.push(IndexedPod { pod, addresses });
            let namespace = &*pod.name.namespace;
            let labels = || (cluster.namespace_labels(namespace), Positions::new());
            index.namespaces.entry(namespace).or_insert_with(labels).1.push(position);
            for (key, value) in pod.labels.iter() {
                index.labels.entry(key).or_default().entry(value).or_default().push(position);
            }
        }
        index
    }

    /// The pods that a peer of a policy in namespace `own` selects.
    pub(super) fn select(&self, own: &str, scope: &NamespaceScope, pods: &Selector) -> Vec<&IndexedPod<'c>> {
        let wanted: BTreeMap<&str, &Positions> = match scope {
            NamespaceScope::Own => {
                self.namespaces.get_key_value(own).map(|(name, (_, pods))| (*name, pods)).into_iter().collect()
            }
            NamespaceScope::Matching(selector) => self
                .namespaces
                .iter()
                .filter(|(_, (labels, _))| selector.matches(labels))
                .map(|(name, (_, pods))| (*name, pods))
                .collect(),
        };
        let in_namespaces: usize = wanted.values().map(|pods| pods.len()).sum();
        let by_label = pods.requirements().iter().filter_map(|r| self.with_label(r)).min_by_key(|lists| count(lists));
        let at = |position: &u32| self.pods.get(*position as usize);
        match by_label.filter(|lists| count(lists) < in_namespaces) {
            Some(lists) => lists
                .into_iter()
                .flatten()
                .filter_map(at)
                .filter(|found| wanted.contains_key(&*found.pod.name.namespace) && pods.matches(&found.pod.labels))
                .collect(),
            None => {
                let everything = wanted.into_values().flatten().filter_map(at);
                everything.filter(|found| pods.matches(&found.pod.labels)).collect()
            }
        }
    }

    /// Disjoint lists of all pods that can meet a requirement; none where a missing label meets it too.
    fn with_label(&self, requirement: &Requirement) -> Option<Vec<&Positions>> {
        let values = self.labels.get(&*requirement.key);
        match &requirement.operator {
            Operator::In(wanted) => {
                Some(wanted.iter().filter_map(|value| values.and_then(|values| values.get(&**value))).collect())
            }
            Operator::Exists => Some(values.into_iter().flat_map(BTreeMap::values).collect()),
            Operator::NotIn(_) | Operator::DoesNotExist => None,
        }
    }
}

fn count(lists: &[&Positions]) -> usize {
    lists.iter().map(|list| list.len()).sum()
}

/// Policies by namespace and by a label that their subjects must have.
pub(super) struct PolicyIndex<'c> {
    namespaces: BTreeMap<&'c str, NamespacePolicies<'c>>,
}

#[derive(Default)]
struct NamespacePolicies<'c> {
    /// By one `In` requirement of the subject selector, under each of its values.
    labelled: HashMap<(&'c str, &'c str), Vec<&'c Policy>>,
    /// Those whose subjects need no particular label.
    others: Vec<&'c Policy>,
}

impl<'c> PolicyIndex<'c> {
    pub(super) fn new(cluster: &'c Cluster) -> Self {
        let mut namespaces: BTreeMap<_, NamespacePolicies<'c>> = BTreeMap::new();
        for policy in cluster.policies() {
            let entry = namespaces.entry(&*policy.name.namespace).or_default();
            let needed = policy.subject.requirements().iter().find_map(|requirement| match &requirement.operator {
                Operator::In(values) => Some((&*requirement.key, values)),
                _ => None,
            });
            match needed {
                Some((key, values)) => {
                    values.iter().for_each(|value| entry.labelled.entry((key, value)).or_default().push(policy));
                }
                None => entry.others.push(policy),
            }
        }
        Self { namespaces }
    }

    /// The policies that select a pod, by name (rules 16, 21).
    pub(super) fn of(&self, pod: &Pod) -> Vec<&'c Policy> {
        let Some(policies) = self.namespaces.get(&*pod.name.namespace) else { return Vec::new() };
        let labelled = pod.labels.iter().filter_map(|label| policies.labelled.get(&label)).flatten();
        let candidates = policies.others.iter().chain(labelled);
        let selecting: BTreeMap<_, _> = candidates
            .filter(|policy| policy.subject.matches(&pod.labels))
            .map(|policy| (&policy.name, *policy))
            .collect();
        selecting.into_values().collect()
    }
}

/// Which pods a peer selects, in words.
pub(super) fn peer_text(own: &str, scope: &NamespaceScope, pods: &Selector) -> String {
    let pods = if pods.is_everything() { "all pods".to_owned() } else { format!("pods {pods}") };
    match scope {
        NamespaceScope::Own => format!("{pods} in namespace {own}"),
        NamespaceScope::Matching(selector) if selector.is_everything() => format!("{pods} in every namespace"),
        NamespaceScope::Matching(selector) => format!("{pods} in namespaces {selector}"),
    }
}

/// Addresses of one family, sorted.
pub(super) fn of_family<'a>(
    pods: impl IntoIterator<Item = &'a IndexedPod<'a>>,
    family: crate::cidr::Family,
) -> BTreeSet<IpAddr> {
    let addresses = pods.into_iter().flat_map(|found| &found.addresses).copied();
    addresses.filter(|address| crate::cidr::Family::of(*address) == family).collect()
}
