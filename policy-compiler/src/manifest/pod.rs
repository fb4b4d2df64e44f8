//! Pods: the fields that count are read strictly, the rest passes.

use std::net::IpAddr;
use std::sync::Arc;

use super::fields::{Field, Fields, Unknown, quoted};
use super::metadata::Metadata;
use super::{names, policy};
use crate::cidr;
use crate::model::{ContainerPort, Origin, Phase, Pod, Protocol};

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
    Some(Pod {
        uid: metadata.uid,
        labels: metadata.labels,
        node: spec.node,
        addresses,
        ports: spec.ports,
        host_network: spec.host_network,
        phase,
        terminating: metadata.terminating,
        origin: Some(origin.clone()),
        ..Pod::new(name)
    })
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

    let phase = match phase.as_deref() {
        Some("Succeeded" | "Failed") => Phase::Finished,
        _ => Phase::Running,
    };
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
fn address(at: &Field<'_>) -> Option<IpAddr> {
    let text = at.string().filter(|text| !text.is_empty())?;
    let address = cidr::parse_address(&text);
    if address.is_none() {
        at.error(format_args!("must be an IP address, is {}", quoted(&text)));
    }
    address.map(|(address, _)| address.to_canonical())
}

/// Empty texts count as absent here, as everywhere in the API but in its pointers.
fn is_given(field: &Field<'_>) -> bool {
    !field.is_empty_string()
}
