//! What an API server adds to Services: addresses and node ports.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use policy_compiler::{
    cidr::Family,
    cluster::Cluster,
    model::{Object, Service},
};

/// 10.96.0.0/16, as kubeadm has it.
const V4_BLOCK: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 0);
/// fd00:10:96::/112, which has as many addresses.
const V6_BLOCK: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0);
/// The API server's own default.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// Gives every Service that has no `clusterIPs` an address of each of its families, from 10.96.0.0/16 and
/// fd00:10:96::/112, and every port that must have a node port and has none one from 30000 to 32767. Headless Services
/// and those of `type: ExternalName` get no address.
///
/// The next free one comes next, by the names of the Services, so that equal clusters get equal answers; what any
/// Service has written down is left to it. Once a block or the range is used up, the rest goes without.
pub fn assign(cluster: &mut Cluster) {
    let mut services: Vec<Service> = cluster.services().cloned().collect();
    let addresses: BTreeSet<IpAddr> = services.iter().flat_map(|service| service.addresses.iter().copied()).collect();
    let ports: BTreeSet<u16> =
        services.iter().flat_map(|service| &service.ports).filter_map(|port| port.node_port).collect();
    let free = |family| (1..u16::MAX).map(move |number| nth(family, number)).filter(|ip| !addresses.contains(ip));
    let (mut free_v4, mut free_v6) = (free(Family::V4), free(Family::V6));
    let mut free_ports = NODE_PORTS.filter(|port| !ports.contains(port));

    for service in &mut services {
        if service.addresses.is_empty() && !service.headless && service.external_name.is_none() {
            let next = |family: &Family| match family {
                Family::V4 => free_v4.next(),
                Family::V6 => free_v6.next(),
            };
            service.addresses = service.families.iter().filter_map(next).collect();
        }
        if service.node_ports {
            add_node_ports(service, &mut free_ports);
        }
    }
    services.into_iter().for_each(|service| _ = cluster.apply(Object::Service(service.into())));
}

fn nth(family: Family, number: u16) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(V4_BLOCK.to_bits() + u32::from(number)).into(),
        Family::V6 => Ipv6Addr::from_bits(V6_BLOCK.to_bits() + u128::from(number)).into(),
    }
}

/// Ports of one number, such as 53 of TCP and of UDP, share their node port.
fn add_node_ports(service: &mut Service, free: &mut impl Iterator<Item = u16>) {
    for index in 0..service.ports.len() {
        let port = &service.ports[index];
        let twin = service.ports.iter().filter(|twin| twin.port == port.port && twin.protocol != port.protocol);
        let shared = twin.filter_map(|twin| twin.node_port).next();
        service.ports[index].node_port = port.node_port.or(shared).or_else(|| free.next());
    }
}

#[cfg(test)]
mod tests {
    use policy_compiler::model::{ObjectName, Protocol, ServicePort, TargetPort};

    use super::*;

    fn service(name: &str) -> Service {
        Service::new(ObjectName::new("shop", name))
    }

    fn port(protocol: Protocol, port: u16, node_port: Option<u16>) -> ServicePort {
        ServicePort { name: None, protocol, port, target: TargetPort::Number(port), node_port }
    }

    fn assigned<const N: usize>(services: [Service; N]) -> Vec<Service> {
        let mut cluster: Cluster = services.map(|service| Object::Service(service.into())).into_iter().collect();
        assign(&mut cluster);
        cluster.services().cloned().collect()
    }

    #[test]
    fn services_without_addresses_get_the_next_free_ones_of_their_families_by_name() {
        let services = assigned([
            Service { families: vec![Family::V6, Family::V4], ..service("c") },
            Service { addresses: vec!["10.96.0.1".parse().unwrap()], ..service("d") },
            service("b"),
            Service { headless: true, ..service("headless") },
            Service { external_name: Some("x.example".into()), ..service("external") },
        ]);
        let addresses: Vec<_> =
            services.iter().map(|service| format!("{} {:?}", service.name.name, service.addresses)).collect();
        let expected = ["b [10.96.0.2]", "c [fd00:10:96::1, 10.96.0.3]", "d [10.96.0.1]", "external []", "headless []"];
        assert_eq!(addresses, expected);
    }

    #[test]
    fn node_ports_come_with_the_type_and_never_twice() {
        let exposed = |name, ports: &[ServicePort]| Service { node_ports: true, ports: ports.into(), ..service(name) };
        let services = assigned([
            exposed("a", &[port(Protocol::Tcp, 80, None), port(Protocol::Tcp, 443, Some(31_000))]),
            // Of one number, before the one that is written and after it.
            exposed("b", &[port(Protocol::Udp, 53, None), port(Protocol::Tcp, 53, Some(30_000))]),
            exposed(
                "c",
                &[port(Protocol::Udp, 53, None), port(Protocol::Tcp, 53, None), port(Protocol::Tcp, 80, None)],
            ),
            Service { ports: vec![port(Protocol::Tcp, 80, None)], ..service("inside") },
        ]);
        let of = |service: &Service| service.ports.iter().map(|port| port.node_port).collect::<Vec<_>>();
        let expected = [
            vec![Some(30_001), Some(31_000)],
            vec![Some(30_000), Some(30_000)],
            vec![Some(30_002), Some(30_002), Some(30_003)],
            vec![None],
        ];
        assert_eq!(services.iter().map(of).collect::<Vec<_>>(), expected);
    }
}
