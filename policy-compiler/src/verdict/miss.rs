//! Why a policy that isolates a pod does not admit a flow.

use std::sync::Arc;

use crate::cidr::Cidr;
use crate::model::{Policy, Protocol};
use crate::selector::Requirement;

/// An isolating policy that does not admit the flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss<'c> {
    /// The policy.
    pub policy: &'c Policy,
    /// What of it came nearest.
    pub nearest: Nearest<'c>,
}

/// What of a policy came nearest to admitting a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nearest<'c> {
    /// Nothing can: it stands for a policy that could not be compiled (invariant 1).
    Closed,
    /// Nothing can: it has no rule for this direction (rules 22, 30).
    NoRules,
    /// A rule; of several that are equally near the first.
    Rule(RuleMatch<'c>),
}

/// How the two lists of a rule take a flow: both must match (rule 25).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleMatch<'c> {
    /// The rule's place in its section.
    pub rule: usize,
    /// Its `from` or `to`.
    pub peers: ListMatch<PeerMiss<'c>>,
    /// Its `ports`.
    pub ports: ListMatch<PortMiss>,
}

/// How a list of peers or ports takes a flow: any entry will do (rule 26).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListMatch<M> {
    /// There is no list, which restricts nothing (rules 32, 33).
    Everything,
    /// The first entry that matches, by its place.
    Entry(usize),
    /// No entry matches: why, for each in its place.
    Nothing(Vec<M>),
}

/// Why one entry of `from` or `to` does not mean the other end of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerMiss<'c> {
    /// A selector, and the other end is a pod with other labels or in another namespace. At least one of the two is
    /// said.
    Labels {
        /// What is wrong with the pod's namespace.
        namespace: Option<NamespaceMiss<'c>>,
        /// What of the podSelector the pod's labels do not meet.
        pod: Vec<&'c Requirement>,
    },
    /// A selector, and the other end is outside the cluster: selectors never match that (rule 41).
    OutsideCluster,
    /// A selector, and the other end is a node or a hostNetwork pod, which is one (rules 104, 107).
    Node,
    /// A selector, and the other end is a pod that has finished (rule 124).
    Finished,
    /// An ipBlock that the address is not in, be it for its family only (rule 89).
    OutsideBlock {
        /// The block's `cidr`.
        cidr: Cidr,
    },
    /// An ipBlock that excepts the address (rule 84).
    Excepted {
        /// The first `except` with it.
        except: Cidr,
    },
    /// An ipBlock, and the other end has no address yet (rule 127).
    NoAddress,
}

/// Why a namespace is not one that a peer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceMiss<'c> {
    /// The peer has no namespaceSelector and so means the policy's own (rule 39).
    NotOwn,
    /// What of the namespaceSelector its labels do not meet.
    Labels(Vec<&'c Requirement>),
}

/// Why one entry of `ports` does not mean where a flow goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortMiss {
    /// The entry is for another protocol (rules 57, 75-78).
    Protocol {
        /// Which one.
        wanted: Protocol,
    },
    /// The port is not one of the entry's (rule 59).
    Number {
        /// The entry's lowest port.
        first: u16,
        /// The entry's highest port.
        last: u16,
    },
    /// The entry is a name, and the destination is no pod that could have it (rule 69).
    NameWithoutPod {
        /// The name.
        name: Arc<str>,
    },
    /// The destination has no port of that name (rule 64).
    NameMissing {
        /// The name.
        name: Arc<str>,
    },
    /// The destination has the name for another protocol only (rule 63).
    NameProtocol {
        /// The name.
        name: Arc<str>,
        /// The protocol that it has there.
        declared: Protocol,
    },
    /// The name stands for another port there (rules 65, 66).
    NameNumber {
        /// The name.
        name: Arc<str>,
        /// What it stands for.
        numbers: Vec<u16>,
    },
}

impl RuleMatch<'_> {
    /// Whether the rule admits the flow (rule 25).
    pub fn admits(&self) -> bool {
        self.peers.place().is_ok() && self.ports.place().is_ok()
    }

    /// The greater, the less is missing. Whoever names the peer is more likely to have meant this flow than who names
    /// the port; a rule for every peer means nobody in particular.
    pub(super) fn nearness(&self) -> impl Ord + use<> {
        let peers = match &self.peers {
            ListMatch::Entry(_) => Some(3),
            ListMatch::Everything => Some(2),
            ListMatch::Nothing(misses) => misses.iter().map(PeerMiss::nearness).max(),
        };
        let ports = match &self.ports {
            ListMatch::Entry(_) | ListMatch::Everything => Some(3),
            ListMatch::Nothing(misses) => misses.iter().map(PortMiss::nearness).max(),
        };
        let matching = u8::from(self.peers.place().is_ok()) + u8::from(self.ports.place().is_ok());
        (matches!(self.peers, ListMatch::Entry(_)), matching, peers, ports)
    }
}

impl<M> ListMatch<M> {
    /// How a list takes a flow, where `miss` says why an entry does not match.
    pub(super) fn of<'e, E>(entries: Option<&'e [E]>, mut miss: impl FnMut(&'e E) -> Option<M>) -> Self {
        let Some(entries) = entries else { return Self::Everything };
        let mut misses = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            match miss(entry) {
                Some(miss) => misses.push(miss),
                None => return Self::Entry(place),
            }
        }
        Self::Nothing(misses)
    }

    /// The place of the entry that matches, `None` without a list; otherwise why none does.
    ///
    /// # Errors
    /// The reasons, where no entry matches.
    pub fn place(&self) -> Result<Option<usize>, &[M]> {
        match self {
            Self::Everything => Ok(None),
            Self::Entry(place) => Ok(Some(*place)),
            Self::Nothing(misses) => Err(misses),
        }
    }
}

impl PeerMiss<'_> {
    fn nearness(&self) -> u8 {
        match self {
            Self::Labels { namespace: None, .. } | Self::Excepted { .. } => 3,
            Self::Labels { pod, .. } if pod.is_empty() => 2,
            Self::OutsideBlock { .. } | Self::Labels { .. } | Self::NoAddress => 1,
            Self::OutsideCluster | Self::Node | Self::Finished => 0,
        }
    }
}

impl PortMiss {
    fn nearness(&self) -> u8 {
        match self {
            Self::Number { .. } | Self::NameNumber { .. } | Self::NameProtocol { .. } => 2,
            Self::NameMissing { .. } | Self::NameWithoutPod { .. } => 1,
            Self::Protocol { .. } => 0,
        }
    }
}
