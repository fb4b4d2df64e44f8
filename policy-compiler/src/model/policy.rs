//! A NetworkPolicy, defaulted.

use std::fmt;
use std::sync::Arc;

use super::{ObjectName, Origin, Protocol};
use crate::cidr::Cidr;
use crate::selector::Selector;

/// The two halves of a policy, which never answer for each other (rules 17, 28).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Traffic to the subject.
    Ingress,
    /// Traffic from the subject.
    Egress,
}

impl Direction {
    /// Both, in the order in which the API lists them.
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    /// As `policyTypes` spells it.
    pub fn policy_type(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::Egress => "Egress",
        }
    }

    /// The name of the section in a policy's spec.
    pub fn section(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.section())
    }
}

/// A NetworkPolicy after defaulting. A direction that is `Some` isolates (rule 16); its rules are what it allows, and
/// no rules allow nothing (rule 22). Sections whose policyType is not listed are gone (rules 7, 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Namespace and name.
    pub name: ObjectName,
    /// Which pods of the policy's own namespace it isolates (rules 11, 21).
    pub subject: Selector,
    /// Allowed ingress; `None` where the policy does not isolate for ingress.
    pub ingress: Option<Vec<Rule>>,
    /// Allowed egress; `None` where the policy does not isolate for egress.
    pub egress: Option<Vec<Rule>>,
    /// Set where this stands for a policy that could not be compiled: it isolates and allows nothing (invariant 1).
    pub closed: bool,
    /// Where it was written.
    pub origin: Option<Origin>,
}

impl Policy {
    /// What stands in for it where it cannot be carried out: it isolates the same pods for the same directions and allows
    /// nothing (invariant 1).
    #[must_use]
    pub fn close(&self) -> Self {
        let closed = |rules: &Option<Vec<Rule>>| rules.as_ref().map(|_| Vec::new());
        Self { ingress: closed(&self.ingress), egress: closed(&self.egress), closed: true, ..self.clone() }
    }

    /// The rules of one direction; `None` where the policy does not isolate for it.
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// One allow rule: any of the peers and any of the ports (rules 25, 26).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `None` is every source or destination, in and outside the cluster (rule 32). Never empty.
    pub peers: Option<Vec<Peer>>,
    /// `None` is every port and every protocol (rule 33). Never empty.
    pub ports: Option<Vec<PolicyPort>>,
    /// Where the rule was written.
    pub origin: Option<Origin>,
}

/// One entry of `from` or `to`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Pods by labels; never an address outside the cluster (rule 41).
    Pods {
        /// Which namespaces.
        namespaces: NamespaceScope,
        /// Which pods of them; an absent podSelector is the empty one, every pod (rule 40).
        pods: Selector,
    },
    /// Addresses, pods' addresses included (rule 87).
    Block(IpBlock),
}

/// The namespaces of a pod peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceScope {
    /// No namespaceSelector: the policy's own namespace only (rule 39).
    Own,
    /// Every namespace that the selector matches (rules 37, 40).
    Matching(Selector),
}

/// `ipBlock`: a CIDR less the union of its excepts (rules 84, 86).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpBlock {
    /// What is allowed.
    pub cidr: Cidr,
    /// What this block does not allow; another entry may (rule 85).
    pub except: Vec<Cidr>,
}

/// One entry of `ports`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyPort {
    /// TCP where none is written (rule 57).
    pub protocol: Protocol,
    /// Which ports of that protocol.
    pub ports: PortMatch,
}

/// The ports of one entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortMatch {
    /// No port: all of the protocol (rule 58).
    All,
    /// `port..=endPort`; one port where both are equal (rules 59, 60).
    Range(u16, u16),
    /// Resolved on each destination pod by itself (rules 62-67).
    Named(Arc<str>),
}
