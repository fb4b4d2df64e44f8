use std::net::IpAddr;

use super::*;
use crate::cidr::{Cidr, CidrRules};
use crate::ruleset::{Name, PortRange};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn verdict(verdict: Verdict) -> Statement {
    Statement::Verdict(verdict)
}

fn jump(chain: &str) -> Statement {
    verdict(Verdict::Jump(chain.into()))
}

fn goto(chain: &str) -> Statement {
    verdict(Verdict::Goto(chain.into()))
}

fn table(chains: &[(&str, Vec<Vec<Statement>>)]) -> Table {
    let mut table = Table::new("test");
    for (name, rules) in chains {
        let rules = rules.iter().map(|statements| Rule::new(statements.clone())).collect();
        table.chains.insert((*name).into(), Chain { base: *name == "base", comment: None, rules });
    }
    table
}

fn with_set(mut table: Table, name: &str, shape: SetShape, elements: impl IntoIterator<Item = Element>) -> Table {
    let elements = elements.into_iter().collect();
    table.sets.insert(name.into(), Set { elements, ..Set::new(shape, Family::V4, "") });
    table
}

fn packet(source: &str, destination: &str) -> Packet {
    Packet::new(ip(source), ip(destination), Payload::Port(Protocol::Tcp, 80))
}

fn end(table: &Table, packet: &Packet) -> End {
    check(table).unwrap();
    judge(table, packet).unwrap().end
}

const DROP: Verdict = Verdict::Drop;
const ACCEPT: Verdict = Verdict::Accept;

#[test]
fn the_end_of_the_base_chain_is_its_policy_and_so_is_a_return_there() {
    let any = packet("10.0.0.1", "10.0.0.2");
    assert_eq!(end(&table(&[("base", vec![])]), &any), End::Accepted);
    let returns = table(&[("base", vec![vec![verdict(Verdict::Return)], vec![verdict(DROP)]])]);
    assert_eq!(end(&returns, &any), End::Accepted);
}

#[test]
fn a_jump_comes_back_and_a_goto_does_not() {
    let any = packet("10.0.0.1", "10.0.0.2");
    for inner in [vec![], vec![vec![verdict(Verdict::Return)], vec![verdict(ACCEPT)]]] {
        let jumps = table(&[("base", vec![vec![jump("a")], vec![verdict(DROP)]]), ("a", inner.clone())]);
        assert_eq!(end(&jumps, &any), End::Dropped);
        let goes = table(&[("base", vec![vec![goto("a")], vec![verdict(DROP)]]), ("a", inner)]);
        assert_eq!(end(&goes, &any), End::Accepted);
    }
}

#[test]
fn a_return_behind_a_goto_leads_behind_the_jump_before_it() {
    let chains = table(&[
        ("base", vec![vec![jump("a")], vec![verdict(DROP)]]),
        ("a", vec![vec![goto("b")], vec![verdict(ACCEPT)]]),
        ("b", vec![vec![verdict(Verdict::Return)]]),
    ]);
    assert_eq!(end(&chains, &packet("10.0.0.1", "10.0.0.2")), End::Dropped);
}

#[test]
fn a_statement_that_does_not_match_leaves_the_rule_and_no_more() {
    let rules = vec![
        vec![Statement::Protocol(Protocol::Udp), Statement::SetMark { mask: 0xf0, value: 0x10 }, verdict(DROP)],
        vec![Statement::SetMark { mask: 0xf0, value: 0x20 }],
    ];
    let mut marked = packet("10.0.0.1", "10.0.0.2");
    marked.mark = 0xff;
    assert_eq!(judge(&table(&[("base", rules)]), &marked), Ok(Outcome { end: End::Accepted, mark: 0x2f }));
}

