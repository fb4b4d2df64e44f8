//! `podwall lab shell`: a pod or a node from the inside.

use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use lab::lineage;

use super::find;
use crate::args::Shell;

/// What tells those who are in a lab where they are.
const PLACE: &str = "PODWALL_LAB_PLACE";

pub(super) fn run(args: &Shell) -> Result<ExitCode, Box<dyn Error>> {
    let lab = find(args.name.as_ref())?;
    let place = lab.description.place(&args.place)?;
    let mut command = match args.command.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
        None => shell(&format!("({}) ", place.name)),
    };
    // By the mark the lab's end finds whatever is started here, wherever it goes.
    command.env(PLACE, &place.name).env(lineage::VARIABLE, lab.keeper().to_string());
    lab.enter(place)?;
    let program = command.get_program().to_owned();
    Err(CannotRun { program, source: command.exec() }.into())
}

#[derive(Debug, thiserror::Error)]
#[error("cannot run {}", .program.display())]
struct CannotRun {
    program: OsString,
    source: std::io::Error,
}

/// The user's shell, with a prompt that begins with where one is.
fn shell(place: &str) -> Command {
    let shell = env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    let mut command = Command::new(&shell);
    if Path::new(&shell).file_name() == Some(OsStr::new("bash")) {
        // Its startup files set the prompt, but run before this does.
        command.env("PROMPT_COMMAND", format!("PS1=\"{place}${{PS1-}}\"; unset PROMPT_COMMAND"));
    } else {
        command.env("PS1", format!("{place}$ "));
    }
    command
}
