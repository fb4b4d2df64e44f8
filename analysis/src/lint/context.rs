//! What every check looks at: one cluster of all that is valid, and the document of each policy.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use policy_compiler::cluster::Cluster;
use policy_compiler::manifest::{Content, Document};
use policy_compiler::model::{
    ContainerPort, Direction, Labels, Object, ObjectId, ObjectName, Origin, Pod, Policy, Protocol, Workload,
};

use super::population::{GroupId, Population};
use super::{Code, Finding, Source};

/// The cluster of all texts. Of two objects of one name the first counts.
#[derive(Default)]
pub(super) struct Assembled<'a> {
    pub(super) cluster: Cluster,
    documents: HashMap<ObjectName, &'a Document>,
    namespaces: HashMap<Arc<str>, Origin>,
    /// Objects that are there already.
    pub(super) twice: Vec<Finding>,
}

impl<'a> Assembled<'a> {
    pub(super) fn new(sources: &[Source<'a>]) -> Self {
        let mut assembled = Self::default();
        let mut first: HashMap<ObjectId, &Origin> = HashMap::new();
        let documents = || sources.iter().flat_map(|source| &source.manifest.documents);
        for document in documents() {
            match &document.content {
                Content::Objects(objects) => {
                    for object in objects {
                        match first.get(&object.id()) {
                            Some(origin) => assembled.twice.push(twice(document, &object.id(), origin)),
                            None => {
                                first.insert(object.id(), &document.origin);
                                assembled.add(document, object.clone());
                            }
                        }
                    }
                }
                // It isolates what it selects, so that nobody is told that these pods are open.
                Content::Invalid { closed: Some(closed), .. } if !first.contains_key(&id_of(closed)) => {
                    first.insert(id_of(closed), &document.origin);
                    _ = assembled.cluster.apply(Object::Policy(closed.clone().into()));
                }
                Content::Invalid { .. } | Content::Skipped => {}
            }
        }
        for document in documents() {
            if let Some(pod) = scaled_to_zero(document).filter(|pod| assembled.cluster.pod(&pod.name).is_none()) {
                _ = assembled.cluster.apply(Object::Pod(pod.into()));
            }
        }
        assembled
    }

    fn add(&mut self, document: &'a Document, object: Object) {
        match &object {
            Object::Policy(policy) => _ = self.documents.insert(policy.name.clone(), document),
            Object::Namespace(namespace) => {
                self.namespaces.insert(namespace.name.clone(), document.origin.clone());
            }
            Object::Node(_) | Object::Pod(_) | Object::Service(_) => {}
        }
        _ = self.cluster.apply(object);
    }
}

fn id_of(policy: &Policy) -> ObjectId {
    ObjectId::Policy(policy.name.clone())
}

fn twice(document: &Document, id: &ObjectId, first: &Origin) -> Finding {
    let finding = Finding::new(
        Code::InvalidManifest,
        document.origin.clone(),
        format!("{id} is defined twice; first in {first}"),
        "Which of the two counts would depend on the order in which they are applied.",
    );
    Finding { object: Some(id.to_string()), ..finding.help("delete one of them, or give it a name of its own") }
}

/// The pod that a workload with no replicas would have: somebody who scales to zero still wants its policies.
fn scaled_to_zero(document: &Document) -> Option<Pod> {
    if !matches!(&document.content, Content::Objects(objects) if objects.is_empty()) {
        return None;
    }
    let json = document.to_json();
    let template = ["/spec/template", "/spec/jobTemplate/spec/template"].iter().find_map(|path| json.pointer(path))?;
    let (namespace, name) = document.name.as_deref()?.split_once('/')?;
    let labels: Labels = (template.pointer("/metadata/labels").and_then(|labels| labels.as_object()))
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect();
    let containers = template.pointer("/spec/containers").and_then(|containers| containers.as_array());
    let ports = containers.into_iter().flatten().filter_map(|container| container.get("ports")?.as_array()).flatten();
    let ports = ports.filter_map(|port| {
        Some(ContainerPort {
            name: port.get("name").and_then(|name| name.as_str()).map(Arc::from),
            number: port.get("containerPort")?.as_u64()?.try_into().ok()?,
            protocol: (port.get("protocol").and_then(|name| name.as_str()))
                .map_or(Some(Protocol::Tcp), Protocol::parse)?,
        })
    });
    Some(Pod {
        labels,
        ports: ports.collect(),
        host_network: template.pointer("/spec/hostNetwork").and_then(|value| value.as_bool()).unwrap_or(false),
        workload: Some(Workload { kind: document.kind.clone(), name: name.into() }),
        origin: Some(document.origin.clone()),
        ..Pod::new(ObjectName::new(namespace, name))
    })
}

/// A valid policy, where it is written, and whom it selects.
pub(super) struct Subject<'a> {
    pub(super) policy: &'a Policy,
    pub(super) document: &'a Document,
    /// The groups of pods that it selects, sorted; pods on their node's network and finished ones included.
    pub(super) groups: Vec<GroupId>,
    /// The input knows pods, but this policy applies to none of them: what it says of its own pods means nothing.
    pub(super) is_idle: bool,
}

