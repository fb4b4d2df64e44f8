//! All pods that policy can select, in groups of equal namespace and labels: whatever a selector says is true of a whole
//! group, so that a pod's coming and going asks no selector as long as it has company.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use slab::Slab;

use super::peers::PeerId;
use crate::model::{ContainerPort, Labels, Namespace, NamespaceScope, ObjectName, Pod};
use crate::selector::{Operator, Requirement, Selector};

pub(super) type PodId = u32;
pub(super) type GroupId = usize;

/// What is kept of a pod. Whatever can be shared with others is.
#[derive(Clone, Debug)]
pub(super) struct PodRecord {
    pub(super) name: ObjectName,
    pub(super) group: GroupId,
    /// Its place among the group's members.
    slot: u32,
    pub(super) addresses: Box<[IpAddr]>,
    pub(super) ports: Arc<[ContainerPort]>,
    pub(super) local: bool,
    terminating: bool,
}

/// Pods of one namespace with the same labels.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) namespace: Arc<str>,
    pub(super) labels: Labels,
    pub(super) members: Vec<PodId>,
    /// The peers in use that select it.
    pub(super) peers: Vec<PeerId>,
}

#[derive(Clone, Debug)]
struct NamespaceRecord {
    labels: Labels,
    /// Whether there is an object of it; otherwise it is known from its pods only (rule 14).
    is_object: bool,
    groups: HashSet<GroupId>,
}

/// Pods and their namespaces.
#[derive(Clone, Debug, Default)]
pub(super) struct PodStore {
    pods: Slab<PodRecord>,
    ids: HashMap<ObjectName, PodId>,
    groups: Slab<Group>,
    group_ids: HashMap<(Arc<str>, Labels), GroupId>,
    namespaces: HashMap<Arc<str>, NamespaceRecord>,
    by_label: HashMap<Arc<str>, HashMap<Arc<str>, HashSet<GroupId>>>,
    /// Who says that an address is his. More than one only for a moment, so the first is kept in place.
    claims: HashMap<IpAddr, (PodId, Vec<PodId>)>,
    port_lists: HashSet<Arc<[ContainerPort]>>,
}

impl PodStore {
    pub(super) fn id(&self, name: &ObjectName) -> Option<PodId> {
        self.ids.get(name).copied()
    }

    pub(super) fn get(&self, id: PodId) -> Option<&PodRecord> {
        self.pods.get(id as usize)
    }

    pub(super) fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(super) fn group_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.groups.get_mut(id)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = (PodId, &PodRecord)> {
        self.pods.iter().map(|(id, record)| (id as PodId, record))
    }

    /// The pod that an address belongs to: of several that claim it, one that is not terminating (rule 129).
    pub(super) fn owner(&self, address: IpAddr) -> Option<PodId> {
        let (first, others) = self.claims.get(&address)?;
        let rank = |id: &PodId| self.get(*id).map(|record| (record.terminating, record.name.clone()));
        if others.is_empty() { Some(*first) } else { others.iter().chain([first]).copied().min_by_key(rank) }
    }

    /// The addresses of a pod that belong to no other.
    pub(super) fn owned(&self, id: PodId) -> impl Iterator<Item = IpAddr> {
        let addresses = self.get(id).into_iter().flat_map(|record| record.addresses.iter().copied());
        addresses.filter(move |address| self.owner(*address) == Some(id))
    }

    /// Whether a pod is just what is kept of it.
    pub(super) fn is_known(&self, id: PodId, pod: &Pod, local: bool) -> bool {
        let Some(record) = self.get(id) else { return false };
        *record.addresses == *pod.addresses
            && *record.ports == *pod.ports
            && record.local == local
            && record.terminating == pod.terminating
            && self.group(record.group).is_some_and(|group| group.labels == pod.labels)
    }

