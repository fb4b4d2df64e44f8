//! A difference for a terminal.

use std::fmt::{Result, Write as _};

use analysis::diff::{Connectivity, Effect, Movement, NodeRules};
use anstyle::Style;

use super::words::{self, Words};
use crate::output::{BOLD, DIM, GREEN, RED, YELLOW};

/// The widest column, in characters.
const WIDEST: usize = 60;

/// Who reaches whom: a line for each change.
pub(crate) fn connectivity(connectivity: &Connectivity) -> String {
    let mut out = String::new();
    // A String takes every write.
    _ = write_connectivity(&mut out, connectivity);
    out
}

fn write_connectivity(out: &mut String, connectivity: &Connectivity) -> Result {
    if connectivity.is_empty() {
        writeln!(out, "everybody reaches whom they reached before")?;
    }
    let words = Words::new(connectivity);
    for (effect, title, sign, style) in
        [(Effect::Allowed, "becomes allowed", '+', GREEN), (Effect::Denied, "becomes denied", '-', RED)]
    {
        let changes: Vec<_> = connectivity.changes.iter().filter(|change| change.effect == effect).collect();
        if !changes.is_empty() {
            writeln!(out, "{BOLD}{title}{BOLD:#}")?;
        }
        let ends: Vec<(String, String)> = changes.iter().map(|change| words.ends(change)).collect();
        let from_width = width(ends.iter().map(|(from, _)| from));
        let to_width = width(ends.iter().map(|(_, to)| to));
        for ((from, to), change) in ends.iter().zip(&changes) {
            let what = words::traffic(change);
            writeln!(out, "{style}{sign} {from:from_width$} -> {to:to_width$}  {what}{style:#}")?;
        }
    }
    movements(out, "new pods", '+', GREEN, &connectivity.added)?;
    movements(out, "pods that go", '-', RED, &connectivity.removed)?;
    let policies = words::policies(connectivity);
    if !policies.is_empty() {
        writeln!(out, "{BOLD}policies{BOLD:#}")?;
        for (sign, name) in policies {
            let style = match sign {
                '+' => GREEN,
                '-' => RED,
                _ => YELLOW,
            };
            writeln!(out, "{style}{sign} {name}{style:#}")?;
        }
    }
    Ok(())
}

/// How wide a column is; what is wider than most terminals give it stands out, and moves nothing else.
fn width<'n>(names: impl Iterator<Item = &'n String>) -> usize {
    names.map(|name| name.chars().count()).filter(|width| *width <= WIDEST).max().unwrap_or(0)
}

fn movements(out: &mut String, title: &str, sign: char, style: Style, movements: &[Movement]) -> Result {
    if !movements.is_empty() {
        writeln!(out, "{BOLD}{title}{BOLD:#}")?;
    }
    for movement in movements {
        writeln!(out, "{style}{sign} {}{style:#}", words::movement(movement))?;
    }
    Ok(())
}

/// The rules, as unified differences.
pub(crate) fn rules(nodes: &[NodeRules]) -> String {
    if nodes.is_empty() {
        return "every node's rules stay as they are\n".to_owned();
    }
    let mut out = String::new();
    for line in nodes.iter().flat_map(|node| node.unified().lines().map(str::to_owned).collect::<Vec<_>>()) {
        let style = match line.get(..1) {
            _ if line.starts_with("--- ") || line.starts_with("+++ ") => BOLD,
            Some("+") => GREEN,
            Some("-") => RED,
            Some("@") => DIM,
            _ => Style::new(),
        };
        // A String takes every write.
        _ = writeln!(out, "{style}{line}{style:#}");
    }
    out
}
