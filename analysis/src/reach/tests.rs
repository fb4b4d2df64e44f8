//! Sets of traffic, and addresses outside. That flows are right is held against the literal reading by property tests.

use std::net::IpAddr;

use policy_compiler::cidr::{Cidr, CidrRules};
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{IpBlock, Object, ObjectName, Peer, Policy, Protocol, Rule};
use policy_compiler::selector::Selector;
use policy_compiler::verdict::Traffic;
use proptest::prelude::*;

use super::*;

fn set(tcp: &[(u16, u16)], udp: &[(u16, u16)], sctp: &[(u16, u16)], other: bool) -> TrafficSet {
    TrafficSet::new([tcp, udp, sctp].map(<[_]>::to_vec), other)
}

const ALL: (u16, u16) = (1, 65535);

#[test]
fn sets_of_traffic_in_words() {
    for (set, text) in [
        (TrafficSet::default(), "nothing"),
        (TrafficSet::everything(), "everything"),
        (set(&[(80, 80), (443, 443), (8000, 8100)], &[ALL], &[], false), "TCP 80,443,8000-8100, all UDP"),
        (set(&[], &[(53, 53)], &[(7, 8)], false), "UDP 53, SCTP 7-8"),
        (set(&[], &[], &[], true), "other protocols"),
        (set(&[ALL], &[ALL], &[ALL], false), "all TCP, all UDP, all SCTP"),
        (set(&[(1, 79), (81, 65535)], &[ALL], &[ALL], true), "everything but TCP 80"),
        (set(&[(1, 1023)], &[ALL], &[ALL], true), "everything but TCP 1024-65535"),
        // As many ranges the one way as the other: what it has, and not what it lacks.
        (set(&[(1, 100)], &[ALL], &[], true), "TCP 1-100, all UDP, other protocols"),
        (set(&[(80, 80)], &[], &[], true), "TCP 80, other protocols"),
        (set(&[(2, 65535)], &[], &[], false), "TCP 2-65535"),
    ] {
        assert_eq!(set.to_string(), text);
    }
}

#[test]
fn neighbouring_ranges_are_one() {
    assert_eq!(set(&[(1, 79), (80, 80), (81, 65535)], &[], &[], false).ports(Protocol::Tcp), [ALL]);
    assert_eq!(set(&[(1, 79), (81, 82)], &[], &[], false).ports(Protocol::Tcp), [(1, 79), (81, 82)]);
}

#[test]
fn the_first_of_a_set_is_a_port_where_it_has_one() {
    assert_eq!(TrafficSet::default().first(), None);
    assert_eq!(set(&[], &[], &[], true).first(), Some(Traffic::Other(1)));
    assert_eq!(set(&[], &[], &[(9, 9)], true).first(), Some(Traffic::Port(Protocol::Sctp, 9)));
    assert_eq!(set(&[(80, 90)], &[(53, 53)], &[], true).first(), Some(Traffic::Port(Protocol::Tcp, 80)));
}

