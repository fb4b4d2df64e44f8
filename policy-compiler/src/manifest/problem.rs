//! What is wrong with a manifest, and where.

use std::fmt;

use crate::cidr::CidrOddity;
use crate::model::Origin;

/// Whether a problem stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The object cannot be used.
    Error,
    /// The object is used, perhaps not as it was meant (rule 168).
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// What sort of thing is wrong, for those who treat some mistakes in a way of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// Not what the API accepts.
    Invalid,
    /// A port number in quotes, which is neither a number nor a name (rule 157).
    QuotedPort,
    /// A CIDR that is not written as its block is (rules 91-93, 167).
    OddCidr(CidrOddity),
    /// An ipBlock whose excepts leave nothing of it.
    EmptyBlock,
}

/// One thing that is wrong.
///
/// No field holds control characters: what was read comes quoted and, where it is long, cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether it stands in the way.
    pub severity: Severity,
    /// What sort of thing it is.
    pub kind: ProblemKind,
    /// The line and column of the value; of the key, where the key is wrong.
    pub origin: Origin,
    /// Kind and name, as far as they can be read: `NetworkPolicy shop/web`.
    pub object: Option<String>,
    /// The field as Kubernetes writes it: `spec.ingress[0].from[1].ipBlock.cidr`.
    pub path: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.origin, self.severity)?;
        for part in self.object.iter().chain(&self.path) {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}