    /// Adds a pod under a name that is free. Gives back its id, and its group where it is the first of it.
    pub(super) fn add(&mut self, pod: &Pod, local: bool) -> (PodId, Option<GroupId>) {
        let namespace = self.namespace(&pod.name.namespace);
        let key = (namespace.clone(), pod.labels.clone());
        let (group, is_new) = match self.group_ids.get(&key) {
            Some(group) => (*group, false),
            None => (self.add_group(key), true),
        };
        let name = ObjectName { namespace, name: pod.name.name.clone() };
        let id = self.pods.vacant_key() as PodId;
        let slot = self.groups.get_mut(group).map_or(0, |group| {
            group.members.push(id);
            group.members.len() as u32 - 1
        });
        let ports = self.shared_ports(&pod.ports);
        let addresses: BTreeSet<IpAddr> = pod.addresses.iter().copied().collect();
        for address in addresses {
            self.claims.entry(address).and_modify(|(_, others)| others.push(id)).or_insert((id, Vec::new()));
        }
        let addresses = pod.addresses.as_slice().into();
        self.pods.insert(PodRecord {
            name: name.clone(),
            group,
            slot,
            addresses,
            ports,
            local,
            terminating: pod.terminating,
        });
        self.ids.insert(name, id);
        (id, is_new.then_some(group))
    }

    /// Takes a pod out. Gives back its group where it was the last of it.
    pub(super) fn remove(&mut self, id: PodId) -> Option<(GroupId, Group)> {
        let record = self.pods.try_remove(id as usize)?;
        self.ids.remove(&record.name);
        for address in record.addresses.iter().collect::<BTreeSet<_>>() {
            let Some((first, others)) = self.claims.get_mut(address) else { continue };
            others.retain(|other| *other != id);
            if *first == id {
                match others.pop() {
                    Some(next) => *first = next,
                    None => _ = self.claims.remove(address),
                }
            }
        }
        let PodRecord { ports, group, slot, .. } = record;
        self.forget_ports(ports);
        let members = &mut self.groups.get_mut(group)?.members;
        members.swap_remove(slot as usize);
        if let Some(moved) = members.get(slot as usize).copied() {
            if let Some(moved) = self.pods.get_mut(moved as usize) {
                moved.slot = slot;
            }
            return None;
        }
        if members.is_empty() { self.remove_group(group).map(|gone| (group, gone)) } else { None }
    }

    /// Sets a namespace's labels, or with none takes the object away. Gives back the labels before and after.
    pub(super) fn set_namespace(&mut self, name: &Arc<str>, labels: Option<&Labels>) -> (Labels, Labels) {
        let implied = Namespace::new(name.clone(), &Labels::default()).labels;
        let name = self.namespace(name);
        let now = labels.unwrap_or(&implied).clone();
        let Some(record) = self.namespaces.get_mut(&name) else { return (implied, now) };
        record.is_object = labels.is_some();
        let before = std::mem::replace(&mut record.labels, now.clone());
        if !record.is_object && record.groups.is_empty() {
            self.namespaces.remove(&name);
        }
        (before, now)
    }

