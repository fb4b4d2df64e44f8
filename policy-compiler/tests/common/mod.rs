//! A small cluster in YAML, and flows in words: `a/u b/v -> a/w TCP/80 ICMP`.
#![allow(dead_code, reason = "each suite uses its part")]

mod agreement;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use policy_compiler::cidr::{CidrRules, Family};
use policy_compiler::cluster::Cluster;
use policy_compiler::interpret;
use policy_compiler::manifest::{self, Content, Manifest};
use policy_compiler::model::{ObjectName, Protocol};
use policy_compiler::plan::{self, Generation, Settings};
use policy_compiler::verdict::{self, Endpoint, Flow, Traffic, Verdict};

/// Namespaces `a` (team red), `b` (team blue) and, known by its pods only, `c`; in each the pods `u`, `v` and `w`, by
/// the label app, on a node of their own (`n1`, `n2`, `n3`). Pod `b/v` is 10.0.2.2 and fd00::2:2, and so on. All of them
/// have the ports http (TCP 80) and dns (UDP 53).
pub(crate) fn world(documents: &str) -> Cluster {
    let mut text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {team: red}}\n---\n\
                    apiVersion: v1\nkind: Namespace\nmetadata: {name: b, labels: {team: blue}}\n"
        .to_owned();
    for namespace in ["a", "b", "c"] {
        for name in ["u", "v", "w"] {
            text += &pod(&format!("{namespace}/{name}"), &format!("app: {name}"), PORTS);
        }
    }
    cluster(&(text + documents))
}

/// The ports of every pod of the world.
pub(crate) const PORTS: &str = "{name: http, containerPort: 80}, {name: dns, containerPort: 53, protocol: UDP}";

/// A pod of the world, with labels and ports of its own.
pub(crate) fn pod(name: &str, labels: &str, ports: &str) -> String {
    let (namespace, pod) = name.split_once('/').unwrap();
    let number = |text: &str, first: u8| text.bytes().next().unwrap() - first + 1;
    let (n, p) = (number(namespace, b'a'), number(pod, b'u'));
    format!(
        "\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, namespace: {namespace}, labels: {{{labels}}}}}\n\
         spec: {{nodeName: n{n}, containers: [{{name: main, ports: [{ports}]}}]}}\n\
         status: {{phase: Running, podIP: 10.0.{n}.{p}, podIPs: [{{ip: 10.0.{n}.{p}}}, {{ip: 'fd00::{n}:{p}'}}]}}\n"
    )
}

/// A policy, in a document of its own.
pub(crate) fn policy(name: &str, spec: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    let mut text = format!(
        "\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n"
    );
    spec.lines().filter(|line| !line.trim().is_empty()).for_each(|line| writeln!(text, "  {line}").unwrap());
    text
}

/// The world, where policy `a/p` lets these rules alone in to pod `a/u`.
pub(crate) fn ingress(rules: &str) -> Cluster {
    world(&ingress_policy("a/p", rules))
}

/// The world, where policy `a/p` lets these rules alone out of pod `a/u`.
pub(crate) fn egress(rules: &str) -> Cluster {
    world(&egress_policy("a/p", rules))
}

/// A policy for the pods with app u that lets these rules alone in.
pub(crate) fn ingress_policy(name: &str, rules: &str) -> String {
    policy(
        name,
        &format!("podSelector: {{matchLabels: {{app: u}}}}\npolicyTypes: [Ingress]\ningress:\n{}", deeper(rules)),
    )
}

/// A policy for the pods with app u that lets these rules alone out.
pub(crate) fn egress_policy(name: &str, rules: &str) -> String {
    policy(
        name,
        &format!("podSelector: {{matchLabels: {{app: u}}}}\npolicyTypes: [Egress]\negress:\n{}", deeper(rules)),
    )
}

/// Indented, so that `[]` may stand there too.
fn deeper(rules: &str) -> String {
    rules.lines().map(|line| format!("  {line}\n")).collect()
}

pub(crate) fn read(text: &str) -> Manifest {
    manifest::read(&"m.yaml".into(), text, CidrRules::Legacy)
}

/// The cluster of a text without errors.
pub(crate) fn cluster(text: &str) -> Cluster {
    let manifest = read(text);
    let errors: Vec<String> = manifest.errors().map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    objects(manifest)
}

