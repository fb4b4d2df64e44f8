//! What is in force, and how it came about.

use std::sync::RwLock;
use std::time::{Duration, SystemTime};

use policy_compiler::ruleset::TableSize;

use super::{read, write};
use crate::kernel::Commit;

/// What the kernel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enforcement {
    /// The number of the generation that connections are stamped with.
    pub generation: u32,
    /// Whether the kernel keeps others from changing the table.
    pub owned: bool,
    /// How much the table holds.
    pub size: TableSize,
    /// Policies of the whole cluster.
    pub policies: usize,
}

/// The last change that the kernel took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastCommit {
    /// When.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What it took.
    pub commit: Commit,
}

#[derive(Debug, Default)]
pub(super) struct Enforced(RwLock<Record>);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    pub(super) enforcement: Option<Enforcement>,
    pub(super) last_commit: Option<LastCommit>,
    /// How many changes the kernel took.
    pub(super) commits: u64,
}

impl Enforced {
    pub(super) fn set(&self, enforcement: Enforcement) {
        write(&self.0).enforcement = Some(enforcement);
    }

    pub(super) fn clear(&self) {
        write(&self.0).enforcement = None;
    }

    pub(super) fn committed(&self, commit: Commit, took: Duration) {
        let mut record = write(&self.0);
        record.commits += 1;
        record.last_commit = Some(LastCommit { at: SystemTime::now(), took, commit });
    }

    pub(super) fn get(&self) -> Record {
        *read(&self.0)
    }
}
