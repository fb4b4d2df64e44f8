//! `podwall matrix`: who reaches whom.

use std::error::Error;
use std::process::ExitCode;

use crate::args::Matrix;
use crate::input;

pub(crate) fn run(args: &Matrix) -> Result<ExitCode, Box<dyn Error>> {
    input::load(&args.input)?;
    Ok(ExitCode::SUCCESS)
}
