//! Every part of the system crashes while it works: nothing is lost, nothing is reported done that wasn't, the run
//! ends.
//!
//! That a fault hit something, that dispatched = done + dead-lettered + queued, that no reply reached anybody who had
//! not asked, and that the labels of every done task show it, is checked by the run itself: its `violations` say if
//! not.

use backbone::{
    config::{Acknowledgement, RouterKind, RoutingMode},
    telemetry::{DropReason, FailReason},
};
use experiments::{
    measure::{Outcome, TaskEnd, joined},
    simulate::simulate,
    spec::{Fault, FaultKind, Hosts, Part, Pod, Spec},
};
use std::sync::Arc;

const SEEDS: std::ops::Range<u64> = 1..4;
const TASKS: u32 = 300;
/// When the fault happens, from the start of the work.
const FAULT_MS: u64 = 100;

fn spec(seed: u64) -> Spec {
    let mut spec = Spec { seed, ..Spec::default() };
    spec.workload.tasks = TASKS;
    spec.replicas.task_workers = 6;
    spec.replicas.routers = 2;
    spec.fleet.gateways = 4;
    spec.fleet.esls = 60;
    // Slow enough that the fault at 100 ms is in the middle of it.
    spec.fleet.ble_service_ms.median = 3;
    spec.backbone.task_worker.reply_timeout_ms = 3_000;
    spec.backbone.task_worker.retry_delay_ms = 1_000;
    spec.limits.virtual_s_max = 600;
    spec.audit = true;
    spec
}

fn run(spec: &Spec) -> Outcome {
    let outcome = simulate(spec, &Arc::default(), None).unwrap_or_else(|error| panic!("seed {}: {error:#}", spec.seed));
    assert_eq!(outcome.violations, [], "seed {}", spec.seed);
    // A gateway that answers for another label is not believed.
    let lies = spec.faults.iter().any(|fault| fault.kind == FaultKind::ReplyForOther);
    assert_eq!(outcome.counters.rpcs_misrouted > 0, lies, "seed {}", spec.seed);
    outcome
}

fn break_down(kind: FaultKind, target: Pod, for_ms: u64) -> Vec<Outcome> {
    let broken = SEEDS.map(|seed| {
        let mut spec = spec(seed);
        spec.faults = vec![Fault::new(FAULT_MS, kind, target, for_ms)];
        let outcome = run(&spec);
        assert_was_in_the_middle(&outcome);
        outcome
    });
    broken.collect()
}

/// Some tasks were finished before the fault, and some after it.
fn assert_was_in_the_middle(outcome: &Outcome) {
    let start_us = outcome.tasks.iter().map(|task| task.dispatched_us).min().unwrap();
    let fault_us = start_us + FAULT_MS * 1_000;
    let before = outcome.tasks.iter().filter(|task| task.finished_us.unwrap() < fault_us).count();
    assert!(before > 10 && before < outcome.tasks.len() - 10, "{before} tasks were finished before the fault");
}

/// Tasks that needed more than one try, in all runs together.
fn tried_again(outcomes: &[Outcome]) -> usize {
    outcomes.iter().flat_map(|outcome| &outcome.tasks).filter(|task| task.attempts > 1).count()
}

/// Every run's services noticed that a broker was away.
fn assert_services_lost_connections(outcomes: &[Outcome]) {
    assert!(outcomes.iter().all(|outcome| outcome.counters.disconnects > 0));
}

/// All tasks end up done: a crash delays them, at most.
fn all_are_done(outcomes: &[Outcome]) {
    for outcome in outcomes {
        let undone: Vec<_> = outcome.tasks.iter().filter(|task| task.end != TaskEnd::Done).collect();
        assert!(undone.is_empty(), "{} tasks, the first of them {:?}", undone.len(), undone[0]);
        assert_eq!(outcome.tasks.len(), TASKS as usize);
    }
}

