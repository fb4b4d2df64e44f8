//! `podwall lab`: the policy set, proven with packets.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use lab::proof::{self, Claim, Progress};
use policy_compiler::manifest::Content;
use policy_compiler::model::Object;
use serde_json::Value;

use crate::args::{AnswerFormat, Lab};
use crate::output::proof as table;
use crate::{input, output};

pub(crate) fn run(args: &Lab) -> Result<ExitCode, Box<dyn Error>> {
    let mut loaded = input::load(&args.input)?;
    loaded.cluster.place_pods(input::ONLY_NODE);
    for pod in loaded.cluster.pods().filter(|pod| pod.host_network) {
        output::warning(&format!("pod {} has its node's network and is left out", pod.name));
    }
    // Before there is a second thread.
    lab::user::enter_user_namespace_if_needed()?;

    let agent = std::env::current_exe()?;
    let claim = Claim { cluster: &loaded.cluster, network: args.cni, objects: objects(&loaded), agent: &agent };
    let bar = progress_bar();
    let proof = proof::prove(&claim, |progress| show(&bar, progress));
    bar.finish_and_clear();
    let proof = proof?;

    let mut out = anstream::stdout().lock();
    match args.output {
        AnswerFormat::Text => out.write_all(table::text(&proof).as_bytes())?,
        AnswerFormat::Json => writeln!(out, "{:#}", table::json(&proof))?,
    }
    out.flush()?;
    let agrees = proof.mismatches().next().is_none();
    Ok(if agrees { ExitCode::SUCCESS } else { ExitCode::from(super::FINDINGS) })
}

/// What the agent is to read by itself, as it was written.
fn objects(loaded: &input::Loaded) -> Vec<Value> {
    let documents = loaded.manifests.iter().flat_map(|manifest| &manifest.documents);
    let wanted = documents.filter(|document| match &document.content {
        Content::Objects(objects) => {
            objects.iter().any(|object| matches!(object, Object::Policy(_) | Object::Namespace(_)))
        }
        Content::Skipped | Content::Invalid { .. } => false,
    });
    wanted.map(|document| document.to_json()).collect()
}

/// On standard error, and only where that is a terminal.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    match progress {
        Progress::Building { pods } => {
            bar.set_length(pods as u64);
            bar.set_message("building pods");
        }
        Progress::Enforcing => bar.set_message("enforcing"),
        Progress::Probing { done, all } => {
            bar.set_message("probing");
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        }
    }
}
