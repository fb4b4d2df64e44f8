//! Rules: lists of statements, each a phrase that nft has a spelling for.

use std::fmt;

use super::{Comment, Name};
use crate::cidr::Family;
use crate::model::Protocol;

/// One rule. Statements are evaluated in order until one does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// In order; never empty.
    pub statements: Vec<Statement>,
    /// Which part of which policy it stands for, where it stands for one.
    pub comment: Option<Comment>,
}

impl Rule {
    /// A rule without a comment.
    pub fn new(statements: impl Into<Vec<Statement>>) -> Self {
        Self { statements: statements.into(), comment: None }
    }

    /// The same rule with a comment.
    #[must_use]
    pub fn comment(self, comment: impl Into<Comment>) -> Self {
        Self { comment: Some(comment.into()), ..self }
    }
}

/// One phrase of a rule. Text in the comments is nft's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `ct state vmap { established : .., related : .. }`; other states go on.
    ConnectionState(Vec<(Connection, Verdict)>),
    /// `ct direction reply`.
    ReplyDirection,
    /// `ct status dnat`: the connection's destination has been translated, as Services do.
    Translated,
    /// `ct mark and MASK == VALUE`. VALUE has no bit outside MASK.
    MarkIs {
        /// The bits that are looked at.
        mask: u32,
        /// What they must be.
        value: u32,
    },
    /// `ct mark set ct mark and ~MASK or VALUE`. VALUE has no bit outside MASK.
    SetMark {
        /// The bits that are written.
        mask: u32,
        /// What they become.
        value: u32,
    },
    /// `ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }`.
    NeighbourDiscovery,
    /// `iifname "NAME"` or `oifname "NAME"`.
    Interface {
        /// The packet's input or output interface.
        side: Side,
        /// The name, or the start of one.
        name: InterfaceName,
    },
    /// `meta l4proto PROTOCOL`.
    Protocol(Protocol),
    /// `tcp dport 80`, `tcp dport 8000-8100`, or `tcp dport { 80, 8000-8100 }`.
    DestinationPort {
        /// The protocol whose header holds the port.
        protocol: Protocol,
        /// Disjoint, ascending, no neighbours; never empty.
        ports: Vec<PortRange>,
    },
    /// `ip saddr @SET` and its like: goes on if the key is in the set. A set with counters counts the packet.
    Lookup {
        /// What of the packet is looked up.
        key: LookupKey,
        /// A set of fitting shape.
        set: Name,
    },
    /// `ip saddr vmap @MAP`: the map's verdict; goes on where the map has none.
    VerdictMap {
        /// What of the packet is looked up.
        key: LookupKey,
        /// A map of fitting shape.
        map: Name,
    },
    /// `counter`.
    Counter,
    /// `limit rate N/second burst N packets`: goes on while packets are fewer.
    Limit {
        /// Packets per second.
        per_second: u32,
        /// Packets that may come at once.
        burst: u32,
    },
    /// `log prefix "P" group N snaplen N`: a copy of the packet's start for a listener on the nflog group.
    Log {
        /// At most 127 bytes.
        prefix: Name,
        /// The nflog group.
        group: u16,
        /// How many bytes of the packet are copied.
        snaplen: u32,
    },
    /// `reject with ..`.
    Reject(Reject),
    /// The rule's verdict.
    Verdict(Verdict),
}

/// What a packet's connection is to conntrack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Both directions have been seen.
    Established,
    /// Belongs to another connection, such as an ICMP error about it (rule 82).
    Related,
}

/// An interface as the packet came in or goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `iifname`.
    Input,
    /// `oifname`.
    Output,
}

/// An interface name, or a prefix of names (`veth*`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceName {
    /// At most 15 bytes, without the star.
    pub text: Name,
    /// Whether every name that starts so is meant.
    pub prefix: bool,
}

/// Why a text names no interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an interface name of 1 to 15 letters, digits and ._:- characters, with a `*` behind it for a prefix")]
pub struct InterfaceNameError;

impl std::str::FromStr for InterfaceName {
    type Err = InterfaceNameError;

    fn from_str(text: &str) -> Result<Self, InterfaceNameError> {
        let (name, prefix) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if (1..=15).contains(&name.len()) && name.bytes().all(valid) {
            Ok(Self { text: name.into(), prefix })
        } else {
            Err(InterfaceNameError)
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.prefix { "*" } else { "" })
    }
}

/// Ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => self.first.fmt(f),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// What of a packet is looked up in a set or map. A packet of the other family never matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LookupKey {
    /// `ip saddr`.
    Source(Family),
    /// `ip daddr`.
    Destination(Family),
    /// `ip saddr . ip daddr`.
    SourceAndDestination(Family),
    /// `ip daddr . meta l4proto . th dport`.
    DestinationAndPort(Family),
}

impl LookupKey {
    /// The family of packets that can match.
    pub fn family(self) -> Family {
        match self {
            Self::Source(family)
            | Self::Destination(family)
            | Self::SourceAndDestination(family)
            | Self::DestinationAndPort(family) => family,
        }
    }
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// `meta l4proto tcp reject with tcp reset`: includes the protocol match.
    TcpReset,
    /// `reject with icmpx admin-prohibited`.
    AdminProhibited,
}

/// What happens to the packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Done: let through.
    Accept,
    /// Done: dropped.
    Drop,
    /// Back to behind the last jump.
    Return,
    /// On in the chain, and back at its end.
    Jump(Name),
    /// On in the chain, without coming back here.
    Goto(Name),
}

impl Verdict {
    /// The chain that it names.
    pub fn chain(&self) -> Option<&Name> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            Self::Accept | Self::Drop | Self::Return => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}
