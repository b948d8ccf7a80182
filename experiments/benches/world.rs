//! What whole runs cost in wall time: `cargo bench -p experiments`.
//!
//! The dev profile is the one that the documented command uses; `cargo bench --profile dev` measures that.
#![expect(clippy::expect_used, reason = "a bench that cannot go on stops")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use experiments::{
    measure::Outcome,
    simulate::simulate,
    spec::{Fault, FaultKind, Library, Pod, Spec},
};
use std::{sync::Arc, time::Duration};

fn shipped(name: &str) -> Spec {
    Library::repository().load(name).expect("a shipped spec is valid")
}

fn run(spec: &Spec) -> Outcome {
    let outcome = simulate(spec, &Arc::default(), None).expect("the run comes to its end");
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    outcome
}

/// 100 pods that are connected and do nothing for an hour but send heartbeats and pings.
fn idle_hour() -> Spec {
    let mut spec = shipped("custom_1k_1");
    spec.workload.tasks = 1;
    (spec.replicas.task_workers, spec.replicas.routers, spec.fleet.gateways) = (49, 20, 10);
    spec.limits.virtual_s_max = 4_000;
    let hour_ms = 3_600_000;
    spec.faults =
        vec![Fault { at_ms: hour_ms, kind: FaultKind::Crash, target: Pod::TaskWorker(0), for_ms: Some(1), from: None }];
    spec
}

fn worlds(c: &mut Criterion) {
    let mut group = c.benchmark_group("world");
    group.sample_size(10).measurement_time(Duration::from_secs(20));
    group.bench_function("smoke", |b| b.iter(|| run(&shipped("smoke"))));
    let idle = idle_hour();
    group.bench_function("idle hour, 100 pods", |b| {
        b.iter(|| assert!(run(&idle).virtual_us >= 3_600_000_000));
    });
    for gateways in [10, 500] {
        let mut spec = shipped("custom_10k_20");
        (spec.workload.tasks, spec.fleet.gateways) = (2_000, gateways);
        group.bench_with_input(BenchmarkId::new("2,000 tasks, gateways", gateways), &spec, |b, spec| {
            b.iter(|| run(spec));
        });
    }
    group.finish();
}

criterion_group!(benches, worlds);
criterion_main!(benches);
