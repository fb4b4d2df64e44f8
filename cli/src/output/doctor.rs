//! What this node needs: a line for each thing that was looked at, and a remedy where one is needed.

use std::fmt::Write as _;

use anstyle::Style;
use enforcer::preflight::{Check, CheckState};
use serde_json::{Value, json};

use super::{DIM, GREEN, RED, YELLOW};

/// Every check with its remedy, and a last line that counts them.
pub(crate) fn text(checks: &[Check]) -> String {
    let mut out = String::new();
    // A String takes every write.
    _ = write_checks(&mut out, checks);
    _ = write_summary(&mut out, checks);
    out
}

fn write_checks(out: &mut String, checks: &[Check]) -> std::fmt::Result {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let indent = " ".repeat("warning  ".len() + width);
    for Check { name, state, finding, remedy } in checks {
        let (style, word) = shown(*state);
        writeln!(out, "{style}{word:<7}{style:#}  {name:<width$}  {finding}")?;
        if let Some(remedy) = remedy {
            writeln!(out, "{indent}  {DIM}->{DIM:#} {remedy}")?;
        }
    }
    writeln!(out)
}

fn shown(state: CheckState) -> (Style, &'static str) {
    match state {
        CheckState::Fine => (GREEN, "fine"),
        CheckState::Warning => (YELLOW, "warning"),
        CheckState::Failure => (RED, "failure"),
    }
}

fn count(checks: &[Check], state: CheckState) -> usize {
    checks.iter().filter(|check| check.state == state).count()
}

fn write_summary(out: &mut String, checks: &[Check]) -> std::fmt::Result {
    let counted = |state| {
        let (number, (style, word)) = (count(checks, state), shown(state));
        let plural = if number == 1 { "" } else { "s" };
        (number > 0).then(|| format!("{style}{number} {word}{plural}{style:#}"))
    };
    let (failures, warnings) = (counted(CheckState::Failure), counted(CheckState::Warning));
    let sum = match &failures {
        None => format!("{GREEN}nothing stands in the way of enforcement{GREEN:#}"),
        Some(_) => "policies are not enforced, or not all of them".to_owned(),
    };
    let counts: Vec<String> = failures.into_iter().chain(warnings).collect();
    if counts.is_empty() { writeln!(out, "{sum}") } else { writeln!(out, "{sum}: {}", counts.join(", ")) }
}

/// As `docs/json.md` has it.
pub(crate) fn json(checks: &[Check]) -> Value {
    json!({
        "checks": checks,
        "failures": count(checks, CheckState::Failure),
        "warnings": count(checks, CheckState::Warning),
    })
}
