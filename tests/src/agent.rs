//! The agent as the suites run it, and the state that it is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lab::{Namespace, Process};
use policy_compiler::cidr::{Cidr, CidrRules};
use policy_compiler::cluster::{AddressPools, Cluster};
use policy_compiler::manifest::Content;
use policy_compiler::render;
use serde_json::{Value, json};

use crate::{Manifests, podwall, root};

/// What the agent logs once its rules are in force.
pub const IN_FORCE: &str = "policies are in force";
/// What it logs when it has committed a change.
pub const COMMITTED: &str = "committed";

/// Where it answers HTTP unless it is told otherwise.
pub const HTTP: &str = "127.0.0.1:9469";

/// Longer than anything takes that works.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the agent and waits until it enforces.
pub fn start(namespace: &Namespace, manifests: &str, node: &str, more: &[&str]) -> Process {
    let mut agent = launch(namespace, manifests, node, more);
    agent.wait_for_line(IN_FORCE, PATIENCE).unwrap_or_else(|error| panic!("{error}"));
    agent
}

/// Starts the agent.
pub fn launch(namespace: &Namespace, manifests: &str, node: &str, more: &[&str]) -> Process {
    let mut command = Command::new(podwall());
    command.args(["enforce", "--manifests", manifests, "--node", node, "--log-format", "compact"]);
    command.args(more).current_dir(root());
    Process::spawn(namespace, command).unwrap_or_else(|error| panic!("{error}"))
}

/// Status and body of what is answered over HTTP; none where nobody listens.
pub fn get(node: &Namespace, address: &str, path: &str) -> Option<(u16, String)> {
    let address: SocketAddr = address.parse().expect("an address and a port");
    let connected = node.run(|| TcpStream::connect(address)).unwrap_or_else(|error| panic!("{error}"));
    let mut stream = connected.ok()?;
    let mut text = String::new();
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket's timeout can be set");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("the socket takes a request");
    stream.read_to_string(&mut text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {text}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Some((status.unwrap_or_else(|| panic!("{path}: {head}")), body.to_owned()))
}

/// A cluster's objects as an agent would see them: pods placed and given addresses just as `podwall compile` does it.
pub fn with_addresses(cluster: &Path, addresses: &str) -> Manifests {
    let files = enforcer::source::manifest_files(cluster).expect("a fixture can be read");
    let texts = files.iter().map(|file| std::fs::read_to_string(file).expect("a fixture can be read"));
    let read: Vec<_> =
        texts.map(|text| policy_compiler::manifest::read(&"fixture".into(), &text, CidrRules::Legacy)).collect();
    let documents = || read.iter().flat_map(|manifest| &manifest.documents);
    let objects = documents().flat_map(|document| match &document.content {
        Content::Objects(objects) => objects.clone(),
        Content::Skipped | Content::Invalid { .. } => Vec::new(),
    });
    let mut cluster: Cluster = objects.collect();
    cluster.place_pods("node");
    let cidrs = addresses.split(',').map(|cidr| Cidr::parse(cidr, CidrRules::Strict).expect("a CIDR").0);
    cluster.assign_addresses(&AddressPools::new(cidrs).expect("one a family")).expect("room enough");

    let written = documents().filter(|document| ["NetworkPolicy", "Namespace"].contains(&&*document.kind));
    let items: Vec<Value> =
        written.map(|document| document.to_json()).chain(cluster.pods().map(render::manifest::pod)).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    Manifests::new(&[("cluster.json", &list.to_string())])
}