/// The cluster of a text, with stand-ins for the policies that are wrong, as the agent has it.
pub(crate) fn objects(manifest: Manifest) -> Cluster {
    let mut cluster = Cluster::default();
    for document in manifest.documents {
        match document.content {
            Content::Objects(objects) => objects.into_iter().for_each(|object| drop(cluster.apply(object))),
            Content::Invalid { closed: Some(policy), .. } => {
                drop(cluster.apply(policy_compiler::model::Object::Policy(policy.into())));
            }
            Content::Invalid { .. } | Content::Skipped => {}
        }
    }
    cluster
}

/// Asserts what becomes of every flow from one of the words on the left to one on the right, by every kind of traffic:
/// by the verdict, and by the plans of all nodes.
///
/// Ends are pods (`a/u`, in each family that both ends have), addresses, or nodes with an address (`n1@10.0.0.1`).
#[track_caller]
pub(crate) fn check(cluster: &Cluster, flows: &str, allowed: bool) {
    let compiled = |node: Arc<str>| {
        let table = plan::compile(cluster, &node, &Settings::default(), Generation::FIRST).table;
        interpret::check(&table).unwrap();
        (node, table)
    };
    let tables: Vec<_> = cluster.node_names().into_iter().map(compiled).collect();
    for flow in parse(cluster, flows) {
        let verdict = verdict::judge(cluster, &flow);
        assert_eq!(verdict.is_allowed(), allowed, "verdict of {flow:?}: {verdict:#?}");
        for (node, table) in &tables {
            let agrees = agreement::agrees(table, node, &flow, &verdict).unwrap();
            assert_ne!(agrees, Some(false), "plan of {node} for {flow}: {verdict:#?}");
        }
    }
}

#[track_caller]
pub(crate) fn allowed(cluster: &Cluster, flows: &str) {
    check(cluster, flows, true);
}

#[track_caller]
pub(crate) fn denied(cluster: &Cluster, flows: &str) {
    check(cluster, flows, false);
}

/// The verdict of a single flow, in IPv4.
pub(crate) fn judge<'c>(cluster: &'c Cluster, flow: &str) -> Verdict<'c> {
    verdict::judge(cluster, &parse(cluster, flow)[0])
}

/// Every flow of a line.
#[track_caller]
pub(crate) fn parse<'c>(cluster: &'c Cluster, flows: &'c str) -> Vec<Flow<'c>> {
    let (sources, rest) = flows.split_once("->").unwrap_or_else(|| panic!("no arrow in {flows}"));
    let (traffic, targets): (Vec<&str>, Vec<&str>) =
        rest.split_whitespace().partition(|word| word.starts_with(|first: char| first.is_ascii_uppercase()));
    let mut found = Vec::new();
    for word in traffic {
        for from in sources.split_whitespace() {
            for to in &targets {
                let before = found.len();
                for from in ends(cluster, from) {
                    for to in ends(cluster, to) {
                        let families = [from, to].map(|end| end.address.map(Family::of));
                        if families[0].is_none() || families[1].is_none() || families[0] == families[1] {
                            found.push(Flow { from, to, traffic: parse_traffic(word, families[1]) });
                        }
                    }
                }
                assert!(found.len() > before, "{from} and {to} have no family in common");
            }
        }
    }
    assert!(!found.is_empty(), "no flow in {flows}");
    found
}

fn ends<'c>(cluster: &'c Cluster, word: &'c str) -> Vec<Endpoint<'c>> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return vec![Endpoint::resolve(cluster, address)];
    }
    if let Some((node, address)) = word.split_once('@') {
        return vec![Endpoint::node(node, Some(address.parse().unwrap()))];
    }
    let (namespace, name) = word.split_once('/').unwrap_or_else(|| panic!("what is {word}?"));
    let pod = cluster.pod(&ObjectName::new(namespace, name)).unwrap_or_else(|| panic!("no pod {word}"));
    if pod.addresses.is_empty() {
        return vec![Endpoint::pod(pod, None)];
    }
    pod.addresses.iter().map(|address| Endpoint::pod(pod, Some(*address))).collect()
}

fn parse_traffic(word: &str, family: Option<Family>) -> Traffic {
    let (name, number) = word.split_once('/').unwrap_or((word, ""));
    match (name, Protocol::parse(name)) {
        (_, Some(protocol)) => Traffic::Port(protocol, number.parse().unwrap()),
        ("ICMP", _) => Traffic::Other(if family == Some(Family::V6) { 58 } else { 1 }),
        ("PROTOCOL", _) => Traffic::Other(number.parse().unwrap()),
        _ => panic!("what is {word}?"),
    }
}
