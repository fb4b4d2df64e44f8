//! How others on the node talk to a running agent: over an abstract unix socket that is named after the table. Both are
//! the network namespace's, so whoever can see the table finds its agent.
//!
//! It answers what HTTP answers, and `GET /status` and `POST /withdraw` beside.

mod client;
mod server;

pub use client::{Client, ControlError};
pub use server::serve;

use std::time::Duration;

use nix::unistd::{Uid, geteuid};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::kernel::KernelError;

/// How many requests may wait for the writer's loop.
const WAITING: usize = 8;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the writer's loop has for one: a client is told before it gives up.
const LOOP_PATIENCE: Duration = Duration::from_secs(4);

const STATUS: &str = "/status";
const WITHDRAW: &str = "/withdraw";

/// Something that only the writer's loop can do. Nobody waits any more for an answer whose sender
/// [is closed](oneshot::Sender::is_closed): whoever asked was told that nothing came of it.
#[derive(Debug)]
pub enum Request {
    /// Remove the table, and enforce nothing until the agent is restarted.
    Withdraw {
        /// Takes whether there was a table, or why it could not be removed.
        answer: oneshot::Sender<Result<bool, KernelError>>,
    },
}

/// The end for whoever asks.
pub type Sender = mpsc::Sender<Request>;
/// The end for the writer's loop. That nobody can ask any more means nothing.
pub type Receiver = mpsc::Receiver<Request>;

/// Both ends.
pub fn channel() -> (Sender, Receiver) {
    mpsc::channel(WAITING)
}

/// What came of a withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Withdrawn {
    /// Whether there was a table.
    removed: bool,
}

/// As the system wants the name of an abstract socket.
fn address(table: &str) -> String {
    format!("\0{}", name(table))
}

/// As people write it, but for the `@` that stands for abstract.
fn name(table: &str) -> String {
    format!("podwall/{table}")
}

/// Anybody may take an abstract name, and connect to one. Only root, and whom this process runs as, is listened to.
fn is_trusted(user: u32) -> bool {
    let user = Uid::from_raw(user);
    user.is_root() || user == geteuid()
}
