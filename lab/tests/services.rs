//! Services, over every pod network: packets go where kube-proxy would send them, and come from where it would.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::error::Error;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::services::{assign, load_on, served};
use lab::{
    Connection, Expectation, Lab, LabSpec, Namespace, Observed, PodNetwork, PodSpec, Probe, Protocol, Reactor,
    Responder, Traffic,
};
use policy_compiler::cidr::CidrRules;
use policy_compiler::cluster::Cluster;
use policy_compiler::manifest::{self, Content};
use policy_compiler::model::{ContainerPort, Object, ObjectName, Pod};

type Outcome = Result<(), Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(3);
/// Every pod, its node, and where its port named `http` is. Each stands behind Services that select its own name.
const PODS: [(&str, &str, u16); 4] =
    [("client", "n1", 8080), ("one", "n1", 8080), ("two", "n2", 8081), ("three", "n3", 8080)];
/// What pods listen on, besides.
const OTHERS: [(Protocol, u16); 2] = [(Protocol::Udp, 5353), (Protocol::Sctp, 9009)];
/// The ports of every Service.
const TRAFFICS: [Traffic; 3] =
    [Traffic::Port(Protocol::Tcp, 80), Traffic::Port(Protocol::Udp, 53), Traffic::Port(Protocol::Sctp, 9)];
/// Where nothing listens but what a test makes.
const REPORTER: u16 = 9000;

/// A node without pods and without kube-proxy: what is outside.
const OUTSIDE: &str = "n4";
/// A mark that is left on a packet is on what a tunnel wraps around it, too.
const NO_MARKS: &str = "add table inet marks; add chain inet marks c { type filter hook postrouting priority 300; }; \
                        add rule inet marks c meta mark != 0 drop";

/// A lab of three nodes with kube-proxy, and one outside.
struct Shop {
    network: PodNetwork,
    lab: Lab,
    cluster: Cluster,
}

impl Shop {
    /// Services by name and spec; the ports are everywhere the same.
    fn new(network: PodNetwork, services: &[(&str, &str)]) -> Result<Self, Box<dyn Error>> {
        let pods = PODS.map(|(name, node, http)| PodSpec {
            id: format!("shop/{name}"),
            node: node.into(),
            ports: OTHERS.into_iter().chain([(Protocol::Tcp, http)]).collect(),
        });
        let nodes = ["n1", "n2", "n3", OUTSIDE].map(str::to_owned);
        let lab = Lab::build(&LabSpec { nodes: nodes.into(), network, pods: pods.into(), ..LabSpec::default() })?;
        let mut cluster = Cluster::default();
        for (name, node, number) in PODS {
            let http = ContainerPort { name: Some("http".into()), number, protocol: Protocol::Tcp };
            let pod = Pod {
                labels: [("name", name), ("app", "web")].into_iter().collect(),
                node: Some(node.into()),
                addresses: lab.addresses(&format!("shop/{name}"))?.to_vec(),
                ports: vec![http],
                ..Pod::new(ObjectName::new("shop", name))
            };
            _ = cluster.apply(Object::Pod(pod.into()));
        }
        let mut shop = Self { network, lab, cluster };
        for node in ["n1", "n2", "n3"] {
            shop.run(node, "nft", NO_MARKS)?;
        }
        shop.apply(services)?;
        Ok(shop)
    }

    fn run(&self, node: &str, program: &str, arguments: &str) -> Outcome {
        let run = || Command::new(program).args(arguments.split_whitespace()).status();
        let status = self.lab.namespace(node)?.run(run)??;
        assert!(status.success(), "{program} {arguments}: {status}");
        Ok(())
    }

