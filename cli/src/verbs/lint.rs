//! `podwall lint`: what is probably not meant.

use std::error::Error;
use std::process::ExitCode;

use crate::args::Lint;
use crate::input;

pub(crate) fn run(args: &Lint) -> Result<ExitCode, Box<dyn Error>> {
    input::load(&args.input)?;
    Ok(ExitCode::SUCCESS)
}
