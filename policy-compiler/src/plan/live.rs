//! A plan that follows its cluster: every event touches only what it affects.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::ledger::Ledger;
use super::local::{Isolation, LocalPod, PolicySet};
use super::needs::{Needs, port_elements};
use super::peers::{PeerId, PeerStore};
use super::pods::{PodId, PodStore};
use super::policies::PolicyStore;
use super::{Generation, NodePlan, PlannedPod, Settings, skeleton};
use crate::cidr::Family;
use crate::cluster::Cluster;
use crate::delta::Delta;
use crate::model::{Labels, Object, ObjectId, ObjectName, Pod, Policy};
use crate::ruleset::{Element, Key, Name, Table};

/// One node's plan, kept current. After any sequence of events it is, byte for byte, what [`super::compile`] makes of
/// the cluster that they lead to.
#[derive(Clone, Debug)]
pub struct LivePlan {
    pub(super) node: Arc<str>,
    pub(super) settings: Settings,
    pub(super) generation: Generation,
    pub(super) ledger: Ledger,
    pub(super) pods: PodStore,
    pub(super) peers: PeerStore,
    pub(super) policies: PolicyStore,
    pub(super) needs: Needs,
    /// The chains of policy sets that some pod of the node has.
    pub(super) chains: HashMap<Name, PolicySet>,
    pub(super) chains_of: HashMap<ObjectName, BTreeSet<Name>>,
    /// The node's own pods that have an address.
    pub(super) local: BTreeMap<ObjectName, LocalPod>,
}

impl LivePlan {
    /// The plan of a node of an empty cluster.
    pub fn new(node: &str, settings: Settings, generation: Generation) -> Self {
        Self {
            node: node.into(),
            ledger: Ledger::new(skeleton::table(&settings, generation)),
            settings,
            generation,
            pods: PodStore::default(),
            peers: PeerStore::default(),
            policies: PolicyStore::default(),
            needs: Needs::new(),
            chains: HashMap::new(),
            chains_of: HashMap::new(),
            local: BTreeMap::new(),
        }
    }

    /// Takes over a whole cluster, in the order that is cheapest: other nodes' pods before the node's own, whose rules
    /// then find all their peers.
    pub fn load(&mut self, cluster: &Cluster) {
        for name in cluster.namespace_names() {
            self.set_namespace(&name, Some(&cluster.namespace_labels(&name)));
        }
        cluster.policies().for_each(|policy| self.set_policy(policy.clone()));
        let (local, others): (Vec<_>, Vec<_>) = cluster.pods().partition(|pod| self.is_local(pod));
        others.into_iter().chain(local).for_each(|pod| self.set_pod(pod));
    }