impl Subject<'_> {
    /// Where a field is written; the object, where the field is not there.
    pub(super) fn place(&self, path: &str) -> Origin {
        self.document.place(path).unwrap_or_else(|| self.document.origin.clone())
    }

    /// Whether a field is there.
    pub(super) fn has(&self, path: &str) -> bool {
        self.document.place(path).is_some()
    }

    /// A finding about a field of this policy.
    pub(super) fn finding(
        &self,
        code: Code,
        path: &str,
        message: impl Into<String>,
        why: impl Into<String>,
    ) -> Finding {
        Finding {
            object: Some(format!("NetworkPolicy {}", self.policy.name)),
            path: Some(path.to_owned()),
            ..Finding::new(code, self.place(path), message, why)
        }
    }

    /// The path of what a selector says of a key.
    pub(super) fn requirement(&self, selector: &str, key: &str) -> String {
        let label = format!("{selector}.matchLabels[{key}]");
        if self.has(&label) {
            return label;
        }
        let pointer = format!("/{selector}/matchExpressions").replace(['.', '['], "/").replace(']', "");
        let json = self.document.to_json();
        let expressions = json.pointer(&pointer).and_then(|value| value.as_array());
        let index = expressions.and_then(|entries| {
            entries.iter().position(|entry| entry.get("key").and_then(|value| value.as_str()) == Some(key))
        });
        match index {
            Some(index) => format!("{selector}.matchExpressions[{index}]"),
            None => selector.to_owned(),
        }
    }
}

/// Everything that a check may ask.
pub(super) struct Context<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) population: Population<'a>,
    /// Valid policies, by namespace and name.
    pub(super) subjects: Vec<Subject<'a>>,
    namespaces: &'a HashMap<Arc<str>, Origin>,
}

impl<'a> Context<'a> {
    pub(super) fn new(assembled: &'a Assembled<'a>) -> Self {
        let cluster = &assembled.cluster;
        let population = Population::new(cluster);
        let known = cluster.pods().next().is_some();
        let subject = |policy: &'a Policy| {
            let document = *assembled.documents.get(&policy.name)?;
            let groups = population.in_namespace(&policy.name.namespace, &policy.subject);
            let is_idle = known && groups.iter().all(|group| population.group(*group).pods.is_empty());
            Some(Subject { policy, document, groups, is_idle })
        };
        let subjects = cluster.policies().filter_map(subject).collect();
        Self { cluster, population, subjects, namespaces: &assembled.namespaces }
    }

    /// Whether there is anybody for selectors to match.
    pub(super) fn has_pods(&self) -> bool {
        self.cluster.pods().next().is_some()
    }

    /// Where a namespace is written, if it is.
    pub(super) fn namespace_origin(&self, name: &str) -> Option<&Origin> {
        self.namespaces.get(name)
    }

    /// Whether the input says anything of namespaces but their names.
    pub(super) fn knows_namespaces(&self) -> bool {
        !self.namespaces.is_empty()
    }

    /// The policies of each namespace.
    pub(super) fn by_namespace(&self) -> BTreeMap<&str, Vec<&Subject<'a>>> {
        let mut namespaces: BTreeMap<&str, Vec<&Subject<'a>>> = BTreeMap::new();
        for subject in &self.subjects {
            namespaces.entry(&subject.policy.name.namespace).or_default().push(subject);
        }
        namespaces
    }
}

/// Whether one policy selects at least what another of its namespace does: by what their selectors say, or all the pods
/// that there are.
pub(super) fn covers(wider: &Subject<'_>, narrower: &Subject<'_>) -> bool {
    let said: HashSet<_> = narrower.policy.subject.requirements().iter().collect();
    let by_words = wider.policy.subject.requirements().iter().all(|requirement| said.contains(requirement));
    let by_pods =
        || !narrower.groups.is_empty() && narrower.groups.iter().all(|group| wider.groups.binary_search(group).is_ok());
    by_words || by_pods()
}

/// The path of an entry of `from` or `to`.
pub(super) fn peer_path(direction: Direction, rule: usize, peer: usize) -> String {
    let list = match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    format!("spec.{direction}[{rule}].{list}[{peer}]")
}
