//! The ports that policies tell apart.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Direction, PolicyPort, PortMatch, Protocol};
use policy_compiler::verdict::Traffic;

use super::traffic::TrafficSet;

/// All traffic, cut into the atoms that the policies of some clusters tell apart: ranges of ports of one protocol, and
/// all protocols without ports. A set of atoms is some words of bits.
#[derive(Debug)]
pub struct PortSpace {
    /// Of each of [`Protocol::ALL`] the first port of every atom.
    starts: [Vec<u16>; 3],
}

impl PortSpace {
    /// The atoms of clusters that are to be compared.
    pub fn of<'c>(clusters: impl IntoIterator<Item = &'c Cluster>) -> Arc<Self> {
        let mut starts = [(); 3].map(|()| BTreeSet::from([1]));
        let mut cut = |protocol, first: u16, last: u16| {
            let starts = &mut starts[index(protocol)];
            starts.insert(first);
            starts.extend(last.checked_add(1));
        };
        for cluster in clusters {
            let named = names(cluster);
            for port in policy_ports(cluster) {
                if let PortMatch::Range(first, last) = port.ports {
                    cut(port.protocol, first, last);
                }
            }
            for port in cluster.pods().flat_map(|pod| &pod.ports) {
                if port.name.as_ref().is_some_and(|name| named.contains(&(name.clone(), port.protocol))) {
                    cut(port.protocol, port.number, port.number);
                }
            }
        }
        Arc::new(Self { starts: starts.map(|starts| starts.into_iter().collect()) })
    }

    /// How many words a set of atoms takes.
    pub(super) fn words(&self) -> usize {
        self.atoms().div_ceil(64)
    }

    fn atoms(&self) -> usize {
        self.starts.iter().map(Vec::len).sum::<usize>() + 1
    }

    fn offset(&self, protocol: Protocol) -> usize {
        self.starts.iter().take(index(protocol)).map(Vec::len).sum()
    }

    /// All traffic.
    pub(crate) fn everything(&self) -> Vec<u64> {
        let mut words = vec![0; self.words()];
        (0..self.atoms()).for_each(|atom| set(&mut words, atom));
        words
    }

    /// Adds a range of ports; its ends must be ends of atoms.
    pub(super) fn add(&self, words: &mut [u64], protocol: Protocol, first: u16, last: u16) {
        let offset = self.offset(protocol);
        for (place, start) in self.starts[index(protocol)].iter().enumerate() {
            if (first..=last).contains(start) {
                set(words, offset + place);
            }
        }
    }

    /// The atom that traffic belongs to.
    pub(super) fn atom(&self, traffic: Traffic) -> usize {
        match traffic {
            Traffic::Port(protocol, port) => {
                let behind = self.starts[index(protocol)].partition_point(|start| *start <= port);
                self.offset(protocol) + behind.saturating_sub(1)
            }
            Traffic::Other(_) => self.atoms() - 1,
        }
    }

    /// A set of atoms as ports.
    pub(crate) fn traffic(&self, words: &[u64]) -> TrafficSet {
        let ranges = Protocol::ALL.map(|protocol| {
            let (starts, offset) = (&self.starts[index(protocol)], self.offset(protocol));
            let end = |place: usize| starts.get(place + 1).map_or(u16::MAX, |next| next - 1);
            let atoms = starts.iter().enumerate().filter(|(place, _)| contains(words, offset + place));
            atoms.map(|(place, start)| (*start, end(place))).collect()
        });
        TrafficSet::new(ranges, contains(words, self.atoms() - 1))
    }
}

/// Whether an atom is in a set.
pub(super) fn contains(words: &[u64], atom: usize) -> bool {
    words.get(atom / 64).is_some_and(|word| word & 1 << (atom % 64) != 0)
}

fn set(words: &mut [u64], atom: usize) {
    if let Some(word) = words.get_mut(atom / 64) {
        *word |= 1 << (atom % 64);
    }
}

fn index(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 1,
        Protocol::Sctp => 2,
    }
}

/// The names of ports that policies use, with the protocol that they want.
pub(super) fn names(cluster: &Cluster) -> BTreeSet<(Arc<str>, Protocol)> {
    let named = policy_ports(cluster).filter_map(|port| match &port.ports {
        PortMatch::Named(name) => Some((name.clone(), port.protocol)),
        PortMatch::All | PortMatch::Range(..) => None,
    });
    named.collect()
}

fn policy_ports(cluster: &Cluster) -> impl Iterator<Item = &PolicyPort> {
    let rules = cluster.policies().flat_map(|policy| Direction::BOTH.into_iter().filter_map(|d| policy.rules(d)));
    rules.flatten().flat_map(|rule| rule.ports.iter().flatten())
}
