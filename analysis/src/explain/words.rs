//! Peers, ports and what is missing of them, in plain words. None of these phrases names an end of a flow or its
//! address: one phrase has to fit every flow of a group.

use policy_compiler::cidr::Family;
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{
    Direction, Labels, NAMESPACE_NAME_LABEL, NamespaceScope, Origin, Peer, PolicyPort, PortMatch,
};
use policy_compiler::selector::{Operator, Requirement, Selector};
use policy_compiler::verdict::{Endpoint, Host, NamespaceMiss, PeerMiss, PortMiss, Traffic};

/// What a rule without `ports` allows (rule 33).
pub const EVERY_PORT: &str = "every port and protocol";

/// `TCP 8080`, `ICMP`.
pub fn traffic(traffic: Traffic) -> String {
    match traffic {
        Traffic::Port(protocol, port) => format!("{protocol} {port}"),
        other => other.to_string(),
    }
}

/// `IPv4` or `IPv6`.
pub fn family(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// `shop.yaml:12`; a line is as near as people need it.
pub fn place(origin: &Origin) -> String {
    format!("{}:{}", origin.file, origin.line)
}

/// The name of the list of peers in a rule.
pub fn peer_list(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

/// What a rule without `from` or `to` allows (rule 32).
pub fn every_peer(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "every source",
        Direction::Egress => "every destination",
    }
}

/// Whom an entry of `from` or `to` means, in a policy of namespace `own`.
pub fn peer(own: &str, peer: &Peer) -> String {
    match peer {
        Peer::Pods { namespaces, pods } => {
            let pods = if pods.is_everything() { "all pods".to_owned() } else { format!("pods with {pods}") };
            match namespaces {
                NamespaceScope::Own => format!("{pods} of namespace {own}"),
                NamespaceScope::Matching(selector) if selector.is_everything() => format!("{pods} of all namespaces"),
                NamespaceScope::Matching(selector) => match only_name(selector) {
                    Some(name) => format!("{pods} of namespace {name}"),
                    None => format!("{pods} of namespaces with {selector}"),
                },
            }
        }
        Peer::Block(block) if block.except.is_empty() => block.cidr.to_string(),
        Peer::Block(block) => {
            let excepts: Vec<String> = block.except.iter().map(ToString::to_string).collect();
            format!("{} except {}", block.cidr, excepts.join(", "))
        }
    }
}

/// The one namespace that a selector means by its name label (rule 53).
fn only_name(selector: &Selector) -> Option<&str> {
    match selector.requirements() {
        [Requirement { key, operator: Operator::In(values) }]
            if **key == *NAMESPACE_NAME_LABEL && values.len() == 1 =>
        {
            values.first().map(|name| &**name)
        }
        _ => None,
    }
}

/// Which ports an entry of `ports` means.
pub fn port(entry: &PolicyPort) -> String {
    let protocol = entry.protocol;
    match &entry.ports {
        PortMatch::All => format!("every {protocol} port"),
        PortMatch::Range(first, last) if first == last => format!("{protocol} {first}"),
        PortMatch::Range(first, last) => format!("{protocol} {first}-{last}"),
        PortMatch::Named(name) => format!("{protocol} port named {name}"),
    }
}

/// Why a peer does not mean an end of a flow, one phrase a reason.
pub(super) fn peer_miss(
    cluster: &Cluster,
    direction: Direction,
    end: Endpoint<'_>,
    miss: &PeerMiss<'_>,
) -> Vec<String> {
    let who = match direction {
        Direction::Ingress => "the source",
        Direction::Egress => "the destination",
    };
    vec![match miss {
        PeerMiss::Labels { namespace, pod } => return labels_miss(cluster, who, end, namespace.as_ref(), pod),
        PeerMiss::OutsideCluster => format!("{who} is outside the cluster, where selectors match nothing"),
        PeerMiss::Node if matches!(end.host, Host::Node(_)) => format!("{who} is a node, which selectors never match"),
        PeerMiss::Node => format!("{who} is on its node's network, where selectors match nothing"),
        PeerMiss::Finished => format!("{who} has finished, and selectors match live pods only"),
        PeerMiss::OutsideBlock { cidr } => match end.address.map(Family::of) {
            Some(other) if other != cidr.family() => format!("{who}'s address is {}", family(other)),
            _ => format!("{who}'s address is not in it"),
        },
        PeerMiss::Excepted { except } => format!("{who}'s address is in the except {except}"),
        PeerMiss::NoAddress => format!("{who} has no address yet"),
    }]
}

fn labels_miss(
    cluster: &Cluster,
    who: &str,
    end: Endpoint<'_>,
    namespace: Option<&NamespaceMiss<'_>>,
    pod: &[&Requirement],
) -> Vec<String> {
    let Host::Pod(found) = end.host else { return vec![format!("{who} is no pod")] };
    let theirs = &found.name.namespace;
    let mut parts = Vec::new();
    match namespace {
        Some(NamespaceMiss::NotOwn) => parts.push(format!("{who} is in namespace {theirs}")),
        Some(NamespaceMiss::Labels(unmet)) => {
            let labels = cluster.namespace_labels(theirs);
            parts.extend(unmet.iter().map(|requirement| match &*requirement.key {
                NAMESPACE_NAME_LABEL => format!("{who} is in namespace {theirs}"),
                _ => format!("{who}'s namespace {theirs} {}", unmet_requirement(requirement, &labels)),
            }));
        }
        None => {}
    }
    parts.extend(pod.iter().map(|requirement| format!("{who} {}", unmet_requirement(requirement, &found.labels))));
    parts
}

/// What labels have in place of what they should.
fn unmet_requirement(requirement: &Requirement, labels: &Labels) -> String {
    let key = &requirement.key;
    let Some(value) = labels.get(key) else { return format!("has no label {key}") };
    // An empty value is not a missing one (rule 48).
    let value = if value.is_empty() { "\"\"" } else { value };
    match requirement.operator {
        Operator::In(_) => format!("has {key}={value}, not {requirement}"),
        Operator::Exists => format!("has {key}={value}"),
        Operator::NotIn(_) | Operator::DoesNotExist => format!("has {key}={value}, which is ruled out"),
    }
}

/// Why an entry of `ports` does not mean where a flow goes.
pub(super) fn port_miss(traffic: Traffic, miss: &PortMiss) -> String {
    let to = match traffic {
        Traffic::Port(_, port) => port.to_string(),
        other => other.to_string(),
    };
    match miss {
        PortMiss::Protocol { .. } => match traffic.protocol() {
            Some(protocol) => format!("the flow is {protocol}"),
            None => format!("the flow is {to}, which only a rule without ports allows"),
        },
        PortMiss::Number { .. } => format!("the flow is to {to}"),
        PortMiss::NameWithoutPod { .. } => "the destination is no pod, and only pods name ports".to_owned(),
        PortMiss::NameMissing { name } => format!("the destination has no port named {name}"),
        PortMiss::NameProtocol { name, declared } => format!("on the destination {name} is a {declared} port"),
        PortMiss::NameNumber { name, numbers } => {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            format!("on the destination {name} is {}, the flow is to {to}", numbers.join(" and "))
        }
    }
}
