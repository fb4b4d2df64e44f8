//! Why the kernel does not hold what it should.

use nix::errno::Errno;
use policy_compiler::ruleset::Name;

use crate::netlink::NetlinkError;

/// Why the table could not be read, changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Another socket owns the table.
    #[error("table {table} is owned by another process: an agent is running")]
    Owned {
        /// The table.
        table: Name,
    },
    /// The process lacks CAP_NET_ADMIN in the user namespace of its network namespace.
    #[error("changing nftables takes the capability CAP_NET_ADMIN")]
    NotPermitted,
    /// Everything is in force, but something that is no longer used could not be deleted.
    #[error("cannot delete what is no longer used: {0}")]
    Garbage(#[source] Box<KernelError>),
    /// The thread that was to talk to the kernel ended.
    #[error("cannot read the table: {0}")]
    Interrupted(String),
    /// The kernel refused, or could not be talked to.
    #[error(transparent)]
    Netlink(NetlinkError),
}

impl From<NetlinkError> for KernelError {
    /// Refused transactions say more about why than that it was not permitted.
    fn from(error: NetlinkError) -> Self {
        match error {
            NetlinkError::Socket { .. } if error.errno() == Some(Errno::EPERM as i32) => Self::NotPermitted,
            _ => Self::Netlink(error),
        }
    }
}

impl KernelError {
    /// Whether the kernel refused a transaction, which changed nothing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Netlink(NetlinkError::Refused(_)))
    }

    /// The errno behind it, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Interrupted(_) => None,
            Self::Owned { .. } | Self::NotPermitted => Some(Errno::EPERM as i32),
            Self::Garbage(error) => error.errno(),
            Self::Netlink(error) => error.errno(),
        }
    }
}
