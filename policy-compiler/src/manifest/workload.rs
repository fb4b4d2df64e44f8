//! Workloads, read as the pods that their controllers would make.

use std::sync::Arc;

use super::fields::{Field, Fields, Unknown};
use super::metadata;
use super::pod::{self, PodSpec};
use crate::model::{Labels, ObjectName, Origin, Pod, Workload};

/// More replicas of one workload are taken for a mistake.
const MAX_REPLICAS: u32 = 10_000;

/// The kinds with a pod template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicaSet,
    ReplicationController,
    Job,
    CronJob,
}

/// Reads what is left of a document after its metadata: the pods in the order of their names.
///
/// `web` with two replicas makes `web-1` and `web-2`, a StatefulSet counts from 0. A DaemonSet has one pod with the
/// name of the DaemonSet, standing for one on every node: only the caller knows all nodes.
pub(super) fn read(
    mut document: Fields<'_>,
    kind: Kind,
    name: Option<&ObjectName>,
    origin: &Origin,
    pods_left: &mut usize,
) -> Option<Vec<Pod>> {
    let spec = document.require("spec");
    let made = spec.as_ref().and_then(|field| match kind {
        Kind::CronJob => cron_job(field),
        _ => controller(field, kind),
    });
    document.finish(Unknown::Passed);

    let (template, replicas) = made?;
    let name = name?;
    let Some(left) = pods_left.checked_sub(replicas as usize) else {
        spec?.error("makes more pods than Kubernetes supports in a cluster, with the other workloads of this file");
        return None;
    };
    *pods_left = left;
    let workload = Workload { kind: format!("{kind:?}").into(), name: name.name.clone() };
    let pod = |pod_name: Arc<str>| Pod {
        labels: template.labels.clone(),
        node: template.spec.node.clone(),
        ports: template.spec.ports.clone(),
        host_network: template.spec.host_network,
        workload: Some(workload.clone()),
        origin: Some(origin.clone()),
        ..Pod::new(ObjectName::new(name.namespace.clone(), pod_name))
    };
    let numbers = match kind {
        Kind::DaemonSet => return Some(vec![pod(name.name.clone())]),
        Kind::StatefulSet => 0..replicas,
        _ => 1..replicas + 1,
    };
    Some(numbers.map(|number| pod(format!("{}-{number}", name.name).into())).collect())
}

struct Template {
    labels: Labels,
    spec: PodSpec,
}

fn cron_job(at: &Field<'_>) -> Option<(Template, u32)> {
    let mut spec = at.open()?;
    let template = spec.require("jobTemplate").and_then(|field| job_template(&field));
    spec.finish(Unknown::Passed);
    template
}

fn job_template(at: &Field<'_>) -> Option<(Template, u32)> {
    let mut template = at.open()?;
    let job = template.require("spec").and_then(|field| controller(&field, Kind::Job));
    template.finish(Unknown::Passed);
    job
}

fn controller(at: &Field<'_>, kind: Kind) -> Option<(Template, u32)> {
    let mut spec = at.open()?;
    let replicas = match kind {
        Kind::DaemonSet => None,
        Kind::Job | Kind::CronJob => spec.take("parallelism"),
        _ => spec.take("replicas"),
    };
    let template = spec.require("template").and_then(|field| template(&field));
    spec.finish(Unknown::Passed);
    let replicas = replicas.map_or(Some(1), |field| count(&field));
    Some((template?, replicas?))
}

fn template(at: &Field<'_>) -> Option<Template> {
    let mut template = at.open()?;
    let labels = template.take("metadata").and_then(|field| {
        let mut metadata = field.open()?;
        let labels = metadata.take("labels").map(|field| metadata::labels(&field));
        metadata.finish(Unknown::Passed);
        labels
    });
    let spec = template.require("spec").and_then(|field| pod::spec(&field));
    template.finish(Unknown::Passed);
    Some(Template { labels: labels.unwrap_or_default(), spec: spec? })
}

fn count(at: &Field<'_>) -> Option<u32> {
    let number = at.integer()?;
    let count = u32::try_from(number).ok().filter(|count| *count <= MAX_REPLICAS);
    if count.is_none() {
        at.error(format_args!("must be between 0 and {MAX_REPLICAS}, is {number}"));
    }
    count
}
