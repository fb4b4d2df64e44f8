//! Large tables, and a send buffer that is really too small for them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use enforcer::kernel::{Kernel, KernelError, NetlinkError, Repair};
use policy_compiler::cidr::Family::{V4, V6};
use policy_compiler::delta::Delta;
use policy_compiler::render;
use policy_compiler::ruleset::{Chain, Element, Key, LookupKey, SetShape, Statement, Table};
use support::{TABLE, in_namespace, in_user_namespace, jump, load, lookup, nft, rule, set, verdict, vmap};

fn v4(n: u32) -> IpAddr {
    Ipv4Addr::from(n).into()
}

fn v6(n: u32) -> IpAddr {
    Ipv6Addr::from((0xfd00 << 112) + u128::from(n)).into()
}

/// The elements of the only set, as nft lists them. While the kernel resizes the set, which it does for a moment after
/// many elements have come, listings have some twice and lack others.
fn listed_elements() -> Vec<String> {
    for _ in 0..10 {
        let json: serde_json::Value = serde_json::from_str(&nft("-j list table inet podwall")).unwrap();
        let set = json["nftables"].as_array().unwrap().iter().find_map(|object| object.get("set")).unwrap();
        let mut elements: Vec<_> = set["elem"].as_array().unwrap().iter().map(ToString::to_string).collect();
        elements.sort_unstable();
        let listed = elements.len();
        elements.dedup();
        if elements.len() == listed {
            return elements;
        }
    }
    panic!("every listing has elements twice");
}

#[test]
fn a_hundred_thousand_elements_of_one_set_are_what_nft_loads_and_come_and_go() {
    const MANY: u32 = 100_000;
    let mut table = Table::new(TABLE);
    let addresses = (1..=MANY).map(|n| Element::new(Key::Address(v4(n * 7))));
    table.sets.insert("many".into(), set(SetShape::Addresses, V4, "a hundred thousand", addresses));
    table.chains.insert("c".into(), Chain::new("", vec![rule([lookup(LookupKey::Source(V4), "many")])]));
    let theirs = in_namespace(|| {
        load(&render::text::table(&table));
        listed_elements()
    });
    in_namespace(|| {
        let mut kernel = Kernel::open(TABLE).unwrap();
        let commit = kernel.repair(&Repair::create(&table)).unwrap();
        assert_eq!(commit.transactions, 1);
        let ours = listed_elements();
        assert_eq!(ours.len(), MANY as usize);
        assert!(ours == theirs, "the listings differ");
        assert!(kernel.read().unwrap().unwrap().delta_to(&table).is_empty());

        let mut less = table.clone();
        less.sets.get_mut("many").unwrap().elements.retain(|element| element.key < Key::Address(v4(1000 * 7)));
        for (from, to) in [(&table, &less), (&less, &table)] {
            kernel.commit(&Delta::between(from, to)).unwrap();
            assert!(kernel.read().unwrap().unwrap().delta_to(to).is_empty());
        }
    });
}

/// Half of what the kernel gives: it doubles what is asked for.
fn send_buffer() -> u32 {
    let limit = std::fs::read_to_string("/proc/sys/net/core/wmem_max").expect("how large send buffers may be");
    limit.trim().parse::<u32>().unwrap().min(32 << 20)
}

/// Chains, a map that leads to them, and a set that fills a send buffer by itself.
fn large(pods: u32) -> Table {
    const BYTES: u32 = 44; // of one pair of IPv6 addresses
    let mut table = Table::new(TABLE);
    let pairs = (0..2 * send_buffer() / BYTES).map(|n| Element::new(Key::Pair(v6(n))));
    table.sets.insert("pairs".into(), set(SetShape::AddressPairs, V6, "", pairs));
    let mut rules = vec![rule([vmap(LookupKey::Source(V4), "map")])];
    rules.push(rule([lookup(LookupKey::SourceAndDestination(V6), "pairs")]));
    let names = (0..pods).map(|n| format!("pod_{n}"));
    for name in names.clone() {
        let rules = vec![rule([Statement::Counter]), rule([verdict(jump("all"))])];
        table.chains.insert(name.into(), Chain::new("a pod", rules));
    }
    let verdicts = names.zip(0..).map(|(name, n)| Element::verdict(v4(n), jump(&name)));
    table.sets.insert("map".into(), set(SetShape::Verdicts, V4, "", verdicts));
    table.chains.insert("all".into(), Chain::new("", vec![rule([Statement::Counter])]));
    table.chains.insert("base".into(), Chain { base: true, comment: None, rules });
    table
}

#[test]
fn where_the_send_buffer_cannot_be_forced_large_changes_are_split() {
    in_user_namespace("where_the_send_buffer_cannot_be_forced_large_changes_are_split", || {
        let wanted = large(2000);
        let mut kernel = Kernel::open(TABLE).unwrap();
        let create = Repair::create(&wanted);
        let error = kernel.rehearse(&create).unwrap_err();
        let too_large = |error: &KernelError| match error {
            KernelError::Netlink(NetlinkError::TooLarge { bytes }) => *bytes > 2 * send_buffer() as usize,
            _ => false,
        };
        assert!(too_large(&error), "{error}");
        assert_eq!(nft("list tables"), "");
        let commit = kernel.repair(&create).unwrap();
        assert_eq!(commit.transactions, 3, "the set by itself is too large for one, and then what decides");
        assert!(kernel.is_owned().unwrap());
        assert!(kernel.read().unwrap().unwrap().delta_to(&wanted).is_empty());
    });
}
