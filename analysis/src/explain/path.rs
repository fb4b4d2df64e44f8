//! The way of a flow, as the Kubernetes network model has it.

use std::net::IpAddr;
use std::sync::Arc;

use policy_compiler::model::{Direction, Pod};
use policy_compiler::verdict::{Endpoint, Flow, Host, Traffic, Verdict};

/// One place that a flow passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop<'c> {
    /// A container of a pod.
    Container {
        /// The pod.
        pod: &'c Pod,
        /// At the end of the way, what the pod calls the port; none where it has no name for it.
        port_name: Option<Arc<str>>,
    },
    /// A pod's own network. A hostNetwork pod has none.
    Pod {
        /// The pod.
        pod: &'c Pod,
        /// The address that the flow uses; none where the pod has none yet.
        address: Option<IpAddr>,
    },
    /// A node.
    Node {
        /// Its name; none where the pod on it is not bound to a node yet.
        name: Option<&'c str>,
        /// The node's own address, where it is an end of the flow and its address is known.
        address: Option<IpAddr>,
        /// The directions that are judged here, egress first.
        judges: Vec<Direction>,
    },
    /// Outside the cluster.
    Outside {
        /// The address.
        address: Option<IpAddr>,
    },
}

/// The way of a flow, from its source to its destination. Egress is judged at the source's node and ingress at the
/// destination's, unless there is nothing to judge.
pub(super) fn path<'c>(flow: &Flow<'c>, verdict: &Verdict<'_>) -> Vec<Hop<'c>> {
    if let (Host::Pod(pod), Host::Pod(to)) = (flow.from.host, flow.to.host)
        && pod.name == to.name
    {
        return within_pod(flow, pod);
    }
    let judged = |direction: Direction| -> Vec<Direction> {
        let judged = verdict.exempt.is_none() && flow.subject(direction).selectable().is_some();
        judged.then_some(direction).into_iter().collect()
    };
    let mut hops = inside(flow.from, None);
    let (source, mut destination) =
        (node(flow.from, judged(Direction::Egress)), node(flow.to, judged(Direction::Ingress)));
    hops.extend(source);
    // One node where both ends are on it: then it judges both directions.
    if let (Some(Hop::Node { name: Some(at), address, judges }), Some(Hop::Node { name, address: own, judges: more })) =
        (hops.last_mut(), &mut destination)
        && name.as_ref() == Some(at)
    {
        judges.append(more);
        *address = address.or(*own);
        destination = None;
    }
    hops.extend(destination);
    hops.extend(inside(flow.to, Some(flow.traffic)).into_iter().rev());
    hops
}

/// A pod to itself: its loopback, or its own address; a hostNetwork pod's are its node's.
fn within_pod<'c>(flow: &Flow<'c>, pod: &'c Pod) -> Vec<Hop<'c>> {
    let between = match pod.host_network {
        true => Hop::Node { name: pod.node.as_deref(), address: flow.to.address, judges: Vec::new() },
        false => Hop::Pod { pod, address: flow.to.address },
    };
    let port_name = port_name(pod, flow.traffic);
    vec![Hop::Container { pod, port_name: None }, between, Hop::Container { pod, port_name }]
}

/// What lies between an end of the flow and its node, from the end on.
fn inside<'c>(end: Endpoint<'c>, arriving: Option<Traffic>) -> Vec<Hop<'c>> {
    match end.host {
        Host::Pod(pod) => {
            let port_name = arriving.and_then(|traffic| port_name(pod, traffic));
            let container = Hop::Container { pod, port_name };
            if pod.host_network { vec![container] } else { vec![container, Hop::Pod { pod, address: end.address }] }
        }
        Host::Node(_) => Vec::new(),
        Host::Outside => vec![Hop::Outside { address: end.address }],
    }
}

fn node<'c>(end: Endpoint<'c>, judges: Vec<Direction>) -> Option<Hop<'c>> {
    match end.host {
        Host::Pod(pod) => {
            let address = end.address.filter(|_| pod.host_network);
            Some(Hop::Node { name: pod.node.as_deref(), address, judges })
        }
        Host::Node(name) => Some(Hop::Node { name: Some(name), address: end.address, judges }),
        Host::Outside => None,
    }
}

fn port_name(pod: &Pod, traffic: Traffic) -> Option<Arc<str>> {
    let Traffic::Port(protocol, number) = traffic else { return None };
    let declared = pod.ports.iter().find(|port| port.protocol == protocol && port.number == number)?;
    declared.name.clone()
}
