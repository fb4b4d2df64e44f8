//! Why the kernel does not hold what it should.

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
    /// The kernel refused, or could not be talked to.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl KernelError {
    /// The errno behind it, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Owned { .. } | Self::NotPermitted => Some(nix::errno::Errno::EPERM as i32),
            Self::Garbage(error) => error.errno(),
            Self::Netlink(error) => error.errno(),
        }
    }
}
