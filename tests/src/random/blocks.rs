//! ipBlocks over the addresses that pods, nodes and outsiders have: from one address to all, with excepts that nest,
//! overlap and repeat.

use std::net::IpAddr;

use policy_compiler::cidr::{Cidr, CidrRules, Family};
use policy_compiler::model::IpBlock;
use proptest::prelude::*;

use super::{external_address, node_address, pod_address};

/// An ipBlock as the API server takes it.
pub fn block() -> impl Strategy<Value = IpBlock> {
    let family = prop_oneof![3 => Just(Family::V4), 2 => Just(Family::V6)];
    family.prop_flat_map(|family| {
        let excepts = prop::collection::vec(cidr(family), 0..=4);
        (cidr(family), excepts).prop_map(|(cidr, except)| {
            // Anything else is refused (rule 165).
            IpBlock { cidr, except: except.into_iter().filter(|except| cidr.strictly_contains(except)).collect() }
        })
    })
}

/// A block by an address in it, and how many bits of that are not fixed.
fn cidr(family: Family) -> impl Strategy<Value = Cidr> {
    let bits = family.bits();
    let address = prop_oneof![
        // Blocks of 32 hosts and fewer lie within the addresses that pods have.
        6 => (0..24_u8).prop_map(move |host| pod_address(family, host)),
        1 => (0..4_u8).prop_map(move |number| node_address(family, number)),
        1 => (6..9_u8).prop_map(move |host| external_address(family, host)),
    ];
    let free = prop_oneof![6 => 0..=5_u8, 2 => 6..=16_u8, 1 => Just(bits - 1), 2 => Just(bits)];
    (address, free).prop_map(move |(address, free)| masked(address, bits - free))
}

fn masked(address: IpAddr, prefix: u8) -> Cidr {
    let (cidr, _) = Cidr::parse(&format!("{address}/{prefix}"), CidrRules::Legacy).expect("an address and its prefix");
    cidr
}
