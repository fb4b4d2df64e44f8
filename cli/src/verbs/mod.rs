//! One file a verb.

mod cleanup;
mod compile;
mod diff;
mod doctor;
mod enforce;
mod explain;
mod lab;
mod lint;
mod matrix;
mod status;
mod test;

use std::error::Error;
use std::process::ExitCode;

use crate::args::Verb;

/// The exit status for what a verb looks for and finds, such as a packet that disagrees.
pub(crate) const FINDINGS: u8 = 1;
/// The exit status for errors.
pub(crate) const ERROR: u8 = 2;

/// Runs a verb.
pub(crate) fn run(verb: Verb) -> Result<ExitCode, Box<dyn Error>> {
    match verb {
        Verb::Compile(args) => compile::run(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Matrix(args) => matrix::run(&args),
        Verb::Diff(args) => diff::run(&args),
        Verb::Lint(args) => lint::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Enforce(args) => enforce::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Cleanup(args) => cleanup::run(&args),
        Verb::Lab(args) => lab::run(&args),
    }
}

/// What runs for the moment of one question.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
