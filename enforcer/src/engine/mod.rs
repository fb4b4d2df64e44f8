//! The agent's loop: what the source tells becomes a plan, the difference to what is committed becomes a transaction.
//!
//! While a commit runs, further events gather in the source and go out together in the next one; nothing waits for a
//! fixed time. [`writer`] is the one writer, [`culprits`] finds the policies that the kernel refuses, [`audit`] compares
//! kernel and plan now and then.

mod audit;
mod culprits;
mod signals;
mod writer;

use std::error::Error;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use policy_compiler::plan::Settings;
use tokio::time::{MissedTickBehavior, interval};

use crate::kernel::{Foreign, Kernel, KernelError, Monitor};
use crate::observe::Observer;
use crate::observe::control::{self, Request};
use crate::preflight::BridgeFilter;
use crate::source::Source;
use audit::Audit;
use signals::Signals;
use writer::Writer;

/// How long a refused transaction waits for its next try: twice as long each time, up to a limit.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// How often an agent asks whether the one before it has let go of the table.
const OWNED_RETRY: Duration = Duration::from_secs(1);
/// How often the loop shows that it is alive and looks after what could leave a way past the table.
const UPKEEP: Duration = Duration::from_secs(1);

/// What an agent needs to know beside its source.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node whose pods it isolates.
    pub node: String,
    /// The data plane's settings; the table's name must be the kernel's.
    pub settings: Settings,
    /// How often kernel and plan are compared.
    pub audit: Duration,
}

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The source cannot be used.
    #[error("{0}")]
    Source(#[source] Box<dyn Error + Send + Sync>),
    /// The process may not change the kernel's tables.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(#[source] std::io::Error),
}

/// What the loop works with.
pub struct Agent<S> {
    /// What tells of objects.
    pub source: S,
    /// The door to the kernel.
    pub kernel: Kernel,
    /// Who is told of what happens.
    pub observer: Observer,
    /// What others ask for.
    pub requests: control::Receiver,
    /// What shows bridged packets to the table.
    pub bridge: BridgeFilter,
    /// Everything else.
    pub options: Options,
}

/// Keeps the kernel's table what the source's objects mean for one node, until SIGTERM or SIGINT; the rules stay.
///
/// A policy that the kernel refuses is closed. What is refused for another reason is logged, and tried again later, from
/// what the kernel then holds. Another agent that owns the table is waited for. Whatever somebody else changes in the
/// table is undone.
///
/// # Errors
/// When the source cannot be used, or the process may not change nftables.
pub async fn run<S: Source>(agent: Agent<S>) -> Result<(), EngineError> {
    let Agent { source, kernel, observer, mut requests, mut bridge, options } = agent;
    let mut signals = Signals::new().map_err(EngineError::Signals)?;
    let mut monitor = Monitor::open(kernel.table().clone(), kernel.port())?;
    let mut writer = Writer::new(kernel, &options, observer.clone());
    let mut audit = Audit::new(writer.kernel().table().clone(), options.audit);
    let mut upkeep = interval(UPKEEP);
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retry = Retry::default();
    if let Err(error) = writer.reconcile() {
        retry.after(&error)?;
    }
    // What a source has begun to wait for goes on while other things happen.
    let mut news = pin!(stream::unfold(source, async |mut source| Some((source.next().await, source))));
    let mut withdrawn = false;
    loop {
        tokio::select! {
            biased;
            name = signals.next() => {
                tracing::info!(signal = name, "stopping; the rules stay");
                return Ok(());
            }
            Some(Request::Withdraw { answer }) = requests.recv() => {
                if answer.is_closed() {
                    continue; // whoever asked has given up, and been told so
                }
                let removed = writer.withdraw();
                withdrawn |= removed.is_ok();
                tracing::warn!(withdrawn, "asked to remove the table and to enforce nothing until a restart");
                _ = answer.send(removed);
            }
            _ = upkeep.tick() => {
                observer.beat();
                bridge.uphold(&observer);
                continue;
            }
            foreign = monitor.changed(), if !withdrawn => {
                match foreign? {
                    Foreign::Changed { by, what } => {
                        tracing::error!(by = by.as_deref().unwrap_or("unknown"), what, "somebody changed the table: undoing it");
                    }
                    Foreign::Lost => tracing::warn!("notifications were lost: comparing the table"),
                }
                writer.doubt();
            }
            read = audit.next(writer.commits()), if !withdrawn => {
                match audit.judge(read, &mut writer, &observer) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(error) => {
                        tracing::warn!(%error, "no audit");
                        continue;
                    }
                }
            }
            Some(news) = news.next() => {
                writer.hear(news.map_err(|error| EngineError::Source(Box::new(error)))?);
            }
            () = retry.wait(), if !withdrawn => {}
        }
        if withdrawn || retry.is_ahead() {
            continue;
        }
        match writer.reconcile() {
            Ok(()) => retry = Retry::default(),
            Err(error) => retry.after(&error)?,
        }
    }
}

/// When a refused transaction is tried again.
#[derive(Default)]
struct Retry {
    failures: u32,
    at: Option<Instant>,
}

impl Retry {
    /// Counts a failure.
    ///
    /// # Errors
    /// The failure, where trying again is no use.
    fn after(&mut self, error: &KernelError) -> Result<(), KernelError> {
        let wait = match error {
            KernelError::NotPermitted => return Err(KernelError::NotPermitted),
            KernelError::Owned { .. } => OWNED_RETRY,
            _ => LONGEST_RETRY.min(FIRST_RETRY.saturating_mul(1 << self.failures.min(20))),
        };
        tracing::error!(%error, retry_ms = wait.as_millis() as u64, "not committed");
        self.failures += 1;
        self.at = Some(Instant::now() + wait);
        Ok(())
    }

    /// Whether the next try is still to come: until then events only gather.
    fn is_ahead(&self) -> bool {
        self.at.is_some_and(|at| at > Instant::now())
    }

    async fn wait(&self) {
        match self.at {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_waits_twice_as_long_up_to_a_limit() {
        let mut retry = Retry::default();
        assert!(!retry.is_ahead());
        let mut waits = Vec::new();
        for _ in 0..40 {
            let before = Instant::now();
            retry.after(&KernelError::Interrupted("test".into())).unwrap();
            waits.push((retry.at.unwrap() - before).as_millis());
            assert!(retry.is_ahead());
        }
        assert_eq!(waits[..3].iter().map(|wait| wait / 100).collect::<Vec<_>>(), [1, 2, 4]);
        assert!(waits[39] >= 30_000 && waits[39] < 31_000, "{waits:?}");
        // Waiting for another agent's end is no failure of ours.
        let before = Instant::now();
        retry.after(&KernelError::Owned { table: "podwall".into() }).unwrap();
        assert!(retry.at.unwrap() - before < Duration::from_secs(2));
        assert!(matches!(retry.after(&KernelError::NotPermitted), Err(KernelError::NotPermitted)));
    }
}
