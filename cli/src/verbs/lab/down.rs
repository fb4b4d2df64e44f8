//! `podwall lab down`: an end to labs that stand, and to what dead ones have left running.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use lab::keeper::KeptLab;
use lab::lineage;

use super::print;
use crate::args::{AnswerFormat, Down};
use crate::output::{self, kept};
use crate::verbs::ERROR;

pub(super) fn run(args: &Down) -> Result<ExitCode, Box<dyn Error>> {
    let labs = match &args.name {
        Some(name) => KeptLab::find(name)?.into_iter().collect(),
        None => KeptLab::all()?,
    };
    let (mut down, mut status) = (Vec::new(), ExitCode::SUCCESS);
    for lab in labs {
        match lab.take_down() {
            Ok(gone) => down.extend(gone),
            // One that does not go is no reason to let the others stand.
            Err(error) => {
                output::error(&error);
                status = ExitCode::from(ERROR);
            }
        }
    }
    let failed = |error| io::Error::other(format!("cannot end what dead labs have left: {error}"));
    let stragglers = lineage::end_stragglers().map_err(failed)?;
    print(&match args.output {
        AnswerFormat::Text => kept::down(&down, &stragglers, args.name.as_ref()),
        AnswerFormat::Json => format!("{:#}\n", kept::down_json(&down, &stragglers)),
    })?;
    Ok(status)
}