    /// Adds Services or replaces them, on all nodes.
    fn apply(&mut self, services: &[(&str, &str)]) -> Outcome {
        let ports = "{name: http, port: 80, targetPort: http}, {name: dns, port: 53, targetPort: 5353, protocol: UDP}, \
                     {name: sctp, port: 9, targetPort: 9009, protocol: SCTP}, {name: reporter, port: 9000}";
        for (name, spec) in services {
            let text = format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
                 spec: {{ipFamilyPolicy: RequireDualStack, ports: [{ports}], {spec}}}\n"
            );
            let manifest = manifest::read(&"services.yaml".into(), &text, CidrRules::Strict);
            assert_eq!(manifest.problems, []);
            for document in manifest.documents {
                let Content::Objects(objects) = document.content else { panic!("{:?}", document.content) };
                objects.into_iter().for_each(|object| _ = self.cluster.apply(object));
            }
        }
        assign(&mut self.cluster);
        Ok(load_on(&self.lab, &self.cluster.node_names(), &served(&self.cluster))?)
    }

    /// Where a Service is reached by its own addresses.
    fn inside(&self, service: &str, traffic: Traffic) -> Vec<(IpAddr, Traffic)> {
        let service = self.cluster.service(&ObjectName::new("shop", service)).unwrap();
        assert_eq!(service.addresses.len(), 2, "{}", service.name);
        service.addresses.iter().map(|address| (*address, traffic)).collect()
    }

    /// Where it is reached on a node.
    fn on_node(&self, service: &str, node: &str, traffic: Traffic) -> Vec<(IpAddr, Traffic)> {
        let service = self.cluster.service(&ObjectName::new("shop", service)).unwrap();
        let Traffic::Port(protocol, number) = traffic else { panic!("{traffic:?}") };
        let port = service.ports.iter().find(|port| (port.protocol, port.port) == (protocol, number)).unwrap();
        let traffic = Traffic::Port(protocol, port.node_port.unwrap());
        node_addresses(node).into_iter().map(|address| (address, traffic)).collect()
    }

    /// Every way to it.
    fn everywhere(&self, service: &str, traffic: Traffic) -> Vec<(IpAddr, Traffic)> {
        let nodes = ["n1", "n2", "n3"].into_iter().flat_map(|node| self.on_node(service, node, traffic));
        self.inside(service, traffic).into_iter().chain(nodes).collect()
    }

    /// Asks all of these from all of those, and holds what comes against what is expected.
    fn expect(&self, from: &[&str], to: &[(IpAddr, Traffic)], expected: &Observed) -> Outcome {
        // A refusal may come late, as may an answer.
        let patient = *expected != Observed::Denied;
        let expectation = if patient { Expectation::Allowed } else { Expectation::Denied };
        let probe = |from: &&str| {
            let from = (*from).to_owned();
            to.iter().map(move |&(to, traffic)| Probe::new(from.clone(), to, traffic, expectation))
        };
        let probes: Vec<Probe> = from.iter().flat_map(probe).collect();
        for (probe, observed) in probes.iter().zip(self.lab.probe_all(&probes, |_, _| {})?) {
            assert_eq!(observed, *expected, "{}: {probe:?}", self.network);
        }
        Ok(())
    }

    /// A server in a pod that tells whom it takes its clients for.
    fn reporter(&self, pod: &str) -> Result<TcpListener, Box<dyn Error>> {
        let bind = || TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, REPORTER)));
        let listener = self.lab.namespace(pod)?.run(bind)??;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Whom it takes this client for.
    fn seen(&self, reporter: &TcpListener, from: &str, to: (IpAddr, Traffic)) -> Result<IpAddr, Box<dyn Error>> {
        let target = SocketAddr::new(to.0, to.1.port().unwrap());
        let connect = || TcpStream::connect_timeout(&target, PATIENCE);
        let _client =
            self.lab.namespace(from)?.run(connect)?.map_err(|error| format!("{from} to {target}: {error}"))?;
        let deadline = Instant::now() + PATIENCE;
        let (_, peer) = loop {
            match reporter.accept() {
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                    sleep(Duration::from_millis(1));
                }
                accepted => break accepted.map_err(|error| format!("{from} to {target}, by another pod: {error}"))?,
            }
        };
        Ok(peer.ip().to_canonical())
    }

    fn address(&self, pod: &str, family_of: IpAddr) -> IpAddr {
        let addresses = self.lab.addresses(pod).unwrap();
        *addresses.iter().find(|address| address.is_ipv4() == family_of.is_ipv4()).unwrap()
    }
}