/// Disjoint ranges with gaps between them, ascending.
fn ranges() -> impl Strategy<Value = Vec<(u16, u16)>> {
    // Ends of the ports are where mistakes are.
    let port = prop_oneof![1..=6u16, 65530..=u16::MAX, 1..=u16::MAX];
    prop::collection::btree_set(port, 0..8).prop_map(|ends| {
        let ends: Vec<u16> = ends.into_iter().collect();
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for pair in ends.chunks(2) {
            let (first, last) = (pair[0], pair[pair.len() - 1]);
            if ranges.last().is_none_or(|(_, before)| before + 1 < first) {
                ranges.push((first, last));
            }
        }
        ranges
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_complement_has_all_that_a_set_lacks_and_nothing_else(
        tcp in ranges(), udp in ranges(), sctp in ranges(), other: bool, port in 1..=u16::MAX,
    ) {
        let set = set(&tcp, &udp, &sctp, other);
        let rest = set.complement();
        let ends = Protocol::ALL.into_iter().flat_map(|protocol| set.ports(protocol)).flat_map(|(first, last)| {
            [first.saturating_sub(1).max(1), *first, *last, last.saturating_add(1)]
        });
        for port in ends.chain([1, port, u16::MAX]) {
            for protocol in Protocol::ALL {
                let traffic = Traffic::Port(protocol, port);
                prop_assert_ne!(set.contains(traffic), rest.contains(traffic), "{}", traffic);
            }
        }
        prop_assert_ne!(set.contains(Traffic::Other(1)), rest.contains(Traffic::Other(1)));
        prop_assert_eq!(set.is_empty(), rest.is_everything());
        prop_assert_eq!(rest.complement(), set.clone());
        prop_assert!(set.first().is_none_or(|traffic| set.contains(traffic)));
        prop_assert_eq!(set.first().is_none(), set.is_empty());
    }
}

fn cidr(text: &str) -> Cidr {
    Cidr::parse(text, CidrRules::Strict).unwrap().0
}

/// A cluster with one policy that has these blocks, each `CIDR` or `CIDR!EXCEPT!EXCEPT`.
fn cluster(blocks: &[&str]) -> Cluster {
    let block = |text: &&str| {
        let mut parts = text.split('!').map(cidr);
        Peer::Block(IpBlock { cidr: parts.next().unwrap(), except: parts.collect() })
    };
    let rule = Rule { peers: Some(blocks.iter().map(block).collect()), ports: None, origin: None };
    let policy = Policy {
        name: ObjectName::new("shop", "p"),
        closed: false,
        subject: Selector::everything(),
        ingress: Some(vec![rule]),
        egress: None,
        origin: None,
    };
    [Object::Policy(policy.into())].into_iter().collect()
}

/// Groups as text, those that no block admits marked.
fn text(groups: &[AddressGroup]) -> Vec<String> {
    let group = |group: &AddressGroup| {
        let ranges: Vec<String> = group.ranges.iter().map(ToString::to_string).collect();
        format!("{}{}", if group.rest { "rest: " } else { "" }, ranges.join(" "))
    };
    groups.iter().map(group).collect()
}

#[test]
fn rules_84_and_89_blocks_cut_all_addresses_into_groups() {
    assert_eq!(text(&partition([&cluster(&[])])), ["rest: 0.0.0.0/0 ::/0"]);
    assert_eq!(
        text(&partition([&cluster(&["10.0.0.0/8!10.1.0.0/16"])])),
        [
            "rest: 0.0.0.0-9.255.255.255 10.1.0.0/16 11.0.0.0-255.255.255.255 ::/0",
            "10.0.0.0/16 10.2.0.0-10.255.255.255",
        ]
    );
    // The ends of the address space, and both families.
    assert_eq!(
        text(&partition([&cluster(&["0.0.0.0/0"]), &cluster(&["::/1", "255.255.255.255/32"])])),
        ["rest: 8000::/1", "0.0.0.0-255.255.255.254", "255.255.255.255", "::/1"]
    );
}

#[test]
fn groups_are_disjoint_and_cover_everything() {
    let clusters = [cluster(&["10.0.0.0/8!10.1.0.0/16", "10.1.2.0/24", "fd00::/8!fd00::/64"]), cluster(&["0.0.0.0/1"])];
    let groups = partition(&clusters);
    for address in ["0.0.0.0", "10.0.0.1", "10.1.0.0", "10.1.2.3", "127.255.255.255", "128.0.0.0", "255.255.255.255"]
        .into_iter()
        .chain(["::", "fcff::", "fd00::1", "fd00:0:0:1::", "fe00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"])
    {
        let address: IpAddr = address.parse().unwrap();
        let holding = groups.iter().flat_map(|group| &group.ranges).filter(|range| range.contains(address));
        assert_eq!(holding.count(), 1, "{address}");
    }
    assert_eq!(groups.iter().filter(|group| group.rest).count(), 1);
}

#[test]
fn a_block_of_addresses_is_split_where_policies_tell_its_parts_apart() {
    let cluster = cluster(&["10.0.0.0/8!10.1.0.0/16", "10.1.128.0/17", "192.168.0.0/16", "fd00::/8"]);
    let parts = |block: &str| text(&split(&cluster, cidr(block)));
    assert_eq!(parts("10.2.0.0/16"), ["10.2.0.0/16"]);
    assert_eq!(parts("10.1.0.0/16"), ["rest: 10.1.0.0/17", "10.1.128.0/17"]);
    assert_eq!(parts("10.0.0.0/15"), ["10.0.0.0/16", "rest: 10.1.0.0/17", "10.1.128.0/17"]);
    assert_eq!(parts("172.16.0.0/12"), ["rest: 172.16.0.0/12"]);
    // Neighbours that a block does not tell apart stay together.
    assert_eq!(parts("192.168.7.0/24"), ["192.168.7.0/24"]);
    assert_eq!(parts("fc00::/7"), ["rest: fc00::/8", "fd00::/8"]);
}