#[test]
fn a_crashed_worker_leaves_its_task_to_another() {
    let outcomes = break_down(FaultKind::Crash, Pod::TaskWorker(0), 500);
    all_are_done(&outcomes);
    assert!(tried_again(&outcomes) > 0, "no task was in the worker's hands when it crashed");
}

#[test]
fn a_crashed_forward_router_loses_no_request() {
    all_are_done(&break_down(FaultKind::Crash, Pod::Router(RouterKind::Forward, 0), 500));
}

#[test]
fn a_crashed_backward_router_loses_no_task() {
    all_are_done(&break_down(FaultKind::Crash, Pod::Router(RouterKind::Backward, 0), 500));
}

#[test]
fn a_crashed_rabbitmq_keeps_its_tasks() {
    let outcomes = break_down(FaultKind::Crash, Pod::Amqp, 500);
    all_are_done(&outcomes);
    assert_services_lost_connections(&outcomes);
}

/// Its peers hear no reset, so all depends on their own limits.
#[test]
fn a_rabbitmq_that_vanishes_without_a_word_delays_tasks_only() {
    let outcomes = break_down(FaultKind::PowerOff, Pod::Amqp, 500);
    all_are_done(&outcomes);
    assert_services_lost_connections(&outcomes);
    for outcome in &outcomes {
        let took_us = outcome.virtual_us;
        assert!(took_us < 120_000_000, "{took_us} us: TCP would give up after 15 minutes");
    }
}

#[test]
fn a_crashed_mqtt_broker_delays_tasks_only() {
    let outcomes = break_down(FaultKind::Crash, Pod::Mqtt, 500);
    all_are_done(&outcomes);
    assert_services_lost_connections(&outcomes);
    assert!(tried_again(&outcomes) > 0, "the broker had nothing in hand when it crashed");
}

#[test]
fn a_crashed_redis_that_forgets_everything_delays_tasks_only() {
    let outcomes = break_down(FaultKind::Crash, Pod::Redis, 500);
    all_are_done(&outcomes);
    assert_services_lost_connections(&outcomes);
}

#[test]
fn a_crashed_gateway_delays_tasks_only() {
    let outcomes = break_down(FaultKind::Crash, Pod::Gateway(1), 500);
    all_are_done(&outcomes);
    assert!(tried_again(&outcomes) > 0, "the gateway had no command in hand when it crashed");
}

#[test]
fn a_crashed_dispatcher_is_started_again_and_dispatches_the_rest() {
    let dispatching = SEEDS.map(|seed| {
        let mut spec = spec(seed);
        spec.faults = vec![Fault::new(2, FaultKind::Crash, Pod::Dispatcher, 500)];
        run(&spec)
    });
    all_are_done(&dispatching.collect::<Vec<_>>());
}

#[test]
fn brokers_that_fall_silent_for_seconds_delay_tasks_only() {
    for target in [Pod::Amqp, Pod::Mqtt, Pod::Redis] {
        all_are_done(&break_down(FaultKind::Cut, target, 5_000));
    }
}

/// Runs in which backward routers can't reach a broker, while they can reach the MQTT broker.
fn cut_backward_routers(routers: std::ops::Range<u32>, from: Pod, for_ms: u64) -> Vec<Outcome> {
    let cut = SEEDS.map(|seed| {
        let mut spec = spec(seed);
        spec.backbone.task_worker.reply_timeout_ms = 20_000;
        let kind = FaultKind::Cut;
        let fault = |i| Fault::new(FAULT_MS, kind, Pod::Router(RouterKind::Backward, i), for_ms).from(from);
        spec.faults = routers.clone().map(fault).collect();
        let outcome = run(&spec);
        assert_was_in_the_middle(&outcome);
        outcome
    });
    cut.collect()
}

