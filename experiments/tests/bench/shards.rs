//! Labels divided among several Redis servers.

use experiments::{
    measure::Outcome,
    simulate::simulate,
    spec::{Fault, FaultKind, GatewayMode, Pod, Spec},
};
use std::sync::Arc;

/// 200 tasks of one command, three servers.
fn small() -> Spec {
    let mut spec = Spec::default();
    (spec.workload.tasks, spec.workload.commands_per_task, spec.replicas.task_workers) = (200, 1, 5);
    (spec.fleet.gateways, spec.fleet.esls, spec.fleet.rssi_period_ms) = (3, 90, 500);
    (spec.fleet.mode, spec.brokers.redis_shards, spec.replicas.routers) = (GatewayMode::Concurrent, 3, 2);
    (spec.machines.redis.frame_us, spec.limits.virtual_s_max) = (1, 600);
    spec
}

fn run(spec: &Spec) -> Outcome {
    let outcome = simulate(spec, &Arc::default(), None).unwrap();
    assert_eq!(outcome.violations, []);
    outcome
}

#[test]
fn each_server_has_a_part_of_the_work_and_every_reply_finds_its_caller() {
    let outcome = run(&small());
    assert_eq!((outcome.task_counts().done, outcome.counters.rpcs_misrouted), (200, 0));
    let (one, others) = (outcome.frames_read["redis"], outcome.frames_read["redis_shard"]);
    assert!(one > 60 && others > one * 3 / 2 && others < one * 3, "{one} {others}");
    assert_eq!(run(&small()), outcome);
}

#[test]
fn a_server_that_is_gone_costs_its_labels_only() {
    let mut spec = small();
    (spec.backbone.task_worker.attempts_max, spec.backbone.task_worker.reply_timeout_ms) = (1, 5_000);
    let gone = Fault::new(0, FaultKind::Cut, Pod::RedisShard(0), None);
    spec.faults = vec![gone];
    let counts = run(&spec).task_counts();
    assert!((100..170).contains(&counts.done), "a third of the labels is gone: {counts:?}");
    assert_eq!(counts.done + counts.dead_lettered, 200);
}
