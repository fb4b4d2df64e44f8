//! The objects that policy depends on, as they are now.

mod offline;
mod ports;

pub use offline::{AddressPools, PlacementError};

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{Labels, Namespace, Node, Object, ObjectId, ObjectName, Pod, Policy, Service};

/// A cluster, or as much of it as the input tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    namespaces: BTreeMap<Arc<str>, Namespace>,
    nodes: BTreeMap<Arc<str>, Node>,
    pods: BTreeMap<ObjectName, Pod>,
    policies: BTreeMap<ObjectName, Policy>,
    services: BTreeMap<ObjectName, Service>,
}

impl Cluster {
    /// Adds an object, or replaces the one with its id, whole (rules 116, 130). Gives back what it replaced.
    pub fn apply(&mut self, object: Object) -> Option<Object> {
        match object {
            Object::Namespace(namespace) => {
                self.namespaces.insert(namespace.name.clone(), namespace).map(Object::Namespace)
            }
            Object::Node(node) => self.nodes.insert(node.name.clone(), node).map(Object::Node),
            Object::Pod(pod) => self.pods.insert(pod.name.clone(), *pod).map(|pod| Object::Pod(pod.into())),
            Object::Policy(policy) => {
                self.policies.insert(policy.name.clone(), *policy).map(|policy| Object::Policy(policy.into()))
            }
            Object::Service(service) => {
                self.services.insert(service.name.clone(), *service).map(|service| Object::Service(service.into()))
            }
        }
    }

    /// Takes an object out and gives it back.
    pub fn remove(&mut self, id: &ObjectId) -> Option<Object> {
        match id {
            ObjectId::Namespace(name) => self.namespaces.remove(name).map(Object::Namespace),
            ObjectId::Node(name) => self.nodes.remove(name).map(Object::Node),
            ObjectId::Pod(name) => self.pods.remove(name).map(|pod| Object::Pod(pod.into())),
            ObjectId::Policy(name) => self.policies.remove(name).map(|policy| Object::Policy(policy.into())),
            ObjectId::Service(name) => self.services.remove(name).map(|service| Object::Service(service.into())),
        }
    }

    /// All pods, by namespace and name.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// One pod.
    pub fn pod(&self, name: &ObjectName) -> Option<&Pod> {
        self.pods.get(name)
    }

    /// All policies, by namespace and name.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.values()
    }

    /// All Services, by namespace and name.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// One Service.
    pub fn service(&self, name: &ObjectName) -> Option<&Service> {
        self.services.get(name)
    }

    /// The names of all nodes: those that are objects of the input, and those that pods name.
    pub fn node_names(&self) -> std::collections::BTreeSet<Arc<str>> {
        self.nodes.keys().cloned().chain(self.pods().filter_map(|pod| pod.node.clone())).collect()
    }

    /// A namespace's labels; one that is known by name only has its name label (rule 14).
    pub fn namespace_labels(&self, name: &str) -> Labels {
        match self.namespaces.get(name) {
            Some(namespace) => namespace.labels.clone(),
            None => Namespace::new(name, &Labels::default()).labels,
        }
    }

    /// Every namespace that is an object of the input, or that a pod or policy is in.
    pub fn namespace_names(&self) -> std::collections::BTreeSet<Arc<str>> {
        let of_pods = self.pods.keys().map(|name| name.namespace.clone());
        let of_policies = self.policies.keys().map(|name| name.namespace.clone());
        self.namespaces.keys().cloned().chain(of_pods).chain(of_policies).collect()
    }

    /// The selectable pod that each address belongs to. For a moment two pods may claim one: a finished pod's address
    /// is free (rule 124), and of two others one that is not terminating has it (rule 129).
    pub fn address_owners(&self) -> BTreeMap<IpAddr, &Pod> {
        let mut owners: BTreeMap<IpAddr, &Pod> = BTreeMap::new();
        for pod in self.pods().filter(|pod| pod.is_selectable()) {
            for address in &pod.addresses {
                let owner = owners.entry(*address).or_insert(pod);
                if (owner.terminating, &owner.name) > (pod.terminating, &pod.name) {
                    *owner = pod;
                }
            }
        }
        owners
    }
}

impl FromIterator<Object> for Cluster {
    fn from_iter<I: IntoIterator<Item = Object>>(objects: I) -> Self {
        let mut cluster = Self::default();
        objects.into_iter().for_each(|object| _ = cluster.apply(object));
        cluster
    }
}