#[test]
fn a_backward_router_without_rabbitmq_or_redis_leaves_its_replies_to_the_other() {
    for broker in [Pod::Amqp, Pod::Redis] {
        let outcomes = cut_backward_routers(0..1, broker, 60_000);
        all_are_done(&outcomes);
        assert_eq!(tried_again(&outcomes), 0, "no reply was lost");
        assert!(outcomes.iter().any(|outcome| outcome.counters.drops.contains_key(&DropReason::HandedBack)));
        for outcome in &outcomes {
            let first_us = outcome.tasks.iter().map(|task| task.dispatched_us).min().unwrap();
            let last_us = outcome.tasks.iter().map(|task| task.finished_us.unwrap()).max().unwrap();
            let took_ms = (last_us - first_us) / 1_000 - FAULT_MS;
            // 2 s until it leaves, and then the work that waited for that.
            assert!(took_ms < 4_000, "{took_ms} ms from the cut to the last task");
        }
    }
}

#[test]
fn backward_routers_that_all_lack_redis_keep_the_replies_until_it_is_back() {
    let outcomes = cut_backward_routers(0..2, Pod::Redis, 6_000);
    all_are_done(&outcomes);
    assert_eq!(tried_again(&outcomes), 0, "no reply was lost");
}

#[test]
fn services_that_are_asked_to_stop_finish_what_they_have() {
    for target in [Pod::TaskWorker(0), Pod::Router(RouterKind::Forward, 0), Pod::Router(RouterKind::Backward, 0)] {
        let outcomes = break_down(FaultKind::Restart, target, 500);
        all_are_done(&outcomes);
    }
}

#[test]
fn a_forward_router_that_is_asked_to_stop_works_off_what_counts_as_taken() {
    let stopped = SEEDS.map(|seed| {
        let mut spec = spec(seed);
        spec.backbone.fwd_router.acknowledgement = Acknowledgement::Auto;
        let target = Pod::Router(RouterKind::Forward, 0);
        spec.faults = vec![Fault::new(FAULT_MS, FaultKind::Restart, target, 500)];
        run(&spec)
    });
    let outcomes: Vec<_> = stopped.collect();
    all_are_done(&outcomes);
    assert_eq!(tried_again(&outcomes), 0, "no request was lost");
}

#[test]
fn a_router_that_stands_still_delays_tasks_only_and_takes_part_again_when_it_goes_on() {
    for kind in [RouterKind::Forward, RouterKind::Backward] {
        all_are_done(&break_down(FaultKind::Freeze, Pod::Router(kind, 0), 5_000));
    }
}

#[test]
fn a_worker_that_stands_still_delays_tasks_only() {
    all_are_done(&break_down(FaultKind::Freeze, Pod::TaskWorker(0), 5_000));
}

/// One worker, one task that takes 2 s, and a worker that crashes a second into each try.
fn run_with_crashing_worker(crashes: u64) -> Outcome {
    let mut spec = spec(1);
    (spec.workload.tasks, spec.workload.commands_per_task, spec.replicas.task_workers) = (1, 1, 1);
    spec.fleet.ble_service_ms.median = 2_000;
    spec.backbone.task_worker.attempts_max = 1;
    spec.backbone.task_worker.retry_delay_ms = 500;
    let crash = |i| Fault::new(1_000 + 2_000 * i, FaultKind::Crash, Pod::TaskWorker(0), 100);
    spec.faults = (0..crashes).map(crash).collect();
    run(&spec)
}

#[test]
fn an_interrupted_task_is_tried_again_even_if_it_has_one_attempt_only() {
    let outcome = run_with_crashing_worker(3);
    assert_eq!((outcome.tasks[0].end, outcome.tasks[0].attempts), (TaskEnd::Done, 4));
}

#[test]
fn a_task_that_kills_its_workers_is_given_up() {
    let outcome = run_with_crashing_worker(11);
    assert_eq!((outcome.tasks[0].end, outcome.tasks[0].attempts), (TaskEnd::DeadLettered(FailReason::Interrupted), 11));
}

