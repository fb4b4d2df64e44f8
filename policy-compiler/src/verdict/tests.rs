//! Why flows are denied. What is allowed and what is not stands in the suite `semantics`.

use std::net::IpAddr;

use super::*;
use crate::cidr::{Cidr, CidrRules};
use crate::model::{
    ContainerPort, IpBlock, Labels, Namespace, NamespaceScope, Object, ObjectName, Peer, Phase, Pod, PolicyPort,
    PortMatch, Protocol,
};
use crate::selector::{Operator, Requirement, Selector};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn cidr(text: &str) -> Cidr {
    Cidr::parse(text, CidrRules::Strict).unwrap().0
}

fn pod(namespace: &str, name: &str, address: &str) -> Pod {
    let port = |name: &str, number, protocol| ContainerPort { name: Some(name.into()), number, protocol };
    Pod {
        labels: [("app", name)].into_iter().collect(),
        addresses: vec![ip(address)],
        ports: vec![port("http", 80, Protocol::Tcp), port("dns", 53, Protocol::Udp)],
        ..Pod::new(ObjectName::new(namespace, name))
    }
}

/// An ingress policy for every pod of namespace `a`.
fn policy(name: &str, rules: Vec<Rule>) -> Policy {
    Policy {
        name: ObjectName::new("a", name),
        subject: Selector::everything(),
        ingress: Some(rules),
        egress: None,
        closed: false,
        origin: None,
    }
}

fn rule(peers: Option<Vec<Peer>>, ports: Option<Vec<PolicyPort>>) -> Rule {
    Rule { peers, ports, origin: None }
}

fn pods(namespaces: NamespaceScope, pods: Selector) -> Peer {
    Peer::Pods { namespaces, pods }
}

fn block(text: &str, except: &[&str]) -> Peer {
    Peer::Block(IpBlock { cidr: cidr(text), except: except.iter().map(|text| cidr(text)).collect() })
}

fn port(protocol: Protocol, ports: PortMatch) -> PolicyPort {
    PolicyPort { protocol, ports }
}

const HTTP: PortMatch = PortMatch::Range(80, 80);

/// Pods `a/u` and `a/v`, `b/v`, and these policies.
fn cluster(policies: Vec<Policy>) -> Cluster {
    let pods = [pod("a", "u", "10.0.1.1"), pod("a", "v", "10.0.1.2"), pod("b", "v", "10.0.2.2")];
    let blue: Labels = [("team", "blue")].into_iter().collect();
    let pods = pods.into_iter().map(|pod| Object::Pod(pod.into()));
    let policies = policies.into_iter().map(|policy| Object::Policy(policy.into()));
    pods.chain(policies).chain([Object::Namespace(Namespace::new("b", &blue))]).collect()
}

/// What is missing at the ingress of `a/u`, policy by policy.
fn misses<'c>(cluster: &'c Cluster, from: Endpoint<'_>, protocol: Protocol, port: u16) -> Vec<Miss<'c>> {
    let to = cluster.pod(&ObjectName::new("a", "u")).unwrap();
    let flow = Flow::new(from, Endpoint::pod(to, Some(to.addresses[0])), protocol, port);
    match judge(cluster, &flow).ingress {
        Judgement::Denied { misses } => misses,
        other => panic!("{other:?}"),
    }
}

fn nearest<'c>(cluster: &'c Cluster, from: Endpoint<'_>, protocol: Protocol, port: u16) -> RuleMatch<'c> {
    match misses(cluster, from, protocol, port).pop().map(|miss| miss.nearest) {
        Some(Nearest::Rule(rule)) => rule,
        other => panic!("{other:?}"),
    }
}

fn peer_misses<'c>(cluster: &'c Cluster, from: Endpoint<'_>) -> Vec<PeerMiss<'c>> {
    match nearest(cluster, from, Protocol::Tcp, 80).peers {
        ListMatch::Nothing(misses) => misses,
        other => panic!("{other:?}"),
    }
}

fn outside() -> Endpoint<'static> {
    Endpoint::address(ip("192.0.2.1"))
}

