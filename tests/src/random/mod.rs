//! Random clusters and random changes of them, for the property suites.
//!
//! Everything is drawn from small pools, so that selectors select, blocks contain, names are shared, and addresses are
//! claimed twice. Whatever a NetworkPolicy can say is in play. Debug output is manifests that `podwall` reads.

mod blocks;
mod breaks;
mod history;
mod labels;
mod pods;
mod policies;
mod runner;
mod services;

pub use blocks::block;
pub use breaks::{PolicyDocument, every_break, policy_document};
pub use history::{Event, History, history};
pub use labels::{labels, pods as selector};
pub use runner::{Cases, Dice, run, sample};
pub use services::service;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use policy_compiler::cidr::Family;
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Namespace, Node, Object, ObjectId, ObjectName};
use policy_compiler::render;
use proptest::prelude::*;
use proptest::sample::subsequence;
use serde_json::Value;

/// Names that run into each other where they are joined carelessly: `a` and `b-x` as `a-b` and `x`.
pub const NAMESPACES: [&str; 3] = ["a", "a-b", "b"];
const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// How large clusters are. Of two objects with one name only the later is there.
#[derive(Clone, Debug)]
pub struct Size {
    /// How many pods most of them have.
    pub pods: RangeInclusive<usize>,
    /// How many the others have.
    pub many_pods: RangeInclusive<usize>,
    /// How many policies they have.
    pub policies: RangeInclusive<usize>,
    /// The numbers that ports are drawn from.
    pub ports: &'static [u16],
}

impl Size {
    /// Small enough for every flow to be judged.
    pub const JUDGED: Self = Self { pods: 2..=5, many_pods: 6..=10, policies: 0..=6, ports: &[53, 80, 81, 65535] };
    /// Small enough for every flow to be tried with packets.
    pub const PROBED: Self = Self { pods: 5..=8, many_pods: 9..=9, policies: 2..=6, ports: &[53, 80, 81] };
}

/// A cluster's objects, in any order, each id once.
#[derive(Clone, PartialEq)]
pub struct RandomCluster {
    /// The objects.
    pub objects: Vec<Object>,
}

impl RandomCluster {
    /// As the compiler holds them.
    pub fn cluster(&self) -> Cluster {
        self.objects.iter().cloned().collect()
    }

    /// As manifests, one document each.
    pub fn yaml(&self) -> String {
        let values: Vec<Value> = self.objects.iter().map(render::manifest::object).collect();
        render::yaml::documents(&values)
    }
}

impl fmt::Debug for RandomCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.yaml())
    }
}

/// Random clusters. Namespaces and nodes are objects, or only implied by what is in and on them (rule 14).
pub fn cluster(size: &Size) -> impl Strategy<Value = RandomCluster> + use<> {
    let pods = |count| prop::collection::vec(pods::pod(size.ports), count);
    let pods = prop_oneof![7 => pods(size.pods.clone()), 1 => pods(size.many_pods.clone())];
    let policies = |count| prop::collection::vec(policies::policy(size.ports), count);
    let (fewest, most) = size.policies.clone().into_inner();
    let policies = prop_oneof![1 => policies(fewest..=most), 2 => policies(most.midpoint(fewest)..=most)];
    let namespaces = prop::collection::vec(namespace(), 0..=3);
    let nodes = subsequence(NODES.to_vec(), 0..=2);
    (namespaces, nodes, pods, policies)
        .prop_map(|(namespaces, nodes, pods, policies)| {
            let nodes = nodes.into_iter().map(|name| Object::Node(Node { name: name.into(), origin: None }));
            let pods = pods.into_iter().map(|pod| Object::Pod(pod.into()));
            let policies = policies.into_iter().map(|policy| Object::Policy(policy.into()));
            let all = namespaces.into_iter().map(Object::Namespace).chain(nodes).chain(pods).chain(policies);
            all.map(|object| (object.id(), object)).collect::<BTreeMap<ObjectId, Object>>()
        })
        .prop_flat_map(|objects| Just(objects.into_values().collect::<Vec<_>>()).prop_shuffle())
        .prop_map(|objects| RandomCluster { objects })
}

fn namespace() -> impl Strategy<Value = Namespace> {
    (namespace_name(), labels::labels()).prop_map(|(name, labels)| Namespace::new(name, &labels))
}

/// Mostly the first one, so that pods and policies meet.
fn namespace_name() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![6 => Just(NAMESPACES[0]), 2 => Just(NAMESPACES[1]), 1 => Just(NAMESPACES[2])].prop_map(Arc::from)
}

fn object_name(names: &'static [&'static str]) -> impl Strategy<Value = ObjectName> {
    (namespace_name(), prop::sample::select(names)).prop_map(|(namespace, name)| ObjectName::new(namespace, name))
}

/// An address of the block that pods have theirs from, in this suite and in labs.
pub fn pod_address(family: Family, host: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 244, 1, host).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0x10, 0x244, 1, 0, 0, 0, host.into()).into(),
    }
}

/// The address of a node, which its hostNetwork pods share; in labs it is the same.
pub fn node_address(family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(172, 30, 0, number).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0x30, 0, 0, 0, 0, 0, number.into()).into(),
    }
}

/// An address outside the cluster.
pub fn external_address(family: Family, host: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(192, 0, 2, host).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into()).into(),
    }
}
