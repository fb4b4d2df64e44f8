//! What policy says about a flow, and why.

use std::fmt;

use super::miss::Miss;
use crate::model::Policy;

/// What policy says about a flow, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<'c> {
    /// Set where policy does not apply to the flow at all.
    pub exempt: Option<Exemption>,
    /// Judged at the source, from its policies (rule 20).
    pub egress: Judgement<'c>,
    /// Judged at the destination, from its policies (rule 20).
    pub ingress: Judgement<'c>,
}

impl Verdict<'_> {
    /// Whether the flow passes: both directions admit it, or it is exempt.
    pub fn is_allowed(&self) -> bool {
        self.exempt.is_some() || (self.egress.is_allowed() && self.ingress.is_allowed())
    }
}

/// Traffic that no policy judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exemption {
    /// A pod to itself (rules 99, 100).
    SamePod,
    /// Between a pod and its own node, hostNetwork pods of that node included (rules 95, 102, 103, 108).
    OwnNode,
}

impl fmt::Display for Exemption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SamePod => "a pod may always speak to itself",
            Self::OwnNode => "a pod and its own node may always speak to each other",
        })
    }
}

/// What one direction says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement<'c> {
    /// The subject is no pod that policy can select (rules 24, 105, 124).
    NoSubject,
    /// No policy isolates the subject for this direction (rule 15).
    NotIsolated,
    /// A rule of an isolating policy admits the flow (rule 18).
    Allowed {
        /// The policies that isolate the subject, by name.
        isolating: Vec<&'c Policy>,
        /// The first of them that has such a rule.
        policy: &'c Policy,
        /// The rule's place in its section.
        rule: usize,
        /// The place of the peer in the rule; none where the rule is for every peer (rule 32).
        peer: Option<usize>,
        /// The place of the port in the rule; none where the rule is for all traffic (rule 33).
        port: Option<usize>,
    },
    /// The subject is isolated and no rule admits the flow (rules 18, 22).
    Denied {
        /// One for each policy that isolates the subject, by name.
        misses: Vec<Miss<'c>>,
    },
}

impl<'c> Judgement<'c> {
    /// Whether this direction admits the flow.
    pub fn is_allowed(&self) -> bool {
        !matches!(self, Self::Denied { .. })
    }

    /// The policies that isolate the subject for this direction, by name (rule 16).
    pub fn isolating(&self) -> Vec<&'c Policy> {
        match self {
            Self::NoSubject | Self::NotIsolated => Vec::new(),
            Self::Allowed { isolating, .. } => isolating.clone(),
            Self::Denied { misses } => misses.iter().map(|miss| miss.policy).collect(),
        }
    }
}
