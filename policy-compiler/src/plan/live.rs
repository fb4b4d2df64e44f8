//! A plan that follows its cluster: every event touches only what it affects.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::ledger::Ledger;
use super::needs::{Need, Needs, Use};
use super::peers::{PeerId, PeerStore};
use super::pods::{GroupId, PodId, PodStore};
use super::policies::PolicyStore;
use super::{Generation, NodePlan, PlannedPod, Settings, names, policy_set, skeleton};
use crate::cidr::Family;
use crate::cluster::Cluster;
use crate::delta::Delta;
use crate::model::{ContainerPort, Direction, Labels, Object, ObjectId, ObjectName, Pod, Policy};
use crate::ruleset::{Chain, Element, Key, Name, Rule, Statement, Table, Verdict};

/// One node's plan, kept current. After any sequence of events it is, byte for byte, what [`super::compile`] makes of
/// the cluster that they lead to.
#[derive(Debug)]
pub struct LivePlan {
    node: Arc<str>,
    settings: Settings,
    generation: Generation,
    ledger: Ledger,
    pods: PodStore,
    peers: PeerStore,
    policies: PolicyStore,
    needs: Needs,
    /// The chains of policy sets that some pod of the node has.
    chains: HashMap<Name, PolicySet>,
    chains_of: HashMap<ObjectName, BTreeSet<Name>>,
    /// The node's own pods that have an address.
    local: BTreeMap<ObjectName, LocalPod>,
}

#[derive(Debug)]
struct PolicySet {
    direction: Direction,
    namespace: Arc<str>,
    policies: Vec<ObjectName>,
    pods: usize,
    needs: BTreeSet<Need>,
}

/// What the table holds for one of the node's pods.
#[derive(Debug, Default)]
struct LocalPod {
    addresses: Vec<IpAddr>,
    ingress: Isolation,
    egress: Isolation,
}

