//! How much the table of each node holds.

use std::fmt::Write as _;
use std::sync::Arc;

use policy_compiler::plan::NodePlan;
use policy_compiler::ruleset::TableSize;
use serde_json::{Value, json};

use super::{BOLD, DIM};

const HEADINGS: [&str; 6] = ["pods", "isolated", "chains", "rules", "sets", "elements"];

/// Pods with rules and isolated ones, then the table's chains, rules, sets and elements.
fn counts(plan: &NodePlan) -> [usize; 6] {
    let TableSize { chains, rules, sets, elements } = plan.table.size();
    [plan.pods.len(), plan.isolated(), chains, rules, sets, elements]
}

/// A line for each node, and with several a sum.
pub(crate) fn text(plans: &[(Arc<str>, NodePlan)]) -> String {
    let total = plans.iter().map(|(_, plan)| counts(plan)).fold([0; 6], |sum, next| {
        std::array::from_fn(|place| sum.get(place).zip(next.get(place)).map_or(0, |(sum, next)| sum + next))
    });
    let width = plans.iter().map(|(node, _)| node.len()).max().unwrap_or(0).max("total".len());
    let widths = HEADINGS.map(|heading| heading.len().max(total.iter().max().map_or(0, |most| most.to_string().len())));
    let line = |name: &str, cells: [String; 6]| {
        let mut line = format!("{name:<width$}");
        for (cell, width) in cells.iter().zip(widths) {
            // A String takes every write.
            _ = write!(line, "  {cell:>width$}");
        }
        line
    };
    let mut out = format!("{BOLD}{}{BOLD:#}\n", line("node", HEADINGS.map(str::to_owned)));
    for (node, plan) in plans {
        out.push_str(&line(node, counts(plan).map(|count| count.to_string())));
        out.push('\n');
    }
    if plans.len() > 1 {
        _ = writeln!(out, "{DIM}{}{DIM:#}", line("total", total.map(|count| count.to_string())));
    }
    out
}

/// `{"nodes": [{"node", "pods", "isolated", "chains", "rules", "sets", "elements"}]}`
pub(crate) fn json(plans: &[(Arc<str>, NodePlan)]) -> String {
    let node = |(name, plan): &(Arc<str>, NodePlan)| {
        let mut value = json!({"node": &**name});
        for (heading, count) in HEADINGS.iter().zip(counts(plan)) {
            value[*heading] = json!(count);
        }
        value
    };
    let nodes: Vec<Value> = plans.iter().map(node).collect();
    format!("{:#}\n", json!({"nodes": nodes}))
}
