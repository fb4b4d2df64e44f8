//! The `podwall` binary: arguments in, answers out. What a library caller would want lives in the other crates.
#![forbid(unsafe_code)]

mod args;
mod input;
mod output;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match verbs::run(args.verb) {
        Ok(status) => status,
        Err(error) if output::is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(error.as_ref());
            ExitCode::from(verbs::ERROR)
        }
    }
}
