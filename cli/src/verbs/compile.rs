//! `podwall compile`: the rules of one node or of every node, on standard output.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use policy_compiler::cluster::{AddressPools, Cluster};
use policy_compiler::plan::{self, Generation, NodePlan, Settings};
use policy_compiler::render;

use crate::args::{Compile, RulesFormat};
use crate::output::stats;
use crate::{input, output};

pub(crate) fn run(args: &Compile) -> Result<ExitCode, Box<dyn Error>> {
    let settings = args.data_plane.settings()?;
    let pools = AddressPools::new(args.addresses.iter().copied())?;
    let loaded = input::load(&args.input)?;
    let mut cluster = loaded.cluster;
    cluster.place_pods(args.node.as_deref().unwrap_or(input::ONLY_NODE));
    if !args.addresses.is_empty() {
        cluster.assign_addresses(&pools)?;
    }
    let nodes = nodes(&cluster, args.node.as_deref())?;
    let plans: Vec<(Arc<str>, NodePlan)> = nodes
        .into_iter()
        .map(|node| {
            let plan = plan::compile(&cluster, &node, &settings, Generation::FIRST);
            (node, plan)
        })
        .collect();

    if let Some(text) = input::passed_over(&loaded.manifests) {
        output::line(&text);
    }
    output::pending(plans.iter().map(|(_, plan)| plan.pending.len()).sum());
    let text = match (args.stats, args.output) {
        (false, RulesFormat::Nft) => nft(&plans, &settings),
        (false, RulesFormat::Json) => json(&plans, args.node.is_some())?,
        (true, RulesFormat::Nft) => stats::text(&plans),
        (true, RulesFormat::Json) => stats::json(&plans),
    };
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, thiserror::Error)]
#[error("no node {wanted} in the input; there is {known}")]
pub(super) struct NoSuchNode {
    wanted: String,
    known: String,
}

impl NoSuchNode {
    /// The node that is wanted, if it is known.
    pub(super) fn check(wanted: &str, known: &BTreeSet<Arc<str>>) -> Result<Arc<str>, Self> {
        known.get(wanted).cloned().ok_or_else(|| {
            let known: Vec<&str> = known.iter().map(|name| &**name).collect();
            Self { wanted: wanted.to_owned(), known: known.join(", ") }
        })
    }
}

fn nodes(cluster: &Cluster, wanted: Option<&str>) -> Result<Vec<Arc<str>>, NoSuchNode> {
    let known = cluster.node_names();
    match wanted {
        None => Ok(known.into_iter().collect()),
        Some(wanted) => NoSuchNode::check(wanted, &known).map(|node| vec![node]),
    }
}

fn nft(plans: &[(Arc<str>, NodePlan)], settings: &Settings) -> String {
    let mut text = String::new();
    for (index, (node, plan)) in plans.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        heading(&mut text, node, plan);
        text.push_str(&render::text::table(&plan.table));
    }
    if plans.is_empty() {
        text = format!("# no node and no pod in the input: no table {}\n", settings.table);
    }
    text
}

fn heading(text: &mut String, node: &str, plan: &NodePlan) {
    // A String takes every write.
    _ = writeln!(text, "# node {node}: {} pods with an address, {} of them isolated", plan.pods.len(), plan.isolated());
    for pod in &plan.pods {
        let list = |policies: &[policy_compiler::model::ObjectName]| {
            let names: Vec<&str> = policies.iter().map(|policy| &*policy.name).collect();
            if names.is_empty() { "open".to_owned() } else { names.join(" ") }
        };
        _ = writeln!(text, "#   {}: ingress {}; egress {}", pod.name, list(&pod.ingress), list(&pod.egress));
    }
    if !plan.pending.is_empty() {
        let names: Vec<String> = plan.pending.iter().map(ToString::to_string).collect();
        _ = writeln!(text, "# left out, since they have no address yet: {}", names.join(", "));
    }
}

fn json(plans: &[(Arc<str>, NodePlan)], one: bool) -> Result<String, serde_json::Error> {
    let mut nodes = serde_json::Map::new();
    for (node, plan) in plans {
        nodes.insert(node.to_string(), render::json::table(&plan.table)?);
    }
    let document = match nodes.values().next() {
        Some(only) if one => only.clone(),
        _ => serde_json::Value::Object(nodes),
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}
