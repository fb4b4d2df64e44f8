//! Pods: the fields that count are read strictly, the rest passes.

use std::net::IpAddr;
use std::sync::Arc;

use super::fields::{Field, Fields, Unknown, quoted};
use super::metadata::Metadata;
use super::{names, policy};
use crate::cidr;
use crate::model::{ContainerPort, Labels, Origin, Phase, Pod, Protocol, Workload};

/// What a pod and a workload's template both say in `spec`.
#[derive(Default)]
pub(super) struct PodSpec {
    pub(super) node: Option<Arc<str>>,
    pub(super) host_network: bool,
    pub(super) ports: Vec<ContainerPort>,
}

/// Reads what is left of a document after its metadata.
pub(super) fn read(mut document: Fields<'_>, metadata: Metadata, origin: &Origin) -> Option<Pod> {
    let spec = document.take("spec").and_then(|field| spec(&field)).unwrap_or_default();
    let status = document.take("status").and_then(|field| status(&field));
    document.finish(Unknown::Passed);

    let (phase, addresses) = status.unwrap_or((Phase::Running, Vec::new()));
    let name = metadata.object_name()?;
    let workload = metadata.controller.and_then(|controller| workload(controller, &metadata.labels));
    Some(Pod {
        uid: metadata.uid,
        labels: metadata.labels,
        node: spec.node,
        addresses,
        ports: spec.ports,
        host_network: spec.host_network,
        phase,
        terminating: metadata.terminating,
        workload,
        origin: Some(origin.clone()),
        ..Pod::new(name)
    })
}

/// The label by which a Deployment tells the pods of its ReplicaSets apart.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// What people call the workload of a pod: the Deployment, where a ReplicaSet was made by one. The kubelet's static pods
/// are controlled by their node, which is no workload.
fn workload(controller: Workload, labels: &Labels) -> Option<Workload> {
    if &*controller.kind == "Node" {
        return None;
    }
    let deployment = labels.get(TEMPLATE_HASH).filter(|_| &*controller.kind == "ReplicaSet").and_then(|hash| {
        let name = controller.name.strip_suffix(hash)?.strip_suffix('-')?;
        Some(Workload { kind: "Deployment".into(), name: name.into() })
    });
    Some(deployment.unwrap_or(controller))
}

pub(super) fn spec(at: &Field<'_>) -> Option<PodSpec> {
    let mut spec = at.open()?;
    let node = spec.take("nodeName").and_then(|field| field.string()).filter(|node| !node.is_empty());
    let host_network = spec.take("hostNetwork").and_then(|field| field.boolean()).unwrap_or(false);
    let init = spec.take("initContainers");
    let regular = spec.take("containers");
    spec.finish(Unknown::Passed);

    let containers = |list: Option<Field<'_>>, kind| -> Vec<ContainerPort> {
        list.iter().flat_map(Field::items).flat_map(|entry| container(&entry, kind)).collect()
    };
    let mut ports = containers(regular, Container::Regular);
    ports.extend(containers(init, Container::Init));
    Some(PodSpec { node, host_network, ports })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Regular,
    Init,
}

/// The ports of a container that runs as long as the pod: an init container does if it is restarted always (rule 71).
fn container(at: &Field<'_>, kind: Container) -> Vec<ContainerPort> {
    let Some(mut container) = at.open() else { return Vec::new() };
    let ports = container.take("ports");
    let restart = container.take("restartPolicy").and_then(|field| field.string());
    container.finish(Unknown::Passed);

    let ports = ports.iter().flat_map(Field::items).filter_map(|entry| container_port(&entry)).collect();
    let runs = kind == Container::Regular || restart.as_deref() == Some("Always");
    if runs { ports } else { Vec::new() }
}

/// Rules 12 and 73.
fn container_port(at: &Field<'_>) -> Option<ContainerPort> {
    let mut port = at.open()?;
    let name = port.take("name").filter(is_given).and_then(|field| field.name(&names::PORT_NAME));
    let number = port.require("containerPort").and_then(|field| field.port_number());
    let protocol = port.take("protocol").filter(is_given).map_or(Some(Protocol::Tcp), |field| policy::protocol(&field));
    port.finish(Unknown::Passed);
    Some(ContainerPort { name, number: number?, protocol: protocol? })
}