#[test]
fn sets_answer_by_their_shape() {
    let (range, _) = Cidr::parse("10.0.0.0/30", CidrRules::Strict).unwrap();
    let address = Key::Address(ip("10.0.0.1"));
    let cases = [
        (LookupKey::Source(Family::V4), SetShape::Addresses, address, [true, false, false]),
        (LookupKey::Destination(Family::V4), SetShape::CountedAddresses, address, [false, false, true]),
        (LookupKey::Source(Family::V4), SetShape::Ranges, Key::Range(range.range()), [true, false, true]),
        (
            LookupKey::SourceAndDestination(Family::V4),
            SetShape::AddressPairs,
            Key::Pair(ip("10.0.0.3")),
            [false, false, false],
        ),
        (
            LookupKey::DestinationAndPort(Family::V4),
            SetShape::AddressPorts,
            Key::Port(ip("10.0.0.9"), Protocol::Tcp, 80),
            [true, false, false],
        ),
    ];
    let packets = [packet("10.0.0.1", "10.0.0.9"), packet("fd00::1", "fd00::9"), packet("10.0.0.3", "10.0.0.1")];
    for (key, shape, element, expected) in cases {
        let lookup = Statement::Lookup { key, set: "s".into() };
        let looks =
            with_set(table(&[("base", vec![vec![lookup, verdict(DROP)]])]), "s", shape, [Element::new(element)]);
        assert_eq!(packets.each_ref().map(|packet| end(&looks, packet) == End::Dropped), expected, "{shape:?}");
    }
    let pair = Statement::Lookup { key: LookupKey::SourceAndDestination(Family::V4), set: "s".into() };
    let own = [Element::new(Key::Pair(ip("10.0.0.3")))];
    let own = with_set(table(&[("base", vec![vec![pair, verdict(DROP)]])]), "s", SetShape::AddressPairs, own);
    assert_eq!(end(&own, &packet("10.0.0.3", "10.0.0.3")), End::Dropped);
}

#[test]
fn a_map_decides_or_goes_on() {
    let map = Statement::VerdictMap { key: LookupKey::Source(Family::V4), map: "m".into() };
    let chains = table(&[("base", vec![vec![map], vec![verdict(DROP)]]), ("a", vec![vec![verdict(ACCEPT)]])]);
    let elements = [Element::verdict(ip("10.0.0.1"), Verdict::Goto("a".into()))];
    let chains = with_set(chains, "m", SetShape::Verdicts, elements);
    assert_eq!(end(&chains, &packet("10.0.0.1", "10.0.0.9")), End::Accepted);
    assert_eq!(end(&chains, &packet("10.0.0.2", "10.0.0.9")), End::Dropped);
}

#[test]
fn ports_have_a_protocol_and_other_packets_have_none() {
    let ports = vec![PortRange { first: 80, last: 81 }];
    let to = Statement::DestinationPort { protocol: Protocol::Sctp, ports };
    let chains = table(&[("base", vec![vec![to, verdict(DROP)]])]);
    for (payload, expected) in [
        (Payload::Port(Protocol::Sctp, 81), End::Dropped),
        (Payload::Port(Protocol::Sctp, 82), End::Accepted),
        (Payload::Port(Protocol::Tcp, 81), End::Accepted),
        (Payload::Other, End::Accepted),
        (Payload::NeighbourDiscovery, End::Accepted),
    ] {
        assert_eq!(end(&chains, &Packet::new(ip("fd00::1"), ip("fd00::2"), payload)), expected, "{payload:?}");
    }
}

#[test]
fn connections_are_known_by_state_mark_and_direction() {
    let states = vec![(Connection::Established, Verdict::Jump("known".into())), (Connection::Related, ACCEPT)];
    let known = vec![
        vec![Statement::MarkIs { mask: 0xf0, value: 0x10 }, verdict(ACCEPT)],
        vec![Statement::ReplyDirection, verdict(ACCEPT)],
    ];
    let base = vec![vec![Statement::ConnectionState(states)], vec![verdict(DROP)]];
    let chains = table(&[("base", base), ("known", known)]);
    for (connection, mark, expected) in [
        (ConnectionState::New, 0x10, End::Dropped),
        (ConnectionState::Related, 0, End::Accepted),
        (ConnectionState::Established { reply: false }, 0x1f, End::Accepted),
        (ConnectionState::Established { reply: false }, 0x2f, End::Dropped),
        (ConnectionState::Established { reply: true }, 0x2f, End::Accepted),
    ] {
        let packet = Packet { connection, mark, ..packet("10.0.0.1", "10.0.0.2") };
        assert_eq!(end(&chains, &packet), expected, "{connection:?} {mark:#x}");
    }
}

#[test]
fn interfaces_are_whole_names_or_prefixes() {
    let name = |text: &str| -> InterfaceName { text.parse().unwrap() };
    for (side, wanted, expected) in [
        (Side::Input, "veth1", End::Dropped),
        (Side::Input, "veth", End::Accepted),
        (Side::Input, "veth*", End::Dropped),
        (Side::Output, "veth*", End::Accepted),
    ] {
        let chains = table(&[("base", vec![vec![Statement::Interface { side, name: name(wanted) }, verdict(DROP)]])]);
        let packet = Packet { input: Some("veth1".into()), ..packet("10.0.0.1", "10.0.0.2") };
        assert_eq!(end(&chains, &packet), expected, "{side:?} {wanted}");
    }
}

