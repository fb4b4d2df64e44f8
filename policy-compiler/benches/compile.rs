//! One node's plan, and the text that `podwall compile` prints, for clusters of realistic shape.
//!
//! 100 pods a node; a namespace for every 100 pods, with ten workloads of ten pods. Of every 20 policies: four default
//! denies, eight that allow from pods of the own namespace, five from another namespace, two for egress to blocks with
//! excepts, and one that allows from every pod of the cluster.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use policy_compiler::cidr::{Cidr, CidrRules};
use policy_compiler::cluster::Cluster;
use policy_compiler::manifest;
use policy_compiler::model::{
    ContainerPort, IpBlock, Labels, Namespace, NamespaceScope, Object, ObjectName, Peer, Pod, Policy, PolicyPort,
    PortMatch, Protocol, Rule,
};
use policy_compiler::plan::{self, Generation, Settings};
use policy_compiler::render;
use policy_compiler::selector::Selector;

const PODS_A_NAMESPACE: usize = 100;
const PODS_A_NODE: usize = 100;

fn pod(number: usize) -> Pod {
    let namespace = number / PODS_A_NAMESPACE;
    let app = number % 10;
    Pod {
        labels: [("app", format!("app-{app}")), ("tier", format!("tier-{}", app % 3))].into_iter().collect(),
        addresses: vec![std::net::Ipv4Addr::from(0x0a00_0000 + number as u32).into()],
        ports: vec![ContainerPort { name: Some("http".into()), number: 8080, protocol: Protocol::Tcp }],
        ..Pod::new(ObjectName::new(format!("ns-{namespace}"), format!("pod-{number}")))
    }
}

fn policy(number: usize, namespaces: usize) -> Policy {
    let tcp = |ports| Some(vec![PolicyPort { protocol: Protocol::Tcp, ports }]);
    let app = |n: usize| Selector::label("app", format!("app-{}", n % 10));
    let from = |peers, ports| vec![Rule { peers: Some(peers), ports, origin: None }];
    let (subject, ingress, egress) = match number % 20 {
        0..4 => (Selector::everything(), Some(vec![]), None),
        4..12 => {
            let peer = Peer::Pods { namespaces: NamespaceScope::Own, pods: app(number + 1) };
            (app(number), Some(from(vec![peer], tcp(PortMatch::Range(8080, 8080)))), None)
        }
        12..17 => {
            let namespace = Selector::label("kubernetes.io/metadata.name", format!("ns-{}", number * 31 % namespaces));
            let peer = Peer::Pods { namespaces: NamespaceScope::Matching(namespace), pods: app(number) };
            (app(number), Some(from(vec![peer], tcp(PortMatch::Named("http".into())))), None)
        }
        17..19 => {
            let cidr = |text: &str| Cidr::parse(text, CidrRules::Strict).unwrap().0;
            let block = IpBlock { cidr: cidr("0.0.0.0/0"), except: vec![cidr("10.0.0.0/8"), cidr("192.168.0.0/16")] };
            (app(number), None, Some(from(vec![Peer::Block(block)], tcp(PortMatch::Range(443, 443)))))
        }
        _ => {
            let everyone = NamespaceScope::Matching(Selector::everything());
            let peer = Peer::Pods { namespaces: everyone, pods: Selector::everything() };
            (app(number), Some(from(vec![peer], None)), None)
        }
    };
    let name = ObjectName::new(format!("ns-{}", number % namespaces), format!("policy-{number}"));
    Policy { name, subject, ingress, egress, closed: false, origin: None }
}

fn cluster(policies: usize, pods: usize) -> Cluster {
    let namespaces = pods.div_ceil(PODS_A_NAMESPACE);
    // Nodes hold pods of many namespaces.
    let pods_on_nodes = (0..pods).map(|number| {
        let node = format!("node-{}", number * 7 % pods.div_ceil(PODS_A_NODE));
        Object::Pod(Pod { node: Some(node.into()), ..pod(number) }.into())
    });
    (0..namespaces)
        .map(|number| Object::Namespace(Namespace::new(format!("ns-{number}"), &Labels::default())))
        .chain(pods_on_nodes)
        .chain((0..policies).map(|number| Object::Policy(policy(number, namespaces).into())))
        .collect()
}

fn compile(criterion: &mut Criterion) {
    let settings = Settings::default();
    let mut group = criterion.benchmark_group("compile");
    group.sample_size(20);
    for (policies, pods) in [(100, 1_000), (1_000, 10_000), (10_000, 10_000)] {
        let cluster = cluster(policies, pods);
        let id = format!("{policies}x{pods}");
        group.bench_function(BenchmarkId::new("plan", &id), |bencher| {
            bencher.iter(|| plan::compile(black_box(&cluster), "node-3", &settings, Generation::FIRST));
        });
        let plan = plan::compile(&cluster, "node-3", &settings, Generation::FIRST);
        group.bench_function(BenchmarkId::new("text", &id), |bencher| {
            bencher.iter(|| render::text::table(black_box(&plan.table)));
        });
    }
    group.finish();
}

fn load(criterion: &mut Criterion) {
    let pods: Vec<String> = cluster(0, 10_000).pods().map(|pod| render::manifest::pod(pod).to_string()).collect();
    let text = pods.join("\n---\n");
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10);
    group.bench_function("10000 pods", |bencher| {
        bencher.iter(|| manifest::read(&"pods".into(), black_box(&text), CidrRules::Legacy));
    });
    group.finish();
}

criterion_group!(benches, compile, load);
criterion_main!(benches);
