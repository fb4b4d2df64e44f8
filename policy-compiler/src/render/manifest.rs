//! Objects as Kubernetes manifests, such as [`crate::manifest`] reads. What is read of them is the same objects again,
//! but for what only says where they came from: origins and workloads.

use serde_json::{Map, Value, json};

use crate::cidr::{Cidr, Family};
use crate::model::{
    ContainerPort, Direction, ExternalTrafficPolicy, IpBlock, Labels, Namespace, NamespaceScope, Node, Object, Peer,
    Phase, Pod, Policy, PolicyPort, PortMatch, Rule, Service, ServicePort, TargetPort,
};
use crate::selector::{Operator, Selector};

/// Any object.
pub fn object(object: &Object) -> Value {
    match object {
        Object::Namespace(one) => namespace(one),
        Object::Node(one) => node(one),
        Object::Pod(one) => pod(one),
        Object::Policy(one) => policy(one),
        Object::Service(one) => service(one),
    }
}

/// A namespace with its labels.
pub fn namespace(namespace: &Namespace) -> Value {
    let metadata = json!({"name": &*namespace.name, "labels": labels(&namespace.labels)});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
}

/// A node, by name.
pub fn node(node: &Node) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": &*node.name}})
}

/// A pod as the API server would show it, as far as policy looks at it.
pub fn pod(pod: &Pod) -> Value {
    let ports: Vec<Value> = pod.ports.iter().map(container_port).collect();
    let addresses: Vec<Value> = pod.addresses.iter().map(|address| json!({"ip": address.to_string()})).collect();
    let mut metadata =
        json!({"namespace": &*pod.name.namespace, "name": &*pod.name.name, "labels": labels(&pod.labels)});
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

/// A policy with every default written out. One that stands for a policy with mistakes is written as what it comes to:
/// it isolates and allows nothing (invariant 1).
pub fn policy(policy: &Policy) -> Value {
    let directions = Direction::BOTH.into_iter().filter_map(|direction| Some((direction, policy.rules(direction)?)));
    let types: Vec<&str> = directions.clone().map(|(direction, _)| direction.policy_type()).collect();
    let mut spec = json!({"podSelector": selector(&policy.subject), "policyTypes": types});
    for (direction, rules) in directions {
        spec[direction.section()] = rules.iter().map(|one| rule(direction, one)).collect();
    }
    let metadata = json!({"namespace": &*policy.name.namespace, "name": &*policy.name.name});
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec})
}

/// A Service with what stands behind it.
pub fn service(service: &Service) -> Value {
    let ports: Vec<Value> = service.ports.iter().map(service_port).collect();
    let addresses: Vec<String> = service.addresses.iter().map(ToString::to_string).collect();
    let mut spec = json!({"ports": ports, "clusterIPs": addresses});
    if service.node_ports {
        spec["type"] = json!("NodePort");
        let policy = match service.external_traffic_policy {
            ExternalTrafficPolicy::Cluster => "Cluster",
            ExternalTrafficPolicy::Local => "Local",
        };
        spec["externalTrafficPolicy"] = json!(policy);
    }
    if !service.families.is_empty() {
        let name = |family: &Family| match family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        spec["ipFamilies"] = service.families.iter().map(name).collect();
        spec["ipFamilyPolicy"] = json!(if service.families.len() > 1 { "RequireDualStack" } else { "SingleStack" });
    }
    if service.headless {
        spec["clusterIPs"] = json!(["None"]);
    }
    if let Some(selector) = &service.selector {
        spec["selector"] = labels(selector);
    }
    if let Some(name) = &service.external_name {
        spec["type"] = json!("ExternalName");
        spec["externalName"] = json!(**name);
    }
    let metadata = json!({"namespace": &*service.name.namespace, "name": &*service.name.name});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
}

fn service_port(port: &ServicePort) -> Value {
    let target = match &port.target {
        TargetPort::Number(number) => json!(number),
        TargetPort::Name(name) => json!(**name),
    };
    let mut value = json!({"port": port.port, "protocol": port.protocol.name(), "targetPort": target});
    if let Some(name) = &port.name {
        value["name"] = json!(**name);
    }
    value
}

/// What is missing stays missing: that is what it means (rules 32, 33).
fn rule(direction: Direction, rule: &Rule) -> Value {
    let mut value = json!({});
    if let Some(peers) = &rule.peers {
        let list = match direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        };
        value[list] = peers.iter().map(peer).collect();
    }
    if let Some(ports) = &rule.ports {
        value["ports"] = ports.iter().map(policy_port).collect();
    }
    value
}

fn peer(peer: &Peer) -> Value {
    match peer {
        Peer::Block(IpBlock { cidr, except }) if except.is_empty() => json!({"ipBlock": {"cidr": cidr.to_string()}}),
        Peer::Block(IpBlock { cidr, except }) => {
            let except: Vec<String> = except.iter().map(Cidr::to_string).collect();
            json!({"ipBlock": {"cidr": cidr.to_string(), "except": except}})
        }
        Peer::Pods { namespaces: NamespaceScope::Own, pods } => json!({"podSelector": selector(pods)}),
        Peer::Pods { namespaces: NamespaceScope::Matching(namespaces), pods } if pods.is_everything() => {
            json!({"namespaceSelector": selector(namespaces)})
        }
        Peer::Pods { namespaces: NamespaceScope::Matching(namespaces), pods } => {
            json!({"namespaceSelector": selector(namespaces), "podSelector": selector(pods)})
        }
    }
}

fn policy_port(port: &PolicyPort) -> Value {
    let mut value = json!({"protocol": port.protocol.name()});
    match &port.ports {
        PortMatch::All => {}
        PortMatch::Named(name) => value["port"] = json!(**name),
        PortMatch::Range(first, last) => {
            value["port"] = json!(first);
            if last > first {
                value["endPort"] = json!(last);
            }
        }
    }
    value
}

fn selector(selector: &Selector) -> Value {
    let (mut equal, mut expressions) = (Map::new(), Vec::new());
    for requirement in selector.requirements() {
        let key = &*requirement.key;
        let (operator, values) = match &requirement.operator {
            Operator::In(values) => match values.first() {
                // A key stands once in matchLabels; the others of its requirements are expressions.
                Some(value) if values.len() == 1 && !equal.contains_key(key) => {
                    equal.insert(key.to_owned(), json!(**value));
                    continue;
                }
                _ => ("In", Some(values)),
            },
            Operator::NotIn(values) => ("NotIn", Some(values)),
            Operator::Exists => ("Exists", None),
            Operator::DoesNotExist => ("DoesNotExist", None),
        };
        let mut expression = json!({"key": key, "operator": operator});
        if let Some(values) = values {
            expression["values"] = values.iter().map(|value| json!(**value)).collect();
        }
        expressions.push(expression);
    }
    let mut value = json!({});
    if !equal.is_empty() {
        value["matchLabels"] = Value::Object(equal);
    }
    if !expressions.is_empty() {
        value["matchExpressions"] = Value::Array(expressions);
    }
    value
}

fn labels(labels: &Labels) -> Value {
    labels.iter().map(|(key, value)| (key.to_owned(), json!(value))).collect::<Map<_, _>>().into()
}
