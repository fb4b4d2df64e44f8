//! A difference for a terminal.

use std::fmt::{Result, Write as _};

use analysis::diff::{Connectivity, Effect, Movement, NodeRules};
use anstyle::Style;

use super::words::{self, Words};
use crate::output::{BOLD, DIM, GREEN, RED, YELLOW};

/// Who reaches whom: a line for each change.
pub(crate) fn connectivity(connectivity: &Connectivity) -> String {
    let mut out = String::new();
    // A String takes every write.
    _ = write_connectivity(&mut out, connectivity);
    out
}

fn write_connectivity(out: &mut String, connectivity: &Connectivity) -> Result {
    let words = Words::new(connectivity);
    for (effect, title, sign, style) in
        [(Effect::Allowed, "becomes allowed", '+', GREEN), (Effect::Denied, "becomes denied", '-', RED)]
    {
        let mut changes = connectivity.changes.iter().filter(|change| change.effect == effect).peekable();
        if changes.peek().is_some() {
            writeln!(out, "{BOLD}{title}{BOLD:#}")?;
        }
        for change in changes {
            let (from, to) = (words.sides(&change.from), words.sides(&change.to));
            writeln!(out, "{style}{sign} {from} -> {to}: {}{style:#}", words::traffic(change))?;
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
    if connectivity.is_empty() {
        writeln!(out, "everybody reaches whom they reached before")?;
    }
    Ok(())
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
