//! Answers about a cluster and its policies, from manifests alone.
//!
//! Each folder is one question: [`party`] who is meant by a name, and more to come. Nothing here reads a file, speaks
//! to a kernel or prints: callers bring a [`policy_compiler::cluster::Cluster`] and show what comes back.

pub mod diff;
pub mod expectation;
pub mod explain;
pub mod lint;
pub mod matrix;
pub mod party;
pub mod reach;
