//! The one writer's loop: what the source wants becomes a plan, the difference to what is committed becomes a
//! transaction.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use policy_compiler::delta::{ChainChange, Delta, SetChange};
use policy_compiler::model::{Object, ObjectId};
use policy_compiler::plan::{Generation, LivePlan, MarkMask, Settings};
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
                engine.update(snapshot.objects);
            }
            () = until(retry) => {}
        }
        match engine.reconcile() {
            Ok(()) => {
                (retry, backoff) = (None, FIRST_RETRY);
                tracing::debug!("in step");
            }
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
    live: LivePlan,
    mask: MarkMask,
    /// What the live plan was last told; none before the source's first word.
    objects: Option<BTreeMap<ObjectId, Object>>,
    /// Whether the kernel holds what the live plan held when it was last asked for a delta.
    in_step: bool,
    problems: Vec<Problem>,
}

impl Engine {
    fn new(kernel: Kernel, options: Options) -> Self {
        let mask = options.settings.mark_mask;
        let live = LivePlan::new(&options.node, options.settings, Generation::FIRST);
        Self { kernel, live, mask, objects: None, in_step: false, problems: Vec::new() }
    }

    /// Logs the problems that are new.
    fn report(&mut self, problems: Vec<Problem>) {
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            tracing::warn!(%problem, "input");
        }
        self.problems = problems;
    }

    /// Tells the live plan what is new, what has changed and what has gone.
    fn update(&mut self, objects: BTreeMap<ObjectId, Object>) {
        let before = self.objects.take().unwrap_or_default();
        for id in before.keys().filter(|id| !objects.contains_key(*id)) {
            self.live.remove(id);
        }
        for (id, object) in &objects {
            if before.get(id) != Some(object) {
                self.live.apply(object.clone());
            }
        }
        self.objects = Some(objects);
    }

    /// Makes the kernel hold what the live plan says.
    fn reconcile(&mut self) -> Result<(), KernelError> {
        if self.objects.is_none() {
            return Ok(());
        }
        let started = Instant::now();
        let first = !std::mem::take(&mut self.in_step);
        let done = if first { self.adopt()? } else { self.advance()? };
        self.in_step = true;
        if let Some((delta, commit)) = done {
            self.log(&delta, commit, started.elapsed());
        }
        if first {
            tracing::info!(table = &**self.kernel.table(), "policies are in force");
        }
        Ok(())
    }

    /// From what the kernel turns out to hold.
    fn adopt(&mut self) -> Result<Option<(Delta, Commit)>, KernelError> {
        let observed = self.kernel.read()?;
        let stamp = observed.as_ref().and_then(|observed| observed.stamp(self.mask.bits()));
        if let Some(generation) = stamp.and_then(|value| Generation::from_value(value, self.mask)) {
            self.live.set_generation(generation);
        }
        let repair = match &observed {
            None => Repair::create(self.live.table()),
            Some(observed) => match observed.delta_to(self.live.table()) {
                same if same.is_empty() => same,
                // What was let through in the meantime is not known: everything is judged again.
                _ => {
                    self.tighten();
                    observed.delta_to(self.live.table())
                }
            },
        };
        tracing::debug!(adopted = observed.is_some(), "read the table");
        _ = self.live.delta(); // all of it is in the repair
        let commit = self.kernel.repair(&repair)?;
        Ok((!repair.is_empty()).then(|| (repair.delta().clone(), commit)))
    }

    /// From what was committed last.
    fn advance(&mut self) -> Result<Option<(Delta, Commit)>, KernelError> {
        if self.live.tightens() {
            self.tighten();
        }
        let delta = self.live.delta();
        if delta.is_empty() {
            return Ok(None);
        }
        let commit = self.kernel.commit(&delta)?;
        Ok(Some((delta, commit)))
    }

    /// Has every live connection judged again.
    fn tighten(&mut self) {
        self.live.set_generation(self.live.generation().next(self.mask));
    }

    fn log(&self, delta: &Delta, commit: Commit, took: Duration) {
        let elements: usize = delta.sets.values().map(elements).sum();
        tracing::info!(
            generation = self.live.generation().number(),
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
