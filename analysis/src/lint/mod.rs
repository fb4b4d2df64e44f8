//! What in manifests is probably not meant.
//!
//! [`lint`] takes the texts and what they say, and gives back [`Finding`]s, each with a [`Code`], a place and advice. A
//! finding that is none costs more trust than one that is missed, so a check that cannot know keeps quiet: of pods and
//! namespaces outside the input, above all.

mod blocks;
mod code;
mod comments;
mod context;
mod default_deny;
mod dns;
mod finding;
mod ignore;
mod peers;
mod policy_types;
mod population;
mod ports;
mod problems;
mod shadow;
mod split;
mod subjects;
mod typo;

use std::collections::HashMap;

use policy_compiler::manifest::Manifest;

pub use code::{Code, Severity};
pub use finding::Finding;

use context::{Assembled, Context};

/// A text, and what it was read as.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The text itself, for the comments in it.
    pub text: &'a str,
    /// What it says.
    pub manifest: &'a Manifest,
}

/// What [`lint`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By place: sources in their order, then line and column.
    pub findings: Vec<Finding>,
    /// Codes that were not looked for, since the input holds no pods.
    pub skipped: Vec<Code>,
}

/// Looks at all texts together, as one cluster made of what is valid in them.
pub fn lint(sources: &[Source<'_>]) -> Report {
    let assembled = Assembled::new(sources);
    let context = Context::new(&assembled);

    let mut findings = problems::findings(sources);
    findings.extend(assembled.twice.iter().cloned());
    findings.extend(policy_types::findings(&context));
    findings.extend(shadow::findings(&context));
    findings.extend(ports::findings(&context));
    if context.has_pods() {
        findings.extend(subjects::findings(&context));
        findings.extend(peers::findings(&context));
        findings.extend(blocks::findings(&context));
        findings.extend(dns::findings(&context));
        findings.extend(default_deny::findings(&context));
    }
    let skipped: Vec<Code> = match context.has_pods() {
        true => Vec::new(),
        false => Code::ALL.into_iter().filter(|code| code.needs_pods()).collect(),
    };

    let mut findings = ignore::apply(sources, findings, &skipped);
    let order: HashMap<&str, usize> = (sources.iter().enumerate())
        .rev() // the first place of a source that is there twice
        .filter_map(|(index, source)| Some((file(source.manifest)?, index)))
        .collect();
    let place = |finding: &Finding| {
        let origin = &finding.origin;
        (order.get(&*origin.file).copied(), origin.line, origin.column, finding.code, finding.message.clone())
    };
    findings.sort_by_cached_key(place);
    findings.dedup();
    Report { findings, skipped }
}

/// The name of a manifest's file; none where nothing is in it that could be found fault with.
fn file(manifest: &Manifest) -> Option<&str> {
    let document = manifest.documents.first().map(|document| &document.origin);
    let problem = manifest.problems.first().map(|problem| &problem.origin);
    document.or(problem).map(|origin| &*origin.file)
}
