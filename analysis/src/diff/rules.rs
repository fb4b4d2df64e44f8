//! What changes in the rules of each node.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use policy_compiler::cluster::Cluster;
use policy_compiler::delta::Delta;
use policy_compiler::plan::{self, Generation, Settings};
use policy_compiler::render;
use policy_compiler::ruleset::Table;
use similar::{ChangeTag, DiffOp, TextDiff};

/// How many lines around a change are shown.
const CONTEXT: usize = 3;

/// What changes in one node's table.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeRules {
    /// The node.
    pub node: Arc<str>,
    /// Its table in the old cluster.
    pub old: Table,
    /// Its table in the new cluster.
    pub new: Table,
    /// What turns the one into the other.
    pub delta: Delta,
}

/// The tables that differ, by node.
pub fn rules(old: &Cluster, new: &Cluster, nodes: &BTreeSet<Arc<str>>, settings: &Settings) -> Vec<NodeRules> {
    let table = |cluster, node: &str| plan::compile(cluster, node, settings, Generation::FIRST).table;
    let node_rules = |node: &Arc<str>| {
        let (old, new) = (table(old, node), table(new, node));
        let delta = Delta::between(&old, &new);
        NodeRules { node: node.clone(), old, new, delta }
    };
    nodes.iter().map(node_rules).filter(|node| !node.delta.is_empty()).collect()
}

impl NodeRules {
    /// The difference of the two tables as nft's language has them, in the form that `patch` takes. Each hunk is headed
    /// by the chain or set that it begins in.
    pub fn unified(&self) -> String {
        let (old, new) = (render::text::table(&self.old), render::text::table(&self.new));
        let diff = TextDiff::from_lines(&old, &new);
        let lines: Vec<&str> = old.lines().collect();
        let mut out = format!("--- old node {}\n+++ new node {}\n", self.node, self.node);
        for group in diff.grouped_ops(CONTEXT) {
            // A String takes every write.
            _ = hunk(&mut out, &diff, &group, &lines);
        }
        out
    }
}

fn hunk(out: &mut String, diff: &TextDiff<'_, '_, '_, str>, group: &[DiffOp], old: &[&str]) -> std::fmt::Result {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
    let (before, now) = (first.old_range().start..last.old_range().end, first.new_range().start..last.new_range().end);
    write!(out, "@@ -{} +{} @@", span(&before), span(&now))?;
    let above = old.iter().take(before.start + 1).rev();
    match above.map(|line| line.trim_start_matches('\t')).find(|line| is_heading(line)) {
        Some(heading) => writeln!(out, " {}", heading.trim_end_matches(" {"))?,
        None => writeln!(out)?,
    }
    for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
        let sign = match change.tag() {
            ChangeTag::Equal => ' ',
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        write!(out, "{sign}{}", change.value())?;
    }
    Ok(())
}

fn is_heading(line: &str) -> bool {
    ["chain ", "set ", "map "].iter().any(|word| line.starts_with(word)) && line.ends_with('{')
}

/// `first,count`. No table is empty, so that no span is.
fn span(lines: &std::ops::Range<usize>) -> String {
    format!("{},{}", lines.start + 1, lines.len())
}
