//! `podwall test`: whether policies are what expectations say.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use analysis::expectation::{self, Expectation};

use super::FINDINGS;
use crate::args::{Test, TestFormat};
use crate::input::{self, InputError};
use crate::output;
use crate::output::expectation::{Checked, json, junit, text};

pub(crate) fn run(args: &Test) -> Result<ExitCode, Box<dyn Error>> {
    let files = read(&args.expectations)?;
    let mut loaded = input::load(&args.input)?;
    loaded.cluster.place_pods(input::ONLY_NODE);
    let checked: Vec<Checked<'_>> = files
        .into_iter()
        .map(|Suite { file, expectations }| {
            let outcomes = expectation::check(&loaded.cluster, &expectations);
            Checked { file, expectations, outcomes }
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
