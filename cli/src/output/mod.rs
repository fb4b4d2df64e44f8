//! What people see: colours on a terminal, none in a pipe.

pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod expectation;
pub(crate) mod explain;
pub(crate) mod kept;
pub(crate) mod lint;
pub(crate) mod matrix;
pub(crate) mod proof;
pub(crate) mod sarif;
pub(crate) mod stats;
pub(crate) mod status;
mod table;

use std::error::Error;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use policy_compiler::manifest::{Problem, Severity};

pub(crate) const RED: Style = AnsiColor::Red.on_default().bold();
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const BOLD: Style = Style::new().bold();

/// An error and everything behind it, on standard error.
pub(crate) fn error(error: &dyn Error) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    note(RED, "error", &text);
}

/// Something that is no error.
pub(crate) fn warning(text: &str) {
    note(YELLOW, "warning", text);
}

/// Pods that rules leave out, where there are any.
pub(crate) fn pending(count: usize) {
    if count > 0 {
        let pods = if count == 1 { "1 pod has" } else { &format!("{count} pods have") };
        warning(&format!("{pods} no address yet, and so no rules; --addresses CIDR gives them some"));
    }
}

/// What was read and found wanting, each with its place.
pub(crate) fn problem(problem: &Problem) {
    let (style, word) = match problem.severity {
        Severity::Error => (RED, "error"),
        Severity::Warning => (YELLOW, "warning"),
    };
    let mut text = format!("{}: {style}{word}{style:#}: ", problem.origin);
    for part in problem.object.iter().chain(&problem.path) {
        text.push_str(&format!("{BOLD}{part}{BOLD:#}: "));
    }
    text.push_str(&problem.message);
    line(&text);
}

fn note(style: Style, word: &str, text: &str) {
    line(&format!("{style}{word}{style:#}: {text}"));
}

/// A line on standard error; when even that is closed, there is nobody left to tell.
pub(crate) fn line(text: &str) {
    _ = writeln!(anstream::stderr(), "{text}");
}

/// Whether the reader of our output has gone, which is no failure of ours.
pub(crate) fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        next = error.source();
    }
    false
}
