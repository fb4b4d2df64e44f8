//! What right policies come to.

use super::*;

#[test]
fn rules_1_to_5_policy_types_by_default() {
    for (spec, expected) in [
        ("podSelector: {}", INGRESS),
        ("policyTypes: []", INGRESS),
        ("policyTypes: ~", INGRESS),
        ("egress: []", INGRESS),
        ("egress: ~", INGRESS),
        ("ingress: []", INGRESS),
        ("egress: [{}]", &Direction::BOTH),
        ("policyTypes: []\negress: [{}]", &Direction::BOTH),
        ("policyTypes: [Egress]", EGRESS),
        ("policyTypes: [Ingress]", INGRESS),
        ("policyTypes: [Egress, Ingress]", &Direction::BOTH),
        ("policyTypes: [Ingress, Ingress]", INGRESS),
    ] {
        assert_eq!(isolates(&policy(spec)), expected, "{spec}");
    }
}

#[test]
fn rules_7_and_8_sections_that_are_not_listed_are_dropped_but_checked() {
    let both = "ingress: [{}]\negress: [{}]\n";
    let found = policy(&format!("{both}policyTypes: [Ingress]"));
    assert_eq!((found.ingress.map(|rules| rules.len()), found.egress), (Some(1), None));
    let found = policy(&format!("{both}policyTypes: [Egress]"));
    assert_eq!((found.ingress, found.egress.map(|rules| rules.len())), (None, Some(1)));
    assert_eq!(
        complaints("policyTypes: [Ingress]\negress: [{ports: [{port: 0}]}]"),
        ["6:28: egress[0].ports[0].port: must be between 1 and 65535, is 0"]
    );
}

#[test]
fn rule_10_the_namespace_is_default_by_default() {
    for namespace in ["", ", namespace: ''", ", namespace: ~"] {
        let found = parsed(&HEAD.replace(", namespace: shop", namespace));
        assert_eq!(found.name, ObjectName::new("default", "web"));
    }
}

#[test]
fn rule_11_no_pod_selector_is_every_pod() {
    for spec in
        ["podSelector: {}", "podSelector: ~", "ingress: []", "podSelector: {matchLabels: ~, matchExpressions: []}"]
    {
        assert_eq!(policy(spec).subject, Selector::everything(), "{spec}");
    }
    assert_eq!(parsed(HEAD).subject, Selector::everything());
    assert_eq!(isolates(&parsed(HEAD)), INGRESS);
}

#[test]
fn rules_22_and_30_no_rules_allow_nothing() {
    for spec in ["ingress: []", "ingress: ~", "podSelector: {}"] {
        assert_eq!(policy(spec).ingress, Some(vec![]), "{spec}");
    }
}

#[test]
fn rules_31_to_33_empty_restricts_nothing() {
    for rule in ["{}", "{from: [], ports: []}", "{from: ~, ports: ~}"] {
        let found = only_rule(rule);
        assert_eq!((found.peers, found.ports), (None, None), "{rule}");
    }
}

#[test]
fn rules_9_34_56_to_60_ports() {
    let port = |protocol, ports| PolicyPort { protocol, ports };
    for (text, expected) in [
        ("{}", port(Protocol::Tcp, PortMatch::All)),
        ("{protocol: ~, port: ~, endPort: ~}", port(Protocol::Tcp, PortMatch::All)),
        ("{protocol: SCTP}", port(Protocol::Sctp, PortMatch::All)),
        ("{port: 80}", port(Protocol::Tcp, PortMatch::Range(80, 80))),
        ("{port: 1, endPort: 65535, protocol: UDP}", port(Protocol::Udp, PortMatch::Range(1, 65535))),
        ("{port: 80, endPort: 80}", port(Protocol::Tcp, PortMatch::Range(80, 80))),
        ("{port: http}", port(Protocol::Tcp, PortMatch::Named("http".into()))),
        ("{port: '8080-tcp'}", port(Protocol::Tcp, PortMatch::Named("8080-tcp".into()))),
    ] {
        assert_eq!(only_port(text), expected, "{text}");
    }
}

#[test]
fn rules_36_to_40_peers() {
    let everything = Selector::everything;
    let pods = |namespaces, pods| Peer::Pods { namespaces, pods };
    for (text, expected) in [
        ("{podSelector: {}}", pods(NamespaceScope::Own, everything())),
        ("{namespaceSelector: {}}", pods(NamespaceScope::Matching(everything()), everything())),
        ("{namespaceSelector: {}, podSelector: {}}", pods(NamespaceScope::Matching(everything()), everything())),
        ("{namespaceSelector: ~, podSelector: {}}", pods(NamespaceScope::Own, everything())),
        ("{podSelector: {matchLabels: {a: b}}}", pods(NamespaceScope::Own, Selector::label("a", "b"))),
    ] {
        assert_eq!(only_peer(text), expected, "{text}");
    }
}

#[test]
fn rules_43_to_48_selectors() {
    let found = policy(
        "podSelector:
  matchLabels: {z: '', a: '1'}
  matchExpressions:
  - {key: b, operator: In, values: [x, y1, x]}
  - {key: c, operator: NotIn, values: ['']}
  - {key: example.com/d, operator: Exists}
  - {key: e, operator: DoesNotExist, values: []}",
    );
    assert_eq!(found.subject.to_string(), "a=1,b in (x,y1),c notin (),!e,example.com/d,z=");
}

#[test]
fn rules_84_to_86_ip_blocks() {
    let cidr = |text| Cidr::parse(text, CidrRules::Strict).unwrap().0;
    let except = vec![cidr("10.1.0.0/16"), cidr("10.1.2.0/24")];
    assert_eq!(
        only_peer("{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.1.2.0/24]}}"),
        Peer::Block(IpBlock { cidr: cidr("10.0.0.0/8"), except })
    );
    assert_eq!(
        only_peer("{ipBlock: {cidr: '::/0', except: ~}}"),
        Peer::Block(IpBlock { cidr: cidr("::/0"), except: vec![] })
    );
}

#[test]
fn policies_and_rules_know_where_they_stand() {
    let found = policy("egress:\n- {}\n-   to: []\n    ports: []");
    let place = |origin: &Option<Origin>| origin.as_ref().map(|origin| (origin.line, origin.column));
    assert_eq!(place(&found.origin), Some((1, 1)));
    let rules = found.egress.unwrap();
    assert_eq!([place(&rules[0].origin), place(&rules[1].origin)], [Some((6, 5)), Some((7, 7))]);
}