#[test]
fn rule_22_and_invariant_1_policies_that_can_allow_nothing() {
    let closed = Policy { closed: true, ..policy("closed", vec![]) };
    let cluster = cluster(vec![policy("none", vec![]), closed]);
    let found = misses(&cluster, outside(), Protocol::Tcp, 80);
    let found: Vec<_> = found.into_iter().map(|miss| (miss.policy.name.to_string(), miss.nearest)).collect();
    assert_eq!(found, [("a/closed".to_owned(), Nearest::Closed), ("a/none".to_owned(), Nearest::NoRules)]);
}

#[test]
fn every_isolating_policy_is_named_whether_it_allows_or_not() {
    let open = policy("open", vec![rule(None, Some(vec![port(Protocol::Tcp, HTTP)]))]);
    let cluster = cluster(vec![policy("none", vec![]), open]);
    let to = cluster.pod(&ObjectName::new("a", "u")).unwrap();
    for number in [80, 81] {
        let verdict = judge(&cluster, &Flow::new(outside(), Endpoint::pod(to, None), Protocol::Tcp, number));
        let isolating: Vec<_> = verdict.ingress.isolating().iter().map(|policy| policy.name.to_string()).collect();
        assert_eq!(isolating, ["a/none", "a/open"]);
        assert_eq!(verdict.is_allowed(), number == 80);
    }
}

#[test]
fn an_allowing_rule_is_told_with_its_peer_and_port() {
    let peers = vec![block("10.9.0.0/16", &[]), block("192.0.2.0/24", &[])];
    let ports = vec![port(Protocol::Udp, PortMatch::All), port(Protocol::Tcp, HTTP)];
    let everything = rule(None, None);
    for (rules, expected) in [
        (vec![rule(Some(peers.clone()), Some(ports.clone()))], (0, Some(1), Some(1))),
        (vec![rule(Some(peers.clone()), None)], (0, Some(1), None)),
        (vec![rule(Some(vec![]), None), rule(None, Some(ports))], (1, None, Some(1))),
        (vec![rule(Some(vec![peers[0].clone()]), None), everything], (1, None, None)),
    ] {
        let cluster = cluster(vec![policy("p", rules)]);
        let to = Endpoint::pod(cluster.pod(&ObjectName::new("a", "u")).unwrap(), None);
        let verdict = judge(&cluster, &Flow::new(outside(), to, Protocol::Tcp, 80));
        let Judgement::Allowed { rule, peer, port, .. } = verdict.ingress else { panic!("{verdict:?}") };
        assert_eq!((rule, peer, port), expected);
    }
}

#[test]
fn a_peer_says_which_requirement_failed_of_pod_and_of_namespace() {
    let app_u = Selector::label("app", "u");
    let blue = Selector::new([
        Requirement { key: "team".into(), operator: Operator::In(["blue".into()].into()) },
        Requirement { key: "env".into(), operator: Operator::DoesNotExist },
    ]);
    let peers = vec![
        pods(NamespaceScope::Own, app_u.clone()),
        pods(NamespaceScope::Matching(blue.clone()), Selector::everything()),
        pods(NamespaceScope::Matching(blue.clone()), app_u.clone()),
    ];
    let cluster = cluster(vec![policy("p", vec![rule(Some(peers), None)])]);
    let [team, app] = [&blue.requirements()[1], &app_u.requirements()[0]];
    assert_eq!(&*team.key, "team");
    let from = |namespace| Endpoint::pod(cluster.pod(&ObjectName::new(namespace, "v")).unwrap(), None);
    assert_eq!(
        peer_misses(&cluster, from("a")),
        [
            PeerMiss::Labels { namespace: None, pod: vec![app] },
            PeerMiss::Labels { namespace: Some(NamespaceMiss::Labels(vec![team])), pod: vec![] },
            PeerMiss::Labels { namespace: Some(NamespaceMiss::Labels(vec![team])), pod: vec![app] },
        ]
    );
    let Judgement::Allowed { peer, .. } = judge(
        &cluster,
        &Flow::new(from("b"), Endpoint::pod(cluster.pod(&ObjectName::new("a", "u")).unwrap(), None), Protocol::Tcp, 80),
    )
    .ingress
    else {
        panic!()
    };
    assert_eq!(peer, Some(1));
}

