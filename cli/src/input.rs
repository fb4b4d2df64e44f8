//! Manifests from files, directories and standard input, to a cluster.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policy_compiler::cidr::CidrRules;
use policy_compiler::cluster::Cluster;
use policy_compiler::manifest::{self, Content, Manifest, Severity};
use policy_compiler::model::{ObjectId, Origin};

use crate::args::Input;
use crate::output;

/// The node that pods are put on where the input knows none.
pub(crate) const ONLY_NODE: &str = "node";

/// What standard input is called where a file's name would stand.
const STDIN: &str = "<stdin>";

/// Everything that the input says.
pub(crate) struct Loaded {
    pub(crate) cluster: Cluster,
    /// The manifests themselves, in the order in which they were read.
    pub(crate) manifests: Vec<Manifest>,
}

/// One text of the input, and what it says.
pub(crate) struct Source {
    pub(crate) text: String,
    pub(crate) manifest: Manifest,
}

/// Why input cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("cannot read {path}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("no manifests (*.yaml, *.yml, *.json) in {0}")]
    Empty(PathBuf),
    #[error("{errors} in the input; nothing was done")]
    Invalid { errors: String },
}

/// Reads all input, and reports all that is wrong with it, not only the first.
pub(crate) fn load(input: &Input) -> Result<Loaded, InputError> {
    load_from(&input.paths, input.cidr_rules())
}

/// The same for paths that are not the input of the verb: each call is a cluster of its own.
pub(crate) fn load_from(paths: &[PathBuf], rules: CidrRules) -> Result<Loaded, InputError> {
    let manifests: Vec<Manifest> = read(paths, rules)?.into_iter().map(|source| source.manifest).collect();
    let cluster = assemble(&manifests)?;
    Ok(Loaded { cluster, manifests })
}

/// Reads texts, and leaves to the caller what to make of their problems.
pub(crate) fn read(paths: &[PathBuf], rules: CidrRules) -> Result<Vec<Source>, InputError> {
    let mut sources = Vec::new();
    for path in paths {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| InputError::Unreadable { path, source }
        };
        if path.as_os_str() == "-" {
            let text = io::read_to_string(io::stdin()).map_err(unreadable(Path::new(STDIN)))?;
            sources.push(source(&STDIN.into(), text, rules));
            continue;
        }
        let files = enforcer::source::manifest_files(path).map_err(unreadable(path))?;
        if files.is_empty() {
            return Err(InputError::Empty(path.clone()));
        }
        for file in files {
            let text = std::fs::read_to_string(&file).map_err(unreadable(&file))?;
            sources.push(source(&file.to_string_lossy().into(), text, rules));
        }
    }
    Ok(sources)
}

fn source(name: &Arc<str>, text: String, rules: CidrRules) -> Source {
    let manifest = manifest::read(name, &text, rules);
    Source { text, manifest }
}

fn assemble(manifests: &[Manifest]) -> Result<Cluster, InputError> {
    let problems = || manifests.iter().flat_map(|manifest| &manifest.problems);
    problems().for_each(output::problem);
    let mut errors = problems().filter(|problem| problem.severity == Severity::Error).count();

    let mut cluster = Cluster::default();
    let mut first_seen: BTreeMap<ObjectId, Option<Origin>> = BTreeMap::new();
    for document in manifests.iter().flat_map(|manifest| &manifest.documents) {
        let Content::Objects(objects) = &document.content else { continue };
        for object in objects {
            let id = object.id();
            if let Some(first) = first_seen.get(&id) {
                let first = first.as_ref().map_or_else(String::new, |origin| format!(" and {origin}"));
                output::error(&Twice { id, origin: document.origin.clone(), first });
                errors += 1;
            } else {
                first_seen.insert(id, object.origin().cloned());
                _ = cluster.apply(object.clone());
            }
        }
    }
    match errors {
        0 => Ok(cluster),
        1 => Err(InputError::Invalid { errors: "1 error".to_owned() }),
        many => Err(InputError::Invalid { errors: format!("{many} errors") }),
    }
}

/// One object in two places: which of them counts would depend on the order of files.
#[derive(Debug, thiserror::Error)]
#[error("{id} is defined twice: {origin}{first}")]
struct Twice {
    id: ObjectId,
    origin: Origin,
    first: String,
}

/// How many documents of which kinds were passed over, in words; none where there were none.
pub(crate) fn passed_over(manifests: &[Manifest]) -> Option<String> {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for document in manifests.iter().flat_map(|manifest| &manifest.documents) {
        if matches!(document.content, Content::Skipped) {
            *kinds.entry(&document.kind).or_default() += 1;
        }
    }
    let list: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    (!list.is_empty()).then(|| format!("passed over: {}", list.join(", ")))
}
