//! `podwall explain`: why one flow is allowed or denied.

use std::error::Error;
use std::process::ExitCode;

use crate::args::Explain;
use crate::input;

pub(crate) fn run(args: &Explain) -> Result<ExitCode, Box<dyn Error>> {
    input::load(&args.input)?;
    Ok(ExitCode::SUCCESS)
}
