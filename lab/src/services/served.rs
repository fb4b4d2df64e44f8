//! What stands behind the ports of Services.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use policy_compiler::{
    cluster::Cluster,
    model::{ExternalTrafficPolicy, ObjectName, Pod, Protocol, ServicePort},
};

/// One port of a Service, as every node forwards it. Policies see what it leads to, never itself (rules 139, 141).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The Service.
    pub service: ObjectName,
    /// The port's protocol.
    pub protocol: Protocol,
    /// What clients connect to on the addresses.
    pub port: u16,
    /// The ClusterIPs, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// What clients connect to on a node, in the families of the addresses.
    pub node_port: Option<u16>,
    /// Which pods the node port leads to.
    pub external_traffic_policy: ExternalTrafficPolicy,
    /// The pods behind it, by name. None at all: connections are refused.
    pub backends: Vec<Backend>,
}

/// A pod behind a port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The pod.
    pub pod: ObjectName,
    /// Its node.
    pub node: Arc<str>,
    /// Its addresses; those of its node where it has hostNetwork.
    pub addresses: Vec<IpAddr>,
    /// Where it listens.
    pub port: u16,
}

/// Every port of every Service that nodes forward: the Service has an address and a selector. That selects pods which
/// run, are not terminating, and have a node and an address; where `targetPort` is a name, those that have such a port.
///
/// What two ports claim, an address with port and protocol or a node port with protocol, is the first one's, as an API
/// server would refuse the other.
pub fn served(cluster: &Cluster) -> Vec<Served> {
    let mut taken = BTreeSet::new();
    let mut served = Vec::new();
    // One that is headless has no address, and one that is only a name in DNS has no selector.
    for service in cluster.services().filter(|service| service.selector.is_some()) {
        let pods: Vec<&Pod> = cluster.pods().filter(|pod| service.selects(pod)).collect();
        for port in &service.ports {
            let mut is_free = |address: Option<IpAddr>, number| taken.insert((address, port.protocol, number));
            let addresses = service.addresses.iter().copied();
            let addresses: Vec<IpAddr> = addresses.filter(|ip| is_free(Some(*ip), port.port)).collect();
            if addresses.is_empty() {
                continue;
            }
            served.push(Served {
                service: service.name.clone(),
                protocol: port.protocol,
                port: port.port,
                addresses,
                node_port: port.node_port.filter(|number| service.node_ports && is_free(None, *number)),
                external_traffic_policy: service.external_traffic_policy,
                backends: pods.iter().filter_map(|pod| backend(port, pod)).collect(),
            });
        }
    }
    served
}

fn backend(port: &ServicePort, pod: &Pod) -> Option<Backend> {
    let node = pod.node.clone().filter(|_| !pod.addresses.is_empty())?;
    Some(Backend { pod: pod.name.clone(), node, addresses: pod.addresses.clone(), port: port.on(pod)? })
}

#[cfg(test)]
mod tests {
    use policy_compiler::cidr::CidrRules;
    use policy_compiler::manifest::{self, Content};
    use policy_compiler::model::{ContainerPort, Object, Phase};

    use super::*;

    fn pod(name: &str, number: u16) -> Pod {
        let port = ContainerPort { name: Some("http".into()), number, protocol: Protocol::Tcp };
        Pod {
            labels: [("app", "web")].into_iter().collect(),
            node: Some("n1".into()),
            addresses: vec!["10.244.1.2".parse().unwrap()],
            ports: vec![port],
            ..Pod::new(ObjectName::new("shop", name))
        }
    }