#[test]
fn rule_39_a_peer_without_namespace_selector_says_so() {
    let peers = vec![pods(NamespaceScope::Own, Selector::everything())];
    let cluster = cluster(vec![policy("p", vec![rule(Some(peers), None)])]);
    let other = cluster.pod(&ObjectName::new("b", "v")).unwrap();
    let expected = PeerMiss::Labels { namespace: Some(NamespaceMiss::NotOwn), pod: vec![] };
    assert_eq!(peer_misses(&cluster, Endpoint::pod(other, None)), [expected]);
}

#[test]
fn rules_41_107_and_124_selectors_say_what_they_cannot_match() {
    let peers = vec![pods(NamespaceScope::Matching(Selector::everything()), Selector::everything())];
    let cluster = cluster(vec![policy("p", vec![rule(Some(peers), None)])]);
    let host = Pod { host_network: true, ..pod("b", "host", "10.1.0.1") };
    let finished = Pod { phase: Phase::Finished, ..pod("b", "done", "10.0.2.9") };
    for (from, expected) in [
        (outside(), PeerMiss::OutsideCluster),
        (Endpoint::node("n2", Some(ip("10.1.0.2"))), PeerMiss::Node),
        (Endpoint::pod(&host, Some(ip("10.1.0.1"))), PeerMiss::Node),
        (Endpoint::pod(&finished, Some(ip("10.0.2.9"))), PeerMiss::Finished),
    ] {
        assert_eq!(peer_misses(&cluster, from), [expected]);
    }
}

#[test]
fn rules_84_89_and_127_a_block_says_what_is_wrong_with_the_address() {
    let peers =
        vec![block("192.0.2.0/24", &["192.0.2.64/26", "192.0.2.0/28", "192.0.2.0/30"]), block("2001:db8::/32", &[])];
    let cluster = cluster(vec![policy("p", vec![rule(Some(peers), None)])]);
    let outside_block = |text| PeerMiss::OutsideBlock { cidr: cidr(text) };
    let excepted = PeerMiss::Excepted { except: cidr("192.0.2.0/28") };
    assert_eq!(peer_misses(&cluster, outside()), [excepted, outside_block("2001:db8::/32")]);
    let elsewhere = Endpoint::address(ip("198.51.100.1"));
    assert_eq!(peer_misses(&cluster, elsewhere), [outside_block("192.0.2.0/24"), outside_block("2001:db8::/32")]);
    let pending = cluster.pod(&ObjectName::new("b", "v")).unwrap();
    assert_eq!(peer_misses(&cluster, Endpoint::pod(pending, None)), [PeerMiss::NoAddress, PeerMiss::NoAddress]);
}

#[test]
fn rules_57_to_66_a_port_says_what_is_wrong_with_it() {
    let named = |protocol, name: &str| port(protocol, PortMatch::Named(name.into()));
    let ports = vec![
        port(Protocol::Udp, PortMatch::All),
        port(Protocol::Tcp, PortMatch::Range(8000, 8100)),
        named(Protocol::Tcp, "nobody"),
        named(Protocol::Tcp, "dns"),
        named(Protocol::Tcp, "http"),
    ];
    let cluster = cluster(vec![policy("p", vec![rule(None, Some(ports))])]);
    let found = nearest(&cluster, outside(), Protocol::Tcp, 7999);
    assert_eq!(found.peers, ListMatch::Everything);
    assert_eq!(
        found.ports,
        ListMatch::Nothing(vec![
            PortMiss::Protocol { wanted: Protocol::Udp },
            PortMiss::Number { first: 8000, last: 8100 },
            PortMiss::NameMissing { name: "nobody".into() },
            PortMiss::NameProtocol { name: "dns".into(), declared: Protocol::Udp },
            PortMiss::NameNumber { name: "http".into(), numbers: vec![80] },
        ])
    );
}

#[test]
fn rule_69_a_name_needs_a_pod() {
    let named = port(Protocol::Tcp, PortMatch::Named("http".into()));
    let egress = Some(vec![rule(None, Some(vec![named]))]);
    let cluster = cluster(vec![Policy { ingress: None, egress, ..policy("p", vec![]) }]);
    let from = Endpoint::pod(cluster.pod(&ObjectName::new("a", "u")).unwrap(), None);
    let Judgement::Denied { misses } = judge(&cluster, &Flow::new(from, outside(), Protocol::Tcp, 80)).egress else {
        panic!()
    };
    let Nearest::Rule(rule) = &misses[0].nearest else { panic!() };
    assert_eq!(rule.ports, ListMatch::Nothing(vec![PortMiss::NameWithoutPod { name: "http".into() }]));
}

