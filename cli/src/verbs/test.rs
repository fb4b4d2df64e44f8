//! `podwall test`: whether policies are what expectations say.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use analysis::expectation::{self, Expectation};

use ::lab::proof::{Claim, Stage, State, Trial};
use ::lab::user;

use super::{FINDINGS, lab};
use crate::args::{Test, TestFormat};
use crate::input::{self, InputError};
use crate::output;
use crate::output::expectation::{Checked, json, junit, text};

pub(crate) fn run(args: &Test) -> Result<ExitCode, Box<dyn Error>> {
    let files = read(&args.expectations)?;
    let state = lab::state(input::load(&args.input)?);
    let mut trials = try_with_packets(args, &files, &state)?.into_iter();
    let checked: Vec<Checked<'_>> = files
        .into_iter()
        .map(|Suite { file, expectations }| {
            let outcomes = expectation::check(&state.cluster, &expectations);
            let trials = expectations.iter().map(|_| trials.next()).collect();
            Checked { file, expectations, outcomes, trials }
        })
        .collect();
    let text = match args.output {
        TestFormat::Text => text(&checked),
        TestFormat::Json => json(&checked),
        TestFormat::Junit => junit(&checked)?,
    };
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    let all_hold = checked.iter().all(|file| file.failed() == 0);
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}

/// The flows of every expectation, tried in a lab; nothing at all where none is asked for.
fn try_with_packets(args: &Test, files: &[Suite], state: &State) -> Result<Vec<Vec<Trial>>, Box<dyn Error>> {
    if !args.lab {
        return Ok(Vec::new());
    }
    // Before there is a second thread.
    user::enter_user_namespace_if_needed()?;
    let agent = std::env::current_exe()?;
    let mut claim = Claim { network: args.cni, ..Claim::new(std::slice::from_ref(state), &agent) };
    files.iter().for_each(|file| claim.provide_for(&file.expectations));
    let bar = lab::progress_bar();
    let stage = Stage::build(&claim, |progress| lab::show(&bar, progress))?;
    let expectations = files.iter().flat_map(|file| &file.expectations);
    let mut trials: Vec<Vec<Trial>> =
        expectations.map(|expectation| stage.trials_for(&state.cluster, expectation)).collect();
    // All at once, because many small lots would each wait for their silences.
    let mut all = trials.concat();
    stage.try_all(&mut all, |progress| lab::show(&bar, progress))?;
    bar.finish_and_clear();
    let mut all = all.into_iter();
    for trials in &mut trials {
        *trials = all.by_ref().take(trials.len()).collect();
    }
    Ok(trials)
}

/// A file of expectations.
struct Suite {
    file: Arc<str>,
    expectations: Vec<Expectation>,
}

/// Some files hold no expectations; each has been reported.
#[derive(Debug, thiserror::Error)]
#[error("nothing was tested")]
struct NothingTested;

/// Reads all files, and reports all that are wrong.
fn read(paths: &[PathBuf]) -> Result<Vec<Suite>, Box<dyn Error>> {
    let mut files = Vec::new();
    let mut wrong = false;
    for path in paths {
        let unreadable = |source| InputError::Unreadable { path: path.clone(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let name: Arc<str> = path.to_string_lossy().into();
        match expectation::read(&name, &text) {
            Ok(expectations) => files.push(Suite { file: name, expectations }),
            Err(error) => {
                output::error(&error);
                wrong = true;
            }
        }
    }
    if wrong { Err(NothingTested.into()) } else { Ok(files) }
}