#[test]
fn a_reset_is_for_tcp_only() {
    let rules = vec![vec![Statement::Reject(Reject::TcpReset)], vec![Statement::Counter, verdict(DROP)]];
    let chains = table(&[("base", rules)]);
    assert_eq!(end(&chains, &packet("10.0.0.1", "10.0.0.2")), End::Rejected);
    assert_eq!(end(&chains, &Packet { payload: Payload::Other, ..packet("10.0.0.1", "10.0.0.2") }), End::Dropped);
}

#[test]
fn what_no_kernel_would_load_is_a_fault() {
    let name = |text: &str| Name::from(text);
    let lookup = |key| vec![vec![Statement::Lookup { key, set: "s".into() }]];
    let source = LookupKey::Source(Family::V4);
    let unfitting =
        |key, shape| Fault::Unfitting { chain: name("base"), key, set: name("s"), shape, family: Family::V4 };
    let map = vec![vec![Statement::VerdictMap { key: source, map: "s".into() }]];
    let cases = [
        (table(&[]), Fault::BaseChains(0)),
        (table(&[("base", vec![vec![jump("a")]])]), Fault::NoChain { from: name("base"), chain: name("a") }),
        (table(&[("base", vec![vec![jump("base")]])]), Fault::BaseAsTarget { from: name("base") }),
        (table(&[("base", lookup(source))]), Fault::NoSet { chain: name("base"), set: name("s") }),
        (
            with_set(table(&[("base", lookup(source))]), "s", SetShape::Verdicts, []),
            unfitting(source, SetShape::Verdicts),
        ),
        (
            with_set(table(&[("base", lookup(LookupKey::Source(Family::V6)))]), "s", SetShape::Addresses, []),
            unfitting(LookupKey::Source(Family::V6), SetShape::Addresses),
        ),
        (with_set(table(&[("base", map)]), "s", SetShape::Addresses, []), unfitting(source, SetShape::Addresses)),
    ];
    for (table, fault) in cases {
        assert_eq!(check(&table), Err(fault.clone()));
        assert_eq!(judge(&table, &packet("10.0.0.1", "10.0.0.2")), Err(fault));
    }
}

#[test]
fn elements_fit_their_set_and_stand_once() {
    let base = || table(&[("base", vec![])]);
    let address = ip("10.0.0.1");
    let range =
        |first: &str, last: &str| Element::new(Key::Range(crate::cidr::IpRange { first: ip(first), last: ip(last) }));
    for (shape, elements, fault) in [
        (SetShape::Addresses, vec![Element::new(Key::Pair(address))], Fault::Element { set: "s".into() }),
        (SetShape::Addresses, vec![Element::new(Key::Address(ip("::1")))], Fault::Element { set: "s".into() }),
        (SetShape::Verdicts, vec![Element::new(Key::Address(address))], Fault::Element { set: "s".into() }),
        (SetShape::Addresses, vec![Element::verdict(address, ACCEPT)], Fault::Element { set: "s".into() }),
        (
            SetShape::Verdicts,
            vec![Element::verdict(address, ACCEPT), Element::verdict(address, DROP)],
            Fault::Overlap { set: "s".into() },
        ),
        (
            SetShape::Ranges,
            vec![range("10.0.0.0", "10.0.0.9"), range("10.0.0.9", "10.0.0.12")],
            Fault::Overlap { set: "s".into() },
        ),
    ] {
        assert_eq!(check(&with_set(base(), "s", shape, elements)), Err(fault));
    }
    let apart = [range("10.0.0.0", "10.0.0.8"), range("10.0.0.9", "10.0.0.12")];
    assert_eq!(check(&with_set(base(), "s", SetShape::Ranges, apart)), Ok(()));
}

#[test]
fn chains_lead_fifteen_deep_and_never_back() {
    let deep = |depth: usize, step: fn(&str) -> Statement| {
        let mut deep = table(&[("base", vec![vec![step("c1")]])]);
        for level in 1..=depth {
            let rules = if level < depth { vec![Rule::new([step(&format!("c{}", level + 1))])] } else { vec![] };
            deep.chains.insert(format!("c{level}").into(), Chain { rules, ..Chain::default() });
        }
        deep
    };
    for step in [jump, goto] {
        assert_eq!(check(&deep(15, step)), Ok(()));
        assert!(matches!(check(&deep(16, step)), Err(Fault::TooDeep { .. })));
        let mut circle = deep(3, step);
        circle.chains.insert("c3".into(), Chain { rules: vec![Rule::new([step("c1")])], ..Chain::default() });
        assert!(matches!(check(&circle), Err(Fault::Loop { .. })));
        assert!(matches!(judge(&circle, &packet("10.0.0.1", "10.0.0.2")), Err(Fault::TooDeep { .. })));
    }
}
