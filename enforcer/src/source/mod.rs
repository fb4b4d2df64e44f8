//! Where a cluster's objects come from. Every source yields the same: all objects as they are wanted now, and what is
//! wrong with the input.

mod directory;
mod file;
mod walk;
mod watch;

pub use directory::{Directory, DirectoryError};
pub use walk::manifest_files;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use policy_compiler::manifest;
use policy_compiler::model::{Object, ObjectId};

/// What a source says at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// All objects, whole.
    pub objects: BTreeMap<ObjectId, Object>,
    /// What is wrong with the input. What it concerns is in `objects` as it last was, or closed, or not at all.
    pub problems: Vec<Problem>,
}

/// Something that yields objects.
pub trait Source {
    /// Why there can be no more snapshots.
    type Error: Error + Send + Sync + 'static;

    /// The first snapshot at once, then the next one that differs. May be dropped and called again at any time.
    ///
    /// # Errors
    /// When the source cannot be used at all.
    fn next(&mut self) -> impl Future<Output = Result<Snapshot, Self::Error>>;
}

/// Something wrong with the input.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// A file or directory cannot be read; what was last read of it counts on.
    Unreadable {
        /// The file or directory.
        file: Arc<str>,
        /// Why, in the system's words.
        reason: String,
    },
    /// A file says something that is invalid or doubtful.
    Manifest(manifest::Problem),
    /// Two files define one object.
    Duplicate {
        /// The object.
        object: ObjectId,
        /// The file whose definition counts: the first in order.
        file: Arc<str>,
        /// The file whose definition is passed over.
        ignored: Arc<str>,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, reason } => write!(f, "{file}: cannot be read: {reason}"),
            Self::Manifest(problem) => problem.fmt(f),
            Self::Duplicate { object, file, ignored } => {
                write!(f, "{ignored}: {object} is defined in {file} already; that one counts")
            }
        }
    }
}
