//! What can go wrong, each with the object it went wrong with.

use std::{io, net::IpAddr, time::Duration};

use crate::{Protocol, requirements::Missing};

/// A failure to build or to use a lab.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// This machine lacks something; everything it lacks is listed.
    #[error("this machine cannot hold a lab:{}", list(.0))]
    Requirements(Vec<Missing>),
    /// Neither root nor allowed to become root in a user namespace.
    #[error("a lab needs root or a user namespace, and the kernel refused the latter ({source}): {hint}")]
    UserNamespace {
        /// What to change.
        hint: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A system call on a namespace failed.
    #[error("namespace {namespace}: cannot {action}")]
    Namespace {
        /// Whose namespace.
        namespace: String,
        /// What was tried.
        action: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A CNI plugin could not be run or answered with something that is not CNI.
    #[error("CNI plugin {plugin}, {command} for {pod}: {reason}")]
    Plugin {
        /// The plugin's file name.
        plugin: &'static str,
        /// `ADD` or `DEL`.
        command: &'static str,
        /// The pod or node.
        pod: String,
        /// What happened.
        reason: String,
    },
    /// A CNI plugin reported an error.
    #[error("CNI plugin {plugin}, {command} for {pod}: {message} (code {code}) {details}")]
    Cni {
        /// The plugin's file name.
        plugin: &'static str,
        /// `ADD` or `DEL`.
        command: &'static str,
        /// The pod or node.
        pod: String,
        /// The CNI error code.
        code: u32,
        /// The plugin's words.
        message: String,
        /// More of them; often empty.
        details: String,
    },
    /// A port of a pod could not be served.
    #[error("pod {pod}: cannot listen on {protocol} {port}")]
    Listen {
        /// The pod.
        pod: String,
        /// The port's protocol.
        protocol: Protocol,
        /// The port.
        port: u16,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There is nothing to build.
    #[error("a claim needs at least one state of the cluster")]
    NoState,
    /// A pod or node was named that the lab does not have.
    #[error("the lab has no pod or node named {0}")]
    Unknown(String),
    /// A pod or node was named twice.
    #[error("the lab already has {0}")]
    Duplicate(String),
    /// More nodes than the address plan has room for.
    #[error("a lab holds at most {max} nodes, {asked} were asked for", max = crate::cluster::MAX_NODES)]
    TooManyNodes {
        /// How many were asked for.
        asked: usize,
    },
    /// A connection could not be opened.
    #[error("from {from} to {to} port {port}: cannot open a connection")]
    Connect {
        /// The pod it starts from.
        from: String,
        /// The address.
        to: IpAddr,
        /// The port.
        port: u16,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A child process could not be handled.
    #[error("process {process}: cannot {action}")]
    Process {
        /// The program.
        process: String,
        /// What was tried.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A child process did not say in time what it should have said.
    #[error("process {process}: no line with {pattern:?} on its stderr within {waited:?}; it said:\n{said}")]
    Silent {
        /// The program.
        process: String,
        /// What was waited for.
        pattern: String,
        /// For how long.
        waited: Duration,
        /// Everything it said until then.
        said: String,
    },
    /// A thread of the lab could not be started, or its runtime could not be made.
    #[error("cannot start a thread of the lab")]
    Thread(#[source] io::Error),
}

fn list(missing: &[Missing]) -> String {
    missing.iter().map(|missing| format!("\n  - {missing}")).collect()
}