fn status(at: &Field<'_>) -> Option<(Phase, Vec<IpAddr>)> {
    let mut status = at.open()?;
    let phase = status.take("phase").and_then(|field| field.string());
    let first = status.take("podIP");
    let all = status.take("podIPs");
    status.finish(Unknown::Passed);

    let phase = Phase::of(phase.as_deref().unwrap_or_default());
    let mut addresses: Vec<IpAddr> = Vec::new();
    let listed = all.iter().flat_map(Field::items).filter_map(|entry| pod_ip(&entry));
    for address in first.and_then(|field| address(&field)).into_iter().chain(listed) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Some((phase, addresses))
}

fn pod_ip(at: &Field<'_>) -> Option<IpAddr> {
    let mut entry = at.open()?;
    let ip = entry.take("ip").and_then(|field| address(&field));
    entry.finish(Unknown::Passed);
    ip
}

/// An address, perhaps with leading zeros or mapped to IPv6; packets carry what is meant (rules 92, 93).
pub(super) fn address(at: &Field<'_>) -> Option<IpAddr> {
    let text = at.string().filter(|text| !text.is_empty())?;
    let address = cidr::parse_address(&text);
    if address.is_none() {
        at.error(format_args!("must be an IP address, is {}", quoted(&text)));
    }
    address.map(|(address, _)| address.to_canonical())
}

