//! `podwall lab list`: the labs that stand.

use std::error::Error;
use std::process::ExitCode;

use lab::keeper::KeptLab;

use super::print;
use crate::args::{AnswerFormat, List};
use crate::output::kept;

pub(super) fn run(args: &List) -> Result<ExitCode, Box<dyn Error>> {
    let labs: Vec<_> = KeptLab::all()?.into_iter().map(|lab| lab.description).collect();
    print(&match args.output {
        AnswerFormat::Text => kept::list(&labs),
        AnswerFormat::Json => format!("{:#}\n", serde_json::json!({"labs": labs})),
    })?;
    Ok(ExitCode::SUCCESS)
}
