//! One nftables table in typed form: what the compiler emits and every writer walks (invariant 11).
//!
//! There is exactly the vocabulary that plans use. The text renderer, the JSON renderer, the netlink encoder and the
//! interpreter each spell out every variant; none knows a construct that the others lack.

mod rule;
mod set;

pub use rule::{Connection, InterfaceName, LookupKey, PortRange, Reject, Rule, Side, Statement, Verdict};
pub use set::{Element, Key, Set, SetShape};

use std::collections::BTreeMap;
use std::sync::Arc;

/// The name of a chain or set: starts with a letter, then letters, digits and `_./-`, at most 255 bytes (invariant 7).
pub type Name = Arc<str>;

/// The longest name that the kernel takes, in bytes.
pub const NAME_LIMIT: usize = 255;
/// The longest comment that nft reads back, in bytes.
pub const COMMENT_LIMIT: usize = 128;

/// The `inet` table of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// `podwall`, unless told otherwise.
    pub name: Name,
    /// All chains. A rule or element may name any of them, whatever the order.
    pub chains: BTreeMap<Name, Chain>,
    /// All named sets and maps.
    pub sets: BTreeMap<Name, Set>,
}

/// How much a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableSize {
    /// Chains, the base chain included.
    pub chains: usize,
    /// Rules of all chains.
    pub rules: usize,
    /// Named sets and maps.
    pub sets: usize,
    /// Elements of all sets and maps.
    pub elements: usize,
}

/// A chain: hooked into `forward`, or reached by jumps only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Whether this is the base chain: type filter, hook forward, priority filter (0), policy accept.
    pub base: bool,
    /// What it is, in words.
    pub comment: Option<Comment>,
    /// In order.
    pub rules: Vec<Rule>,
}

impl Chain {
    /// A chain that is reached by jumps.
    pub fn new(comment: impl Into<Comment>, rules: Vec<Rule>) -> Self {
        Self { base: false, comment: Some(comment.into()), rules }
    }
}

/// At most [`COMMENT_LIMIT`] bytes of printable text without quotes; longer text is cut.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Comment(Arc<str>);

impl Comment {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: AsRef<str>> From<T> for Comment {
    fn from(text: T) -> Self {
        const CUT: &str = "...";
        let mut clean: String =
            text.as_ref().chars().map(|c| if c == '"' || c == '\\' || c.is_control() { '\'' } else { c }).collect();
        if clean.len() > COMMENT_LIMIT {
            let mut end = COMMENT_LIMIT - CUT.len();
            while !clean.is_char_boundary(end) {
                end -= 1;
            }
            clean.truncate(end);
            clean.push_str(CUT);
        }
        Self(clean.into())
    }
}

impl Table {
    /// An empty table.
    pub fn new(name: impl Into<Name>) -> Self {
        Self { name: name.into(), chains: BTreeMap::new(), sets: BTreeMap::new() }
    }

    /// How much it holds.
    pub fn size(&self) -> TableSize {
        TableSize {
            chains: self.chains.len(),
            rules: self.chains.values().map(|chain| chain.rules.len()).sum(),
            sets: self.sets.len(),
            elements: self.sets.values().map(|set| set.elements.len()).sum(),
        }
    }
}