#[test]
fn what_a_stopped_forward_router_loses_with_automatic_acknowledgement_is_counted() {
    let mut spec = spec(1);
    // More requests under way than the router works on at a time, all of them without an answer.
    (spec.workload.tasks, spec.workload.commands_per_task) = (1_280, 2);
    (spec.replicas.task_workers, spec.replicas.routers, spec.backbone.task_worker.prefetch) = (40, 1, 32);
    spec.backbone.fwd_router.acknowledgement = Acknowledgement::Auto;
    (spec.backbone.routing.mode, spec.backbone.routing.newest_wins) = (RoutingMode::Fixed, false);
    spec.fleet.shared_mac = true;
    spec.backbone.task_worker.attempts_max = 1;
    spec.backbone.task_worker.reply_timeout_ms = 20_000;
    let fault = |at_ms, kind, target| Fault::new(at_ms, kind, target, 60_000);
    spec.faults = vec![
        fault(0, FaultKind::Cut, Pod::Mqtt),
        fault(1_000, FaultKind::Restart, Pod::Router(RouterKind::Forward, 0)),
    ];
    let outcome = run(&spec);
    assert_eq!(outcome.counters.rpcs_sent, 2_560);
    assert_eq!(outcome.counters.drops.get(&DropReason::Lost), Some(&2_560));
}

#[test]
fn a_network_that_loses_segments_delays_tasks_only() {
    let lossy = SEEDS.map(|seed| {
        let mut spec = spec(seed);
        spec.network.loss_ppm = 5_000;
        run(&spec)
    });
    all_are_done(&lossy.collect::<Vec<_>>());
}

/// A run with these faults, which may hit nothing.
fn run_with(seed: u64, faults: Vec<Fault>) -> Outcome {
    let mut spec = spec(seed);
    (spec.faults, spec.expect.every_fault_hits) = (faults, false);
    run(&spec)
}

#[test]
fn faults_that_overlap_on_parts_that_touch_end_one_by_one() {
    let [amqp, mqtt, gateway, worker] = [Pod::Amqp, Pod::Mqtt, Pod::Gateway(0), Pod::TaskWorker(0)];
    let fault = Fault::new;
    let nights = [
        // A cut, one end of which is replaced meanwhile.
        vec![fault(40, FaultKind::Crash, mqtt, 800), fault(90, FaultKind::Cut, gateway, 12_000).from(mqtt)],
        vec![fault(40, FaultKind::Cut, gateway, 500).from(mqtt), fault(90, FaultKind::Crash, mqtt, 800)],
        // The same part twice, one within the other and one after the other.
        vec![fault(40, FaultKind::Crash, amqp, 900), fault(90, FaultKind::Crash, amqp, 100)],
        vec![fault(40, FaultKind::Cut, mqtt, 400), fault(90, FaultKind::Cut, mqtt, 800)],
        vec![fault(40, FaultKind::Freeze, worker, 400), fault(90, FaultKind::Freeze, worker, 800)],
        // Dead while it stands still, while it stops, while it is cut off.
        vec![fault(40, FaultKind::Freeze, worker, 2_000), fault(90, FaultKind::Crash, worker, 300)],
        vec![fault(40, FaultKind::Restart, worker, 300), fault(41, FaultKind::Crash, worker, 300)],
        vec![fault(40, FaultKind::Cut, amqp, 2_000), fault(90, FaultKind::PowerOff, amqp, 300)],
        vec![fault(40, FaultKind::PowerOff, amqp, 2_000), fault(90, FaultKind::Restart, amqp, 300)],
    ];
    for (night, faults) in nights.into_iter().enumerate() {
        let outcome = run_with(night as u64, faults);
        assert!(outcome.fault_hits[0] > 0, "night {night}: {:?}", outcome.fault_hits);
        all_are_done(&[outcome]);
    }
}

