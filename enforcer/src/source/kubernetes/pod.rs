//! Pods as the API server has them: only what policy needs is kept.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use policy_compiler::cidr;
use policy_compiler::model::{ContainerPort, Phase, Pod, Protocol};
use serde::Deserialize;

use super::watched::{Complaint, labels, object_name};

/// A pod, as far as policy needs it. What the API server may leave out or write as null is absent.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = k8s_openapi::api::core::v1::Pod)]
pub(super) struct ApiPod {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    host_network: Option<bool>,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    ports: Option<Vec<Port>>,
    restart_policy: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    name: Option<String>,
    container_port: i64,
    protocol: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
}

#[derive(Clone, Debug, Deserialize)]
struct PodIp {
    ip: Option<String>,
}

impl ApiPod {
    /// The pod, and what of it means nothing and is left out.
    pub(super) fn read(self) -> (Pod, Vec<Complaint>) {
        let mut complaints = Vec::new();
        let Self { metadata, spec, status } = self;
        let mut pod = Pod::new(object_name(&metadata));
        pod.uid = metadata.uid.as_deref().map(Into::into);
        pod.labels = labels(&metadata);
        pod.terminating = metadata.deletion_timestamp.is_some();
        pod.node = spec.node_name.as_deref().filter(|name| !name.is_empty()).map(Into::into);
        pod.host_network = spec.host_network.unwrap_or(false);
        pod.phase = Phase::of(status.phase.as_deref().unwrap_or_default());
        pod.ports = ports(&spec, &mut complaints);
        for (path, text) in status.addresses() {
            match cidr::parse_address(text) {
                // With leading zeros or mapped to IPv6: packets carry what is meant (rules 92, 93).
                Some((address, _)) if !pod.addresses.contains(&address.to_canonical()) => {
                    pod.addresses.push(address.to_canonical());
                }
                Some(_) => {}
                None => complaints.push(Complaint::new(path, format!("{text:?} is no IP address"))),
            }
        }
        (pod, complaints)
    }
}

impl Status {
    /// Every address with its field, the first one first (rule 131).
    fn addresses(&self) -> impl Iterator<Item = (String, &str)> {
        let first = self.pod_ip.iter().map(|ip| ("status.podIP".to_owned(), ip.as_str()));
        let listed = self.pod_ips.iter().flatten().enumerate();
        let all = listed.filter_map(|(i, entry)| Some((format!("status.podIPs[{i}].ip"), entry.ip.as_deref()?)));
        first.chain(all).filter(|(_, text)| !text.is_empty())
    }
}

/// The ports of containers that run as long as the pod: an init container does if it is restarted always (rule 71).
fn ports(spec: &Spec, complaints: &mut Vec<Complaint>) -> Vec<ContainerPort> {
    let mut found = Vec::new();
    for (list, containers) in [("containers", &spec.containers), ("initContainers", &spec.init_containers)] {
        for (i, container) in containers.iter().flatten().enumerate() {
            if list == "initContainers" && container.restart_policy.as_deref() != Some("Always") {
                continue;
            }
            for (j, port) in container.ports.iter().flatten().enumerate() {
                match port.read() {
                    Ok(port) => found.push(port),
                    Err(message) => complaints.push(Complaint::new(format!("spec.{list}[{i}].ports[{j}]"), message)),
                }
            }
        }
    }
    found
}

impl Port {
    /// Rules 12 and 73.
    fn read(&self) -> Result<ContainerPort, String> {
        let given = |text: &Option<String>| text.as_ref().filter(|text| !text.is_empty()).cloned();
        let number = u16::try_from(self.container_port).ok().filter(|number| *number > 0);
        let protocol = given(&self.protocol).map_or(Ok(Protocol::Tcp), |text| {
            Protocol::parse(&text).ok_or_else(|| format!("policies know no protocol {text:?}"))
        });
        Ok(ContainerPort {
            name: given(&self.name).map(Into::into),
            number: number.ok_or_else(|| format!("{} is no port number", self.container_port))?,
            protocol: protocol?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(pod: Value) -> (Pod, Vec<String>) {
        let (pod, complaints) = serde_json::from_value::<ApiPod>(pod).unwrap().read();
        (pod, complaints.iter().map(ToString::to_string).collect())
    }

    fn with(spec: Value, status: Value) -> (Pod, Vec<String>) {
        read(json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec, "status": status}))
    }

    #[test]
    fn a_pod_is_what_its_manifest_says() {
        let text = include_str!("pod.json");
        let (found, complaints) = read(serde_json::from_str(text).unwrap());
        assert!(complaints.is_empty(), "{complaints:?}");
        let manifest =
            policy_compiler::manifest::read(&"pod.json".into(), text, policy_compiler::cidr::CidrRules::Legacy);
        let policy_compiler::manifest::Content::Objects(objects) = &manifest.documents[0].content else {
            panic!("{:?}", manifest.problems);
        };
        let policy_compiler::model::Object::Pod(pod) = &objects[0] else { panic!("no pod") };
        assert_eq!(found, Pod { origin: None, workload: None, ..(**pod).clone() });
    }

    #[test]
    fn what_the_api_server_stores_is_taken_as_it_means_it() {
        let (pod, complaints) = with(
            json!({"nodeName": "", "containers": null, "initContainers": [{"restartPolicy": "Never", "ports": [{"containerPort": 1}]}]}),
            json!({"phase": "Weird", "podIP": "010.1.1.1", "podIPs": [{"ip": "010.1.1.1"}, {"ip": "fd00::1"}]}),
        );
        assert_eq!(complaints, [""; 0]);
        assert_eq!((pod.node, pod.ports, pod.phase), (None, vec![], Phase::Running));
        assert_eq!(pod.addresses, ["10.1.1.1", "fd00::1"].map(|ip| ip.parse::<std::net::IpAddr>().unwrap()));
        let (pod, _) = with(json!({}), json!({"podIP": "::ffff:10.0.0.1"}));
        assert_eq!(pod.addresses, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    }

    #[test]
    fn what_means_nothing_is_told_and_left_out() {
        let (pod, complaints) = with(
            json!({"containers": [{"ports": [
                {"name": "a", "containerPort": 0}, {"name": "b", "containerPort": 80, "protocol": "tcp"},
                {"name": "c", "containerPort": 53, "protocol": "UDP"},
            ]}]}),
            json!({"podIP": "300.1.1.1", "podIPs": [{"ip": "300.1.1.1"}, {"ip": "10.0.0.1"}]}),
        );
        assert_eq!(pod.addresses.len(), 1);
        assert_eq!(pod.ports.iter().map(|port| port.number).collect::<Vec<_>>(), [53]);
        assert_eq!(
            complaints,
            [
                "spec.containers[0].ports[0]: 0 is no port number",
                "spec.containers[0].ports[1]: policies know no protocol \"tcp\"",
                "status.podIP: \"300.1.1.1\" is no IP address",
                "status.podIPs[0].ip: \"300.1.1.1\" is no IP address",
            ]
        );
    }
}