    /// Services by name and spec, and pods.
    fn cluster(services: &[(&str, &str)], pods: Vec<Pod>) -> Cluster {
        let text: String = services
            .iter()
            .map(|(name, spec)| {
                format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{{spec}}}\n")
            })
            .collect();
        let manifest = manifest::read(&"services.yaml".into(), &text, CidrRules::Strict);
        assert_eq!(manifest.problems, []);
        let objects = manifest.documents.into_iter().flat_map(|document| match document.content {
            Content::Objects(objects) => objects,
            content => panic!("{content:?}"),
        });
        objects.chain(pods.into_iter().map(|pod| Object::Pod(pod.into()))).collect()
    }

    /// In one line each.
    fn lines(cluster: &Cluster) -> Vec<String> {
        let backend = |one: &Backend| format!("{} {:?}:{} on {}", one.pod.name, one.addresses, one.port, one.node);
        let line = |one: Served| {
            let backends: Vec<String> = one.backends.iter().map(backend).collect();
            let Served { service, protocol, port, addresses, node_port, .. } = one;
            format!("{} {addresses:?} {protocol} {port} {node_port:?} -> {}", service.name, backends.join(", "))
        };
        served(cluster).into_iter().map(line).collect()
    }

    #[test]
    fn rule_141_every_port_leads_to_the_target_port_of_each_pod() {
        let services =
            [("web", "clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80, targetPort: http}, {port: 81}]")];
        let nameless = Pod { ports: Vec::new(), ..pod("c", 1) };
        let found = lines(&cluster(&services, vec![pod("a", 8080), pod("b", 8081), nameless]));
        let expected = [
            "web [10.96.0.1] TCP 80 None -> a [10.244.1.2]:8080 on n1, b [10.244.1.2]:8081 on n1",
            "web [10.96.0.1] TCP 81 None -> a [10.244.1.2]:81 on n1, b [10.244.1.2]:81 on n1, c [10.244.1.2]:81 on n1",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn only_pods_that_run_stand_behind_a_service() {
        let services = [("web", "clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80}]")];
        let pods = vec![
            Pod { host_network: true, addresses: vec!["172.30.0.1".parse().unwrap()], ..pod("host", 80) },
            Pod { terminating: true, ..pod("leaving", 80) },
            Pod { phase: Phase::Finished, ..pod("done", 80) },
            Pod { addresses: Vec::new(), ..pod("pending", 80) },
            Pod { node: None, ..pod("unscheduled", 80) },
            Pod { labels: Default::default(), ..pod("other", 80) },
        ];
        assert_eq!(lines(&cluster(&services, pods)), ["web [10.96.0.1] TCP 80 None -> host [172.30.0.1]:80 on n1"]);
    }

    #[test]
    fn what_is_forwarded_has_an_address_a_selector_and_the_first_claim() {
        let services = [
            (
                "a",
                "type: NodePort, clusterIP: 10.96.0.1, selector: {app: x}, ports: [{port: 80, nodePort: 30080}, {port: 80}]",
            ),
            (
                "b",
                "type: NodePort, clusterIP: 10.96.0.1, selector: {app: x}, ports: [{port: 80, nodePort: 30081}, {port: 81, nodePort: 30080}]",
            ),
            (
                "c",
                "type: NodePort, clusterIP: 10.96.0.3, selector: {app: x}, ports: [{port: 80, protocol: UDP, nodePort: 30080}, {port: 81, nodePort: 30081}]",
            ),
            (
                "external",
                "type: ExternalName, externalName: x.example, clusterIP: 10.96.0.4, selector: {app: x}, ports: [{port: 80}]",
            ),
            ("headless", "clusterIP: None, selector: {app: x}, ports: [{port: 80}]"),
            ("manual", "clusterIP: 10.96.0.5, ports: [{port: 80}]"),
            ("new", "selector: {app: x}, ports: [{port: 80}]"),
        ];
        let expected = [
            "a [10.96.0.1] TCP 80 Some(30080) -> ",
            "b [10.96.0.1] TCP 81 None -> ",
            "c [10.96.0.3] UDP 80 Some(30080) -> ",
            "c [10.96.0.3] TCP 81 Some(30081) -> ",
        ];
        assert_eq!(lines(&cluster(&services, Vec::new())), expected);
    }
}