#[test]
fn faults_of_every_kind_hit_something_and_delay_tasks_only() {
    let every = |kind: FaultKind| {
        let target = match kind {
            FaultKind::RollingRestart | FaultKind::Rollout | FaultKind::ScaleToOne => Part::All(Pod::TaskWorker(0)),
            FaultKind::ClockStep | FaultKind::ClockDrift => Pod::Router(RouterKind::Forward, 0).into(),
            // Gateways notice an MQTT broker that is gone without a word after their keep-alive: too late for tasks.
            FaultKind::PowerOff => Pod::Amqp.into(),
            kind => [Pod::Mqtt, Pod::Amqp, Pod::Redis, Pod::Gateway(0)]
                .into_iter()
                .map(Part::One)
                .find(|part| kind.scope().has(*part))
                .unwrap(),
        };
        let strength = kind.strength().map(|strength| (strength.max / 2).min(2_000));
        let for_ms = (!kind.is_instant()).then_some(2_000);
        Fault { strength, ..Fault::new(FAULT_MS, kind, target, for_ms) }
    };
    let found = FaultKind::ALL.map(|kind| {
        let outcome = run_with(1, vec![every(kind)]);
        let undone = outcome.tasks.iter().filter(|task| task.end != TaskEnd::Done).count();
        (kind, outcome.fault_hits[0], undone)
    });
    let wrong: Vec<_> = found.iter().filter(|(_, hits, undone)| *hits == 0 || *undone > 0).collect();
    assert!(wrong.is_empty(), "kind, hits, tasks that were given up: {wrong:?}");
}

#[test]
fn a_new_version_works_beside_the_old_one_and_takes_its_place() {
    for pod in [Pod::TaskWorker(0), Pod::Router(RouterKind::Forward, 0), Pod::Router(RouterKind::Backward, 0)] {
        let rolled = SEEDS.map(|seed| {
            let mut spec = spec(seed);
            spec.faults = vec![Fault::new(FAULT_MS, FaultKind::Rollout, Part::All(pod), 50)];
            spec.expect.probe_tasks = 6;
            let outcome = run(&spec);
            assert_was_in_the_middle(&outcome);
            assert_eq!(outcome.fault_hits[0] as usize, spec.faults[0].target.pods(&spec).len());
            outcome
        });
        all_are_done(&rolled.collect::<Vec<_>>());
    }
}

#[test]
fn a_fault_for_all_of_a_kind_hits_each_of_them() {
    let all = Part::All(Pod::Router(RouterKind::Backward, 0));
    let outcome = run_with(1, vec![Fault::new(FAULT_MS, FaultKind::Crash, all, 500)]);
    assert_eq!(outcome.fault_hits, [2]);
    all_are_done(&[outcome]);
}

#[test]
fn a_fault_that_hits_nothing_is_an_error_unless_it_is_only_counted() {
    let mut spec = spec(1);
    spec.faults =
        vec![Fault::new(40, FaultKind::Crash, Pod::Redis, 900), Fault::new(90, FaultKind::Crash, Pod::Redis, 100)];
    let outcome = simulate(&spec, &Arc::default(), None).unwrap();
    assert_eq!(joined(&outcome.violations, "; "), "the fault `crash redis` hit nothing");
    spec.expect.every_fault_hits = false;
    assert_eq!(run(&spec).fault_hits, [1, 0]);
}

#[test]
fn faults_replay_from_their_seed() {
    let digest = |seed| {
        let mut spec = spec(seed);
        spec.fleet.hosts = Hosts::PerStore;
        spec.network.loss_ppm = 1_000;
        let crash = |at_ms, target| Fault::new(at_ms, FaultKind::Crash, target, 300);
        spec.faults =
            vec![crash(50, Pod::Router(RouterKind::Forward, 1)), crash(70, Pod::TaskWorker(2)), crash(90, Pod::Amqp)];
        run(&spec).trace_digest
    };
    let first = digest(1);
    assert_eq!(digest(1), first);
    assert_ne!(digest(2), first);
}
