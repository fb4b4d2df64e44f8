//! What is done with an input, whatever it is: nothing here may panic. The fuzz targets and the suite that replays their
//! corpus share it.

use std::net::IpAddr;
use std::sync::Arc;

use policy_compiler::cidr::{Cidr, CidrRules, Family};
use policy_compiler::cluster::{AddressPools, Cluster};
use policy_compiler::interpret;
use policy_compiler::manifest::{self, Content, Manifest};
use policy_compiler::model::{Object, Protocol};
use policy_compiler::plan::{self, Generation, Settings};
use policy_compiler::render;
use policy_compiler::verdict::{self, Endpoint, Flow, Traffic};

#[path = "../../policy-compiler/tests/common/agreement.rs"]
mod agreement;

/// What is larger teaches nothing and takes long.
const MAX_PODS: usize = 200;
const MAX_NODES: usize = 8;
/// Of each kind of end and of traffic.
const MAX_TRIED: usize = 6;

/// Reads a text, by both rules for CIDRs, and says what it found.
pub fn manifest(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for rules in [CidrRules::Legacy, CidrRules::Strict] {
        let manifest = read(text, rules);
        for problem in &manifest.problems {
            let shown = problem.to_string();
            assert!(!shown.contains(char::is_control), "{shown:?}");
            assert!(problem.origin.line > 0 && problem.origin.column > 0, "{shown}");
        }
        for document in &manifest.documents {
            if matches!(document.content, Content::Invalid { .. }) {
                assert_ne!(manifest.errors().count(), 0, "invalid without a reason: {document:?}");
            }
            assert!(!document.to_json().to_string().is_empty());
        }
    }
}

/// Reads a text, compiles it for every node and writes it out; the verdicts and the plans of some flows must agree.
pub fn compile(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut cluster = Cluster::default();
    for object in objects(read(text, CidrRules::Legacy)) {
        drop(cluster.apply(object));
    }
    if cluster.pods().take(MAX_PODS + 1).count() > MAX_PODS {
        return;
    }
    cluster.place_pods("only");
    let pools = ["10.244.0.0/24", "fd00:10:244::/64"].map(|pool| Cidr::parse(pool, CidrRules::Strict).unwrap().0);
    // Where a pool is too small, pods stay without an address.
    drop(cluster.assign_addresses(&AddressPools::new(pools).unwrap()));

    let flows = flows(&cluster);
    for node in cluster.node_names().iter().take(MAX_NODES) {
        let table = plan::compile(&cluster, node, &Settings::default(), Generation::FIRST).table;
        interpret::check(&table).unwrap();
        assert!(!render::text::table(&table).is_empty());
        assert!(render::json::table(&table).unwrap().is_object());
        for flow in &flows {
            let verdict = verdict::judge(&cluster, flow);
            let agrees = agreement::agrees(&table, node, flow, &verdict).unwrap();
            assert_ne!(agrees, Some(false), "{node} disagrees on {flow}: {verdict:#?}");
        }
    }
}

fn read(text: &str, rules: CidrRules) -> Manifest {
    let file: Arc<str> = "input.yaml".into();
    manifest::read(&file, text, rules)
}

fn objects(manifest: Manifest) -> Vec<Object> {
    let contents = manifest.documents.into_iter().map(|document| document.content);
    contents
        .flat_map(|content| match content {
            Content::Objects(objects) => objects,
            Content::Invalid { closed: Some(policy), .. } => vec![Object::Policy(policy.into())],
            Content::Invalid { .. } | Content::Skipped => Vec::new(),
        })
        .collect()
}

/// Between some of the cluster's own addresses, and from and to others, by traffic that policies speak of and some that
/// none does.
fn flows(cluster: &Cluster) -> Vec<Flow<'_>> {
    let own = cluster.pods().flat_map(|pod| pod.addresses.iter().take(2)).copied().take(2 * MAX_TRIED);
    let blocks = cluster.policies().flat_map(|policy| {
        let rules = policy.ingress.iter().chain(&policy.egress).flatten();
        let peers = rules.flat_map(|rule| rule.peers.iter().flatten());
        peers.flat_map(|peer| match peer {
            policy_compiler::model::Peer::Block(block) => [block.cidr]
                .iter()
                .chain(&block.except)
                .flat_map(|cidr| [cidr.range().first, cidr.range().last])
                .collect(),
            policy_compiler::model::Peer::Pods { .. } => Vec::new(),
        })
    });
    let mut addresses: Vec<IpAddr> = own.collect();
    addresses.extend(blocks.take(MAX_TRIED));
    addresses.extend(["192.0.2.1", "2001:db8::1"].map(|address| address.parse::<IpAddr>().unwrap()));
    let mut traffic: Vec<Traffic> =
        cluster.ports().into_iter().take(MAX_TRIED).map(|(protocol, port)| Traffic::Port(protocol, port)).collect();
    traffic.extend([Traffic::Port(Protocol::Tcp, 80), Traffic::Port(Protocol::Udp, 65_535), Traffic::Other(1)]);

    let ends: Vec<_> = addresses.into_iter().map(|address| (Endpoint::resolve(cluster, address), address)).collect();
    let mut flows = Vec::new();
    for (from, source) in &ends {
        for (to, destination) in &ends {
            if Family::of(*source) == Family::of(*destination) {
                flows.extend(traffic.iter().map(|traffic| Flow { from: *from, to: *to, traffic: *traffic }));
            }
        }
    }
    flows
}
