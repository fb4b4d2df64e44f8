//! `podwall doctor`: what this node needs, and what to do where it is missing.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use enforcer::preflight::{self, Asker, CheckState, Node};

use crate::args::{AnswerFormat, Doctor};
use crate::output;

pub(crate) fn run(args: &Doctor) -> Result<ExitCode, Box<dyn Error>> {
    let node = Node { table: args.table.table.as_str().into(), sysctls: args.sysctls.sysctls.clone() };
    let checks = super::runtime()?.block_on(preflight::check(&node, Asker::Person));
    let mut out = anstream::stdout().lock();
    match args.output {
        AnswerFormat::Text => out.write_all(output::doctor::text(&checks).as_bytes())?,
        AnswerFormat::Json => writeln!(out, "{:#}", output::doctor::json(&checks))?,
    }
    out.flush()?;
    let fails = checks.iter().any(|check| check.state == CheckState::Failure);
    Ok(if fails { ExitCode::from(super::FINDINGS) } else { ExitCode::SUCCESS })
}
