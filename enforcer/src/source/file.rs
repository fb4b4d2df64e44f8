//! What counts of one file: its objects, and where it is broken, what it last said.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use policy_compiler::cidr::CidrRules;
use policy_compiler::manifest::{self, Content};
use policy_compiler::model::{Object, ObjectId};

use super::Problem;

/// The objects of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct FileState {
    pub(super) objects: BTreeMap<ObjectId, Object>,
    pub(super) problems: Vec<Problem>,
}

impl FileState {
    /// Reads a file. `before` is what counted of it until now.
    pub(super) fn read(path: &Path, rules: CidrRules, before: Option<&Self>) -> Self {
        let file: Arc<str> = path.to_string_lossy().into();
        match fs::read(path).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other)) {
            Ok(text) => Self::parse(&file, &text, rules, before),
            Err(error) => Self::unreadable(file, &error, before),
        }
    }

    /// What counts of a file that cannot be read.
    fn unreadable(file: Arc<str>, error: &io::Error, before: Option<&Self>) -> Self {
        let objects = before.map(|before| before.objects.clone()).unwrap_or_default();
        Self { objects, problems: vec![Problem::Unreadable { file, reason: error.to_string() }] }
    }

    /// A file that is broken from the start counts as far as it can be read: each policy in it only isolates.
    fn parse(file: &Arc<str>, text: &str, rules: CidrRules, before: Option<&Self>) -> Self {
        let manifest = manifest::read(file, text, rules);
        let nothing = BTreeMap::new();
        let before = before.map_or(&nothing, |before| &before.objects);
        let broken = manifest.has_syntax_error();
        let mut objects = BTreeMap::new();
        // Of an object that cannot be told from others it is unknown whether it was here before, so whatever was here
        // and is missing now may be it.
        let mut keep_missing = false;
        for document in manifest.documents {
            match document.content {
                Content::Objects(read) => objects.extend(read.into_iter().map(|object| (object.id(), object))),
                Content::Skipped => {}
                Content::Invalid { id: None, .. } => keep_missing = true,
                Content::Invalid { id: Some(id), closed } => {
                    let last_good = before.get(&id).filter(|object| !is_closed(object)).cloned();
                    let closed = closed.map(|policy| Object::Policy(Box::new(policy)));
                    objects.extend(last_good.or(closed).map(|object| (id, object)));
                }
            }
        }
        if broken && !before.is_empty() {
            objects.clone_from(before);
        } else if keep_missing {
            before.iter().for_each(|(id, object)| _ = objects.entry(id.clone()).or_insert_with(|| object.clone()));
        }
        Self { objects, problems: manifest.problems.into_iter().map(Problem::Manifest).collect() }
    }
}

/// Whether an object stands for a policy that was invalid from the start: no last good version of anything.
fn is_closed(object: &Object) -> bool {
    matches!(object, Object::Policy(policy) if policy.closed)
}
