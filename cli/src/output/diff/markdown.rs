//! A difference for a comment on a pull request.

use std::fmt::{Result, Write as _};

use analysis::diff::{Connectivity, Effect, NodeRules};

use super::words::{self, Words};

/// Who reaches whom: a table.
pub(crate) fn connectivity(connectivity: &Connectivity) -> String {
    let mut out = String::new();
    // A String takes every write.
    _ = write_connectivity(&mut out, connectivity);
    out
}

fn write_connectivity(out: &mut String, connectivity: &Connectivity) -> Result {
    writeln!(out, "### Who reaches whom\n")?;
    if connectivity.is_empty() {
        writeln!(out, "No change: everybody reaches whom they reached before.\n")?;
    }
    let words = Words::new(connectivity);
    if !connectivity.changes.is_empty() {
        writeln!(out, "| change | from | to | what |\n|---|---|---|---|")?;
    }
    for change in &connectivity.changes {
        let effect = match change.effect {
            Effect::Allowed => "**+ allowed**",
            Effect::Denied => "**- denied**",
        };
        let (from, to) = words.ends(change);
        writeln!(out, "| {effect} | {} | {} | {} |", cell(&from), cell(&to), words::traffic(change))?;
    }
    if !connectivity.changes.is_empty() {
        writeln!(out)?;
    }
    for (title, movements) in [("New pods", &connectivity.added), ("Pods that go", &connectivity.removed)] {
        if !movements.is_empty() {
            writeln!(out, "**{title}**\n")?;
            for movement in movements {
                writeln!(out, "* {}", cell(&words::movement(movement)))?;
            }
            writeln!(out)?;
        }
    }
    let policies: Vec<String> =
        words::policies(connectivity).into_iter().map(|(sign, name)| format!("`{sign}{name}`")).collect();
    if !policies.is_empty() {
        writeln!(out, "Policies: {}", policies.join(", "))?;
    }
    Ok(())
}

/// A `*` is a wildcard here, no emphasis.
fn cell(text: &str) -> String {
    text.replace('*', "\\*")
}

/// The rules, folded until somebody wants to see them.
pub(crate) fn rules(nodes: &[NodeRules]) -> String {
    let mut out = String::from("### Rules\n\n");
    if nodes.is_empty() {
        out.push_str("No change: every node's rules stay as they are.\n");
    }
    for node in nodes {
        let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (chains, sets) = (counted(node.delta.chains.len(), "chain"), counted(node.delta.sets.len(), "set"));
        let summary = format!("node {}: {chains} and {sets} changed", node.node);
        // A String takes every write.
        _ = writeln!(out, "<details><summary>{summary}</summary>\n\n```diff\n{}```\n\n</details>\n", node.unified());
    }
    out
}
