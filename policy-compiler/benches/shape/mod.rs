//! Clusters of realistic shape.
#![allow(dead_code, unreachable_pub)] // each benchmark uses its part
//!
//! 100 pods a node; a namespace for every 100 pods, with ten workloads of ten pods. Of every 20 policies: four default
//! denies, eight that allow from pods of the own namespace, five from another namespace, two for egress to blocks with
//! excepts, and one that allows from every pod of the cluster.

use policy_compiler::cidr::{Cidr, CidrRules};
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{
    ContainerPort, IpBlock, Labels, Namespace, NamespaceScope, Object, ObjectName, Peer, Pod, Policy, PolicyPort,
    PortMatch, Protocol, Rule,
};
use policy_compiler::selector::Selector;

const PODS_A_NAMESPACE: usize = 100;
const PODS_A_NODE: usize = 100;

/// A number that has nothing to do with its neighbours', below a bound: so that nodes, namespaces and workloads mix.
fn mixed(number: usize, salt: u64, bound: usize) -> usize {
    let mut hash = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash >> 33) as usize) % bound
}

/// The node of the pod of that number.
pub fn node(number: usize, pods: usize) -> usize {
    mixed(number, 1, pods.div_ceil(PODS_A_NODE))
}

/// The pod of that number, on its node.
pub fn pod(number: usize, pods: usize) -> Pod {
    let namespace = number / PODS_A_NAMESPACE;
    let app = number % 10;
    Pod {
        labels: [("app", format!("app-{app}")), ("tier", format!("tier-{}", app % 3))].into_iter().collect(),
        node: Some(format!("node-{}", node(number, pods)).into()),
        addresses: vec![std::net::Ipv4Addr::from(0x0a00_0000 + number as u32).into()],
        ports: vec![ContainerPort { name: Some("http".into()), number: 8080, protocol: Protocol::Tcp }],
        ..Pod::new(ObjectName::new(format!("ns-{namespace}"), format!("pod-{number}")))
    }
}

/// The policy of that number.
pub fn policy(number: usize, namespaces: usize) -> Policy {
    let tcp = |ports| Some(vec![PolicyPort { protocol: Protocol::Tcp, ports }]);
    let app = |salt| Selector::label("app", format!("app-{}", mixed(number, salt, 10)));
    let from = |peers, ports| vec![Rule { peers: Some(peers), ports, origin: None }];
    let (subject, ingress, egress) = match mixed(number, 2, 20) {
        0..4 => (Selector::everything(), Some(vec![]), None),
        4..12 => {
            let peer = Peer::Pods { namespaces: NamespaceScope::Own, pods: app(4) };
            (app(3), Some(from(vec![peer], tcp(PortMatch::Range(8080, 8080)))), None)
        }
        12..17 => {
            let namespace =
                Selector::label("kubernetes.io/metadata.name", format!("ns-{}", mixed(number, 5, namespaces)));
            let peer = Peer::Pods { namespaces: NamespaceScope::Matching(namespace), pods: app(3) };
            (app(3), Some(from(vec![peer], tcp(PortMatch::Named("http".into())))), None)
        }
        17..19 => {
            let cidr = |text: &str| Cidr::parse(text, CidrRules::Strict).unwrap().0;
            let block = IpBlock { cidr: cidr("0.0.0.0/0"), except: vec![cidr("10.0.0.0/8"), cidr("192.168.0.0/16")] };
            (app(3), None, Some(from(vec![Peer::Block(block)], tcp(PortMatch::Range(443, 443)))))
        }
        _ => {
            let everyone = NamespaceScope::Matching(Selector::everything());
            let peer = Peer::Pods { namespaces: everyone, pods: Selector::everything() };
            (app(3), Some(from(vec![peer], None)), None)
        }
    };
    let name = ObjectName::new(format!("ns-{}", mixed(number, 6, namespaces)), format!("policy-{number}"));
    Policy { name, subject, ingress, egress, closed: false, origin: None }
}

/// A cluster of so many policies and pods.
pub fn cluster(policies: usize, pods: usize) -> Cluster {
    let namespaces = pods.div_ceil(PODS_A_NAMESPACE);
    (0..namespaces)
        .map(|number| Object::Namespace(Namespace::new(format!("ns-{number}"), &Labels::default())))
        .chain((0..pods).map(|number| Object::Pod(pod(number, pods).into())))
        .chain((0..policies).map(|number| Object::Policy(policy(number, namespaces).into())))
        .collect()
}

/// A policy that allows pods of its own namespace to reach one workload of it.
pub fn allow_within(namespace: &str, app: &str) -> Policy {
    let peer = Peer::Pods { namespaces: NamespaceScope::Own, pods: Selector::label("tier", "tier-1") };
    let ports = Some(vec![PolicyPort { protocol: Protocol::Tcp, ports: PortMatch::Range(8080, 8080) }]);
    let ingress = Some(vec![Rule { peers: Some(vec![peer]), ports, origin: None }]);
    let name = ObjectName::new(namespace, "measured");
    Policy { name, subject: Selector::label("app", app), ingress, egress: None, closed: false, origin: None }
}