#[test]
fn the_nearest_rule_has_the_peer_then_the_port_then_the_closest_entry() {
    let wrong_peer = || Some(vec![pods(NamespaceScope::Own, Selector::label("app", "w"))]);
    let far_peer = || Some(vec![block("203.0.113.0/24", &[])]);
    let peer = || Some(vec![pods(NamespaceScope::Own, Selector::everything())]);
    let elsewhere = NamespaceScope::Matching(Selector::label("team", "w"));
    let peer_elsewhere = || Some(vec![pods(elsewhere.clone(), Selector::everything())]);
    let ports = |ports| Some(vec![port(Protocol::Tcp, ports)]);
    let wrong_port = || ports(PortMatch::Range(81, 81));
    let other_protocol = || Some(vec![port(Protocol::Udp, PortMatch::All)]);
    for (rules, expected) in [
        (vec![rule(wrong_peer(), ports(HTTP)), rule(peer(), wrong_port())], 1),
        (vec![rule(wrong_peer(), wrong_port()), rule(far_peer(), None)], 1),
        (vec![rule(far_peer(), None), rule(wrong_peer(), None)], 1),
        (vec![rule(peer(), other_protocol()), rule(peer(), wrong_port())], 1),
        (vec![rule(wrong_peer(), None), rule(wrong_peer(), ports(HTTP))], 0),
        (vec![rule(None, other_protocol()), rule(wrong_peer(), ports(HTTP))], 1),
        (vec![rule(None, wrong_port()), rule(far_peer(), ports(HTTP))], 0),
        (vec![rule(None, wrong_port()), rule(peer_elsewhere(), ports(HTTP))], 1),
        (vec![rule(None, wrong_port()), rule(peer(), wrong_port())], 1),
    ] {
        let cluster = cluster(vec![policy("p", rules)]);
        let from = Endpoint::pod(cluster.pod(&ObjectName::new("a", "v")).unwrap(), Some(ip("10.0.1.2")));
        assert_eq!(nearest(&cluster, from, Protocol::Tcp, 80).rule, expected);
    }
}

#[test]
fn rules_80_and_83_other_protocols_need_a_rule_without_ports() {
    let with_ports = policy("p", vec![rule(None, Some(vec![port(Protocol::Tcp, PortMatch::All)]))]);
    for (policy, allowed) in [(with_ports, false), (policy("p", vec![rule(None, None)]), true)] {
        let cluster = cluster(vec![policy]);
        let to = Endpoint::pod(cluster.pod(&ObjectName::new("a", "u")).unwrap(), None);
        let flow = Flow { from: outside(), to, traffic: Traffic::Other(1) };
        assert_eq!(judge(&cluster, &flow).is_allowed(), allowed);
    }
}

#[test]
fn rules_109_and_124_to_129_an_address_is_its_live_owners() {
    let on_host = |name, address| Pod { host_network: true, node: Some("n1".into()), ..pod("b", name, address) };
    let terminating = Pod { terminating: true, ..pod("a", "old", "10.0.1.9") };
    let finished = Pod { phase: Phase::Finished, ..pod("a", "done", "10.0.1.8") };
    let host = on_host("host", "10.1.0.1");
    let gone = Pod { phase: Phase::Finished, ..on_host("gone", "10.1.0.9") };
    let mut cluster = cluster(vec![]);
    for pod in [terminating, pod("a", "young", "10.0.1.9"), finished, host, gone] {
        drop(cluster.apply(Object::Pod(pod.into())));
    }
    for (address, expected) in [
        ("10.0.1.9", "a/young"),
        ("10.0.1.8", "10.0.1.8"),
        ("10.1.0.1", "node n1"),
        ("10.1.0.9", "10.1.0.9"),
        ("10.0.2.2", "b/v"),
    ] {
        assert_eq!(Endpoint::resolve(&cluster, ip(address)).to_string(), expected);
    }
}
