//! `podwall diff`: what another set of manifests would change.

use std::error::Error;
use std::process::ExitCode;

use crate::args::Diff;
use crate::input;

pub(crate) fn run(args: &Diff) -> Result<ExitCode, Box<dyn Error>> {
    input::load(&args.input)?;
    Ok(ExitCode::SUCCESS)
}
