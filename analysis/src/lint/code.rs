//! What can be found, by name.

use std::fmt;
use std::str::FromStr;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing may be wrong.
    Info,
    /// Probably not what was meant.
    Warning,
    /// Cannot be used as it is.
    Error,
}

impl Severity {
    /// As flags and JSON spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What sort of thing was found. `docs/lint.md` has a section for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The subject of a policy is no pod at all.
    SelectsNothing,
    /// An entry of `from` or `to` is nobody.
    PeerMatchesNothing,
    /// A port by a name that no destination pod has.
    UnresolvedNamedPort,
    /// A rule that adds nothing to an allow-all.
    ShadowedRule,
    /// Isolated for egress, with rules, but not for names.
    EgressWithoutDns,
    /// Rules that are ignored.
    SectionWithoutPolicyType,
    /// Isolation that nobody wrote rules for.
    PolicyTypeWithoutSection,
    /// Addresses of pods, which change.
    IpBlockCoversPods,
    /// Pods that no policy selects are open.
    NoDefaultDeny,
    /// A CIDR that is not written as its block is.
    OddCidr,
    /// A port number in quotes.
    QuotedPort,
    /// Two peers where one was meant.
    SplitPeer,
    /// A selector that a slip of the pen keeps from matching.
    LabelTypo,
    /// A subject that no policy applies to.
    HostNetworkSubject,
    /// What the API server refuses.
    InvalidManifest,
    /// A comment that suppresses nothing.
    UselessIgnore,
}

/// A name that no code has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no code {written:?}{}", .meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?")))]
pub struct UnknownCode {
    /// The name.
    pub written: String,
    /// A code with nearly that name.
    pub meant: Option<Code>,
}

impl Code {
    /// All codes, in the order of the documentation.
    pub const ALL: [Self; 16] = [
        Self::SelectsNothing,
        Self::PeerMatchesNothing,
        Self::UnresolvedNamedPort,
        Self::ShadowedRule,
        Self::EgressWithoutDns,
        Self::SectionWithoutPolicyType,
        Self::PolicyTypeWithoutSection,
        Self::IpBlockCoversPods,
        Self::NoDefaultDeny,
        Self::OddCidr,
        Self::QuotedPort,
        Self::SplitPeer,
        Self::LabelTypo,
        Self::HostNetworkSubject,
        Self::InvalidManifest,
        Self::UselessIgnore,
    ];

    /// As it is printed, and named in `podwall:ignore` comments.
    pub fn name(self) -> &'static str {
        match self {
            Self::SelectsNothing => "selects-nothing",
            Self::PeerMatchesNothing => "peer-matches-nothing",
            Self::UnresolvedNamedPort => "unresolved-named-port",
            Self::ShadowedRule => "shadowed-rule",
            Self::EgressWithoutDns => "egress-without-dns",
            Self::SectionWithoutPolicyType => "section-without-policy-type",
            Self::PolicyTypeWithoutSection => "policy-type-without-section",
            Self::IpBlockCoversPods => "ip-block-covers-pods",
            Self::NoDefaultDeny => "no-default-deny",
            Self::OddCidr => "odd-cidr",
            Self::QuotedPort => "quoted-port",
            Self::SplitPeer => "split-peer",
            Self::LabelTypo => "label-typo",
            Self::HostNetworkSubject => "host-network-subject",
            Self::InvalidManifest => "invalid-manifest",
            Self::UselessIgnore => "useless-ignore",
        }
    }

    /// How bad it is, unless a finding says otherwise of itself.
    pub fn severity(self) -> Severity {
        match self {
            Self::QuotedPort | Self::InvalidManifest => Severity::Error,
            Self::NoDefaultDeny => Severity::Info,
            _ => Severity::Warning,
        }
    }

    /// What it is, in one sentence.
    pub fn summary(self) -> &'static str {
        match self {
            Self::SelectsNothing => "A policy selects no pod.",
            Self::PeerMatchesNothing => "A peer matches no pod and no address.",
            Self::UnresolvedNamedPort => "No destination pod has a port of the name.",
            Self::ShadowedRule => "A rule adds nothing to a rule that allows everything.",
            Self::EgressWithoutDns => "Pods are isolated for egress and reach no DNS server.",
            Self::SectionWithoutPolicyType => "A section is ignored, since policyTypes does not list its direction.",
            Self::PolicyTypeWithoutSection => "A policy isolates for a direction that it has no section for.",
            Self::IpBlockCoversPods => "An ipBlock covers addresses of pods.",
            Self::NoDefaultDeny => "A namespace with pods has no default deny.",
            Self::OddCidr => "A CIDR is not written as the block that it means.",
            Self::QuotedPort => "A port number stands in quotes.",
            Self::SplitPeer => "namespaceSelector and podSelector are two peers where one was meant.",
            Self::LabelTypo => "A selector matches nothing, and is nearly one that does.",
            Self::HostNetworkSubject => "A policy selects pods on their node's network.",
            Self::InvalidManifest => "A manifest is one that the API server refuses.",
            Self::UselessIgnore => "A podwall:ignore comment suppresses nothing.",
        }
    }

    /// Whether it can only be told of an input that holds pods.
    pub fn needs_pods(self) -> bool {
        match self {
            Self::SelectsNothing
            | Self::PeerMatchesNothing
            | Self::UnresolvedNamedPort
            | Self::EgressWithoutDns
            | Self::IpBlockCoversPods
            | Self::NoDefaultDeny
            | Self::SplitPeer
            | Self::LabelTypo
            | Self::HostNetworkSubject => true,
            Self::ShadowedRule
            | Self::SectionWithoutPolicyType
            | Self::PolicyTypeWithoutSection
            | Self::OddCidr
            | Self::QuotedPort
            | Self::InvalidManifest
            | Self::UselessIgnore => false,
        }
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL.into_iter().find(|code| code.name() == text).ok_or_else(|| {
            let near = |code: &Self| strsim::osa_distance(code.name(), text);
            let nearest = Self::ALL.into_iter().min_by_key(near);
            UnknownCode { written: text.to_owned(), meant: nearest.filter(|code| near(code) <= 3) }
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
