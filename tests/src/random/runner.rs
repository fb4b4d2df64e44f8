//! Runs properties: how many cases, from which seed, on all processors, and what a failure looks like.

use std::env;
use std::hash::{BuildHasher as _, Hasher as _};
use std::thread;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// How many cases a run has.
#[derive(Clone, Copy, Debug)]
pub struct Cases(u32);

impl Cases {
    /// A suite that usually has `whole` cases gives so many of them to one property. `PODWALL_CASES` overrides the
    /// whole, otherwise `PODWALL_LONG=1` makes it ten times as large.
    pub fn share(usual: u32, whole: u32) -> Self {
        let asked = env::var("PODWALL_CASES").ok().map(|text| text.parse::<u32>().expect("PODWALL_CASES is a number"));
        let factor = if env::var_os("PODWALL_LONG").is_some_and(|value| value == "1") { 10 } else { 1 };
        let all = u64::from(asked.unwrap_or(whole * factor));
        let share = (all * u64::from(usual)).div_ceil(u64::from(whole));
        Self(u32::try_from(share).expect("a number of cases"))
    }

    /// The number.
    pub fn count(self) -> u32 {
        self.0
    }
}

/// The seed of this run: `PODWALL_SEED`, or any.
pub fn seed() -> u64 {
    match env::var("PODWALL_SEED") {
        Ok(text) => text.parse().expect("PODWALL_SEED is a number"),
        Err(_) => std::hash::RandomState::new().build_hasher().finish(),
    }
}

/// Holds a property against random values; panics with the simplest value that breaks it, and how to see it again.
pub fn run<S: Strategy>(
    cases: Cases,
    values: impl Fn() -> S + Sync,
    property: impl Fn(S::Value) -> Result<(), TestCaseError> + Sync,
) {
    let seed = seed();
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

/// Always the same numbers for the same seed. The better generator takes a third of the time of a run without
/// optimisation.
fn rng(seed: u64) -> TestRng {
    // A state of zeros only would stay that for ever.
    let bytes = (u128::from(seed) | 1 << 127).to_le_bytes();
    TestRng::from_seed(RngAlgorithm::XorShift, &bytes)
}
