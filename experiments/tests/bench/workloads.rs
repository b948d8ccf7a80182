//! Work that comes over time: when it comes, from when its time counts, and what is said of a run that can't keep up.

use experiments::{
    measure::{Latencies, Load, Outcome, Series, TaskEnd},
    simulate::simulate,
    spec::{Arrivals, CommandedEsls, GatewayMode, Library, Spec},
};
use std::sync::Arc;

/// 200 tasks in 10 s.
fn small(arrivals: Arrivals) -> Spec {
    let mut spec = Spec::default();
    (spec.workload.arrivals, spec.workload.tasks, spec.workload.duration_s) = (arrivals, 200, 10);
    (spec.replicas.task_workers, spec.fleet.esls, spec.fleet.rssi_period_ms) = (5, 50, 500);
    spec.fleet.mode = GatewayMode::Concurrent;
    spec.limits.virtual_s_max = 600;
    spec
}

fn run(spec: &Spec) -> Outcome {
    let outcome = simulate(spec, &Arc::default(), None).unwrap();
    assert_eq!(outcome.violations, []);
    outcome
}

/// When each task came, in ms from the first one's moment.
fn moments_ms(outcome: &Outcome) -> Vec<u64> {
    let first_us = outcome.tasks[0].published_us;
    outcome.tasks.iter().map(|task| (task.published_us - first_us) / 1_000).collect()
}

#[test]
fn tasks_are_published_at_their_moments_to_the_millisecond() {
    let outcome = run(&small(Arrivals::Constant));
    assert!(moments_ms(&outcome).into_iter().eq((0..200).map(|index| index * 50)));
    for task in &outcome.tasks {
        assert_eq!(task.offered_us, task.published_us, "task {}", task.index);
        assert_eq!(task.published_us % 1_000, 0);
    }
}

#[test]
fn arrivals_are_drawn_from_the_seed() {
    let mut spec = small(Arrivals::Poisson);
    let (first, again) = (run(&spec), run(&spec));
    assert_eq!(first, again);
    spec.seed = 2;
    assert_ne!(moments_ms(&first), moments_ms(&run(&spec)));
}

#[test]
fn a_task_that_the_dispatcher_had_no_room_for_counts_from_its_own_moment() {
    let mut spec = small(Arrivals::Constant);
    // One worker that takes 200 ms a task does 5 a second.
    (spec.replicas.task_workers, spec.fleet.mode) = (1, GatewayMode::Serial);
    (spec.fleet.ble_service_ms.median, spec.backbone.dispatcher.waiting_max) = (100, 4);
    (spec.workload.commands_per_task, spec.fleet.gateways) = (2, 1);
    let outcome = run(&spec);
    let last = outcome.tasks.last().unwrap();
    assert!(last.offered_us - last.published_us > 20_000_000, "{last:?}");
    let latencies = Latencies::of(&outcome);
    assert!(latencies.end_to_end.unwrap().max > 25_000.0, "{latencies:?}");
    let load = Load::of(&spec, &outcome).unwrap();
    assert!(!load.settled && load.late_tasks > 150, "{load:?}");
    let rows = Series::of(&outcome, 1).rows;
    let waiting = rows.iter().filter_map(|row| row.sample).map(|sample| sample.waiting).max();
    let in_flight = rows.iter().map(|row| row.in_flight).max();
    assert!(waiting <= Some(4) && in_flight > Some(100), "{waiting:?} wait at the broker, {in_flight:?} in all");
}

#[test]
fn a_run_that_keeps_up_has_settled_and_its_series_adds_up() {
    let mut spec = small(Arrivals::Poisson);
    (spec.workload.warm_up_s, spec.slo.end_to_end_p99_ms) = (2, 1);
    let outcome = run(&spec);
    let load = Load::of(&spec, &outcome).unwrap();
    assert!(load.settled && load.late_tasks == 0, "{load:?}");
    assert!((20..60).contains(&load.warm_up_tasks) && load.seconds_above_slo > Some(6), "{load:?}");
    assert_eq!(Latencies::of(&outcome).end_to_end.unwrap().count, 200 - load.warm_up_tasks);
    let rows = Series::of(&outcome, 1).rows;
    assert_eq!(rows.iter().map(|row| row.arrivals).sum::<u64>(), 200);
    assert_eq!(rows.iter().map(|row| row.done).sum::<u64>(), 200);
    assert!(rows.iter().all(|row| row.sample.is_some()), "{rows:?}");
    assert_eq!(rows.last().unwrap().in_flight, 0);
}

#[test]
fn commands_for_labels_that_nobody_hears_fail_and_the_others_do_not() {
    let mut spec = small(Arrivals::Poisson);
    (spec.workload.unknown_percent, spec.workload.commands_per_task) = (20, 1);
    (spec.workload.commands_per_task_max, spec.backbone.task_worker.attempts_max) = (3, 1);
    let outcome = run(&spec);
    let counts = outcome.task_counts();
    assert!(counts.done > 100 && counts.dead_lettered > 40, "{counts:?}");
    assert_eq!(counts.done + counts.dead_lettered, 200);
}

#[test]
fn a_flash_commands_every_label_once() {
    let mut spec = small(Arrivals::Constant);
    (spec.workload.esls, spec.workload.commands_per_task) = (CommandedEsls::EachOnce, 2);
    (spec.fleet.esls, spec.workload.body_bytes_max) = (400, 2_000);
    let outcome = run(&spec);
    assert!(outcome.tasks.iter().all(|task| task.end == TaskEnd::Done));
    assert_eq!(outcome.counters.rpcs_sent, 400);
}

#[test]
fn tasks_of_a_file_are_played_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tasks.csv"), "at_ms,commands\n0,1\n250,3\n250,1\n4000,2\n").unwrap();
    let text = "extends = 'smoke'\n[workload]\narrivals = 'replay'\nreplay = 'tasks.csv'\ntasks = 4\n";
    std::fs::write(folder.path().join("again.toml"), text).unwrap();
    let spec = Library::repository().with_folder(folder.path()).load("again").unwrap();
    let outcome = run(&spec);
    assert_eq!(moments_ms(&outcome), [0, 250, 250, 4_000]);
    assert_eq!(outcome.counters.rpcs_sent, 7);
}
