//! Pods in every state: scheduled or not, with one family or two, on their node's network, finished, terminating,
//! waiting for an address, and claiming one that another has.

use std::net::IpAddr;
use std::sync::Arc;

use policy_compiler::cidr::Family;
use policy_compiler::model::{ContainerPort, ObjectName, Phase, Pod, Protocol};
use proptest::prelude::*;
use proptest::sample::select;

use super::{NAMESPACES, NODES, labels, node_address, object_name, pod_address};

const NAMES: [&str; 5] = ["x", "b-x", "y", "z", "x-y"];
/// What ports are called: more than one pod has each of them, with numbers of its own.
const PORT_NAMES: [&str; 3] = ["web", "dns", "x"];
/// The first address is the gateway's.
const FIRST_HOST: usize = 2;

/// What a pod is.
#[derive(Clone, Copy, Debug)]
enum State {
    Running,
    Terminating,
    Finished,
    Pending,
    HostNetwork,
}

pub(super) fn name() -> impl Strategy<Value = ObjectName> {
    object_name(&NAMES)
}

/// A pod whose address belongs to its name, or is claimed by chance.
pub(super) fn pod(ports: &'static [u16]) -> impl Strategy<Value = Pod> {
    let state = prop_oneof![
        12 => Just(State::Running),
        2 => Just(State::Terminating),
        2 => Just(State::Finished),
        2 => Just(State::Pending),
        1 => Just(State::HostNetwork),
    ];
    let families = prop_oneof![
        4 => Just(&[Family::V4, Family::V6][..]),
        1 => Just(&[Family::V6, Family::V4][..]),
        2 => Just(&[Family::V4][..]),
        2 => Just(&[Family::V6][..]),
    ];
    let claimed = prop::option::weighted(0.2, 0..NAMES.len());
    let uid = prop_oneof![2 => Just(None), 1 => Just(Some("1")), 1 => Just(Some("2"))];
    let ports = prop::collection::vec(container_port(ports), 0..=3);
    (name(), state, node(), families, claimed, labels::labels(), uid, ports).prop_map(
        |(name, state, node, families, claimed, labels, uid, ports)| Pod {
            uid: uid.map(Arc::from),
            labels,
            addresses: addresses(&name, state, node, families, claimed),
            node: node.map(|node| NODES[node].into()),
            ports,
            host_network: matches!(state, State::HostNetwork),
            phase: if matches!(state, State::Finished) { Phase::Finished } else { Phase::Running },
            terminating: matches!(state, State::Terminating),
            ..Pod::new(name)
        },
    )
}

/// The number of a node; rarely none, which is also true of pods that have an address in a file.
fn node() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![8 => Just(Some(0)), 5 => Just(Some(1)), 2 => Just(Some(2)), 1 => Just(None)]
}

fn addresses(
    name: &ObjectName,
    state: State,
    node: Option<usize>,
    families: &[Family],
    claimed: Option<usize>,
) -> Vec<IpAddr> {
    let own = || {
        let namespace = NAMESPACES.iter().position(|namespace| **namespace == *name.namespace).unwrap_or_default();
        namespace * NAMES.len() + NAMES.iter().position(|pod| **pod == *name.name).unwrap_or_default()
    };
    let host = match (state, node) {
        (State::Pending, _) => return Vec::new(),
        (State::HostNetwork, None) => return Vec::new(), // has no node to share an address with
        (State::HostNetwork, Some(node)) => {
            return families.iter().map(|family| node_address(*family, small(node + 1))).collect();
        }
        _ => FIRST_HOST + claimed.unwrap_or_else(own),
    };
    families.iter().map(|family| pod_address(*family, small(host))).collect()
}

fn small(number: usize) -> u8 {
    u8::try_from(number).expect("pools are small")
}

fn container_port(numbers: &'static [u16]) -> impl Strategy<Value = ContainerPort> {
    (prop::option::weighted(0.8, port_name()), select(numbers), protocol())
        .prop_map(|(name, number, protocol)| ContainerPort { name, number, protocol })
}

pub(super) fn port_name() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![3 => Just(PORT_NAMES[0]), 2 => Just(PORT_NAMES[1]), 1 => Just(PORT_NAMES[2])].prop_map(Arc::from)
}

pub(super) fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![3 => Just(Protocol::Tcp), 2 => Just(Protocol::Udp), 1 => Just(Protocol::Sctp)]
}
