//! What rules look up beside their own text: each becomes one or two named sets, shared by all rules that need it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::ledger::Ledger;
use super::live::LivePlan;
use super::names;
use super::peers::{PeerId, PeerKey};
use super::pods::GroupId;
use crate::cidr::Family;
use crate::model::{ContainerPort, Direction, IpBlock, Protocol};
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
#[derive(Clone, Debug)]
pub(super) struct Use {
    pub(super) chains: usize,
    /// The peer's id, where it is one.
    pub(super) peer: Option<PeerId>,
}

/// Everything that is needed now.
pub(super) type Needs = HashMap<Need, Use>;

impl LivePlan {
    /// Counts a need in; the first gets its sets made and filled.
    pub(super) fn provide(&mut self, need: &Need) {
        if let Some(user) = self.needs.get_mut(need) {
            user.chains += 1;
            return;
        }
        for (family, name) in need.sets() {
            self.ledger.put_set(&name, need.declare(family));
        }
        let peer = match need {
            Need::Peer(key) => {
                let selected = self.pods.select(key.own(), &key.scope(), key.pods());
                let peer = self.peers.add(key.clone());
                selected.into_iter().for_each(|group| self.attach(peer, group));
                Some(peer)
            }
            Need::Block(_) | Need::Port(..) => None,
        };
        self.needs.insert(need.clone(), Use { chains: 1, peer });
        if let Need::Port(direction, name, protocol) = need {
            self.fill_port(*direction, name, *protocol);
        }
    }

    fn fill_port(&mut self, direction: Direction, name: &Arc<str>, protocol: Protocol) {
        for (id, record) in self.pods.records() {
            if direction == Direction::Ingress && !record.local {
                continue;
            }
            let numbers =
                record.ports.iter().filter(|port| port.protocol == protocol && port.name.as_ref() == Some(name));
            for number in numbers.map(|port| port.number) {
                for address in self.pods.owned(id) {
                    let set = names::port(direction, name, protocol, Family::of(address));
                    self.ledger.insert(&set, Element::new(Key::Port(address, protocol, number)));
                }
            }
        }
    }

    /// Counts a need out; the last takes its sets along.
    pub(super) fn dispense_with(&mut self, need: &Need) {
        let Some(user) = self.needs.get_mut(need) else { return };
        user.chains -= 1;
        if user.chains > 0 {
            return;
        }
        let peer = self.needs.remove(need).and_then(|user| user.peer);
        if let (Need::Peer(key), Some(peer)) = (need, peer) {
            for group in self.pods.select(key.own(), &key.scope(), key.pods()) {
                if let Some(group) = self.pods.group_mut(group) {
                    group.peers.retain(|other| *other != peer);
                }
            }
            self.peers.remove(peer);
        }
        for (_, name) in need.sets() {
            self.ledger.drop_set(&name);
        }
    }

    /// A peer begins to select a group.
    pub(super) fn attach(&mut self, peer: PeerId, group: GroupId) {
        if let Some(group) = self.pods.group_mut(group) {
            group.peers.push(peer);
        }
        self.change_members(peer, group, Ledger::insert);
    }

    /// A peer selects a group no longer.
    pub(super) fn detach(&mut self, peer: PeerId, group: GroupId) {
        if let Some(group) = self.pods.group_mut(group) {
            group.peers.retain(|other| *other != peer);
        }
        self.change_members(peer, group, Ledger::remove_element);
    }

    fn change_members(&mut self, peer: PeerId, group: GroupId, change: fn(&mut Ledger, &Name, Element)) {
        let (Some(peer), Some(group)) = (self.peers.get(peer), self.pods.group(group)) else { return };
        for member in &group.members {
            for address in self.pods.owned(*member) {
                let set = &peer.sets[Family::of(address) as usize];
                change(&mut self.ledger, set, Element::new(Key::Address(address)));
            }
        }
    }
}

/// What an address adds to the sets of named ports in use.
pub(super) fn port_elements(
    needs: &Needs,
    ports: &[ContainerPort],
    local: bool,
    address: IpAddr,
) -> impl Iterator<Item = (Name, Element)> {
    let named = ports.iter().filter_map(|port| Some((port.name.as_ref()?, port)));
    named.flat_map(move |(name, port)| {
        let relevant = Direction::BOTH.into_iter().filter(move |direction| *direction == Direction::Egress || local);
        let needed =
            relevant.filter(move |direction| needs.contains_key(&Need::Port(*direction, name.clone(), port.protocol)));
        needed.map(move |direction| {
            let set = names::port(direction, name, port.protocol, Family::of(address));
            (set, Element::new(Key::Port(address, port.protocol, port.number)))
        })
    })
}
