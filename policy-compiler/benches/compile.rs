//! One node's plan from scratch, and what one event costs a live one, for clusters of realistic shape (see `shape`).
#![allow(missing_docs, clippy::unwrap_used)]

mod shape;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use policy_compiler::cidr::CidrRules;
use policy_compiler::manifest;
use policy_compiler::model::{Object, Pod};
use policy_compiler::plan::{self, Generation, LivePlan, Settings};
use policy_compiler::render;
use policy_compiler::ruleset::{Element, Key};

const POLICIES: [usize; 3] = [100, 1_000, 10_000];
const PODS: [usize; 3] = [1_000, 10_000, 100_000];
const NODE: &str = "node-3";

fn compile(criterion: &mut Criterion) {
    let settings = Settings::default();
    let mut group = criterion.benchmark_group("compile");
    group.sample_size(10);
    for pods in PODS {
        for policies in POLICIES {
            let cluster = shape::cluster(policies, pods);
            let id = format!("{policies}x{pods}");
            group.bench_function(BenchmarkId::new("plan", &id), |bencher| {
                bencher.iter_with_large_drop(|| plan::compile(black_box(&cluster), NODE, &settings, Generation::FIRST));
            });
            let plan = plan::compile(&cluster, NODE, &settings, Generation::FIRST);
            group.bench_function(BenchmarkId::new("text", &id), |bencher| {
                bencher.iter(|| render::text::table(black_box(&plan.table)));
            });
        }
    }
    group.finish();
}

/// A remote pod of a workload that exists comes and goes; a policy's ports change back and forth.
fn event(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    for pods in PODS {
        for policies in POLICIES {
            let cluster = shape::cluster(policies, pods);
            let mut live = LivePlan::new(NODE, Settings::default(), Generation::FIRST);
            live.load(&cluster);
            _ = live.delta();
            let id = format!("{policies}x{pods}");

            // What such an event costs grows with the sets that the pod is in; here it is in as few as any, but one.
            let sets_of = |pod: &&Pod| {
                let element = Element::new(Key::Address(pod.addresses[0]));
                live.table().sets.values().filter(|set| set.elements.contains(&element)).count()
            };
            let remote = cluster.pods().filter(|pod| pod.node.as_deref() != Some(NODE)).take(2_000);
            let remote = remote.min_by_key(|pod| (sets_of(pod) == 0, sets_of(pod))).unwrap();
            let new = Pod {
                name: policy_compiler::model::ObjectName::new(remote.name.namespace.clone(), "new"),
                addresses: vec!["172.16.0.1".parse().unwrap()],
                ..remote.clone()
            };
            let gone = Object::Pod(new.clone().into()).id();
            group.bench_function(BenchmarkId::new("pod", &id), |bencher| {
                let mut there = false;
                bencher.iter_batched(
                    || Object::Pod(new.clone().into()),
                    |object| {
                        there = !there;
                        if there {
                            live.apply(object)
                        } else {
                            live.remove(&gone)
                        }
                        live.delta()
                    },
                    BatchSize::SmallInput,
                );
            });

            // It isolates pods of the node, and allows from pods of its own namespace.
            let local = cluster.pods().find(|pod| pod.node.as_deref() == Some(NODE)).unwrap();
            let policy = shape::allow_within(&local.name.namespace, local.labels.get("app").unwrap());
            let mut other = policy.clone();
            other.ingress.iter_mut().flatten().for_each(|rule| rule.ports = None);
            group.bench_function(BenchmarkId::new("policy", &id), |bencher| {
                let mut flip = false;
                bencher.iter_batched(
                    || {
                        flip = !flip;
                        Object::Policy(if flip { other.clone() } else { policy.clone() }.into())
                    },
                    |object| {
                        live.apply(object);
                        live.delta()
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

fn load(criterion: &mut Criterion) {
    let pods: Vec<String> =
        shape::cluster(0, 10_000).pods().map(|pod| render::manifest::pod(pod).to_string()).collect();
    let text = pods.join("\n---\n");
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10);
    group.bench_function("10000 pods", |bencher| {
        bencher.iter(|| manifest::read(&"pods".into(), black_box(&text), CidrRules::Legacy));
    });
    group.finish();
}

criterion_group!(benches, compile, event, load);
criterion_main!(benches);
