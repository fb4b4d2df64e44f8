//! Objects as Kubernetes JSON, such as [`crate::manifest`] reads.

use serde_json::{Map, Value, json};

use crate::model::{ContainerPort, Phase, Pod};

/// A pod as the API server would show it, as far as policy looks at it.
pub fn pod(pod: &Pod) -> Value {
    let labels: Map<String, Value> = pod.labels.iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
    let ports: Vec<Value> = pod.ports.iter().map(container_port).collect();
    let addresses: Vec<Value> = pod.addresses.iter().map(|address| json!({"ip": address.to_string()})).collect();
    let mut metadata = json!({"namespace": &*pod.name.namespace, "name": &*pod.name.name, "labels": labels});
    if let Some(uid) = &pod.uid {
        metadata["uid"] = json!(**uid);
    }
    if pod.terminating {
        metadata["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
    }
    let mut spec = json!({"containers": [{"name": "pod", "image": "pod", "ports": ports}]});
    if let Some(node) = &pod.node {
        spec["nodeName"] = json!(**node);
    }
    if pod.host_network {
        spec["hostNetwork"] = json!(true);
    }
    let phase = match pod.phase {
        Phase::Running => "Running",
        Phase::Finished => "Succeeded",
    };
    let status = json!({"phase": phase, "podIPs": addresses});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status})
}

fn container_port(port: &ContainerPort) -> Value {
    let mut value = json!({"containerPort": port.number, "protocol": port.protocol.name()});
    if let Some(name) = &port.name {
        value["name"] = json!(**name);
    }
    value
}
