//! Expectations as a test runner shows its tests.

use std::fmt::{Result, Write as _};

use super::{Checked, title};
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
        for case in file.cases() {
            let (style, word) = if case.holds() { (GREEN, "ok  ") } else { (RED, "FAIL") };
            write!(out, "  {style}{word}{style:#}  {}", title(case.expectation))?;
            if let Some(note) = &case.expectation.note {
                write!(out, " {DIM}({note}){DIM:#}")?;
            }
            if let Some(trials) = case.trials {
                write!(out, " {DIM}[{} flows]{DIM:#}", trials.len())?;
            }
            if !case.holds() {
                write!(out, " {DIM}{}{DIM:#}", case.expectation.origin)?;
            }
            writeln!(out)?;
            let complaints = case.complaints();
            for lines in complaints.iter().take(SHOWN) {
                let mut lines = lines.iter();
                if let Some(first) = lines.next() {
                    writeln!(out, "          {RED}{first}{RED:#}")?;
                }
                for line in lines {
                    writeln!(out, "            {line}")?;
                }
            }
            if complaints.len() > SHOWN {
                writeln!(out, "          and {} more like these", complaints.len() - SHOWN)?;
            }
        }
        writeln!(out)?;
    }
    let all: usize = checked.iter().map(|file| file.expectations.len()).sum();
    let tried: usize = checked.iter().flat_map(Checked::cases).filter_map(|case| case.trials).map(<[_]>::len).sum();
    let failed: usize = checked.iter().map(Checked::failed).sum();
    match failed {
        0 if tried > 0 => {
            writeln!(out, "{GREEN}all {all} expectations hold, and {tried} flows of packets agree{GREEN:#}")
        }
        0 => writeln!(out, "{GREEN}all {all} expectations hold{GREEN:#}"),
        _ => writeln!(out, "{RED}{failed} of {all} expectations do not hold{RED:#}"),
    }
}
