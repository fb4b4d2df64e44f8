//! Where a cluster's objects come from. Every source yields the same: what happens to objects, and what is wrong with
//! the input.

mod directory;
mod file;
mod kubernetes;
mod walk;
mod watch;

pub use directory::{Directory, DirectoryError, Snapshot};
pub use kubernetes::{Kubernetes, KubernetesError};
pub use walk::manifest_files;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use policy_compiler::manifest::{self, Severity};
use policy_compiler::model::{Object, ObjectId, ObjectName};

/// What has happened since a source was asked last.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// In the order in which it happened.
    pub events: Vec<Event>,
    /// Everything that is wrong with the input now; none where that is what it was.
    pub problems: Option<Vec<Problem>>,
}

/// One object came, changed or went.
#[derive(Clone, Debug)]
pub struct Event {
    /// Which object.
    pub id: ObjectId,
    /// As it is now, whole; none where it is gone.
    pub object: Option<Object>,
    /// When the source learned of it.
    pub learned: Instant,
}

impl Event {
    /// An object came or changed.
    pub fn apply(object: Object, learned: Instant) -> Self {
        Self { id: object.id(), object: Some(object), learned }
    }

    /// An object is gone.
    pub fn remove(id: ObjectId, learned: Instant) -> Self {
        Self { id, object: None, learned }
    }
}

/// Something that tells what happens to objects.
pub trait Source {
    /// Why there can be no more news.
    type Error: Error + Send + Sync + 'static;

    /// First every object there is, and not before all of them are known; then what happens to them, all of it that has
    /// happened since the last call.
    ///
    /// # Errors
    /// When the source cannot be used at all.
    fn next(&mut self) -> impl Future<Output = Result<News, Self::Error>>;
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
    /// The API server has something that is invalid or doubtful.
    Object {
        /// Which object.
        object: ObjectId,
        /// Whether it keeps the object from being used.
        severity: Severity,
        /// The field as Kubernetes writes it; none where the whole object is meant.
        path: Option<String>,
        /// What is wrong with it.
        message: String,
    },
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

impl Problem {
    /// The policy that it is about, where it is about one.
    pub fn policy(&self) -> Option<ObjectName> {
        match self {
            Self::Object { object: ObjectId::Policy(name), .. }
            | Self::Duplicate { object: ObjectId::Policy(name), .. } => Some(name.clone()),
            Self::Manifest(problem) => {
                let (namespace, name) = problem.object.as_deref()?.strip_prefix("NetworkPolicy ")?.split_once('/')?;
                Some(ObjectName::new(namespace, name))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, reason } => write!(f, "{file}: cannot be read: {reason}"),
            Self::Manifest(problem) => problem.fmt(f),
            Self::Object { object, severity, path, message } => {
                write!(f, "{severity}: {object}: ")?;
                path.iter().try_for_each(|path| write!(f, "{path}: "))?;
                f.write_str(message)
            }
            Self::Duplicate { object, file, ignored } => {
                write!(f, "{ignored}: {object} is defined in {file} already; that one counts")
            }
        }
    }
}
