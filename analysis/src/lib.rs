//! Answers about a cluster and its policies, from manifests alone.
//!
//! Each folder is one question: [`explain`] why one flow passes or not, [`matrix`] who reaches whom, [`diff`] what changes,
//! [`lint`] what is probably not meant, [`expectation`] whether policies are what somebody expects. [`party`] says who is
//! meant by a name, [`reach`] knows all flows of a cluster at once. Nothing here reads a file, speaks to a kernel or prints:
//! callers bring a [`policy_compiler::cluster::Cluster`], or the manifests, and show what comes back.

pub mod diff;
pub mod expectation;
pub mod explain;
pub mod lint;
pub mod matrix;
pub mod party;
pub mod reach;
