//! Objects as the API server takes them, with nothing that a test does not care for.

use lab::Node;
use policy_compiler::model::Protocol;
use serde_json::{Value, json};

/// A namespace.
pub fn namespace(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// A pod by its id, on a node, which listens on these ports. It may be deleted without grace.
pub fn pod(id: &str, node: &str, labels: Value, ports: &[(Protocol, u16)]) -> Value {
    let (namespace, name) = parts(id);
    let ports: Vec<Value> =
        ports.iter().map(|(protocol, port)| json!({"containerPort": port, "protocol": protocol.name()})).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "none", "ports": ports}]},
    })
}

/// A policy by its id.
pub fn policy(id: &str, spec: Value) -> Value {
    let (namespace, name) = parts(id);
    let metadata = json!({"namespace": namespace, "name": name});
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec})
}

/// A ServiceAccount by its id.
pub fn service_account(id: &str) -> Value {
    let (namespace, name) = parts(id);
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}})
}

/// A node, and its status.
pub fn node(node: &Node) -> (Value, Value) {
    let name = node.name();
    let [v4, _] = node.pod_cidrs();
    let object = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"podCIDR": v4, "podCIDRs": node.pod_cidrs()},
    });
    let addresses = node.addresses().map(|address| json!({"type": "InternalIP", "address": address}));
    (object, json!({"addresses": addresses, "conditions": [{"type": "Ready", "status": "True"}]}))
}

fn parts(id: &str) -> (&str, &str) {
    id.split_once('/').unwrap_or_else(|| panic!("{id:?} is not NAMESPACE/NAME"))
}
