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

#[cfg(test)]
mod tests {
    use super::super::tests::{manifest, objects, problems};
    use super::*;
    use crate::model::{ContainerPort, Object, Protocol};

    fn pods(text: &str) -> Vec<Pod> {
        let pod = |object| match object {
            Object::Pod(pod) => *pod,
            other => panic!("no pod: {other:?}"),
        };
        objects(text).into_iter().map(pod).collect()
    }

    fn names(api_version: &str, kind: &str, spec: &str) -> String {
        let text = format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: web}}\nspec: {spec}\n");
        let names: Vec<_> = pods(&text).iter().map(|pod| pod.name.name.to_string()).collect();
        names.join(" ")
    }

    #[test]
    fn pods_are_what_the_template_says() {
        let text = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {not: these}}
spec:
  replicas: 1
  template:
    metadata: {name: ignored, labels: {app: web}}
    spec:
      nodeName: node-a
      hostNetwork: true
      containers: [{ports: [{name: http, containerPort: 80}]}]
status: {replicas: 1}
";
        let expected = Pod {
            labels: [("app", "web")].into_iter().collect(),
            node: Some("node-a".into()),
            ports: vec![ContainerPort { name: Some("http".into()), number: 80, protocol: Protocol::Tcp }],
            host_network: true,
            workload: Some(Workload { kind: "Deployment".into(), name: "web".into() }),
            origin: Some(Origin { file: "m.yaml".into(), line: 1, column: 1 }),
            ..Pod::new(ObjectName::new("shop", "web-1"))
        };
        assert_eq!(pods(text), [expected]);
    }

    #[test]
    fn each_kind_names_its_pods() {
        let template = "template: {spec: {containers: []}}";
        for (version, kind, count, expected) in [
            ("apps/v1", "Deployment", "", "web-1"),
            ("apps/v1", "Deployment", "replicas: ~, ", "web-1"),
            ("apps/v1", "Deployment", "replicas: 3, ", "web-1 web-2 web-3"),
            ("apps/v1", "Deployment", "replicas: 0, ", ""),
            ("apps/v1", "ReplicaSet", "replicas: 2, ", "web-1 web-2"),
            ("v1", "ReplicationController", "replicas: 2, ", "web-1 web-2"),
            ("apps/v1", "StatefulSet", "replicas: 2, ", "web-0 web-1"),
            ("apps/v1", "DaemonSet", "", "web"),
            ("batch/v1", "Job", "", "web-1"),
            ("batch/v1", "Job", "parallelism: 2, completions: 9, ", "web-1 web-2"),
        ] {
            assert_eq!(names(version, kind, &format!("{{{count}{template}}}")), expected, "{kind} {count}");
        }
        let cron = format!("{{schedule: x, jobTemplate: {{spec: {{parallelism: 2, {template}}}}}}}");
        assert_eq!(names("batch/v1", "CronJob", &cron), "web-1 web-2");
    }

    #[test]
    fn what_is_wrong_is_reported_with_its_place() {
        for (kind, spec, problem) in [
            ("Deployment", "{}", "4:7: error: Deployment default/web: spec.template: is required"),
            ("Deployment", "{template: {}}", "4:18: error: Deployment default/web: spec.template.spec: is required"),
            (
                "Deployment",
                "{replicas: '2', template: {spec: {}}}",
                "4:18: error: Deployment default/web: spec.replicas: must be a whole number, is the text \"2\"; unquote it: 2",
            ),
            (
                "Deployment",
                "{replicas: 10001, template: {spec: {}}}",
                "4:18: error: Deployment default/web: spec.replicas: must be between 0 and 10000, is 10001",
            ),
            (
                "StatefulSet",
                "{replicas: -1, template: {spec: {}}}",
                "4:18: error: StatefulSet default/web: spec.replicas: must be between 0 and 10000, is -1",
            ),
            (
                "DaemonSet",
                "{template: {metadata: {labels: {a: 1}}, spec: {}}}",
                "4:42: error: DaemonSet default/web: spec.template.metadata.labels[a]: must be a string, is the number 1; quote it",
            ),
            (
                "ReplicaSet",
                "{template: {spec: {hostNetwork: x}}}",
                "4:39: error: ReplicaSet default/web: spec.template.spec.hostNetwork: must be true or false, is the text \"x\"",
            ),
        ] {
            let text = format!("apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: web}}\nspec: {spec}\n");
            assert_eq!(problems(&manifest(&text)), [format!("m.yaml:{problem}")], "{kind} {spec}");
        }
        let text = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: web}\nspec: {jobTemplate: {}}\n";
        let problem = "m.yaml:4:21: error: CronJob default/web: spec.jobTemplate.spec: is required";
        assert_eq!(problems(&manifest(text)), [problem]);
        let text = text.replace("batch/v1", "batch/v1beta1").replace("{}", "{spec: {template: {spec: {}}}}");
        let problem = "m.yaml:1:13: error: CronJob default/web: apiVersion: batch/v1beta1 is not supported for CronJob; use batch/v1";
        assert_eq!(problems(&manifest(&text)), [problem]);
    }

    #[test]
    fn a_file_makes_no_more_pods_than_a_cluster_holds() {
        let workload = |number| {
            format!(
                "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: w{number}}}\nspec: {{replicas: 10000, template: {{spec: {{}}}}}}\n"
            )
        };
        let text: String = (0..16).map(workload).collect();
        assert_eq!(
            problems(&manifest(&text)),
            [
                "m.yaml:80:7: error: Deployment default/w15: spec: makes more pods than Kubernetes supports in a cluster, with \
              the other workloads of this file"
            ]
        );
    }
}
