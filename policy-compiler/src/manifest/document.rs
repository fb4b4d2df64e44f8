//! One document: which kind it is, and what it comes to.

use std::sync::Arc;

use super::fields::{Field, Fields, Report, Unknown, printable, shown};
use super::kind::{self, Kind, Mistake, Recognised};
use super::metadata::{self, Metadata};
use super::tree::{Entry, Node, SyntaxError, Value};
use super::{Content, Document, Manifest, Problem, ProblemKind, Severity, names, pod, policy, service, workload};
use crate::cidr::CidrRules;
use crate::model::{self, Namespace, Object, ObjectId, Origin};

/// As many pods as Kubernetes supports in a cluster; a file whose workloads come to more is a mistake or an attack.
const MAX_PODS: usize = 150_000;

/// Reads the documents of one file.
pub(super) struct Reader<'f> {
    file: &'f Arc<str>,
    cidrs: CidrRules,
    pods_left: usize,
    manifest: Manifest,
}

/// `apiVersion` and `kind`, read or handed down from a list.
struct TypeMeta {
    api_version: Arc<str>,
    kind: Arc<str>,
}

/// What an object comes to, and its name where it has a valid one.
struct Reading {
    name: Option<String>,
    content: Content,
}

impl<'f> Reader<'f> {
    pub(super) fn new(file: &'f Arc<str>, cidrs: CidrRules) -> Self {
        Self { file, cidrs, pods_left: MAX_PODS, manifest: Manifest::default() }
    }

    /// All that was read, problems in the order of the text.
    pub(super) fn finish(mut self) -> Manifest {
        self.manifest.problems.sort_by_key(|problem| (problem.origin.line, problem.origin.column));
        self.manifest
    }

    /// Notes a document that is no YAML.
    pub(super) fn broken(&mut self, error: SyntaxError) {
        self.manifest.broken = true;
        self.manifest.problems.push(Problem {
            severity: Severity::Error,
            kind: ProblemKind::Invalid,
            origin: Origin { file: self.file.clone(), line: error.mark.line, column: error.mark.column },
            object: None,
            path: None,
            message: format!("not valid YAML: {}", printable(&error.message)),
        });
    }

    /// Reads a document.
    pub(super) fn document(&mut self, node: Node) {
        self.object(node, None);
    }

    /// Reads an object; entries of a list such as PodList may leave out what the list says.
    fn object(&mut self, node: Node, listed: Option<&TypeMeta>) {
        let report = Report::new(self.file);
        let root = Field::root(&node, &report);
        let origin = root.origin();
        let opened = root.open().and_then(|mut fields| Some((type_meta(&mut fields, listed)?, fields)));
        let Some((types, mut fields)) = opened else {
            let kind = text_of(&node, "kind").unwrap_or_default();
            let unusable = Reading { name: None, content: Content::Invalid { id: None, closed: None } };
            return self.add(node, kind, report, origin, unusable);
        };
        if is_list(&node, &types.kind) {
            if let Some(items) = fields.take("items") {
                items.items(); // for what is wrong with the list itself
            }
            fields.finish(Unknown::Passed);
            self.manifest.problems.extend(report.into_problems(Some(&types.kind)));
            return self.list(node, &types);
        }
        let kind = match kind::recognise(&types.kind, &types.api_version) {
            Recognised::Kind(kind) => kind,
            Recognised::Mistaken(kind, Mistake { field, message }) => {
                fields.wrong(field, message);
                kind
            }
            Recognised::Other => {
                let skipped = Reading { name: None, content: Content::Skipped };
                return self.add(node, types.kind, Report::new(self.file), origin, skipped);
            }
        };
        let reading = self.known(kind, fields, &report, &origin);
        self.add(node, types.kind, report, origin, reading);
    }

    fn list(&mut self, node: Node, types: &TypeMeta) {
        let listed = kind::item_kind(&types.kind)
            .map(|kind| TypeMeta { api_version: types.api_version.clone(), kind: kind.into() });
        let Value::Map(entries) = node.value else { return };
        for entry in entries.into_iter().filter(|entry| &*entry.key == "items") {
            let Value::List(items) = entry.value.value else { continue };
            // Null entries have been reported with the list.
            for item in items.into_iter().filter(|item| item.value != Value::Null) {
                self.object(item, listed.as_ref());
            }
        }
    }

    fn known(&mut self, kind: Kind, fields: Fields<'_>, report: &Report<'_>, origin: &Origin) -> Reading {
        match kind {
            Kind::NetworkPolicy => policy(policy::read(fields, origin, self.cidrs), report),
            Kind::Namespace => namespace(fields, report, origin),
            Kind::Node => node(fields, report, origin),
            Kind::Pod => pod(fields, report, origin),
            Kind::Service => service(fields, report, origin),
            Kind::Workload(kind) => self.workload(kind, fields, report, origin),
        }
    }

    fn workload(
        &mut self,
        kind: workload::Kind,
        mut fields: Fields<'_>,
        report: &Report<'_>,
        origin: &Origin,
    ) -> Reading {
        let metadata = metadata::read(&mut fields, &names::SUBDOMAIN, Unknown::Passed);
        let name = metadata.object_name();
        let pods = workload::read(fields, kind, name.as_ref(), origin, &mut self.pods_left);
        let objects = pods.map(|pods| pods.into_iter().map(|pod| Object::Pod(Box::new(pod))).collect());
        Reading::new(report, name, None, objects)
    }

