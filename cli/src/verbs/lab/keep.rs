//! `podwall lab --keep`: the lab stays, kept by a process in the background.

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};

use lab::keeper::{self, Keeper, KeptLab, Starter};

use super::{build, print, status};
use crate::args::{AnswerFormat, DEFAULT_NAME, Prove};
use crate::output::{self, kept, proof as table};

/// The command that is waited for: the same once more, as the keeper.
pub(super) fn start(args: &Prove) -> Result<ExitCode, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).args(["--starter", &std::process::id().to_string()]);
    let reads_stdin = args.input.paths.iter().any(|path| path == Path::new("-"));
    Ok(keeper::start(command, reads_stdin.then(io::stdin))?.into())
}

/// The keeper itself.
pub(super) fn keep(args: &Prove, starter: u32) -> Result<ExitCode, Box<dyn Error>> {
    let starter = Starter::attach(starter)?;
    let keeper = Keeper::claim(args.name.clone())?;
    let must_be_named = args.name.to_string() != DEFAULT_NAME || !KeptLab::all().is_ok_and(|labs| labs.is_empty());
    let (stage, proven) = build(args)?;
    let standing = keeper.stand(stage, args.cni)?;

    let description = standing.description();
    let text = match args.output {
        AnswerFormat::Text => table::text(&proven) + "\n" + &kept::standing(description, must_be_named),
        AnswerFormat::Json => {
            let mut proof = table::json(&proven);
            proof["lab"] = serde_json::to_value(description)?;
            format!("{proof:#}\n")
        }
    };
    match print(&text) {
        // Whoever has seen enough of the proof still wanted the lab.
        Err(error) if output::is_broken_pipe(&error) => (),
        result => result?,
    }
    starter.release(status(&proven))?;
    drop(proven);
    standing.serve()?;
    Ok(ExitCode::SUCCESS)
}
