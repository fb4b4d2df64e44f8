//! The one writer's loop: what the source wants becomes a plan, the difference to what is committed becomes a
//! transaction.

use std::error::Error;
use std::time::Duration;

use policy_compiler::cluster::Cluster;
use policy_compiler::delta::{ChainChange, Delta, SetChange};
use policy_compiler::plan::{self, Generation, Settings};
use policy_compiler::ruleset::Table;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::kernel::{Commit, Kernel, KernelError, Repair};
use crate::source::{Problem, Source};

/// How long a refused transaction waits for its next try: twice as long each time, up to a limit.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// How often an agent asks whether the one before it has let go of the table.
const OWNED_RETRY: Duration = Duration::from_secs(1);

/// What an agent needs to know beside its source.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node whose pods it isolates.
    pub node: String,
    /// The data plane's settings; the table's name must be the kernel's.
    pub settings: Settings,
}

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The source cannot be used.
    #[error("{0}")]
    Source(#[source] Box<dyn Error + Send + Sync>),
    /// The process may not change the kernel's tables.
    #[error(transparent)]
    Kernel(KernelError),
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(#[source] std::io::Error),
}

/// Keeps the kernel's table what the source's objects mean for one node, until SIGTERM or SIGINT; the rules stay.
///
/// A refused transaction is logged; the table is read back and tried again later. Another agent that owns the table is
/// waited for.
///
/// # Errors
/// When the source cannot be used, or the process may not change nftables.
pub async fn run(mut source: impl Source, kernel: Kernel, options: Options) -> Result<(), EngineError> {
    let mut signals = Signals::new().map_err(EngineError::Signals)?;
    let mut engine = Engine::new(kernel, options);
    let mut backoff = FIRST_RETRY;
    let mut retry: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            name = signals.next() => {
                tracing::info!(signal = name, "stopping; the rules stay");
                return Ok(());
            }
            snapshot = source.next() => {
                let snapshot = snapshot.map_err(|error| EngineError::Source(Box::new(error)))?;
                engine.report(snapshot.problems);
                engine.cluster = Some(snapshot.objects.into_values().collect());
            }
            () = until(retry) => {}
        }
        match engine.reconcile() {
            Ok(()) => (retry, backoff) = (None, FIRST_RETRY),
            Err(error @ KernelError::NotPermitted) => return Err(EngineError::Kernel(error)),
            Err(error) => {
                let wait = if matches!(error, KernelError::Owned { .. }) { OWNED_RETRY } else { backoff };
                tracing::error!(%error, retry_ms = wait.as_millis() as u64, "not committed");
                retry = Some(Instant::now() + wait);
                backoff = LONGEST_RETRY.min(backoff * 2);
            }
        }
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

struct Engine {
    kernel: Kernel,
    options: Options,
    /// None before the source's first word.
    cluster: Option<Cluster>,
    /// What the kernel holds; none while that is not known.
    committed: Option<Table>,
    generation: Generation,
    problems: Vec<Problem>,
}

impl Engine {
    fn new(kernel: Kernel, options: Options) -> Self {
        let generation = Generation::FIRST;
        Self { kernel, options, cluster: None, committed: None, generation, problems: Vec::new() }
    }

    /// Logs the problems that are new.
    fn report(&mut self, problems: Vec<Problem>) {
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            tracing::warn!(%problem, "input");
        }
        self.problems = problems;
    }

    /// Makes the kernel hold what the cluster means. Afterwards `committed` is what it holds, or none.
    fn reconcile(&mut self) -> Result<(), KernelError> {
        let Some(cluster) = self.cluster.take() else { return Ok(()) };
        let started = Instant::now();
        let committed = self.committed.take();
        let first = committed.is_none();
        let done = match committed {
            None => self.adopt(&cluster),
            Some(committed) => self.advance(&cluster, committed),
        };
        self.cluster = Some(cluster);
        if let Some((delta, commit)) = done? {
            self.log(&delta, commit, started.elapsed());
        }
        if first {
            tracing::info!(table = &**self.kernel.table(), "policies are in force");
        }
        Ok(())
    }

    /// From what the kernel turns out to hold.
    fn adopt(&mut self, cluster: &Cluster) -> Result<Option<(Delta, Commit)>, KernelError> {
        let mask = self.options.settings.mark_mask;
        let observed = self.kernel.read()?;
        let stamp = observed.as_ref().and_then(|observed| observed.stamp(mask.bits()));
        self.generation = stamp.and_then(|value| Generation::from_value(value, mask)).unwrap_or(self.generation);
        let mut table = self.compile(cluster);
        let repair = match &observed {
            None => Repair::create(&table),
            Some(observed) => match observed.delta_to(&table) {
                same if same.is_empty() => same,
                // What was let through in the meantime is not known: everything is judged again.
                _ => {
                    self.tighten(&mut table);
                    observed.delta_to(&table)
                }
            },
        };
        tracing::debug!(adopted = observed.is_some(), "read the table");
        let commit = self.kernel.repair(&repair)?;
        self.committed = Some(table);
        Ok((!repair.is_empty()).then(|| (repair.delta().clone(), commit)))
    }

    /// From what was committed last.
    fn advance(&mut self, cluster: &Cluster, committed: Table) -> Result<Option<(Delta, Commit)>, KernelError> {
        let mut table = self.compile(cluster);
        let mut delta = Delta::between(&committed, &table);
        if delta.is_empty() {
            self.committed = Some(committed);
            return Ok(None);
        }
        if delta.tightens(&committed) {
            self.tighten(&mut table);
            delta = Delta::between(&committed, &table);
        }
        let commit = self.kernel.commit(&delta)?;
        self.committed = Some(table);
        Ok(Some((delta, commit)))
    }

    fn compile(&self, cluster: &Cluster) -> Table {
        let Options { node, settings } = &self.options;
        plan::compile(cluster, node, settings, self.generation).table
    }

    /// Has every live connection judged again.
    fn tighten(&mut self, table: &mut Table) {
        let mask = self.options.settings.mark_mask;
        self.generation = self.generation.next(mask);
        plan::stamp(table, mask, self.generation);
    }

    fn log(&self, delta: &Delta, commit: Commit, took: Duration) {
        let elements: usize = delta.sets.values().map(elements).sum();
        tracing::info!(
            generation = self.generation.number(),
            chains = delta.chains.len(),
            deleted_chains = delta.chains.values().filter(|change| **change == ChainChange::Delete).count(),
            sets = delta.sets.len(),
            elements,
            operations = commit.operations,
            bytes = commit.bytes,
            microseconds = took.as_micros() as u64,
            "committed"
        );
    }
}

/// How many elements a change adds and removes; those of a deleted set are not counted.
fn elements(change: &SetChange) -> usize {
    match change {
        SetChange::Create(set) => set.elements.len(),
        SetChange::Edit { remove, add } => remove.len() + add.len(),
        SetChange::Delete => 0,
    }
}
