//! What whole runs cost in wall time: `cargo bench -p experiments`.
//!
//! The dev profile is the one that the documented command uses; `cargo bench --profile dev` measures that.
#![expect(clippy::expect_used, reason = "a bench that cannot go on stops")]

use experiments::{
    run::run,
    simulate::simulate,
    spec::{Fault, FaultKind, Pod, Spec, default_directory, load},
};

/// Runs of each, after one that is not counted.
const RUNS: usize = 10;

fn shipped(name: &str) -> Spec {
    load(&default_directory(), name, &[]).expect("a shipped spec is valid")
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

/// Says how long runs of `spec` take, and gives the virtual time of one.
fn measure(name: &str, spec: &Spec) -> u64 {
    let once = || run(spec, simulate, None, true).expect("the run comes to its end");
    let virtual_us = once().outcome.virtual_us;
    let mut wall_s: Vec<f64> = (0..RUNS).map(|_| once().cost.wall_s).collect();
    wall_s.sort_by(f64::total_cmp);
    let [least, median, most] = [0, RUNS / 2, RUNS - 1].map(|i| 1_000.0 * wall_s[i]);
    println!("{name:30} {median:9.1} ms   ({least:.1} to {most:.1} in {RUNS} runs)");
    virtual_us
}

fn main() {
    measure("smoke", &shipped("smoke"));
    assert!(measure("idle hour, 100 pods", &idle_hour()) >= 3_600_000_000);
    for gateways in [10, 500] {
        let mut spec = shipped("custom_10k_20");
        (spec.workload.tasks, spec.fleet.gateways) = (2_000, gateways);
        measure(&format!("2,000 tasks, {gateways} gateways"), &spec);
    }
}
