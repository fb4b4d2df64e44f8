//! Classes: ends of flows that no policy tells apart.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use policy_compiler::cidr::Family;
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Direction, IpBlock, Labels, ObjectName, Peer, Phase, Pod, Policy, Protocol};
use policy_compiler::selector::Selector;

use super::outside::{self, AddressGroup};
use super::ports;

/// The place of a class in [`super::Reach::classes`].
pub type ClassId = usize;

/// Ends of flows that no policy tells apart.
#[derive(Debug)]
pub struct Class<'c> {
    /// Who they are.
    pub members: Members<'c>,
    pub(super) key: Key,
}

/// Who is in a class.
#[derive(Debug)]
pub enum Members<'c> {
    /// Pods, by name; never none.
    Pods(Vec<&'c Pod>),
    /// A group of addresses outside the cluster, by its place in the caller's list.
    Outside(usize),
}

/// All that a policy can see of an end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) host: Host,
    /// What its named ports stand for, of the names that policies use.
    pub(super) ports: Vec<(Arc<str>, Protocol, u16)>,
    /// Of each family, if it has an address of it, the ipBlocks that admit that address.
    pub(super) blocks: [Option<Vec<u32>>; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Host {
    /// A pod with a network of its own, with the labels that selectors ask for (rule 53).
    Pod {
        namespace: Arc<str>,
        labels: Labels,
    },
    /// A hostNetwork pod: a node (rule 105).
    Node,
    Outside,
}

impl Class<'_> {
    /// Whether it has an address of a family; a class without any, of pods whose addresses are not known, may have.
    pub(super) fn may_have(&self, family: Family) -> bool {
        let [v4, v6] = &self.key.blocks;
        match family {
            Family::V4 => v4.is_some() || v6.is_none(),
            Family::V6 => v6.is_some() || v4.is_none(),
        }
    }

    /// Whether no address is known.
    pub(super) fn has_no_address(&self) -> bool {
        self.key.blocks == [None, None]
    }
}

pub(super) struct Classes<'c> {
    pub(super) classes: Vec<Class<'c>>,
    /// The ipBlocks that keys mean, sorted.
    pub(super) blocks: Vec<IpBlock>,
    pub(super) of_pod: BTreeMap<&'c ObjectName, ClassId>,
    pub(super) of_outside: Vec<ClassId>,
}

/// The classes of all pods that have not finished, and of these groups of addresses.
pub(super) fn of<'c>(cluster: &'c Cluster, groups: &[AddressGroup]) -> Classes<'c> {
    let seen = Seen::by_policies_of(cluster);
    let mut by_key: HashMap<Key, ClassId> = HashMap::new();
    let (of_pod, of_outside) = (BTreeMap::new(), Vec::new());
    let mut found = Classes { classes: Vec::new(), blocks: Vec::new(), of_pod, of_outside };
    for pod in cluster.pods().filter(|pod| pod.phase != Phase::Finished) {
        let key = seen.pod(pod);
        let id = *by_key.entry(key).or_insert_with_key(|key| {
            found.classes.push(Class { members: Members::Pods(Vec::new()), key: key.clone() });
            found.classes.len() - 1
        });
        if let Some(Class { members: Members::Pods(pods), .. }) = found.classes.get_mut(id) {
            pods.push(pod);
        }
        found.of_pod.insert(&pod.name, id);
    }
    for (place, group) in groups.iter().enumerate() {
        found.of_outside.push(found.classes.len());
        found.classes.push(Class { members: Members::Outside(place), key: seen.outside(group) });
    }
    Classes { blocks: seen.blocks, ..found }
}

/// What the policies of a cluster look at.
struct Seen {
    labels: BTreeSet<Arc<str>>,
    names: BTreeSet<(Arc<str>, Protocol)>,
    blocks: Vec<IpBlock>,
}

impl Seen {
    fn by_policies_of(cluster: &Cluster) -> Self {
        let selectors = cluster.policies().flat_map(pod_selectors);
        let requirements = selectors.flat_map(Selector::requirements);
        Self {
            labels: requirements.map(|requirement| requirement.key.clone()).collect(),
            names: ports::names(cluster),
            blocks: outside::blocks(cluster).collect::<BTreeSet<_>>().into_iter().collect(),
        }
    }

    fn pod(&self, pod: &Pod) -> Key {
        let seen = |key: &Arc<str>| self.labels.contains(key);
        let labels =
            || pod.labels.entries().filter(|(key, _)| seen(key)).map(|(key, value)| (key.clone(), value.clone()));
        let host = match pod.host_network {
            true => Host::Node,
            false => Host::Pod { namespace: pod.name.namespace.clone(), labels: labels().collect() },
        };
        let named = pod.ports.iter().filter_map(|port| Some((port.name.clone()?, port.protocol, port.number)));
        // A hostNetwork pod's ports have no names for policies (rule 69).
        let named =
            named.filter(|(name, protocol, _)| !pod.host_network && self.names.contains(&(name.clone(), *protocol)));
        let ports: BTreeSet<_> = named.collect();
        let address = |family| pod.addresses.iter().copied().find(|address| Family::of(*address) == family);
        Key { host, ports: ports.into_iter().collect(), blocks: self.blocks(address) }
    }

    fn outside(&self, group: &AddressGroup) -> Key {
        Key { host: Host::Outside, ports: Vec::new(), blocks: self.blocks(|family| group.address(family)) }
    }

    fn blocks(&self, address: impl Fn(Family) -> Option<IpAddr>) -> [Option<Vec<u32>>; 2] {
        Family::BOTH.map(|family| {
            let address = address(family)?;
            let admitting = (0..).zip(&self.blocks).filter(|(_, block)| block.contains(address));
            Some(admitting.map(|(place, _)| place).collect())
        })
    }
}

/// The selectors of a policy that ask for labels of pods.
fn pod_selectors(policy: &Policy) -> impl Iterator<Item = &Selector> {
    let rules = Direction::BOTH.into_iter().filter_map(|direction| policy.rules(direction)).flatten();
    let peers = rules.flat_map(|rule| rule.peers.iter().flatten()).filter_map(|peer| match peer {
        Peer::Pods { pods, .. } => Some(pods),
        Peer::Block(_) => None,
    });
    peers.chain([&policy.subject])
}
