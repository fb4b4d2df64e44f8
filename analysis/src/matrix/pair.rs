//! Pairs of pods that stand for all pairs of a row and a column.

use std::collections::BTreeMap;
use std::net::IpAddr;

use policy_compiler::cidr::Family;
use policy_compiler::model::Pod;
use policy_compiler::verdict::{Endpoint, Host};

use super::{Matrix, Unit, UnitName};
use crate::reach::is_exempt;

/// Two ends of a row and a column, over one family: [`policy_compiler::verdict::judge`] says of them what it would say of
/// every other pair of their sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'c> {
    /// Who sends.
    pub from: Endpoint<'c>,
    /// Who receives. Another pod than the sender, unless there is no other.
    pub to: Endpoint<'c>,
    /// The family of the addresses; none where no address is known, or where policy does not apply.
    pub family: Option<Family>,
}

impl<'c> Matrix<'c> {
    /// One pair for each sort of pairs that policies tell apart, over each family that both ends have. A pod and itself
    /// are a pair only where the row and the column hold no other; none where there is no way.
    pub fn pairs(&self, row: usize, column: usize) -> Vec<Pair<'c>> {
        let (Some(from), Some(to)) = (self.rows.get(row), self.columns.get(column)) else { return Vec::new() };
        let empty = &super::Parts::new();
        let senders = self.row_parts.get(row).unwrap_or(empty);
        let receivers = self.column_parts.get(column).unwrap_or(empty);
        let mut pairs = Vec::new();
        for senders in senders.values() {
            for receivers in receivers.values() {
                match (outside(from), outside(to)) {
                    (Some(_), Some(_)) => (), // two strangers are no matter of policies
                    (Some(from), None) => {
                        pairs.extend(receivers.first().iter().flat_map(|to| over(from, End::Pod(to))))
                    }
                    (None, Some(to)) => pairs.extend(senders.first().iter().flat_map(|from| over(End::Pod(from), to))),
                    (None, None) => pairs.extend(between(senders, receivers)),
                }
            }
        }
        if pairs.iter().any(|pair| !is_itself(pair)) {
            pairs.retain(|pair| !is_itself(pair));
        }
        pairs
    }
}

/// One end, before a family is chosen.
#[derive(Clone, Copy)]
enum End<'c> {
    Pod(&'c Pod),
    Outside(IpAddr),
}

impl<'c> End<'c> {
    fn address(self, family: Family) -> Option<IpAddr> {
        let is_of_it = |address: &IpAddr| Family::of(*address) == family;
        match self {
            Self::Pod(pod) => pod.addresses.iter().copied().find(is_of_it),
            Self::Outside(address) => Some(address).filter(is_of_it),
        }
    }

    fn is_unknown(self) -> bool {
        matches!(self, Self::Pod(pod) if pod.addresses.is_empty())
    }

    fn at(self, address: Option<IpAddr>) -> Endpoint<'c> {
        match self {
            Self::Pod(pod) => Endpoint::pod(pod, address),
            Self::Outside(address) => Endpoint::address(address),
        }
    }
}

fn outside<'c>(unit: &Unit<'c>) -> Option<End<'c>> {
    match &unit.name {
        UnitName::Outside(range) => Some(End::Outside(range.first)),
        UnitName::Pod(_) | UnitName::Workload { .. } => None,
    }
}

/// A pair for each family that both ends have, or may have as long as an address is not known.
fn over<'c>(from: End<'c>, to: End<'c>) -> Vec<Pair<'c>> {
    if from.is_unknown() && to.is_unknown() {
        return vec![Pair { from: from.at(None), to: to.at(None), family: None }];
    }
    let pair = |family| {
        let (source, target) = (from.address(family), to.address(family));
        let both = (source.is_some() || from.is_unknown()) && (target.is_some() || to.is_unknown());
        both.then(|| Pair { from: from.at(source), to: to.at(target), family: Some(family) })
    };
    Family::BOTH.into_iter().filter_map(pair).collect()
}

/// The pods of each list are of one class; the lists are the same or have no pod in common.
fn between<'c>(senders: &[&'c Pod], receivers: &[&'c Pod]) -> Vec<Pair<'c>> {
    let (Some(first), Some(other)) = (senders.first(), receivers.first()) else { return Vec::new() };
    if first.host_network == other.host_network {
        let to = receivers.iter().find(|pod| pod.name != first.name);
        return to.map_or_else(|| vec![exempt(first, first)], |to| over(End::Pod(first), End::Pod(to)));
    }
    // What counts is whether they share a node, so that one pod of each node is enough.
    let by_node =
        |pods: &[&'c Pod]| -> BTreeMap<_, &'c Pod> { pods.iter().rev().map(|pod| (pod.node.clone(), *pod)).collect() };
    let (senders, receivers) = (by_node(senders), by_node(receivers));
    let find = |wanted: bool| {
        let pairs = senders.values().flat_map(|from| receivers.values().map(move |to| (*from, *to)));
        pairs.into_iter().find(|(from, to)| is_exempt(from, to) == wanted)
    };
    let judged = find(false).map(|(from, to)| over(End::Pod(from), End::Pod(to)));
    let own_node = find(true).map(|(from, to)| exempt(from, to));
    judged.into_iter().flatten().chain(own_node).collect()
}

fn exempt<'c>(from: &'c Pod, to: &'c Pod) -> Pair<'c> {
    Pair { from: Endpoint::pod(from, None), to: Endpoint::pod(to, None), family: None }
}

fn is_itself(pair: &Pair<'_>) -> bool {
    matches!((pair.from.host, pair.to.host), (Host::Pod(from), Host::Pod(to)) if from.name == to.name)
}
