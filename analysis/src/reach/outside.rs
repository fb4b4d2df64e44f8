//! Addresses outside the cluster, as far as policies tell them apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy_compiler::cidr::{Cidr, Family, IpRange};
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Direction, IpBlock, Peer};

/// Addresses that the same ipBlocks admit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressGroup {
    /// Disjoint ranges, ascending, of one family or of both.
    pub ranges: Vec<IpRange>,
    /// Whether no ipBlock admits them: whatever else there is.
    pub rest: bool,
}

impl AddressGroup {
    /// An address of a family, standing for all of them.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.ranges.iter().map(|range| range.first).find(|address| Family::of(*address) == family)
    }
}

/// All addresses there are, in groups that the ipBlocks of these clusters tell apart. The rest comes first.
pub fn partition<'c>(clusters: impl IntoIterator<Item = &'c Cluster>) -> Vec<AddressGroup> {
    let blocks: Vec<IpBlock> = clusters.into_iter().flat_map(blocks).collect::<BTreeSet<_>>().into_iter().collect();
    let mut groups: BTreeMap<Vec<usize>, Vec<IpRange>> = BTreeMap::new();
    for family in Family::BOTH {
        for range in cut(everything(family), &blocks) {
            let admitting = (0..blocks.len()).filter(|place| blocks[*place].contains(range.first)).collect();
            groups.entry(admitting).or_default().push(range);
        }
    }
    let group = |(admitting, ranges): (Vec<usize>, _)| AddressGroup { ranges, rest: admitting.is_empty() };
    groups.into_iter().map(group).collect()
}

/// One block of addresses, in parts that the ipBlocks of a cluster tell apart, ascending.
pub fn split(cluster: &Cluster, cidr: Cidr) -> Vec<AddressGroup> {
    let blocks: Vec<IpBlock> = blocks(cluster).collect();
    let admitting = |range: &IpRange| -> Vec<bool> { blocks.iter().map(|block| block.contains(range.first)).collect() };
    let mut parts: Vec<(Vec<bool>, IpRange)> = Vec::new();
    for range in cut(cidr.range(), &blocks) {
        let admitting = admitting(&range);
        match parts.last_mut() {
            Some((same, last)) if *same == admitting => last.last = range.last,
            _ => parts.push((admitting, range)),
        }
    }
    let group =
        |(admitting, range): (Vec<bool>, _)| AddressGroup { ranges: vec![range], rest: !admitting.contains(&true) };
    parts.into_iter().map(group).collect()
}

/// Every ipBlock of a cluster's policies.
pub(super) fn blocks(cluster: &Cluster) -> impl Iterator<Item = IpBlock> {
    let rules = cluster.policies().flat_map(|policy| Direction::BOTH.into_iter().filter_map(|d| policy.rules(d)));
    let peers = rules.flatten().flat_map(|rule| rule.peers.iter().flatten());
    peers.filter_map(|peer| match peer {
        Peer::Block(block) => Some(block.clone()),
        Peer::Pods { .. } => None,
    })
}

fn everything(family: Family) -> IpRange {
    match family {
        Family::V4 => IpRange { first: Ipv4Addr::UNSPECIFIED.into(), last: Ipv4Addr::BROADCAST.into() },
        Family::V6 => IpRange { first: Ipv6Addr::UNSPECIFIED.into(), last: Ipv6Addr::from_bits(u128::MAX).into() },
    }
}

/// A range, cut wherever a block or an except of its family begins or ends.
fn cut(whole: IpRange, blocks: &[IpBlock]) -> Vec<IpRange> {
    let mut starts = BTreeSet::from([whole.first]);
    for cidr in blocks.iter().flat_map(|block| block.except.iter().chain([&block.cidr])) {
        let range = cidr.range();
        let inside = |address: &IpAddr| whole.contains(*address);
        starts.extend([Some(range.first), next(range.last)].into_iter().flatten().filter(inside));
    }
    let starts: Vec<IpAddr> = starts.into_iter().collect();
    let ends = starts.iter().skip(1).filter_map(|start| previous(*start)).chain([whole.last]);
    starts.iter().zip(ends).map(|(first, last)| IpRange { first: *first, last }).collect()
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(address) => address.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

fn previous(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_sub(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(address) => address.to_bits().checked_sub(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}
