//! `podwall test`: whether policies are what expectations say.

use std::error::Error;
use std::process::ExitCode;

use crate::args::Test;
use crate::input;

pub(crate) fn run(args: &Test) -> Result<ExitCode, Box<dyn Error>> {
    input::load(&args.input)?;
    Ok(ExitCode::SUCCESS)
}