/// Empty texts count as absent here, as everywhere in the API but in its pointers.
pub(super) fn is_given(field: &Field<'_>) -> bool {
    !field.is_empty_string()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{manifest, objects, problems};
    use crate::model::{ContainerPort, Object, ObjectName, Origin, Phase, Pod, Protocol};

    fn pod(rest: &str) -> Pod {
        match objects(&format!("apiVersion: v1\nkind: Pod\n{rest}\n")).pop() {
            Some(Object::Pod(pod)) => *pod,
            other => panic!("no pod: {other:?}"),
        }
    }

    fn named(rest: &str) -> Pod {
        pod(&format!("metadata: {{name: a}}\n{rest}"))
    }

    fn complaints(rest: &str) -> Vec<String> {
        let found = problems(&manifest(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\n{rest}\n")));
        found.iter().map(|problem| problem.replace("m.yaml:", "").replace("error: Pod default/a: ", "")).collect()
    }

    #[test]
    fn a_pod_as_an_api_server_has_it() {
        let found = pod("metadata:
  name: web-1
  namespace: shop
  uid: 3f1c
  labels: {app: web}
  deletionTimestamp: 2024-01-02T03:04:05Z
  managedFields: [{x: y}]
spec:
  nodeName: node-a
  hostNetwork: false
  containers:
  - name: web
    image: web:1
    env: [{name: A, value: b}]
    ports: [{name: http, containerPort: 8080, hostPort: 80}, {containerPort: 53, protocol: UDP}]
status:
  phase: Running
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]");
        let port =
            |name: Option<&str>, number, protocol| ContainerPort { name: name.map(Into::into), number, protocol };
        let expected = Pod {
            uid: Some("3f1c".into()),
            labels: [("app", "web")].into_iter().collect(),
            node: Some("node-a".into()),
            addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            ports: vec![port(Some("http"), 8080, Protocol::Tcp), port(None, 53, Protocol::Udp)],
            terminating: true,
            origin: Some(Origin { file: "m.yaml".into(), line: 1, column: 1 }),
            ..Pod::new(ObjectName::new("shop", "web-1"))
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn the_workload_of_a_live_pod_is_what_people_call_so() {
        let owned = |kind: &str, name: &str, more: &str| {
            let metadata = format!(
                "metadata: {{name: p, labels: {{pod-template-hash: 6f9c}}, ownerReferences: \
                 [{{apiVersion: apps/v1, kind: {kind}, name: {name}, uid: u{more}}}]}}"
            );
            pod(&metadata).workload.map(|workload| format!("{} {}", workload.kind, workload.name))
        };
        let controller = ", controller: true";
        for (kind, name, expected) in [
            ("ReplicaSet", "web-6f9c", "Deployment web"),
            ("ReplicaSet", "web", "ReplicaSet web"),
            ("StatefulSet", "db-6f9c", "StatefulSet db-6f9c"),
            ("DaemonSet", "agent", "DaemonSet agent"),
        ] {
            assert_eq!(owned(kind, name, controller).as_deref(), Some(expected));
            assert_eq!(owned(kind, name, ""), None);
        }
        assert_eq!(owned("Node", "worker-1", controller), None);
    }

    #[test]
    fn rule_71_ports_of_init_containers_count_if_they_are_restarted_always() {
        let spec = "spec:
  initContainers:
  - ports: [{name: once, containerPort: 1}]
  - {restartPolicy: Always, ports: [{name: sidecar, containerPort: 2}]}
  - {restartPolicy: Never, ports: [{name: never, containerPort: 3}]}
  containers: [{ports: [{name: main, containerPort: 4, protocol: ''}]}]";
        let names: Vec<_> = named(spec).ports.into_iter().filter_map(|port| port.name).collect();
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["main", "sidecar"]);
    }

    #[test]
    fn rules_124_and_125_phases() {
        for (phase, expected) in [
            ("Succeeded", Phase::Finished),
            ("Failed", Phase::Finished),
            ("Pending", Phase::Running),
            ("Unknown", Phase::Running),
            ("Running", Phase::Running),
        ] {
            assert_eq!(named(&format!("status: {{phase: {phase}}}")).phase, expected, "{phase}");
        }
    }

    #[test]
    fn rules_127_and_131_addresses_of_every_family_once() {
        let addresses = |status: &str| {
            named(&format!("status: {status}")).addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        for (status, expected) in [
            ("{}", ""),
            ("{podIP: ''}", ""),
            ("{podIP: 10.0.0.1}", "10.0.0.1"),
            ("{podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}", "10.0.0.1 fd00::1"),
            ("{podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.1}]}", "10.0.0.2 10.0.0.1"),
            ("{podIP: 010.000.0.01, podIPs: [{ip: 10.0.0.1}]}", "10.0.0.1"),
            ("{podIP: '::ffff:10.0.0.1'}", "10.0.0.1"),
        ] {
            assert_eq!(addresses(status), expected, "{status}");
        }
    }

    #[test]
    fn a_pod_says_little_by_default() {
        assert_eq!(pod("metadata: {name: a}\nspec: ~").name, ObjectName::new("default", "a"));
        assert!(named("spec: {hostNetwork: true}").host_network);
        assert_eq!(named("spec: {nodeName: ''}").node, None);
    }

    #[test]
    fn fields_that_count_are_read_strictly() {
        for (rest, problem) in [
            ("spec: {hostNetwork: 'true'}", "4:21: spec.hostNetwork: must be true or false, is the text \"true\""),
            ("spec: {nodeName: 1}", "4:18: spec.nodeName: must be a string, is the number 1; quote it"),
            ("spec: {containers: {}}", "4:20: spec.containers: must be a list, is a map"),
            ("spec: {containers: [~]}", "4:21: spec.containers[0]: must not be null"),
            ("spec: {containers: [{ports: [{}]}]}", "4:30: spec.containers[0].ports[0].containerPort: is required"),
            (
                "spec: {initContainers: [{ports: [{containerPort: 0}]}]}",
                "4:50: spec.initContainers[0].ports[0].containerPort: must be between 1 and 65535, is 0",
            ),
            (
                "spec: {containers: [{ports: [{containerPort: 1, protocol: tcp}]}]}",
                "4:59: spec.containers[0].ports[0].protocol: must be TCP, UDP or SCTP, is \"tcp\"",
            ),
            (
                "spec: {nodeName: a, nodeName: b}",
                "4:21: spec.nodeName: the key stands twice; first in line 4, column 8",
            ),
            (
                "spec: {volumes: [{a: {b: 1, b: 2}}]}",
                "4:29: spec.volumes[0].a.b: the key stands twice; first in line 4, column 23",
            ),
            ("status: {podIP: 10.0.0}", "4:17: status.podIP: must be an IP address, is \"10.0.0\""),
            (
                "status: {podIPs: [{ip: 10.0.0.0/8}]}",
                "4:24: status.podIPs[0].ip: must be an IP address, is \"10.0.0.0/8\"",
            ),
            ("status: {phase: 1}", "4:17: status.phase: must be a string, is the number 1; quote it"),
        ] {
            assert_eq!(complaints(rest), [problem], "{rest}");
        }
    }

    #[test]
    fn other_fields_pass() {
        named("spec: {whatever: [1, {x: ~}], containers: [{image: 5}]}\nextra: {a: b}");
    }
}