/// On the underlay, IPv4 first.
fn node_addresses(node: &str) -> [IpAddr; 2] {
    let number = node.strip_prefix('n').unwrap();
    [format!("172.30.0.{number}"), format!("fd00:30::{number}")].map(|address| address.parse().unwrap())
}

/// All that a node has, on whatever link.
fn all_addresses(node: &Namespace) -> Result<Vec<IpAddr>, Box<dyn Error>> {
    let ip = |address: nix::sys::socket::SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    let all = || nix::ifaddrs::getifaddrs().map(|links| links.filter_map(|link| ip(link.address?)).collect());
    Ok(node.run(all)??)
}

const CALLERS: [&str; 7] = ["shop/client", "shop/one", "shop/two", "shop/three", "n1", "n2", "n3"];

#[test]
fn pods_and_nodes_reach_pods_of_all_nodes_by_every_address_of_their_service() -> Outcome {
    for network in PodNetwork::ALL {
        let shop = Shop::new(
            network,
            &[("one", "type: NodePort, selector: {name: one}"), ("two", "type: LoadBalancer, selector: {name: two}")],
        )?;
        for name in ["one", "two"] {
            let ways: Vec<_> = TRAFFICS.into_iter().flat_map(|traffic| shop.everywhere(name, traffic)).collect();
            shop.expect(&CALLERS, &ways, &Observed::Allowed)?;
            // Who it is tells TCP only; each listens on another port, which the Service has by its name.
            for from in CALLERS {
                for (address, traffic) in shop.everywhere(name, TRAFFICS[0]) {
                    let connection = Connection::open(shop.lab.namespace(from)?, address, traffic.port().unwrap())?;
                    assert!(connection.is_with(&format!("shop/{name}")), "{network}: {from} to {address} {traffic:?}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_pod_behind_a_service_gets_its_share() -> Outcome {
    for network in PodNetwork::ALL {
        let shop = Shop::new(network, &[("web", "type: NodePort, selector: {app: web}")])?;
        for (address, traffic) in shop.everywhere("web", TRAFFICS[0]) {
            let mut missing: Vec<String> = PODS.map(|(name, ..)| format!("shop/{name}")).into();
            // One of four is left out by chance 200 times in a row once in 10^24.
            for _ in 0..200 {
                let connection = Connection::open(shop.lab.namespace("n2")?, address, traffic.port().unwrap())?;
                missing.retain(|pod| !connection.is_with(pod));
                if missing.is_empty() {
                    break;
                }
            }
            assert_eq!(missing, [""; 0], "{network}: {address} {traffic:?}");
        }
    }
    Ok(())
}

#[test]
fn what_asks_for_local_traffic_keeps_to_the_nodes_own_pods() -> Outcome {
    for network in PodNetwork::ALL {
        let shop =
            Shop::new(network, &[("two", "type: NodePort, externalTrafficPolicy: Local, selector: {name: two}")])?;
        let ways =
            |node| -> Vec<_> { TRAFFICS.into_iter().flat_map(|traffic| shop.on_node("two", node, traffic)).collect() };
        // On its own node, and by its ClusterIP, it is open to all.
        shop.expect(&[OUTSIDE], &ways("n2"), &Observed::Allowed)?;
        shop.expect(&CALLERS, &ways("n2"), &Observed::Allowed)?;
        shop.expect(&CALLERS, &shop.inside("two", TRAFFICS[0]), &Observed::Allowed)?;
        // On another node it is to that node and its pods, who are not from outside.
        shop.expect(&["shop/client", "shop/one", "n1"], &ways("n1"), &Observed::Allowed)?;
        shop.expect(&["shop/two", "shop/three", "n2", "n3", OUTSIDE], &ways("n1"), &Observed::Denied)?;
    }
    Ok(())
}

#[test]
fn a_service_without_pods_refuses_as_does_a_port_that_it_lacks() -> Outcome {
    for network in PodNetwork::ALL {
        let shop = Shop::new(
            network,
            &[
                ("none", "type: NodePort, selector: {name: nobody}"),
                ("none-local", "type: NodePort, externalTrafficPolicy: Local, selector: {name: nobody}"),
                ("one", "type: NodePort, selector: {name: one}"),
            ],
        )?;
        // Or kernels would say no only now and then.
        for node in ["n1", "n2", "n3"] {
            shop.lab.namespace(node)?.set_sysctls(&[
                ("net/ipv4/icmp_ratelimit", "0"),
                ("net/ipv6/icmp/ratelimit", "0"),
                ("net/ipv4/icmp_msgs_burst", "10000"),
            ])?;
        }
        let callers = ["shop/client", "shop/two", "n1", "n3"];
        let ways: Vec<_> = TRAFFICS
            .into_iter()
            .flat_map(|traffic| [shop.everywhere("none", traffic), shop.everywhere("none-local", traffic)].concat())
            .collect();
        shop.expect(&callers, &ways, &Observed::Refused)?;
        let lacked = shop.inside("one", Traffic::Port(Protocol::Tcp, 81));
        shop.expect(&callers, &lacked, &Observed::Refused)?;
        // A node has node ports at the address that other nodes know it by, not at the one that its pods do.
        let gateways = [IpAddr::from([10, 244, 1, 1]), "fd00:10:244:1::1".parse()?];
        let node_port = shop.on_node("one", "n1", TRAFFICS[0])[0].1;
        shop.expect(&["shop/client"], &gateways.map(|address| (address, node_port)), &Observed::Refused)?;

        // Who asks from such a port is answered all the same.
        for (address, traffic) in shop.on_node("none", "n1", TRAFFICS[1]) {
            let from = SocketAddr::new(address, traffic.port().unwrap());
            let socket = shop.lab.namespace("n1")?.run(|| UdpSocket::bind(from))??;
            socket.send_to(b"?", SocketAddr::new(shop.address("shop/two", address), 5353))?;
            lab::receive(&socket, &mut [0; 64], PATIENCE)
                .map_err(|error| format!("{network}: from {from}: {error}"))?;
        }
    }
    Ok(())
}

#[test]
fn servers_see_pods_by_their_own_addresses_and_the_rest_by_nodes() -> Outcome {
    const REPORT: Traffic = Traffic::Port(Protocol::Tcp, REPORTER);
    for network in PodNetwork::ALL {
        let shop = Shop::new(
            network,
            &[
                ("one", "type: NodePort, selector: {name: one}"),
                ("two", "type: NodePort, selector: {name: two}"),
                ("near", "type: NodePort, externalTrafficPolicy: Local, selector: {name: two}"),
            ],
        )?;
        // Who asks, what is asked, who answers, and in whose name the question comes: a pod's, or one that a node has.
        let masquerades = matches!(network, PodNetwork::FlannelVxlan | PodNetwork::FlannelHostGw);
        let client_outside = if masquerades { "n1" } else { "shop/client" };
        for (address, via) in shop.inside("two", REPORT).into_iter().zip(node_addresses("n1")) {
            shop.run(OUTSIDE, "ip", &format!("route add {} via {via}", address.0))?;
        }
        let (one, two) = (&shop.reporter("shop/one")?, &shop.reporter("shop/two")?);
        let cases = [
            ("shop/client", shop.inside("one", REPORT), one, "shop/client"),
            ("shop/client", shop.inside("two", REPORT), two, "shop/client"),
            ("shop/one", shop.inside("one", REPORT), one, "n1"),
            ("n1", shop.inside("one", REPORT), one, "n1"),
            ("n1", shop.inside("two", REPORT), two, "n1"),
            ("shop/client", shop.on_node("one", "n1", REPORT), one, "n1"),
            ("shop/client", shop.on_node("two", "n1", REPORT), two, "n1"),
            ("shop/client", shop.on_node("two", "n2", REPORT), two, "n2"),
            ("shop/client", shop.on_node("two", "n3", REPORT), two, "n3"),
            ("n1", shop.on_node("two", "n3", REPORT), two, "n3"),
            ("shop/client", shop.on_node("near", "n1", REPORT), two, "shop/client"),
            ("n1", shop.on_node("near", "n1", REPORT), two, "n1"),
            ("shop/client", shop.on_node("near", "n2", REPORT), two, client_outside),
            ("n3", shop.on_node("near", "n2", REPORT), two, "n3"),
            (OUTSIDE, shop.on_node("near", "n2", REPORT), two, OUTSIDE),
            (OUTSIDE, shop.on_node("two", "n2", REPORT), two, "n2"),
            (OUTSIDE, shop.on_node("two", "n1", REPORT), two, "n1"),
            // By way of n1, whom the answer must come back to.
            (OUTSIDE, shop.inside("two", REPORT), two, "n1"),
        ];
        for (from, ways, reporter, name) in cases {
            for to in ways {
                let seen = shop.seen(reporter, from, to)?;
                let case = format!("{network}: {from} to {to:?} is taken for {seen}, not {name}");
                if name.starts_with("shop/") {
                    assert_eq!(seen, shop.address(name, to.0), "{case}");
                } else {
                    assert!(all_addresses(shop.lab.namespace(name)?)?.contains(&seen), "{case}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_connection_keeps_its_pod_when_others_come_to_another() -> Outcome {
    for network in PodNetwork::ALL {
        let mut shop = Shop::new(network, &[("web", "type: NodePort, selector: {name: one}")])?;
        let ways = shop.everywhere("web", TRAFFICS[0]);
        let open = |shop: &Shop, from, (address, traffic): (IpAddr, Traffic)| {
            Connection::open(shop.lab.namespace(from)?, address, traffic.port().unwrap())
        };
        let mut standing = Vec::new();
        for from in ["shop/client", "shop/two", "n1"] {
            for way in &ways {
                standing.push((from, *way, open(&shop, from, *way)?));
            }
        }
        shop.apply(&[("web", "type: NodePort, selector: {name: two}")])?;
        assert_eq!(shop.everywhere("web", TRAFFICS[0]), ways);
        for (from, way, connection) in &mut standing {
            assert!(connection.is_with("shop/one"));
            connection
                .echo("still there", PATIENCE)
                .map_err(|error| format!("{network}: {from} to {way:?}: {error}"))?;
            assert!(open(&shop, from, *way)?.is_with("shop/two"), "{network}: {from} to {way:?}");
        }
    }
    Ok(())
}

#[test]
fn a_pod_with_host_network_stands_behind_services_with_its_nodes_addresses() -> Outcome {
    for network in PodNetwork::ALL {
        let mut shop = Shop::new(network, &[])?;
        let pod = Pod {
            labels: [("name", "host")].into_iter().collect(),
            node: Some("n2".into()),
            addresses: node_addresses("n2").into(),
            host_network: true,
            ports: vec![ContainerPort { name: Some("http".into()), number: 8080, protocol: Protocol::Tcp }],
            ..Pod::new(ObjectName::new("shop", "host"))
        };
        _ = shop.cluster.apply(Object::Pod(pod.into()));
        shop.apply(&[("host", "type: NodePort, selector: {name: host}")])?;
        let reactor = Reactor::start()?;
        let _responder = Responder::start(&reactor, shop.lab.namespace("n2")?, &[(Protocol::Tcp, 8080)])?;
        shop.expect(&CALLERS, &shop.everywhere("host", TRAFFICS[0]), &Observed::Allowed)?;
    }
    Ok(())
}