    fn add(&mut self, node: Node, kind: Arc<str>, report: Report<'_>, origin: Origin, reading: Reading) {
        let name = reading.name.or_else(|| name_of(&node));
        let object = match &name {
            Some(name) => format!("{} {name}", shown(&kind)),
            None => shown(&kind),
        };
        let object = (!object.is_empty()).then_some(&*object);
        self.manifest.problems.extend(report.into_problems(object));
        self.manifest.documents.push(Document { kind, name, origin, content: reading.content, tree: Arc::new(node) });
    }
}

impl Reading {
    /// The objects, unless anything wrong was reported.
    fn new(
        report: &Report<'_>,
        name: Option<impl ToString>,
        id: Option<ObjectId>,
        objects: Option<Vec<Object>>,
    ) -> Self {
        let content = match objects {
            Some(objects) if report.errors() == 0 => Content::Objects(objects),
            _ => Content::Invalid { id, closed: None },
        };
        Self { name: name.map(|name| name.to_string()), content }
    }
}

fn policy(reading: policy::Reading, report: &Report<'_>) -> Reading {
    let name = reading.metadata.object_name();
    let id = name.clone().map(ObjectId::Policy);
    if report.errors() > 0 {
        let content = Content::Invalid { id, closed: reading.closed() };
        return Reading { name: name.map(|name| name.to_string()), content };
    }
    let object = reading.policy().map(|policy| vec![Object::Policy(Box::new(policy))]);
    Reading::new(report, name, id, object)
}

fn namespace(mut fields: Fields<'_>, report: &Report<'_>, origin: &Origin) -> Reading {
    let Metadata { name, labels, .. } = metadata::read(&mut fields, &names::LABEL, Unknown::Passed);
    fields.finish(Unknown::Passed);
    let object = name.clone().map(|name| {
        let namespace = Namespace::new(name, &labels);
        vec![Object::Namespace(Namespace { origin: Some(origin.clone()), ..namespace })]
    });
    Reading::new(report, name.clone(), name.map(ObjectId::Namespace), object)
}

fn node(mut fields: Fields<'_>, report: &Report<'_>, origin: &Origin) -> Reading {
    let Metadata { name, .. } = metadata::read(&mut fields, &names::SUBDOMAIN, Unknown::Passed);
    fields.finish(Unknown::Passed);
    let object = name.clone().map(|name| vec![Object::Node(model::Node { name, origin: Some(origin.clone()) })]);
    Reading::new(report, name.clone(), name.map(ObjectId::Node), object)
}

fn pod(mut fields: Fields<'_>, report: &Report<'_>, origin: &Origin) -> Reading {
    let metadata = metadata::read(&mut fields, &names::SUBDOMAIN, Unknown::Passed);
    let name = metadata.object_name();
    let pod = pod::read(fields, metadata, origin);
    Reading::new(report, name.clone(), name.map(ObjectId::Pod), pod.map(|pod| vec![Object::Pod(Box::new(pod))]))
}

fn service(mut fields: Fields<'_>, report: &Report<'_>, origin: &Origin) -> Reading {
    let metadata = metadata::read(&mut fields, &names::LABEL, Unknown::Passed);
    let name = metadata.object_name();
    let service = service::read(fields, name.clone(), origin);
    let objects = service.map(|service| vec![Object::Service(Box::new(service))]);
    Reading::new(report, name.clone(), name.map(ObjectId::Service), objects)
}

fn type_meta(fields: &mut Fields<'_>, listed: Option<&TypeMeta>) -> Option<TypeMeta> {
    let mut text = |name, listed: Option<&Arc<str>>| match listed {
        // What the list says holds for entries that say nothing.
        Some(listed) if !fields.has(name) => Some(listed.clone()),
        _ => fields.require(name)?.not_empty(),
    };
    let api_version = text("apiVersion", listed.map(|listed| &listed.api_version));
    let kind = text("kind", listed.map(|listed| &listed.kind));
    Some(TypeMeta { api_version: api_version?, kind: kind? })
}

/// `kubectl get -o yaml` writes `List`, an API server `PodList` and the like. Kinds of others that end so are lists
/// too if they have items.
fn is_list(node: &Node, kind: &str) -> bool {
    let has_items = || entry_of(node, "items").is_some_and(|entry| matches!(entry.value.value, Value::List(_)));
    kind == "List" || kind.ends_with("List") && has_items()
}

fn entry_of<'n>(node: &'n Node, key: &str) -> Option<&'n Entry> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|entry| &*entry.key == key)
}

fn text_of(node: &Node, key: &str) -> Option<Arc<str>> {
    match &entry_of(node, key)?.value.value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// The name of an object that is not looked into, or has no valid one: to speak of it all the same.
fn name_of(node: &Node) -> Option<String> {
    let metadata = &entry_of(node, "metadata")?.value;
    let name = shown(&text_of(metadata, "name").filter(|name| !name.is_empty())?);
    Some(match text_of(metadata, "namespace").filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => format!("{}/{name}", shown(&namespace)),
        None => name,
    })
}
