//! What whole runs cost in wall time: `cargo bench -p experiments`.
//!
//! The dev profile is the one that the documented command uses; `cargo bench --profile dev` measures that.
#![expect(clippy::expect_used, reason = "a bench that cannot go on stops")]

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use experiments::{
    measure::Outcome,
    run::batch::run_at_a_time,
    simulate::simulate,
    spec::{Fault, FaultKind, Library, Pod, Spec},
};
use std::{num::NonZero, sync::Arc, time::Duration};

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
    spec.faults = vec![Fault::new(hour_ms, FaultKind::Crash, Pod::TaskWorker(0), 1)];
    spec
}

/// A shipped experiment with so many tasks.
fn with_tasks(name: &str, tasks: u32) -> Spec {
    let mut spec = shipped(name);
    spec.workload.tasks = tasks;
    spec
}

/// `custom_10k_20` beside gateways that it could do without.
fn with_gateways(gateways: u32) -> Spec {
    let mut spec = shipped("custom_10k_20");
    spec.fleet.gateways = gateways;
    spec
}

/// A chain five times as large as the shipped one.
fn nation() -> Spec {
    let mut spec = shipped("chain");
    (spec.fleet.gateways, spec.fleet.esls) = (10_000, 250_000);
    spec
}

fn worlds(c: &mut Criterion) {
    let mut group = c.benchmark_group("world");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(10));
    let idle = idle_hour();
    group.bench_function("idle hour, 100 pods", |b| {
        b.iter(|| assert!(run(&idle).virtual_us >= 3_600_000_000));
    });
    let specs = [
        ("smoke", shipped("smoke")),
        ("throughput", shipped("throughput")),
        ("custom_10k_20", shipped("custom_10k_20")),
        ("custom_10k_20, 500 more gateways", with_gateways(510)),
        ("custom_10k_20, 100,000 tasks", with_tasks("custom_10k_20", 100_000)),
        ("chain", shipped("chain")),
        ("chain, 10,000 gateways, 250,000 labels", nation()),
    ];
    for (what, spec) in &specs {
        group.bench_function(*what, |b| b.iter(|| run(spec)));
    }
    let two = [with_tasks("custom_10k_20", 2_000), with_tasks("custom_10k_20", 2_000)];
    for at_a_time in [1, 2] {
        group.bench_function(format!("2,000 tasks of custom_10k_20, {at_a_time} at a time"), |b| {
            b.iter(|| run_at_a_time(NonZero::new(at_a_time).expect("not zero"), &two[..at_a_time], simulate, true));
        });
    }
    group.finish();
}

criterion_group!(benches, worlds);
criterion_main!(benches);
