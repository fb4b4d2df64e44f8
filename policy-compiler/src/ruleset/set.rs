//! Named sets and verdict maps.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Comment, Verdict};
use crate::cidr::{Family, IpRange};
use crate::model::Protocol;

/// A named set, or a map from addresses to verdicts. Its elements change in place; shape and family never do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// What its elements look like.
    pub shape: SetShape,
    /// The family of every address in it.
    pub family: Family,
    /// What it is, in words.
    pub comment: Comment,
    /// Keys stand once each; ranges are disjoint.
    pub elements: BTreeSet<Element>,
}

impl Set {
    /// A set without elements.
    pub fn new(shape: SetShape, family: Family, comment: impl Into<Comment>) -> Self {
        Self { shape, family, comment: comment.into(), elements: BTreeSet::new() }
    }
}

/// The kinds of sets that plans use. Hashes for whatever changes with pods, intervals for blocks (invariant 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetShape {
    /// `type ipv4_addr`.
    Addresses,
    /// `type ipv4_addr; counter`: each element counts the lookups that found it.
    CountedAddresses,
    /// `type ipv4_addr; flags interval`.
    Ranges,
    /// `type ipv4_addr . ipv4_addr`.
    AddressPairs,
    /// `type ipv4_addr . inet_proto . inet_service`.
    AddressPorts,
    /// `map { type ipv4_addr : verdict }`.
    Verdicts,
}

/// One element. The verdict is there exactly in maps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// What is looked up.
    pub key: Key,
    /// What a map answers.
    pub verdict: Option<Verdict>,
}

impl Element {
    /// The element of a set.
    pub fn new(key: Key) -> Self {
        Self { key, verdict: None }
    }

    /// The element of a map.
    pub fn verdict(address: IpAddr, verdict: Verdict) -> Self {
        Self { key: Key::Address(address), verdict: Some(verdict) }
    }
}

/// The key of an element, of the kind that the set's shape says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// In `Addresses`, `CountedAddresses` and `Verdicts`.
    Address(IpAddr),
    /// In `Ranges`.
    Range(IpRange),
    /// In `AddressPairs`: the address with itself, which nft cannot compare otherwise.
    Pair(IpAddr),
    /// In `AddressPorts`.
    Port(IpAddr, Protocol, u16),
}
