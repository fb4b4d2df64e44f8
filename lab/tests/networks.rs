//! Several nodes, over every pod network.

use std::error::Error;
use std::process::Command;

use lab::{Expectation, Lab, LabError, LabSpec, OUTSIDE, Observed, PodNetwork, PodSpec, Probe, Protocol, Traffic};

const PORTS: [(Protocol, u16); 3] = [(Protocol::Tcp, 80), (Protocol::Udp, 53), (Protocol::Sctp, 9)];

/// Every port, and echo.
fn traffics() -> impl Iterator<Item = Traffic> {
    PORTS.into_iter().map(|(protocol, port)| Traffic::Port(protocol, port)).chain([Traffic::Echo])
}

/// Two pods on the first of three nodes, one on each of the others.
fn lab(network: PodNetwork) -> Result<Lab, LabError> {
    let pod =
        |(name, node): (&str, &str)| PodSpec { id: format!("shop/{name}"), node: node.into(), ports: PORTS.to_vec() };
    let pods = [("a", "n1"), ("b", "n1"), ("c", "n2"), ("d", "n3")].map(pod);
    let nodes = ["n1", "n2", "n3"].map(str::to_owned);
    Lab::build(&LabSpec { nodes: nodes.into(), network, pods: pods.into(), ..LabSpec::default() })
}

/// What comes of every probe between different pods.
fn probe_all(lab: &Lab, expectation: Expectation) -> Result<Vec<(Probe, Observed)>, LabError> {
    let pods: Vec<&str> = lab.pods().collect();
    let mut probes = Vec::new();
    for from in &pods {
        for to in pods.iter().filter(|to| *to != from) {
            for address in lab.addresses(to)? {
                probes.extend(traffics().map(|traffic| Probe::new(*from, *address, traffic, expectation)));
            }
        }
    }
    let observed = lab.probe_all(&probes, |_, _| {})?;
    Ok(probes.into_iter().zip(observed).collect())
}

#[test]
fn pods_of_all_nodes_reach_each_other_over_every_network() -> Result<(), LabError> {
    for network in PodNetwork::ALL {
        for (probe, observed) in probe_all(&lab(network)?, Expectation::Allowed)? {
            assert_eq!(observed, Observed::Allowed, "{network}: {probe:?}");
        }
    }
    Ok(())
}

#[test]
fn what_a_node_drops_arrives_at_no_other() -> Result<(), Box<dyn Error>> {
    let rules = "add table inet t { chain c { type filter hook forward priority 0; policy drop; }; }";
    for network in PodNetwork::ALL {
        let lab = lab(network)?;
        let loaded = lab.namespace("n2")?.run(|| Command::new("nft").arg(rules).status())??;
        assert!(loaded.success(), "{loaded}");
        let own = lab.addresses("shop/c")?;
        for (probe, observed) in probe_all(&lab, Expectation::Denied)? {
            let passes_n2 = probe.from == "shop/c" || own.contains(&probe.to);
            let expected = if passes_n2 { Observed::Denied } else { Observed::Allowed };
            assert_eq!(observed, expected, "{network}: {probe:?}");
        }
    }
    Ok(())
}

/// Rules see a packet whole that comes in pieces.
#[test]
fn what_a_probe_carries_is_as_large_as_was_asked_for() -> Result<(), Box<dyn Error>> {
    let rules = "add table inet t { chain c { type filter hook forward priority 0; ct state new meta length 4000-5000 drop; }; }";
    for network in PodNetwork::ALL {
        let lab = lab(network)?;
        let loaded = lab.namespace("n2")?.run(|| Command::new("nft").arg(rules).status())??;
        assert!(loaded.success(), "{loaded}");
        for (payload, expected) in [(0, Observed::Allowed), (4500, Observed::Denied), (9000, Observed::Allowed)] {
            let mut probes = Vec::new();
            for &to in lab.addresses("shop/c")? {
                let kinds = [Traffic::Port(Protocol::Udp, 53), Traffic::Echo];
                let expectation = if expected == Observed::Denied { Expectation::Denied } else { Expectation::Allowed };
                probes.extend(kinds.map(|kind| Probe { payload, ..Probe::new("shop/a", to, kind, expectation) }));
            }
            let observed = lab.probe_all(&probes, |_, _| {})?;
            assert_eq!(observed, vec![expected; 4], "{network}, {payload} bytes");
        }
        // A stream is cut by its kernel; but all of it comes back.
        let tcp = |&to| Probe {
            payload: 60_000,
            ..Probe::new("shop/a", to, Traffic::Port(Protocol::Tcp, 80), Expectation::Allowed)
        };
        let probes: Vec<Probe> = lab.addresses("shop/c")?.iter().map(tcp).collect();
        assert_eq!(lab.probe_all(&probes, |_, _| {})?, [const { Observed::Allowed }; 2], "{network}");
    }
    Ok(())
}

/// A host of several addresses answers from the one that was asked, and what it sends has the address that it should.
#[test]
fn nodes_and_the_world_outside_answer_by_every_address() -> Result<(), Box<dyn Error>> {
    let outside: Vec<std::net::IpAddr> = vec!["192.0.2.7".parse()?, "203.0.113.9".parse()?, "2001:db8::7".parse()?];
    for network in PodNetwork::ALL {
        let pod = PodSpec { id: "shop/a".into(), node: "n1".into(), ports: PORTS.to_vec() };
        let lab = Lab::build(&LabSpec {
            nodes: vec!["n1".into(), "n2".into()],
            network,
            pods: vec![pod],
            outside: outside.clone(),
            host_ports: PORTS.to_vec(),
        })?;
        let allowed =
            |from: &'static str, to| traffics().map(move |kind| Probe::new(from, to, kind, Expectation::Allowed));
        let mut probes: Vec<Probe> = Vec::new();
        for &to in [lab.addresses("n1")?, lab.addresses("n2")?, &outside].concat().iter() {
            probes.extend(allowed("shop/a", to));
        }
        for &to in lab.addresses("shop/a")? {
            probes.extend(allowed("n1", to).chain(allowed("n2", to)));
            let same_family = outside.iter().filter(|from| from.is_ipv4() == to.is_ipv4());
            probes.extend(
                same_family.flat_map(|from| allowed(OUTSIDE, to).map(|probe| Probe { source: Some(*from), ..probe })),
            );
        }
        for (probe, observed) in probes.iter().zip(lab.probe_all(&probes, |_, _| {})?) {
            assert_eq!(observed, Observed::Allowed, "{network}: {probe:?}");
        }
        // The pod hears of that address and of no other.
        let rule = "add table inet t { chain c { type filter hook input priority 0; ip saddr 192.0.2.7 drop; }; }";
        lab.namespace("shop/a")?.run(|| Command::new("nft").arg(rule).status())??;
        for (source, expected) in [(outside[0], Observed::Denied), (outside[1], Observed::Allowed)] {
            let probes: Vec<Probe> = traffics()
                .map(|kind| {
                    Probe::new(OUTSIDE, lab.addresses("shop/a").map_or(source, |own| own[0]), kind, Expectation::Denied)
                })
                .map(|probe| Probe { source: Some(source), ..probe })
                .collect();
            assert_eq!(lab.probe_all(&probes, |_, _| {})?, vec![expected; 4], "{network}: {source}");
        }
    }
    Ok(())
}

#[test]
fn a_network_is_read_as_it_is_printed() {
    for network in PodNetwork::ALL {
        assert_eq!(network.to_string().parse(), Ok(network));
    }
    assert!("flannel".parse::<PodNetwork>().is_err());
}