    /// Adds an object, or replaces the one with its id.
    pub fn apply(&mut self, object: Object) {
        match object {
            Object::Namespace(namespace) => self.set_namespace(&namespace.name, Some(&namespace.labels)),
            Object::Node(_) | Object::Service(_) => (),
            Object::Pod(pod) => self.set_pod(&pod),
            Object::Policy(policy) => self.set_policy(*policy),
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, id: &ObjectId) {
        match id {
            ObjectId::Namespace(name) => self.set_namespace(name, None),
            ObjectId::Node(_) | ObjectId::Service(_) => (),
            ObjectId::Pod(name) => self.remove_pod(name),
            ObjectId::Policy(name) => self.remove_policy(name),
        }
    }

    /// What the kernel must hold.
    pub fn table(&self) -> &Table {
        self.ledger.table()
    }

    /// What has changed since the last call, or since [`Self::new`].
    pub fn delta(&mut self) -> Delta {
        self.ledger.take_delta()
    }

    /// Whether what has changed since the last [`Self::delta`] may deny a connection that was allowed before, so that
    /// live connections have to be judged again: see [`Self::set_generation`].
    pub fn tightens(&self) -> bool {
        self.ledger.tightens()
    }

    /// The generation that allowed connections are stamped with.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Has connections stamped with another generation; those that carry the old one are judged again.
    pub fn set_generation(&mut self, generation: Generation) {
        self.generation = generation;
        for (name, chain) in skeleton::stamped_chains(self.settings.mark_mask, generation) {
            self.ledger.put_chain(&name, chain);
        }
    }

    /// A policy as it was applied last, whether or not it has a pod on the node.
    pub fn policy(&self, name: &ObjectName) -> Option<&Policy> {
        self.policies.get(name)
    }

    /// How many policies there are, in the whole cluster.
    pub fn policy_count(&self) -> usize {
        self.policies.len()
    }

    /// The node's pods that policy can apply to, with an address, by name.
    pub fn pods(&self) -> Vec<PlannedPod> {
        let policies =
            |isolation: &Isolation| isolation.as_ref().map(|(_, policies)| policies.clone()).unwrap_or_default();
        let planned = self.local.iter().map(|(name, pod)| PlannedPod {
            name: name.clone(),
            ingress: policies(&pod.ingress),
            egress: policies(&pod.egress),
        });
        planned.collect()
    }

    /// The node's pods that policy can apply to, once they have an address (rule 127), by name.
    pub fn pending(&self) -> Vec<ObjectName> {
        let waiting = self.pods.records().filter(|(_, record)| record.local && record.addresses.is_empty());
        waiting.map(|(_, record)| record.name.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The plan as it is, for good.
    pub fn into_plan(self) -> NodePlan {
        NodePlan { pods: self.pods(), pending: self.pending(), table: self.ledger.into_table() }
    }

    /// Whether a pod is on the plan's node.
    pub fn is_local(&self, pod: &Pod) -> bool {
        pod.node.as_deref() == Some(&*self.node)
    }

    /// Finished pods and those with their node's network are as good as none (rules 105-107, 124).
    fn set_pod(&mut self, pod: &Pod) {
        if !pod.is_selectable() {
            return self.remove_pod(&pod.name);
        }
        let (known, local) = (self.pods.id(&pod.name), self.is_local(pod));
        if known.is_some_and(|id| self.pods.is_known(id, pod, local)) {
            return;
        }
        let before = known.and_then(|id| self.pods.get(id)).map(|record| record.addresses.to_vec()).unwrap_or_default();
        let affected: BTreeSet<IpAddr> = before.iter().chain(&pod.addresses).copied().collect();
        let withdrawn = self.withdraw(&affected);
        if let Some(id) = known {
            self.take_out(id);
        }
        self.put_in(pod, local);
        self.contribute(&affected, withdrawn, [pod.name.clone()]);
    }

    fn remove_pod(&mut self, name: &ObjectName) {
        let Some(id) = self.pods.id(name) else { return };
        let affected = self.pods.get(id).map(|record| record.addresses.iter().copied().collect()).unwrap_or_default();
        let withdrawn = self.withdraw(&affected);
        self.take_out(id);
        self.contribute(&affected, withdrawn, [name.clone()]);
    }

    /// Takes addresses out of all sets of peers and named ports, before they change hands. Gives back whose they are
    /// among the node's own pods.
    fn withdraw(&mut self, addresses: &BTreeSet<IpAddr>) -> Vec<ObjectName> {
        self.each_owner(addresses, Ledger::remove_element)
    }

    /// Puts addresses into the sets of their owners' peers and named ports, and brings the node's own pods among their
    /// owners, now and before, up to date.
    fn contribute(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
        before: Vec<ObjectName>,
        changed: impl IntoIterator<Item = ObjectName>,
    ) {
        let now = self.each_owner(addresses, Ledger::insert);
        let all: BTreeSet<ObjectName> = before.into_iter().chain(now).chain(changed).collect();
        self.refresh(&all);
    }

    fn each_owner(&mut self, addresses: &BTreeSet<IpAddr>, change: fn(&mut Ledger, &Name, Element)) -> Vec<ObjectName> {
        let mut local = Vec::new();
        for address in addresses {
            let Some(record) = self.pods.owner(*address).and_then(|owner| self.pods.get(owner)) else { continue };
            if record.local {
                local.push(record.name.clone());
            }
            let family = Family::of(*address);
            let peers = self.pods.group(record.group).map(|group| group.peers.as_slice()).unwrap_or_default();
            for set in peers.iter().filter_map(|peer| Some(&self.peers.get(*peer)?.sets[family as usize])) {
                change(&mut self.ledger, set, Element::new(Key::Address(*address)));
            }
            for (set, element) in port_elements(&self.needs, &record.ports, record.local, *address) {
                change(&mut self.ledger, &set, element);
            }
        }
        local
    }

    fn put_in(&mut self, pod: &Pod, local: bool) {
        let (_, Some(group)) = self.pods.add(pod, local) else { return };
        let selecting = self.pods.group(group).map(|new| {
            let namespace_labels = self.pods.namespace_labels(&new.namespace).cloned().unwrap_or_default();
            self.peers.selecting(&new.namespace, &namespace_labels, &new.labels)
        });
        if let Some(group) = self.pods.group_mut(group) {
            group.peers = selecting.unwrap_or_default();
        }
    }

    fn take_out(&mut self, id: PodId) {
        _ = self.pods.remove(id);
    }

    fn set_policy(&mut self, policy: Policy) {
        let name = policy.name.clone();
        if self.policies.get(&name) == Some(&policy) {
            return;
        }
        let after = policy.subject.clone();
        let before = self.policies.insert(policy).map(|before| before.subject);
        self.refresh_selected(&name, |labels| {
            after.matches(labels) || before.as_ref().is_some_and(|before| before.matches(labels))
        });
        let chains = self.chains_of.get(&name).cloned().unwrap_or_default();
        chains.iter().for_each(|chain| self.rebuild(chain));
    }

    fn remove_policy(&mut self, name: &ObjectName) {
        if let Some(policy) = self.policies.remove(name) {
            self.refresh_selected(name, |labels| policy.subject.matches(labels));
        }
    }

    /// Brings the node's pods up to date that a policy selects, or did.
    fn refresh_selected(&mut self, policy: &ObjectName, selects: impl Fn(&Labels) -> bool) {
        let first = ObjectName::new(policy.namespace.clone(), "");
        let in_namespace = self.local.range(first..).map(|(name, _)| name);
        let labels = |name: &ObjectName| {
            let record = self.pods.get(self.pods.id(name)?)?;
            Some(&self.pods.group(record.group)?.labels)
        };
        let selected: BTreeSet<ObjectName> = in_namespace
            .take_while(|name| name.namespace == policy.namespace)
            .filter(|name| labels(name).is_some_and(&selects))
            .cloned()
            .collect();
        self.refresh(&selected);
    }

    fn set_namespace(&mut self, name: &Arc<str>, labels: Option<&Labels>) {
        let (before, after) = self.pods.set_namespace(name, labels);
        if before == after {
            return;
        }
        let flips: Vec<(PeerId, bool)> =
            self.peers.iter().filter_map(|(id, peer)| Some((id, peer.key.flips(&before, &after)?))).collect();
        for group in self.pods.groups_of_namespace(name) {
            for (peer, comes_in) in &flips {
                let selects = |group| {
                    let (peer, group) = (self.peers.get(*peer)?, self.pods.group(group)?);
                    Some(peer.key.pods().matches(&group.labels))
                };
                match (selects(group) == Some(true), comes_in) {
                    (false, _) => (),
                    (true, true) => self.attach(*peer, group),
                    (true, false) => self.detach(*peer, group),
                }
            }
        }
    }
}
