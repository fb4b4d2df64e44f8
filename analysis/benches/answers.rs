//! Who reaches whom in clusters of realistic shape, and what changes.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../../policy-compiler/benches/shape/mod.rs"]
mod shape;

use std::hint::black_box;

use analysis::diff::Connectivity;
use analysis::matrix::{Fold, Matrix, Question};
use criterion::{Criterion, criterion_group, criterion_main};
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Object, Pod, Protocol, Workload};

/// The same cluster, its pods in the workloads that they look like.
fn cluster(policies: usize, pods: usize) -> Cluster {
    let mut cluster = shape::cluster(policies, pods);
    let employed: Vec<Pod> = cluster
        .pods()
        .map(|pod| {
            let name = pod.labels.get("app").unwrap_or_default().into();
            Pod { workload: Some(Workload { kind: "Deployment".into(), name }), ..pod.clone() }
        })
        .collect();
    employed.into_iter().for_each(|pod| _ = cluster.apply(Object::Pod(pod.into())));
    cluster
}

fn matrix(criterion: &mut Criterion) {
    let cluster = cluster(100, 300);
    let ports = (0..10).map(|number| (Protocol::Tcp, 8075 + number)).collect();
    let question = Question { ports, fold: Fold::Pods, ..Question::default() };
    let mut group = criterion.benchmark_group("matrix");
    group.sample_size(10);
    group.bench_function("300 pods x 300 pods x 10 ports", |bencher| {
        bencher.iter(|| Matrix::of(black_box(&cluster), &question).unwrap());
    });
    group.finish();
}

/// The second version has another tenth of the policies.
fn diff(criterion: &mut Criterion) {
    let (old, mut new) = (cluster(1_000, 5_000), cluster(1_000, 5_000));
    let names: Vec<_> = new.policies().map(|policy| policy.name.clone()).step_by(10).collect();
    for name in names {
        _ = new.remove(&policy_compiler::model::ObjectId::Policy(name));
    }
    let mut group = criterion.benchmark_group("diff");
    group.sample_size(10);
    group.bench_function("1,000 policies x 5,000 pods", |bencher| {
        bencher.iter(|| Connectivity::between(black_box(&old), black_box(&new)));
    });
    group.finish();
}

criterion_group!(benches, matrix, diff);
criterion_main!(benches);
