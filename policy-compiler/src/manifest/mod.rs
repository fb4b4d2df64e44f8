//! Manifests: text to objects, each with its place in the text.
//!
//! [`read`] takes YAML or JSON as kubectl does: several documents, lists, and the types that the API server gives to
//! unquoted scalars. A NetworkPolicy is read strictly, so that no misspelt field widens it (rule 170); of the other kinds
//! the fields that count are read as strictly and the rest passes. Everything that is wrong is reported at once.

mod document;
mod fields;
mod kind;
mod metadata;
mod names;
mod pod;
mod policy;
mod problem;
mod scalar;
mod service;
mod tree;
mod workload;

#[cfg(test)]
mod tests;

pub use problem::{Problem, ProblemKind, Severity};

use std::sync::Arc;

use crate::cidr::CidrRules;
use crate::model::{Object, ObjectId, Origin, Policy};

/// What one text says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// Every object, lists flattened, in the order of the text. Documents that are no YAML are missing.
    pub documents: Vec<Document>,
    /// Everything that is wrong, in the order of the text.
    pub problems: Vec<Problem>,
    broken: bool,
}

impl Manifest {
    /// Whether a document was no YAML, so that objects may be missing that nobody can name. Whoever has read the text
    /// before may prefer what it said then; documents behind the broken one are here nevertheless.
    pub fn has_syntax_error(&self) -> bool {
        self.broken
    }

    /// The problems that keep objects from being used.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error)
    }
}

/// One object of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// As it was written; empty where there is none.
    pub kind: Arc<str>,
    /// `namespace/name`, or only the name where there is no namespace; as far as it can be read.
    pub name: Option<String>,
    /// Where it starts.
    pub origin: Origin,
    /// What it comes to.
    pub content: Content,
    tree: Arc<tree::Node>,
}

impl Document {
    /// The object as it was written, unknown fields and the order of fields included. Of duplicate keys the last is
    /// there; an object with such is invalid.
    pub fn to_json(&self) -> serde_json::Value {
        self.tree.to_json()
    }

    /// Where a field stands, by its path as problems write it (`spec.ingress[0].from[1]`, `metadata.labels[app]`): its
    /// key, or the entry itself in a list; the object for an empty path. None where there is no such field.
    pub fn place(&self, path: &str) -> Option<Origin> {
        let mark = self.tree.place(path)?;
        Some(Origin { file: self.origin.file.clone(), line: mark.line, column: mark.column })
    }
}

/// What a document comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A namespace, a node, a pod, a policy, a Service, or the pods of a workload (none, with no replicas).
    ///
    /// A DaemonSet is one pod with the name of the DaemonSet: the caller makes one for every node of it.
    Objects(Vec<Object>),
    /// A kind that policy does not depend on.
    Skipped,
    /// Unusable; what is wrong is in [`Manifest::problems`].
    Invalid {
        /// Which object it would have been.
        id: Option<ObjectId>,
        /// For a NetworkPolicy: what closes the pods that it selects, for the directions that it names, until it is
        /// mended (invariant 1). None where name, namespace or podSelector cannot be trusted.
        closed: Option<Policy>,
    },
}

/// Reads a text. `file` is what problems and origins call it.
pub fn read(file: &Arc<str>, text: &str, rules: CidrRules) -> Manifest {
    let mut reader = document::Reader::new(file, rules);
    for document in tree::parse(text) {
        match document {
            Ok(node) => reader.document(node),
            Err(error) => reader.broken(error),
        }
    }
    reader.finish()
}