    pub(super) fn namespace_labels(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name).map(|record| &record.labels)
    }

    pub(super) fn groups_of_namespace(&self, name: &str) -> Vec<GroupId> {
        self.namespaces.get(name).map(|record| record.groups.iter().copied().collect()).unwrap_or_default()
    }

    /// The groups that a peer of a policy in namespace `own` selects.
    pub(super) fn select(&self, own: &str, scope: &NamespaceScope, pods: &Selector) -> Vec<GroupId> {
        let wanted: HashMap<&str, &HashSet<GroupId>> = match scope {
            NamespaceScope::Own => {
                self.namespaces.get_key_value(own).map(|(name, record)| (&**name, &record.groups)).into_iter().collect()
            }
            NamespaceScope::Matching(selector) => self
                .namespaces
                .iter()
                .filter(|(_, record)| selector.matches(&record.labels))
                .map(|(name, record)| (&**name, &record.groups))
                .collect(),
        };
        let in_namespaces: usize = wanted.values().map(|groups| groups.len()).sum();
        let by_label = pods.requirements().iter().filter_map(|r| self.with_label(r)).min_by_key(|lists| count(lists));
        let selects = |id: &&GroupId| self.group(**id).is_some_and(|group| pods.matches(&group.labels));
        match by_label.filter(|lists| count(lists) < in_namespaces) {
            Some(lists) => {
                let in_scope =
                    |id: &&GroupId| self.group(**id).is_some_and(|group| wanted.contains_key(&*group.namespace));
                lists.into_iter().flatten().filter(in_scope).filter(selects).copied().collect()
            }
            None => wanted.into_values().flatten().filter(selects).copied().collect(),
        }
    }

    /// Disjoint lists of all groups that can meet a requirement; none where a missing label meets it too.
    fn with_label(&self, requirement: &Requirement) -> Option<Vec<&HashSet<GroupId>>> {
        let values = self.by_label.get(&*requirement.key);
        match &requirement.operator {
            Operator::In(wanted) => {
                Some(wanted.iter().filter_map(|value| values.and_then(|values| values.get(&**value))).collect())
            }
            Operator::Exists => Some(values.into_iter().flat_map(HashMap::values).collect()),
            Operator::NotIn(_) | Operator::DoesNotExist => None,
        }
    }

    /// The one copy of a namespace's name, and its record.
    fn namespace(&mut self, name: &Arc<str>) -> Arc<str> {
        if let Some((name, _)) = self.namespaces.get_key_value(name) {
            return name.clone();
        }
        let labels = Namespace::new(name.clone(), &Labels::default()).labels;
        let record = NamespaceRecord { labels, is_object: false, groups: HashSet::new() };
        self.namespaces.insert(name.clone(), record);
        name.clone()
    }

    fn add_group(&mut self, key: (Arc<str>, Labels)) -> GroupId {
        let (namespace, labels) = key.clone();
        for (key, value) in labels.entries() {
            let groups = self.by_label.entry(key.clone()).or_default().entry(value.clone()).or_default();
            groups.insert(self.groups.vacant_key());
        }
        if let Some(record) = self.namespaces.get_mut(&namespace) {
            record.groups.insert(self.groups.vacant_key());
        }
        let id = self.groups.insert(Group { namespace, labels, members: Vec::new(), peers: Vec::new() });
        self.group_ids.insert(key, id);
        id
    }

    fn remove_group(&mut self, id: GroupId) -> Option<Group> {
        let group = self.groups.try_remove(id)?;
        self.group_ids.remove(&(group.namespace.clone(), group.labels.clone()));
        for (key, value) in group.labels.entries() {
            let Some(values) = self.by_label.get_mut(key) else { continue };
            if let Some(groups) = values.get_mut(value) {
                groups.remove(&id);
                if groups.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.by_label.remove(key);
            }
        }
        if let Some(record) = self.namespaces.get_mut(&group.namespace) {
            record.groups.remove(&id);
            if record.groups.is_empty() && !record.is_object {
                self.namespaces.remove(&group.namespace);
            }
        }
        Some(group)
    }

    fn shared_ports(&mut self, ports: &[ContainerPort]) -> Arc<[ContainerPort]> {
        if let Some(shared) = self.port_lists.get(ports) {
            return shared.clone();
        }
        let shared: Arc<[ContainerPort]> = ports.into();
        self.port_lists.insert(shared.clone());
        shared
    }

    fn forget_ports(&mut self, ports: Arc<[ContainerPort]>) {
        // This one and the list's own.
        if Arc::strong_count(&ports) == 2 {
            self.port_lists.remove(&*ports);
        }
    }
}

fn count(lists: &[&HashSet<GroupId>]) -> usize {
    lists.iter().map(|list| list.len()).sum()
}
