//! What rules look up beside their own text: each becomes one or two named sets, shared by all rules that need it.

use std::collections::HashMap;
use std::sync::Arc;

use super::names;
use super::peers::{PeerId, PeerKey};
use crate::cidr::Family;
use crate::model::{Direction, IpBlock, Protocol};
use crate::ruleset::{Element, Key, Name, Set, SetShape};

/// Something that a rule looks up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Need {
    /// The addresses of the pods that a peer selects.
    Peer(PeerKey),
    /// An ipBlock's addresses.
    Block(IpBlock),
    /// Who listens on a named port. A packet's destination is the subject itself for ingress, so the node's own pods
    /// will do there; for egress it is any pod of the cluster (rule 67).
    Port(Direction, Arc<str>, Protocol),
}

impl Need {
    /// Its sets, by family.
    pub(super) fn sets(&self) -> Vec<(Family, Name)> {
        match self {
            Self::Peer(key) => Family::BOTH.into_iter().zip(key.set_names()).collect(),
            Self::Block(block) => {
                let family = block.cidr.family();
                vec![(family, names::block(&block.to_string(), family))]
            }
            Self::Port(direction, name, protocol) => {
                let set = |family| (family, names::port(*direction, name, *protocol, family));
                Family::BOTH.map(set).into()
            }
        }
    }

    /// One of its sets. A block's has its elements, which never change; those of pods are to be filled.
    pub(super) fn declare(&self, family: Family) -> Set {
        match self {
            Self::Peer(key) => Set::new(SetShape::Addresses, family, key.describe()),
            Self::Block(block) => {
                let mut set = Set::new(SetShape::Ranges, family, block.to_string());
                set.elements = block.ranges().into_iter().map(|range| Element::new(Key::Range(range))).collect();
                set
            }
            Self::Port(direction, name, protocol) => {
                let whose = match direction {
                    Direction::Ingress => "this node's",
                    Direction::Egress => "the cluster's",
                };
                Set::new(SetShape::AddressPorts, family, format!("{whose} pods that call a {protocol} port {name}"))
            }
        }
    }
}

/// How many chains need something.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) chains: usize,
    /// The peer's id, where it is one.
    pub(super) peer: Option<PeerId>,
}

/// Everything that is needed now.
pub(super) type Needs = HashMap<Need, Use>;
