//! `podwall cleanup`: the one way in which the table ever goes.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use enforcer::kernel::Kernel;

use crate::args::Cleanup;

pub(crate) fn run(args: &Cleanup) -> Result<ExitCode, Box<dyn Error>> {
    let existed = Kernel::cleanup(args.table.as_str())?;
    let table = &args.table;
    let text = if existed { format!("removed table inet {table}") } else { format!("there is no table inet {table}") };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
