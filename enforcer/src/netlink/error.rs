//! What can go wrong between this process and the kernel.

use std::{fmt, io};

use nix::errno::Errno;

/// One operation of a transaction that the kernel refused; with one refusal, nothing of the transaction stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The errno, positive.
    pub errno: i32,
    /// Which operation of the transaction, counted from 1; 0 is the transaction as a whole.
    pub operation: u32,
    /// What it was, in words: `add elements to set sel-abc_4`.
    pub what: String,
    /// The part at fault, where the kernel named one: `10.0.0.1`, `instruction 3 (lookup of set sel-abc_4)`.
    pub culprit: Option<String>,
    /// The kernel's own words, where it had any.
    pub reason: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(culprit) = &self.culprit {
            write!(f, ", at {culprit}")?;
        }
        write!(f, ": {}", io::Error::from_raw_os_error(self.errno))?;
        if let Some(reason) = &self.reason {
            write!(f, ", {reason}")?;
        }
        if self.errno == Errno::EMLINK as i32 {
            f.write_str(", chains would lead back to themselves, or be more than 16 jumps deep")?;
        }
        Ok(())
    }
}

/// Why a conversation with the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket could not be made or used.
    #[error("cannot {doing} the netlink socket")]
    Socket {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Nothing of the transaction was applied. All refusals in the order of their operations; never empty.
    #[error("the kernel refused the transaction: {}", list(.0))]
    Refused(Vec<Refusal>),
    /// Nothing was applied: the transaction does not fit into the socket's send buffer.
    #[error("a transaction of {bytes} bytes is larger than the send buffer")]
    TooLarge {
        /// The transaction's size.
        bytes: usize,
    },
    /// Nothing was sent: a list grew beyond the 16 bits of its length.
    #[error("{operation} is longer than a netlink attribute can say")]
    Overlong {
        /// The operation, in words.
        operation: String,
    },
    /// The kernel's answer was lost or never came: what was applied must be read back.
    #[error("the kernel's answer to a transaction was lost; it may or may not have been applied")]
    Unconfirmed,
}

impl NetlinkError {
    /// The errno of the first refusal.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused(refusals) => refusals.first().map(|refusal| refusal.errno),
            Self::Socket { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

fn list(refusals: &[Refusal]) -> String {
    const SHOWN: usize = 3;
    let mut text = refusals.iter().take(SHOWN).map(Refusal::to_string).collect::<Vec<_>>().join("; ");
    if let Some(more) = refusals.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("; and {more} more"));
    }
    text
}
