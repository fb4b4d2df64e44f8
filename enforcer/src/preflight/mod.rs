//! What the node must have for its packets to be judged: looked at when the agent starts, and by `podwall doctor`.

mod agent;
mod bridge;
mod conntrack;
mod engines;
mod forwarding;
mod kernel;
mod transaction;

pub use bridge::{BridgeFilter, BridgeState};

pub(crate) use bridge::SETTINGS;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

/// Where the kernel's network settings are, unless a container sees them elsewhere.
pub const SYSCTLS: &str = "/proc/sys/net";

/// What is to be checked.
#[derive(Clone, Debug)]
pub struct Node {
    /// The agent's table.
    pub table: Arc<str>,
    /// Where the kernel's network settings are: [`SYSCTLS`].
    pub sysctls: PathBuf,
}

/// Who wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// An agent that starts, and should be the only one.
    Agent,
    /// Somebody who looks at the node.
    Person,
}

/// What a look at the node came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// As it should be.
    Fine,
    /// Policies are enforced, but something is not as it could be.
    Warning,
    /// Policies are not enforced, or not all of them.
    Failure,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is called: one word.
    pub name: &'static str,
    /// What it came to.
    pub state: CheckState,
    /// What was found.
    pub finding: String,
    /// What to do about it; none where nothing is to be done.
    pub remedy: Option<String>,
}

impl Check {
    fn fine(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, state: CheckState::Fine, finding: finding.into(), remedy: None }
    }

    fn warning(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: CheckState::Warning, finding: finding.into(), remedy: Some(remedy.into()) }
    }

    fn failure(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: CheckState::Failure, finding: finding.into(), remedy: Some(remedy.into()) }
    }

    /// Its name, and what was found where that stands in the way of enforcement: what
    /// [`crate::observe::Observer::checked`] takes.
    pub fn obstacle(&self) -> (&'static str, Option<String>) {
        (self.name, (self.state == CheckState::Failure).then(|| self.finding.clone()))
    }
}

/// Looks at everything, in the network namespace of the calling thread. Nothing is changed.
pub async fn check(node: &Node, asker: Asker) -> Vec<Check> {
    let mut checks = vec![kernel::check()];
    checks.extend(transaction::check());
    checks.push(bridge::check(&node.sysctls));
    checks.push(conntrack::check(&node.sysctls));
    checks.push(forwarding::check(&node.sysctls));
    checks.extend(engines::check());
    checks.push(agent::check(&node.table, asker).await);
    checks
}

/// Logs what is not as it should be.
pub fn log(checks: &[Check]) {
    for Check { name, state, finding, remedy } in checks {
        let remedy = remedy.as_deref().unwrap_or_default();
        match state {
            CheckState::Fine => tracing::debug!(check = name, finding, "preflight"),
            CheckState::Warning => tracing::warn!(check = name, finding, remedy, "preflight"),
            CheckState::Failure => tracing::error!(check = name, finding, remedy, "preflight"),
        }
    }
}
