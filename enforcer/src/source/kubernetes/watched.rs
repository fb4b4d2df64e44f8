//! What is watched, and what becomes of one object of it.

use std::fmt;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace as ApiNamespace, Node as ApiNode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use policy_compiler::manifest::{self, Severity};
use policy_compiler::model::{Labels, Namespace, Node, Object, ObjectId, ObjectName};
use serde::de::DeserializeOwned;

use super::pod::ApiPod;
use super::policy::ApiPolicy;
use crate::observe::Kind;

/// Something that the API server has, and that policy depends on.
pub(super) trait Watched:
    Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static
{
    const KIND: Kind;

    /// What tells an object from the others.
    fn id(metadata: &ObjectMeta) -> ObjectId;

    /// What an object comes to; none where nothing can be made of it, and what counted of it before counts on.
    fn read(self) -> (Option<Object>, Vec<Complaint>);
}

/// Something wrong with one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) severity: Severity,
    pub(super) path: Option<String>,
    pub(super) message: String,
}

impl Complaint {
    /// Something that does not count.
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, path: Some(path.into()), message: message.into() }
    }

    pub(super) fn of_manifest(problem: manifest::Problem) -> Self {
        Self { severity: problem.severity, path: problem.path, message: problem.message }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.iter().try_for_each(|path| write!(f, "{path}: "))?;
        f.write_str(&self.message)
    }
}

impl Watched for ApiPod {
    const KIND: Kind = Kind::Pod;

    fn id(metadata: &ObjectMeta) -> ObjectId {
        ObjectId::Pod(object_name(metadata))
    }

    fn read(self) -> (Option<Object>, Vec<Complaint>) {
        let (pod, complaints) = self.read();
        (Some(Object::Pod(Box::new(pod))), complaints)
    }
}

impl Watched for ApiPolicy {
    const KIND: Kind = Kind::Policy;

    fn id(metadata: &ObjectMeta) -> ObjectId {
        ObjectId::Policy(object_name(metadata))
    }

    fn read(self) -> (Option<Object>, Vec<Complaint>) {
        let (policy, complaints) = self.read();
        (policy.map(|policy| Object::Policy(Box::new(policy))), complaints)
    }
}

impl Watched for PartialObjectMeta<ApiNamespace> {
    const KIND: Kind = Kind::Namespace;

    fn id(metadata: &ObjectMeta) -> ObjectId {
        ObjectId::Namespace(name(metadata))
    }

    fn read(self) -> (Option<Object>, Vec<Complaint>) {
        let metadata = self.meta();
        (Some(Object::Namespace(Namespace::new(name(metadata), &labels(metadata)))), Vec::new())
    }
}

impl Watched for PartialObjectMeta<ApiNode> {
    const KIND: Kind = Kind::Node;

    fn id(metadata: &ObjectMeta) -> ObjectId {
        ObjectId::Node(name(metadata))
    }

    fn read(self) -> (Option<Object>, Vec<Complaint>) {
        (Some(Object::Node(Node { name: name(self.meta()), origin: None })), Vec::new())
    }
}

/// An object that cannot even be decoded is told of and passed over; the watch goes on.
impl<K: Watched> Watched for DeserializeGuard<K> {
    const KIND: Kind = K::KIND;

    fn id(metadata: &ObjectMeta) -> ObjectId {
        K::id(metadata)
    }

    fn read(self) -> (Option<Object>, Vec<Complaint>) {
        match self.0 {
            Ok(object) => object.read(),
            Err(invalid) => {
                let message = format!("cannot be decoded: {}", invalid.error);
                (None, vec![Complaint { severity: Severity::Error, path: None, message }])
            }
        }
    }
}

pub(super) fn name(metadata: &ObjectMeta) -> Arc<str> {
    metadata.name.as_deref().unwrap_or_default().into()
}

pub(super) fn object_name(metadata: &ObjectMeta) -> ObjectName {
    ObjectName::new(metadata.namespace.as_deref().unwrap_or_default(), name(metadata))
}

pub(super) fn labels(metadata: &ObjectMeta) -> Labels {
    metadata.labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}
