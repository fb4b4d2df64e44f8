//! `podwall lab`: the policy set, proven with packets; and labs that stay.

mod down;
mod keep;
mod list;
mod shell;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use lab::keeper::{KeptLab, LabName};
use lab::proof::{Claim, Connections, Progress, Proof, Stage, State};
use policy_compiler::manifest::Content;
use policy_compiler::model::Object;
use serde_json::Value;

use crate::args::{AnswerFormat, Lab, LabVerb, Prove};
use crate::input;
use crate::output::proof::{self as table, Proven};

pub(crate) fn run(args: &Lab) -> Result<ExitCode, Box<dyn Error>> {
    match &args.verb {
        Some(LabVerb::Shell(args)) => shell::run(args),
        Some(LabVerb::List(args)) => list::run(args),
        Some(LabVerb::Down(args)) => down::run(args),
        None => match (args.prove.keep, args.prove.starter) {
            (false, _) => prove(&args.prove),
            (true, None) => keep::start(&args.prove),
            (true, Some(starter)) => keep::keep(&args.prove, starter),
        },
    }
}

fn prove(args: &Prove) -> Result<ExitCode, Box<dyn Error>> {
    let (_stage, proven) = build(args)?;
    let text = match args.output {
        AnswerFormat::Text => table::text(&proven),
        AnswerFormat::Json => format!("{:#}\n", table::json(&proven)),
    };
    print(&text)?;
    Ok(ExitCode::from(status(&proven)))
}

/// Has the cluster stand, its policies enforced, and every flow tried, in every state.
fn build(args: &Prove) -> Result<(Stage, Vec<Proven>), Box<dyn Error>> {
    let (names, states) = states(args)?;
    // Before there is a second thread.
    lab::user::enter_user_namespace_if_needed()?;

    let agent = std::env::current_exe()?;
    let claim = Claim { network: args.cni, payload: args.payload, ..Claim::new(&states, &agent) };
    let bar = progress_bar();
    let mut stage = Stage::build(&claim, |progress| show(&bar, progress))?;
    let mut proven: Vec<Proven> = Vec::new();
    for (state, input) in states.iter().zip(names) {
        let mut open = Connections::default();
        if let Some(last) = proven.last() {
            open = stage.connect(&last.proof)?;
            stage.advance(state, |progress| show(&bar, progress))?;
        }
        let connections = stage.review(open);
        let proof = stage.prove(|progress| show(&bar, progress))?;
        proven.push(Proven { input, proof: Proof { connections, ..proof } });
    }
    bar.finish_and_clear();
    Ok((stage, proven))
}

/// Every state with the names of what it was read from: what `-f` says, then one for each `--then`.
fn states(args: &Prove) -> Result<(Vec<String>, Vec<State>), Box<dyn Error>> {
    let first = args.input.paths.as_slice();
    let (mut names, mut states) = (Vec::new(), Vec::new());
    for paths in [first].into_iter().chain(args.then.iter().map(std::slice::from_ref)) {
        states.push(state(input::load_from(paths, args.input.cidr_rules())?));
        names.push(paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "));
    }
    Ok((names, states))
}

/// A cluster whose pods all have a node.
pub(super) fn state(loaded: input::Loaded) -> State {
    let objects = objects(&loaded);
    let mut cluster = loaded.cluster;
    cluster.place_pods(input::ONLY_NODE);
    State { cluster, objects }
}

fn status(proven: &[Proven]) -> u8 {
    let agrees = proven.iter().all(|state| state.proof.mismatches().next().is_none());
    if agrees { 0 } else { super::FINDINGS }
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
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
pub(super) fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar
}

pub(super) fn show(bar: &ProgressBar, progress: Progress) {
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

/// Why it is not known which lab is meant.
#[derive(Debug, thiserror::Error)]
enum WhichLab {
    #[error("no lab stands; `podwall lab -f PATH --keep` makes one")]
    None,
    #[error("no lab {name} stands; {}", others(.stand))]
    Unknown { name: LabName, stand: Vec<KeptLab> },
    #[error("several labs stand: {}; --name says which", names(.0))]
    Several(Vec<KeptLab>),
}

fn others(labs: &[KeptLab]) -> String {
    match labs {
        [] => WhichLab::None.to_string(),
        some => format!("there are {}", names(some)),
    }
}

fn names(labs: &[KeptLab]) -> String {
    labs.iter().map(|lab| lab.description.name.to_string()).collect::<Vec<_>>().join(", ")
}

/// The lab of this name, or else the only one.
fn find(name: Option<&LabName>) -> Result<KeptLab, Box<dyn Error>> {
    if let Some(name) = name {
        return match KeptLab::find(name)? {
            Some(lab) => Ok(lab),
            None => Err(WhichLab::Unknown { name: name.clone(), stand: KeptLab::all()? }.into()),
        };
    }
    let mut labs = KeptLab::all()?;
    match (labs.pop(), labs.is_empty()) {
        (None, _) => Err(WhichLab::None.into()),
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            labs.push(last);
            Err(WhichLab::Several(labs).into())
        }
    }
}
