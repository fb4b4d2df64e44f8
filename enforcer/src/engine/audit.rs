//! A slow comparison of kernel and plan. It finds what notifications do not tell, and should find nothing.

use std::time::{Duration, Instant};

use policy_compiler::ruleset::Name;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::writer::Writer;
use crate::kernel::{KernelError, Observed, Reader};
use crate::observe::Observer;

/// How often a reading is repeated that a commit has overtaken, before the loop waits for one.
const ATTEMPTS: u32 = 3;

/// Reads the table now and then, on a thread and a socket of its own: a large table takes longer to list than any event
/// should wait.
pub(super) struct Audit {
    table: Name,
    tick: Interval,
    reading: Option<JoinHandle<Result<Read, KernelError>>>,
    /// How often a commit has overtaken the reading since the last tick.
    overtaken: u32,
}

/// The table as it was read.
pub(super) struct Read {
    observed: Option<Observed>,
    took: Duration,
    /// How many changes the kernel had taken when the reading began.
    commits: u64,
}

impl Audit {
    pub(super) fn new(table: Name, every: Duration) -> Self {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { table, tick, reading: None, overtaken: 0 }
    }

    /// The next reading; `commits` is how many changes the kernel has taken so far. May be dropped and called again at any
    /// time.
    pub(super) async fn next(&mut self, commits: u64) -> Result<Read, KernelError> {
        if self.reading.is_none() && self.overtaken == 0 {
            self.tick.tick().await;
        }
        let table = self.table.clone();
        let read = move || {
            let started = Instant::now();
            let observed = Reader::open(table)?.read()?;
            Ok(Read { observed, took: started.elapsed(), commits })
        };
        let read = self.reading.get_or_insert_with(|| spawn_blocking(read)).await;
        self.reading = None;
        // Only a runtime that ends takes the thread away; a panic is not swallowed.
        read.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(KernelError::Interrupted(error.to_string())),
        })
    }

    /// Compares; what differs, or has become acceptable, is for the writer to bring in order, and then the answer is yes.
    pub(super) fn judge(
        &mut self,
        read: Result<Read, KernelError>,
        writer: &mut Writer,
        observer: &Observer,
    ) -> Result<bool, KernelError> {
        // Only an overtaken reading is repeated at once; whatever else comes of this one, the next waits for its tick.
        let attempts = std::mem::take(&mut self.overtaken);
        let read = read?;
        if !writer.in_step() {
            return Ok(false);
        }
        let overtaken = read.commits != writer.commits();
        if overtaken && attempts < ATTEMPTS {
            self.overtaken = attempts + 1;
            return Ok(false);
        }
        let differences = if overtaken { writer.compare()? } else { writer.differences(read.observed.as_ref()) };
        observer.audited(differences, read.took);
        if differences > 0 {
            tracing::error!(differences, "the table is not what was committed: mending it");
            writer.doubt();
        }
        Ok(writer.reconsider()? || differences > 0)
    }
}
