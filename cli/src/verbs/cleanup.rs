//! `podwall cleanup`: the one way in which the table ever goes.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use enforcer::kernel::Kernel;
use enforcer::observe::control::{Client, ControlError};

use crate::args::Cleanup;
use crate::output;

pub(crate) fn run(args: &Cleanup) -> Result<ExitCode, Box<dyn Error>> {
    let table = args.table.table.as_str();
    let withdrawn = match super::runtime()?.block_on(Client::new(table).withdraw()) {
        // Whoever that is, it keeps nobody from removing a table that no agent owns.
        Err(error @ ControlError::Foreign { .. }) => {
            output::warning(&error.to_string());
            None
        }
        answer => answer?,
    };
    let text = match withdrawn {
        Some(true) => format!("the agent removed table inet {table}, and enforces nothing until it is restarted"),
        Some(false) => format!("there is no table inet {table}; the agent enforces nothing until it is restarted"),
        None if Kernel::cleanup(table)? => format!("removed table inet {table}"),
        None => format!("there is no table inet {table}"),
    };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