/// The policies that isolate a pod for one direction, and their chain; none where it is not isolated.
type Isolation = Option<(Name, Vec<ObjectName>)>;

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
            Object::Node(_) => (),
            Object::Pod(pod) => self.set_pod(&pod),
            Object::Policy(policy) => self.set_policy(*policy),
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, id: &ObjectId) {
        match id {
            ObjectId::Namespace(name) => self.set_namespace(name, None),
            ObjectId::Node(_) => (),
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

    fn is_local(&self, pod: &Pod) -> bool {
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
        all.iter().for_each(|name| self.refresh(name));
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

    /// Brings what the table holds for one pod of the node up to date; nothing for pods of other nodes.
    fn refresh(&mut self, name: &ObjectName) {
        let id = self.pods.id(name).filter(|id| self.pods.get(*id).is_some_and(|record| record.local));
        let addresses: Vec<IpAddr> = id.map(|id| self.pods.owned(id).collect()).unwrap_or_default();
        let wanted = id.filter(|_| !addresses.is_empty()).and_then(|id| {
            let group = self.pods.group(self.pods.get(id)?.group)?;
            let selecting = self.policies.selecting(&group.namespace, &group.labels);
            let names = |direction| -> Vec<ObjectName> {
                let isolating = selecting.iter().filter(|policy| policy.rules(direction).is_some());
                isolating.map(|policy| policy.name.clone()).collect()
            };
            Some((names(Direction::Ingress), names(Direction::Egress)))
        });
        let Some((ingress, egress)) = wanted else {
            if let Some(gone) = self.local.remove(name) {
                self.place(name, &gone, Ledger::remove_element);
                self.leave(name, Direction::Ingress, gone.ingress);
                self.leave(name, Direction::Egress, gone.egress);
            }
            return;
        };
        let now = LocalPod {
            addresses,
            ingress: self.enter(name, Direction::Ingress, ingress),
            egress: self.enter(name, Direction::Egress, egress),
        };
        let before = self.local.remove(name);
        if let Some(before) = &before {
            self.place(name, before, Ledger::remove_element);
        }
        self.place(name, &now, Ledger::insert);
        // Counted in above, so that what both need has stayed.
        if let Some(before) = before {
            for (direction, was, is) in
                [(Direction::Ingress, before.ingress, &now.ingress), (Direction::Egress, before.egress, &now.egress)]
            {
                let stays = is.is_some();
                match was {
                    Some((shared, _)) if stays => self.release(&shared),
                    was => self.leave(name, direction, was),
                }
            }
        }
        self.local.insert(name.clone(), now);
    }

    /// Has a pod isolated by these policies, if there are any.
    fn enter(&mut self, name: &ObjectName, direction: Direction, policies: Vec<ObjectName>) -> Isolation {
        if policies.is_empty() {
            return None;
        }
        let shared = names::policy_set(direction, &name.namespace, policies.iter().map(|policy| &*policy.name));
        match self.chains.get_mut(&shared) {
            Some(set) => set.pods += 1,
            None => {
                let set = PolicySet {
                    direction,
                    namespace: name.namespace.clone(),
                    policies: policies.clone(),
                    pods: 1,
                    needs: BTreeSet::new(),
                };
                for policy in &policies {
                    self.chains_of.entry(policy.clone()).or_default().insert(shared.clone());
                }
                self.chains.insert(shared.clone(), set);
                self.rebuild(&shared);
            }
        }
        let rules = vec![Rule::new([Statement::Counter, Statement::Verdict(Verdict::Goto(shared.clone()))])];
        self.ledger.put_chain(&names::pod(direction, name), Chain::new(format!("{direction} of pod {name}"), rules));
        Some((shared, policies))
    }

    /// Ends a pod's isolation.
    fn leave(&mut self, name: &ObjectName, direction: Direction, isolation: Isolation) {
        if let Some((shared, _)) = isolation {
            self.ledger.drop_chain(&names::pod(direction, name));
            self.release(&shared);
        }
    }

    fn release(&mut self, shared: &Name) {
        let Some(set) = self.chains.get_mut(shared) else { return };
        set.pods -= 1;
        if set.pods > 0 {
            return;
        }
        let Some(set) = self.chains.remove(shared) else { return };
        for policy in &set.policies {
            if let Some(chains) = self.chains_of.get_mut(policy) {
                chains.remove(shared);
                if chains.is_empty() {
                    self.chains_of.remove(policy);
                }
            }
        }
        self.ledger.drop_chain(shared);
        set.needs.iter().for_each(|need| self.dispense_with(need));
    }

    /// Enters a pod's addresses into the dispatch, or takes them out.
    fn place(&mut self, name: &ObjectName, pod: &LocalPod, change: fn(&mut Ledger, &Name, Element)) {
        for (direction, isolation) in [(Direction::Ingress, &pod.ingress), (Direction::Egress, &pod.egress)] {
            let verdict = match isolation {
                Some(_) => Verdict::Goto(names::pod(direction, name)),
                None => skeleton::allowed(direction),
            };
            for address in &pod.addresses {
                let family = Family::of(*address);
                let element = Element::verdict(*address, verdict.clone());
                change(&mut self.ledger, &names::dispatch_map(direction, family), element);
                if isolation.is_some() {
                    let counter = Element::new(Key::Address(*address));
                    change(&mut self.ledger, &names::denied_counters(direction, family), counter);
                }
            }
        }
        if pod.ingress.is_some() || pod.egress.is_some() {
            for address in &pod.addresses {
                let pair = Element::new(Key::Pair(*address));
                change(&mut self.ledger, &names::self_pairs(Family::of(*address)), pair);
            }
        }
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
        let selected: Vec<ObjectName> = in_namespace
            .take_while(|name| name.namespace == policy.namespace)
            .filter(|name| labels(name).is_some_and(&selects))
            .cloned()
            .collect();
        selected.iter().for_each(|name| self.refresh(name));
    }

    /// Writes the chain of a policy set anew.
    fn rebuild(&mut self, shared: &Name) {
        let Some(set) = self.chains.get_mut(shared) else { return };
        let policies: Vec<&Policy> = set.policies.iter().filter_map(|name| self.policies.get(name)).collect();
        let (chain, needs) = policy_set::chain(set.direction, &set.namespace, &policies);
        let before = std::mem::replace(&mut set.needs, needs.clone());
        if self.ledger.table().chains.get(shared) != Some(&chain) {
            self.ledger.put_chain(shared, chain);
        }
        needs.difference(&before).for_each(|need| self.provide(need));
        before.difference(&needs).for_each(|need| self.dispense_with(need));
    }

    /// Counts a need in; the first gets its sets made and filled.
    fn provide(&mut self, need: &Need) {
        if let Some(user) = self.needs.get_mut(need) {
            user.chains += 1;
            return;
        }
        for (family, name) in need.sets() {
            self.ledger.put_set(&name, need.declare(family));
        }
        let peer = match need {
            Need::Peer(key) => {
                let selected = self.pods.select(key.own(), &key.scope(), key.pods());
                let peer = self.peers.add(key.clone());
                selected.into_iter().for_each(|group| self.attach(peer, group));
                Some(peer)
            }
            Need::Block(_) | Need::Port(..) => None,
        };
        self.needs.insert(need.clone(), Use { chains: 1, peer });
        if let Need::Port(direction, name, protocol) = need {
            self.fill_port(*direction, name, *protocol);
        }
    }

    fn fill_port(&mut self, direction: Direction, name: &Arc<str>, protocol: crate::model::Protocol) {
        for (id, record) in self.pods.records() {
            if direction == Direction::Ingress && !record.local {
                continue;
            }
            let numbers =
                record.ports.iter().filter(|port| port.protocol == protocol && port.name.as_ref() == Some(name));
            for number in numbers.map(|port| port.number) {
                for address in self.pods.owned(id) {
                    let set = names::port(direction, name, protocol, Family::of(address));
                    self.ledger.insert(&set, Element::new(Key::Port(address, protocol, number)));
                }
            }
        }
    }

    /// Counts a need out; the last takes its sets along.
    fn dispense_with(&mut self, need: &Need) {
        let Some(user) = self.needs.get_mut(need) else { return };
        user.chains -= 1;
        if user.chains > 0 {
            return;
        }
        let peer = self.needs.remove(need).and_then(|user| user.peer);
        if let (Need::Peer(key), Some(peer)) = (need, peer) {
            for group in self.pods.select(key.own(), &key.scope(), key.pods()) {
                if let Some(group) = self.pods.group_mut(group) {
                    group.peers.retain(|other| *other != peer);
                }
            }
            self.peers.remove(peer);
        }
        for (_, name) in need.sets() {
            self.ledger.drop_set(&name);
        }
    }

    /// A peer begins to select a group.
    fn attach(&mut self, peer: PeerId, group: GroupId) {
        if let Some(group) = self.pods.group_mut(group) {
            group.peers.push(peer);
        }
        self.change_members(peer, group, Ledger::insert);
    }

    /// A peer selects a group no longer.
    fn detach(&mut self, peer: PeerId, group: GroupId) {
        if let Some(group) = self.pods.group_mut(group) {
            group.peers.retain(|other| *other != peer);
        }
        self.change_members(peer, group, Ledger::remove_element);
    }

    fn change_members(&mut self, peer: PeerId, group: GroupId, change: fn(&mut Ledger, &Name, Element)) {
        let (Some(peer), Some(group)) = (self.peers.get(peer), self.pods.group(group)) else { return };
        for member in &group.members {
            for address in self.pods.owned(*member) {
                let set = &peer.sets[Family::of(address) as usize];
                change(&mut self.ledger, set, Element::new(Key::Address(address)));
            }
        }
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

/// What an address adds to the sets of named ports in use.
fn port_elements(
    needs: &Needs,
    ports: &[ContainerPort],
    local: bool,
    address: IpAddr,
) -> impl Iterator<Item = (Name, Element)> {
    let named = ports.iter().filter_map(|port| Some((port.name.as_ref()?, port)));
    named.flat_map(move |(name, port)| {
        let relevant = Direction::BOTH.into_iter().filter(move |direction| *direction == Direction::Egress || local);
        let needed =
            relevant.filter(move |direction| needs.contains_key(&Need::Port(*direction, name.clone(), port.protocol)));
        needed.map(move |direction| {
            let set = names::port(direction, name, port.protocol, Family::of(address));
            (set, Element::new(Key::Port(address, port.protocol, port.number)))
        })
    })
}
