//! Runs properties: how many cases, from which seed, on all processors, and what a failure looks like.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::thread;

use proptest::prelude::Rng as _;
use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::setting;

/// How many cases a run has.
#[derive(Clone, Copy, Debug)]
pub struct Cases(u32);

impl Cases {
    /// A suite that usually has `whole` cases gives so many of them to one property. `PODWALL_CASES` overrides the
    /// whole, otherwise `PODWALL_LONG=1` makes it ten times as large.
    pub fn share(usual: u32, whole: u32) -> Self {
        let factor = if setting("PODWALL_LONG") == Some(1) { 10 } else { 1 };
        let all = setting("PODWALL_CASES").unwrap_or(u64::from(whole) * factor);
        let share = (all * u64::from(usual)).div_ceil(u64::from(whole));
        Self(u32::try_from(share).expect("a number of cases"))
    }

    /// The number.
    pub fn count(self) -> u32 {
        self.0
    }
}

/// The value that a seed stands for.
pub fn sample<S: Strategy>(values: &S, seed: u64) -> S::Value {
    values.new_tree(&mut runner(1, seed)).expect("nothing is filtered out").current()
}

/// Holds a property against random values; panics with the simplest value that breaks it, and how to see it again.
pub fn run<S: Strategy>(
    cases: Cases,
    values: impl Fn() -> S + Sync,
    property: impl Fn(S::Value) -> Result<(), TestCaseError> + Sync,
) {
    let seed = setting("PODWALL_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let workers = thread::available_parallelism().map_or(1, usize::from) as u32;
    let failures: Vec<String> = thread::scope(|scope| {
        let start = |worker: u32| {
            let (values, property) = (&values, &property);
            scope.spawn(move || {
                let count = cases.count() / workers + u32::from(worker < cases.count() % workers);
                match runner(count, seed.wrapping_add(worker.into())).run(&values(), property) {
                    Ok(()) => None,
                    Err(TestError::Fail(reason, value)) => Some(format!("{reason}\n{value:?}")),
                    Err(TestError::Abort(reason)) => Some(reason.to_string()),
                }
            })
        };
        let running: Vec<_> = (0..workers).map(start).collect();
        running.into_iter().filter_map(|worker| worker.join().expect("the runner catches panics")).collect()
    });
    if let Some(failure) = failures.iter().min_by_key(|failure| failure.len()) {
        panic!("{failure}\n(again with PODWALL_SEED={seed} and as many processors)");
    }
}

fn runner(cases: u32, seed: u64) -> TestRunner {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4096, ..Config::default() };
    TestRunner::new_with_rng(config, rng(seed))
}

/// Always the same numbers for the same seed. ChaCha would take a third of the time of a run without optimisation.
fn rng(seed: u64) -> TestRng {
    // Neighbouring seeds would start alike, and a state of zeros would stay that for ever.
    let bytes = [split_mix(seed), split_mix(!seed)].map(u64::to_le_bytes).concat();
    TestRng::from_seed(RngAlgorithm::XorShift, &bytes)
}

/// SplitMix64.
fn split_mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Numbers for what happens at random while something else is tried; the same for the same seed.
pub struct Dice(TestRng);

impl Dice {
    /// From this seed.
    pub fn new(seed: u64) -> Self {
        Self(rng(seed))
    }

    /// From `PODWALL_SEED`, or one by chance, which is printed for the next time.
    #[allow(clippy::print_stderr, reason = "for whoever reads of the failure")]
    pub fn thrown() -> (Self, u64) {
        let seed = setting("PODWALL_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
        eprintln!("again with PODWALL_SEED={seed}");
        (Self::new(seed), seed)
    }

    /// A number below this.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end
    }
}
