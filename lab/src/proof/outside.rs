//! The addresses outside that a cluster's policies tell apart, one of each kind and family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use analysis::reach::{self, AddressGroup};
use policy_compiler::{
    cidr::{Cidr, CidrRules, Family, IpRange},
    cluster::Cluster,
};

/// What is taken where no ipBlock says otherwise: addresses that are for examples (RFC 5737, RFC 3849).
const EXAMPLES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Addresses that no host outside can have: those of the lab itself, and those that are not for single hosts.
const TAKEN: [&str; 18] = [
    "10.244.0.0/16",
    "10.96.0.0/16",
    "172.30.0.0/24",
    "172.31.0.0/24",
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "fd00:10:244::/48",
    "fd00:10:96::/112",
    "fd00:30::/64",
    "fd00:31::/64",
    "::/64",
    "64:ff9b::/96",
    "2002::/16",
    "fe80::/9",
    "ff00::/8",
];

/// One address for each group and family that is not taken, in no particular order.
pub(super) fn representatives<'c>(clusters: impl IntoIterator<Item = &'c Cluster>) -> Vec<IpAddr> {
    let groups = reach::partition(clusters);
    let of = |group: &AddressGroup| Family::BOTH.map(|family| representative(&group.ranges, family));
    groups.iter().flat_map(of).flatten().collect()
}

/// An address of a family that stands for all of them; none where all are taken.
pub(super) fn representative(ranges: &[IpRange], family: Family) -> Option<IpAddr> {
    let taken = TAKEN.iter().filter_map(|text| Cidr::parse(text, CidrRules::Strict).ok());
    let taken: Vec<IpRange> = taken.map(|(cidr, _)| cidr.range()).collect();
    let ranges: Vec<&IpRange> = ranges.iter().filter(|range| Family::of(range.first) == family).collect();
    let example = EXAMPLES.into_iter().find(|example| ranges.iter().any(|range| range.contains(*example)));
    example.or_else(|| ranges.iter().find_map(|range| first_free(range, &taken)))
}

/// The lowest address of a range that is not taken, and if there are others, not the block's own.
fn first_free(range: &IpRange, taken: &[IpRange]) -> Option<IpAddr> {
    let mut address = if range.first == range.last { range.first } else { next(range.first)? };
    loop {
        if !range.contains(address) {
            return None;
        }
        match taken.iter().find(|taken| taken.contains(address)) {
            Some(taken) => address = next(taken.last)?,
            None => return Some(address),
        }
    }
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(address) => address.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(first: &str, last: &str) -> Option<String> {
        let range = IpRange { first: first.parse().unwrap(), last: last.parse().unwrap() };
        representative(&[range], Family::of(range.first)).map(|address| address.to_string())
    }

    #[test]
    fn every_block_that_is_taken_is_one() {
        assert!(TAKEN.iter().all(|text| Cidr::parse(text, CidrRules::Strict).is_ok()));
    }

    #[test]
    fn addresses_of_the_lab_and_those_of_nobody_are_passed_over() {
        for (first, last, expected) in [
            ("203.0.113.0", "203.0.113.255", Some("203.0.113.1")),
            ("203.0.113.7", "203.0.113.7", Some("203.0.113.7")),
            ("10.244.0.0", "10.245.255.255", Some("10.245.0.0")),
            ("10.244.0.0", "10.244.255.255", None),
            ("224.0.0.0", "255.255.255.255", None),
            ("::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", Some("0:0:0:1::")),
            ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("2001:db8::1")),
        ] {
            assert_eq!(free(first, last).as_deref(), expected, "{first}-{last}");
        }
    }

    #[test]
    fn a_cluster_without_blocks_has_one_address_of_each_family_outside() {
        assert_eq!(representatives([&Cluster::default()]), [EXAMPLES[0], EXAMPLES[3]]);
    }
}
