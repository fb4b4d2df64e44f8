//! `metadata`, the same for all kinds.

use std::sync::Arc;

use super::fields::{Field, Fields, Unknown, quoted};
use super::names::{self, Syntax};
use crate::model::{DEFAULT_NAMESPACE, Labels, ObjectName, Workload};

/// What all annotations of an object may hold (rule 147).
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// What is read of `metadata`.
#[derive(Default)]
pub(super) struct Metadata {
    /// None where it is missing or wrong.
    pub(super) name: Option<Arc<str>>,
    /// None where it is wrong, or could be misspelt; objects without one are in `default` (rule 10).
    pub(super) namespace: Option<Arc<str>>,
    pub(super) labels: Labels,
    pub(super) uid: Option<Arc<str>>,
    pub(super) terminating: bool,
    /// The controller that made the object, as `ownerReferences` names it.
    pub(super) controller: Option<Workload>,
}

impl Metadata {
    /// Namespace and name, when both can be trusted.
    pub(super) fn object_name(&self) -> Option<ObjectName> {
        Some(ObjectName::new(self.namespace.clone()?, self.name.clone()?))
    }
}

/// Reads the metadata of an object: all of it where unknown fields are refused.
pub(super) fn read(object: &mut Fields<'_>, syntax: &Syntax, unknown: Unknown) -> Metadata {
    let Some(field) = object.take("metadata") else {
        if object.is_unique("metadata") {
            // As the API server has it, which takes this for a map of nothing.
            object.missing("metadata.name", "is required");
        }
        return Metadata::default();
    };
    let Some(mut fields) = field.open() else { return Metadata::default() };
    let name = fields.take("name").filter(|field| !field.is_empty_string());
    let generated = fields.take("generateName").and_then(|field| field.string());
    match (&name, generated) {
        (Some(_), _) => {}
        (None, _) if !fields.is_unique("name") => {}
        (None, None) => fields.missing("name", "is required"),
        (None, Some(_)) => fields.missing("name", "is required: generateName names an object only when it is created"),
    }
    let namespace = fields.take("namespace").filter(|field| !field.is_empty_string());
    let labels = fields.take("labels").map(|field| labels(&field)).unwrap_or_default();
    let uid = fields.take("uid").and_then(|field| field.string());
    let deletion = fields.take("deletionTimestamp").and_then(|field| field.string());
    let owners = fields.take("ownerReferences");
    if unknown == Unknown::Refused {
        the_rest(&mut fields);
    }
    let complete = fields.finish(unknown);

    let name = name.and_then(|field| field.sound(|field| field.name(syntax))?);
    let namespace = match namespace {
        Some(field) => field.sound(|field| field.name(&names::LABEL)).flatten(),
        None => complete.then(|| DEFAULT_NAMESPACE.into()),
    };
    let controller = owners.iter().flat_map(Field::items).filter_map(|entry| controller(&entry)).next();
    Metadata { name, namespace, labels, uid, terminating: deletion.is_some(), controller }
}

/// The owner of an object, if it is the one that controls it.
fn controller(at: &Field<'_>) -> Option<Workload> {
    at.scan();
    let mut owner = at.open()?;
    let controls = owner.take("controller").and_then(|field| field.boolean());
    let kind = owner.take("kind").and_then(|field| field.string());
    let name = owner.take("name").and_then(|field| field.string());
    (controls == Some(true)).then_some(Workload { kind: kind?, name: name? })
}

/// Labels of an object (rules 149, 150).
pub(super) fn labels(field: &Field<'_>) -> Labels {
    field.strings().into_iter().map(|(key, value, at)| checked_label(key, value, &at)).collect()
}

/// A label with a valid key and value; what is not has been reported.
pub(super) fn checked_label(key: Arc<str>, value: Arc<str>, at: &Field<'_>) -> (Arc<str>, Arc<str>) {
    check_key(&key, at);
    at.name(&names::LABEL_VALUE);
    (key, value)
}

fn check_key(key: &str, at: &Field<'_>) {
    if !(names::QUALIFIED_NAME.accepts)(key) {
        at.error(format_args!("the key {}, is {}", names::QUALIFIED_NAME.allowed, quoted(key)));
    }
}

/// The fields of ObjectMeta that mean nothing to policy, but must be what they are.
fn the_rest(fields: &mut Fields<'_>) {
    for name in ["resourceVersion", "creationTimestamp", "selfLink"] {
        fields.take(name).and_then(|field| field.string());
    }
    for name in ["generation", "deletionGracePeriodSeconds"] {
        fields.take(name).and_then(|field| field.integer());
    }
    for finalizer in fields.take("finalizers").iter().flat_map(Field::items) {
        finalizer.string();
    }
    fields.take("managedFields").iter().flat_map(Field::items).for_each(|entry| entry.scan());
    if let Some(field) = fields.take("annotations") {
        annotations(&field);
    }
}

fn annotations(field: &Field<'_>) {
    let mut size = 0;
    for (key, value, at) in field.strings() {
        check_key(&key.to_ascii_lowercase(), &at); // upper case has always passed here
        size += key.len() + value.len();
    }
    if size > MAX_ANNOTATIONS {
        field.error(format_args!("must be at most {MAX_ANNOTATIONS} bytes, is {size}"));
    }
}
