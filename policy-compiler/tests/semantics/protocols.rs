//! Rules 75-83: protocols apart from one another, and those that policies cannot name.

use policy_compiler::interpret::{self, ConnectionState, Packet, Payload};
use policy_compiler::plan::{self, Generation, Settings};

use crate::common::{allowed, check, denied, egress, ingress};

#[test]
fn rules_075_to_079_protocols_are_apart() {
    let protocols = ["TCP", "UDP", "SCTP"];
    for protocol in protocols {
        let cluster = ingress(&format!("- ports: [{{port: 80, protocol: {protocol}}}]"));
        for other in protocols {
            check(&cluster, &format!("a/v b/v 192.0.2.1 -> a/u {other}/80"), other == protocol);
        }
        denied(&cluster, &format!("b/v -> a/u {protocol}/81 ICMP"));
    }
}

#[test]
fn rule_077_a_policy_for_sctp_isolates_for_the_others() {
    let cluster = ingress("- ports: [{protocol: SCTP}]");
    denied(&cluster, "b/v -> a/u TCP/80 UDP/53");
    allowed(&cluster, "b/v -> a/u SCTP/80");
}

#[test]
fn rule_080_other_protocols_are_denied_to_isolated_pods_unless_a_rule_has_no_ports() {
    for ports in ["{}", "{protocol: UDP}", "{port: 80}", "{port: http}", "{port: 1, endPort: 65535}"] {
        denied(&ingress(&format!("- ports: [{ports}]")), "b/v 192.0.2.1 -> a/u ICMP PROTOCOL/47 PROTOCOL/6");
        denied(&egress(&format!("- ports: [{ports}]")), "a/u -> b/v 192.0.2.1 ICMP PROTOCOL/47");
    }
    allowed(&ingress("[]"), "b/v -> a/v ICMP");
}

#[test]
fn rules_081_and_082_neighbour_discovery_and_errors_about_connections_pass() {
    let cluster = ingress("[]");
    denied(&cluster, "fd00::1:2 -> fd00::1:1 ICMP");
    let table = plan::compile(&cluster, "n1", &Settings::default(), Generation::FIRST).table;
    let (from, to) = ("fd00::1:2".parse().unwrap(), "fd00::1:1".parse().unwrap());
    let discovery = Packet::new(from, to, Payload::NeighbourDiscovery);
    let error = Packet { connection: ConnectionState::Related, ..Packet::new(from, to, Payload::Other) };
    for packet in [discovery, error] {
        assert!(interpret::judge(&table, &packet).unwrap().is_accepted(), "{packet:?}");
    }
}

#[test]
fn rule_083_a_rule_with_peers_and_no_ports_covers_other_protocols() {
    let cluster = ingress("- from: [{podSelector: {}}, {ipBlock: {cidr: 192.0.2.0/24}}]");
    allowed(&cluster, "a/v 192.0.2.1 -> a/u ICMP PROTOCOL/47");
    denied(&cluster, "b/v 198.51.100.1 -> a/u ICMP PROTOCOL/47");
}
