//! `# podwall:ignore CODE[, CODE]`: findings that somebody has looked at.
//!
//! At the end of a line it is about that line; on a line of its own about the next one that is no comment; before the
//! first field of a document about the whole document.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use policy_compiler::model::Origin;

use super::comments::{self, Comment};
use super::{Code, Finding, Source, file};

/// A code that a comment names.
struct Ignore {
    /// As it is written; empty where the comment names none.
    written: String,
    origin: Origin,
    /// The lines that it is about.
    lines: Range<u32>,
    used: bool,
}

/// The findings that no comment suppresses, and those about the comments themselves.
pub(super) fn apply(sources: &[Source<'_>], findings: Vec<Finding>, skipped: &[Code]) -> Vec<Finding> {
    let mut ignores: HashMap<Arc<str>, Vec<Ignore>> = HashMap::new();
    for source in sources {
        let Some(file) = file(source.manifest) else { continue };
        let file: Arc<str> = file.into();
        let found = comments::find(source.text).into_iter().flat_map(|comment| of_comment(&file, comment));
        ignores.entry(file.clone()).or_default().extend(found);
    }
    if ignores.values().all(Vec::is_empty) {
        return findings;
    }
    let mut kept = keep(findings, &mut ignores);
    // Comments may ignore each other, but none itself.
    let (about_ignores, others) =
        useless(&ignores, skipped).into_iter().partition(|(code, _)| *code == Some(Code::UselessIgnore));
    let (about_ignores, others): (Vec<Named>, Vec<Named>) = (about_ignores, others);
    kept.extend(keep(others.into_iter().map(|(_, finding)| finding).collect(), &mut ignores));
    let is_used = |finding: &Finding| {
        ignores
            .get(&finding.origin.file)
            .into_iter()
            .flatten()
            .any(|ignore| ignore.used && ignore.origin == finding.origin)
    };
    kept.extend(about_ignores.into_iter().map(|(_, finding)| finding).filter(|finding| !is_used(finding)));
    kept
}

/// The code that a finding's comment names, if there is such a code.
type Named = (Option<Code>, Finding);

fn keep(findings: Vec<Finding>, ignores: &mut HashMap<Arc<str>, Vec<Ignore>>) -> Vec<Finding> {
    let mut is_kept = |finding: &Finding| {
        let mut kept = true;
        for ignore in ignores.get_mut(&finding.origin.file).into_iter().flatten() {
            if ignore.written == finding.code.name()
                && ignore.lines.contains(&finding.origin.line)
                && ignore.origin != finding.origin
            {
                ignore.used = true;
                kept = false;
            }
        }
        kept
    };
    findings.into_iter().filter(|finding| is_kept(finding)).collect()
}

fn of_comment(file: &Arc<str>, comment: Comment) -> Vec<Ignore> {
    let Comment { line, column, text, lines } = comment;
    let ignore = |column, written: &str| Ignore {
        written: written.to_owned(),
        origin: Origin { file: file.clone(), line, column },
        lines: lines.clone(),
        used: false,
    };
    let Some((start, list)) = directive(&text) else { return Vec::new() };
    if list.trim().is_empty() {
        return vec![ignore(column, "")];
    }
    let mut ignores = Vec::new();
    let mut at = start;
    for part in list.split(',') {
        let indent = part.chars().take_while(|c| c.is_whitespace()).count();
        let offset = u32::try_from(at + indent).unwrap_or(u32::MAX);
        ignores.push(ignore(column.saturating_add(offset), part.trim()));
        at += part.chars().count() + 1;
    }
    ignores
}

/// What stands behind `# podwall:ignore`, and how many characters stand before that.
fn directive(comment: &str) -> Option<(usize, &str)> {
    const WORD: &str = "podwall:ignore";
    let text = comment.trim_start_matches('#').trim_start();
    let list = text.strip_prefix(WORD)?;
    let ends = list.is_empty() || list.starts_with([' ', '\t', ':', ',']);
    ends.then(|| (comment.chars().count() - list.chars().count(), list))
}

/// What is wrong with comments.
fn useless(ignores: &HashMap<Arc<str>, Vec<Ignore>>, skipped: &[Code]) -> Vec<Named> {
    let unused = ignores.values().flatten().filter(|ignore| !ignore.used);
    let finding = |ignore: &Ignore| {
        let code = ignore.written.parse::<Code>();
        let (message, help) = match &code {
            _ if ignore.written.is_empty() => {
                ("names no code".to_owned(), "name what is to be ignored: # podwall:ignore CODE".to_owned())
            }
            Err(unknown) => (unknown.to_string(), "the codes are those of docs/lint.md".to_owned()),
            Ok(code) if skipped.contains(code) => return None,
            Ok(code) => (format!("there is no {code} here to ignore"), "delete it".to_owned()),
        };
        let why = "A comment that suppresses nothing hides that what it was written for is gone, or is still reported.";
        let finding = Finding::new(Code::UselessIgnore, ignore.origin.clone(), message, why).help(help);
        Some((code.ok(), finding))
    };
    unused.filter_map(finding).collect()
}
