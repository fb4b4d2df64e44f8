//! `podwall diff`: what would change.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use analysis::diff::{self, Connectivity};
use policy_compiler::cluster::{AddressPools, Cluster};
use policy_compiler::plan::Settings;

use super::{FINDINGS, compile::NoSuchNode};
use crate::args::{Diff, DiffFormat};
use crate::input;
use crate::output;
use crate::output::diff::{json, markdown, text};

pub(crate) fn run(args: &Diff) -> Result<ExitCode, Box<dyn Error>> {
    let pools = AddressPools::new(args.addresses.iter().copied())?;
    let mut old = input::load_from(std::slice::from_ref(&args.against), args.input.cidr_rules())?.cluster;
    let mut new = input::load(&args.input)?.cluster;
    let pools = (!args.addresses.is_empty()).then_some(&pools);
    diff::place_alike(&mut old, &mut new, input::ONLY_NODE, pools)?;

    let (output, differs) = if args.rules {
        let nodes = nodes(&old, &new, args.node.as_deref())?;
        output::pending(pending(&old, &new, &nodes));
        let rules = diff::rules(&old, &new, &nodes, &Settings::default());
        let output = match args.output {
            DiffFormat::Text => text::rules(&rules),
            DiffFormat::Json => json::rules(&rules),
            DiffFormat::Markdown => markdown::rules(&rules),
        };
        (output, !rules.is_empty())
    } else {
        let connectivity = Connectivity::between(&old, &new);
        let output = match args.output {
            DiffFormat::Text => text::connectivity(&connectivity),
            DiffFormat::Json => json::connectivity(&connectivity),
            DiffFormat::Markdown => markdown::connectivity(&connectivity),
        };
        (output, !connectivity.is_empty())
    };
    let mut out = anstream::stdout().lock();
    out.write_all(output.as_bytes())?;
    out.flush()?;
    Ok(if differs { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
}

fn nodes(old: &Cluster, new: &Cluster, wanted: Option<&str>) -> Result<BTreeSet<Arc<str>>, NoSuchNode> {
    let known = old.node_names().union(&new.node_names()).cloned().collect();
    match wanted {
        None => Ok(known),
        Some(wanted) => NoSuchNode::check(wanted, &known).map(|node| [node].into()),
    }
}

/// How many pods of these nodes have no rules in one version or the other.
fn pending(old: &Cluster, new: &Cluster, nodes: &BTreeSet<Arc<str>>) -> usize {
    let pods = old.pods().chain(new.pods()).filter(|pod| pod.is_selectable() && pod.addresses.is_empty());
    let here = pods.filter(|pod| pod.node.as_ref().is_some_and(|node| nodes.contains(node)));
    here.map(|pod| &pod.name).collect::<BTreeSet<_>>().len()
}
