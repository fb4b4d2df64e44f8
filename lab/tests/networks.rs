//! Several nodes, over every pod network.

use std::error::Error;
use std::process::Command;

use lab::{Expectation, Lab, LabError, LabSpec, Observed, PodNetwork, PodSpec, Probe, Protocol, Traffic};

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
    Lab::build(&LabSpec { nodes: nodes.into(), network, pods: pods.into() })
}

/// What comes of every probe between different pods.
fn probe_all(lab: &Lab, expectation: Expectation) -> Result<Vec<(Probe, Observed)>, LabError> {
    let pods: Vec<&str> = lab.pods().collect();
    let mut probes = Vec::new();
    for from in &pods {
        for to in pods.iter().filter(|to| *to != from) {
            for address in lab.addresses(to)? {
                probes.extend(traffics().map(|traffic| Probe {
                    from: (*from).to_owned(),
                    to: *address,
                    traffic,
                    expectation,
                }));
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

#[test]
fn a_network_is_read_as_it_is_printed() {
    for network in PodNetwork::ALL {
        assert_eq!(network.to_string().parse(), Ok(network));
    }
    assert!("flannel".parse::<PodNetwork>().is_err());
}
