//! Expectations as a test runner shows its tests.

use std::fmt::{Result, Write as _};

use super::{Checked, lines, title};
use crate::output::{BOLD, DIM, GREEN, RED};

/// How many reasons of one expectation are shown.
const SHOWN: usize = 5;

/// A line for each expectation, with the reasons where it does not hold.
pub(crate) fn text(checked: &[Checked<'_>]) -> String {
    let mut out = String::new();
    // A String takes every write.
    _ = write(&mut out, checked);
    out
}

fn write(out: &mut String, checked: &[Checked<'_>]) -> Result {
    for file in checked {
        writeln!(out, "{BOLD}{}{BOLD:#}", file.file)?;
        for (expectation, outcome) in file.cases() {
            let (style, word) = if outcome.holds() { (GREEN, "ok  ") } else { (RED, "FAIL") };
            write!(out, "  {style}{word}{style:#}  {}", title(expectation))?;
            if let Some(note) = &expectation.note {
                write!(out, " {DIM}({note}){DIM:#}")?;
            }
            if !outcome.holds() {
                write!(out, " {DIM}{}{DIM:#}", expectation.origin)?;
            }
            writeln!(out)?;
            for flaw in outcome.flaws.iter().take(SHOWN) {
                let mut lines = lines(expectation, flaw).into_iter();
                if let Some(first) = lines.next() {
                    writeln!(out, "          {RED}{first}{RED:#}")?;
                }
                for line in lines {
                    writeln!(out, "            {line}")?;
                }
            }
            if outcome.flaws.len() > SHOWN {
                writeln!(out, "          and {} more like these", outcome.flaws.len() - SHOWN)?;
            }
        }
        writeln!(out)?;
    }
    let all: usize = checked.iter().map(|file| file.expectations.len()).sum();
    let failed: usize = checked.iter().map(Checked::failed).sum();
    match failed {
        0 => writeln!(out, "{GREEN}all {all} expectations hold{GREEN:#}"),
        _ => writeln!(out, "{RED}{failed} of {all} expectations do not hold{RED:#}"),
    }
}
