//! What is asked about an input, whatever it is: nothing here may panic. The fuzz targets and the suite that replays their
//! corpus share it.

use std::sync::Arc;

use analysis::diff::{self, Connectivity};
use analysis::expectation;
use analysis::explain;
use analysis::lint::{self, Source};
use analysis::matrix::{Matrix, Question};
use analysis::party::{Name, Pattern, parse_port, parse_traffic};
use policy_compiler::cidr::CidrRules;
use policy_compiler::cluster::Cluster;
use policy_compiler::manifest::{self, Content};
use policy_compiler::verdict::Traffic;

/// What is larger teaches nothing and takes long.
const MAX_PODS: usize = 50;
const MAX_PORTS: usize = 10;
const MAX_PAIRS: usize = 20;

/// Reads a text as expectations, and each of its lines as a name, as a pattern and as a port.
pub fn words(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let cluster = Cluster::default();
    if let Ok(expectations) = expectation::read(&Arc::from("input.yaml"), text) {
        assert!(expectation::check(&cluster, &expectations).iter().all(|outcome| !outcome.holds()), "nobody is there");
    }
    for line in text.lines() {
        if let Ok(name) = line.parse::<Name>() {
            assert_eq!(name.to_string().parse(), Ok(name.clone()), "{line:?} is printed as another name");
            drop(name.resolve(&cluster));
        }
        if let Ok(pattern) = line.parse::<Pattern>() {
            assert!(!pattern.to_string().is_empty() && pattern.pods(&cluster).is_empty());
        }
        if let Ok((protocol, port)) = parse_port(line) {
            assert_eq!(parse_traffic(line), Ok(Traffic::Port(protocol, port)));
        }
    }
}

/// Asks everything about the cluster of a text.
pub fn answers(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let manifest = manifest::read(&Arc::from("input.yaml"), text, CidrRules::Legacy);
    let mut cluster = Cluster::default();
    for document in &manifest.documents {
        let Content::Objects(objects) = &document.content else { continue };
        for object in objects.iter().cloned() {
            drop(cluster.apply(object));
        }
        if cluster.pods().count() > MAX_PODS {
            return;
        }
    }
    let report = lint::lint(&[Source { text, manifest: &manifest }]);
    assert!(manifest.errors().count() == 0 || !report.findings.is_empty(), "errors are findings");

    cluster.place_pods("only");
    let ports = cluster.ports().into_iter().take(MAX_PORTS).collect();
    Matrix::of(&cluster, &Question { ports, ..Question::default() }).unwrap();
    let (mut old, mut new) = (cluster.clone(), cluster.clone());
    diff::place_alike(&mut old, &mut new, "only", None).unwrap();
    let connectivity = Connectivity::between(&old, &new);
    assert!(connectivity.is_empty() && connectivity.policies.is_empty(), "nothing differs from itself");

    let names: Vec<Name> =
        cluster.pods().map(|pod| pod.name.to_string()).filter_map(|name| name.parse().ok()).take(MAX_PAIRS).collect();
    for (from, to) in names.iter().zip(names.iter().rev()) {
        for traffic in [Traffic::Port(policy_compiler::model::Protocol::Tcp, 80), Traffic::Other(1)] {
            explain::between(&cluster, from, to, traffic).unwrap();
        }
    }
}
