//! The configuration's choices, each run through the whole world.

use backbone::{
    config::{Acknowledgement, Correlation, ReplyQueue, RoutingMode},
    message::Status,
    telemetry::FailReason,
};
use experiments::{
    measure::{Oracle, Outcome, TaskEnd},
    simulate::simulate,
    spec::{CommandedEsls, GatewayMode, GatewayWrites, Library, Order, Spec},
};
use std::sync::Arc;

fn small() -> Spec {
    let mut spec = Spec::default();
    spec.workload.tasks = 60;
    spec.replicas.task_workers = 5;
    spec.replicas.routers = 3;
    spec.fleet.gateways = 3;
    spec.fleet.esls = 30;
    spec.limits.virtual_s_max = 600;
    // Each command goes its whole way, whatever else there is for its label.
    spec.backbone.routing.newest_wins = false;
    spec
}

fn run(spec: &Spec) -> Outcome {
    let outcome = simulate(spec, &Arc::default(), None).unwrap();
    assert_eq!(outcome.violations, []);
    outcome
}

fn done(outcome: &Outcome) -> u64 {
    outcome.task_counts().done
}

#[test]
fn every_combination_of_choices_does_all_tasks() {
    for reply_queue in [ReplyQueue::PerWorker, ReplyQueue::PerCall] {
        for acknowledgement in [Acknowledgement::AfterHandover, Acknowledgement::Auto] {
            for (mode, order) in
                [(GatewayMode::Serial, Order::ReplyFirst), (GatewayMode::Concurrent, Order::AcknowledgeFirst)]
            {
                let mut spec = small();
                (spec.fleet.mode, spec.fleet.order) = (mode, order);
                spec.backbone.task_worker.reply_queue = reply_queue;
                spec.backbone.fwd_router.acknowledgement = acknowledgement;
                assert_eq!(done(&run(&spec)), 60, "{reply_queue:?} {acknowledgement:?} {mode:?} {order:?}");
            }
        }
    }
}

#[test]
fn fixed_routing_reaches_labels_that_nobody_hears() {
    let mut spec = small();
    spec.backbone.routing.mode = RoutingMode::Fixed;
    spec.workload.esls = CommandedEsls::Fresh;
    (spec.fleet.shared_mac, spec.fleet.esls, spec.fleet.rssi_period_ms) = (true, 0, 0);
    assert_eq!(done(&run(&spec)), 60);
}

#[test]
fn a_label_that_nobody_has_heard_lately_fails_at_once_with_that_reason() {
    let mut spec = small();
    spec.backbone.routing.route_fresh_ms = 1; // shorter than a report's way into the table
    spec.backbone.task_worker.attempts_max = 2;
    spec.backbone.task_worker.retry_delay_ms = 500;
    let outcome = run(&spec);
    for task in &outcome.tasks {
        assert_eq!(task.end, TaskEnd::DeadLettered(FailReason::Refused(Status::NoRoute)));
        assert_eq!(task.attempts, 2);
        assert!(task.try_us.unwrap() < 10_000, "{task:?}");
    }
    assert_eq!(outcome.counters.rpcs_timed_out, 0);
}

#[test]
fn with_request_ids_concurrent_calls_for_one_label_all_get_their_replies() {
    let mut spec = small();
    (spec.fleet.esls, spec.workload.commands_per_task) = (2, 2);
    let outcome = run(&spec);
    assert_eq!((done(&outcome), outcome.counters.rpcs_timed_out), (60, 0));
}

#[test]
fn with_label_addresses_concurrent_calls_for_one_label_collide() {
    let mut spec = small();
    (spec.fleet.esls, spec.workload.commands_per_task) = (2, 2);
    spec.backbone.correlation = Correlation::EslMac;
    spec.backbone.task_worker.reply_timeout_ms = 1_000;
    spec.backbone.task_worker.attempts_max = 1;
    let outcome = run(&spec);
    // Refused where they came to, missing where they were waited for; given to a wrong caller they would be violations.
    assert!(outcome.counters.rpcs_misrouted > 0, "{:?}", outcome.counters);
    assert!(outcome.counters.rpcs_timed_out > 0, "{:?}", outcome.counters);
}

#[test]
fn gateways_that_echo_nothing_make_a_colliding_caller_believe_a_foreign_reply() {
    let mut spec = small();
    (spec.fleet.esls, spec.workload.commands_per_task, spec.fleet.echoes_request_id) = (2, 2, false);
    spec.fleet.ble_service_ms.median = 5;
    spec.backbone.correlation = Correlation::EslMac;
    spec.backbone.task_worker.reply_timeout_ms = 1_000;
    spec.backbone.task_worker.attempts_max = 1;
    let outcome = simulate(&spec, &Arc::default(), None).unwrap();
    assert!(
        outcome.violations.iter().any(|violation| violation.oracle == Oracle::DoneNotShown),
        "{:?}",
        outcome.violations
    );
}

#[test]
fn a_window_of_one_message_for_each_client_is_enough() {
    let mut spec = small();
    spec.brokers.mqtt_inflight_max = 1;
    assert_eq!(done(&run(&spec)), 60);
}

/// How long the one gateway was at work, from the first task's start to the last one's end, in microseconds.
fn busy_us(mode: GatewayMode, median_us: u32, spread_percent: u32) -> u64 {
    let mut spec = small();
    (spec.fleet.gateways, spec.fleet.mode) = (1, mode);
    (spec.fleet.handling.median_us, spec.fleet.handling.spread_percent) = (median_us, spread_percent);
    let outcome = run(&spec);
    assert_eq!(done(&outcome), 60);
    let first = outcome.tasks.iter().filter_map(|task| task.started_us).min().unwrap();
    let last = outcome.tasks.iter().filter_map(|task| task.finished_us).max().unwrap();
    last - first
}

#[test]
fn a_gateways_processor_handles_one_command_after_the_other_and_each_takes_its_time() {
    let commands = u64::from(60 * small().workload.commands_per_task);
    // In microseconds, unlike the radio's milliseconds: 3.7 ms are not 4. A serial gateway waits for PUBACKs, too.
    for (mode, pause_us) in [(GatewayMode::Concurrent, 250), (GatewayMode::Serial, 450)] {
        let busy_us = busy_us(mode, 3_700, 0);
        assert!((commands * 3_700..commands * (3_700 + pause_us)).contains(&busy_us), "{mode:?}: {busy_us} us");
    }
}

#[test]
fn handling_that_varies_takes_longer_than_its_median_at_the_mean() {
    // exp(0.8^2 / 2) = 1.38 times.
    let [even_us, varied_us] = [0, 80].map(|spread_percent| busy_us(GatewayMode::Serial, 3_700, spread_percent));
    let ratio = varied_us as f64 / even_us as f64;
    assert!((1.15..1.65).contains(&ratio), "{ratio}");
}

#[test]
fn gateways_that_write_field_by_field_do_the_same_in_more_segments() {
    let segments = |writes: GatewayWrites| {
        let mut spec = small();
        (spec.fleet.writes, spec.machines.mqtt.nodelay, spec.fleet.rssi_period_ms) = (writes, false, 10_000);
        let outcome = run(&spec);
        assert_eq!(done(&outcome), 60, "{writes:?}");
        outcome.counters.segments
    };
    let [whole, fields] = [GatewayWrites::Packets, GatewayWrites::Fields].map(segments);
    // Two more for each reply and one more for each PUBACK, at the least: 60 tasks of two commands.
    assert!(fields >= whole + 60 * 2 * 3, "{fields} segments instead of {whole}");
}

#[test]
fn processes_that_wake_unevenly_get_their_bytes_in_order() {
    let mut spec = small();
    for machine in [&mut spec.machines.amqp, &mut spec.machines.mqtt, &mut spec.machines.gateway] {
        (machine.wake_us, machine.wake_spread_percent) = (300, 200);
    }
    assert_eq!(done(&run(&spec)), 60);
    let even = {
        let mut spec = spec.clone();
        for machine in [&mut spec.machines.amqp, &mut spec.machines.mqtt, &mut spec.machines.gateway] {
            machine.wake_spread_percent = 0;
        }
        run(&spec)
    };
    assert_ne!(even.trace_digest, run(&spec).trace_digest);
}

#[test]
fn a_run_that_cannot_end_in_time_says_what_was_open() {
    let mut spec = small();
    spec.limits.virtual_s_max = 1;
    spec.fleet.ble_service_ms.median = 500;
    let error = simulate(&spec, &Arc::default(), None).unwrap_err().to_string();
    assert!(error.contains("not done after 1 s of virtual time") && error.contains("task_queue"), "{error}");
}

/// A shipped experiment, smaller.
fn shipped(name: &str, tasks: u32) -> Spec {
    let mut spec = Library::repository().load(name).unwrap();
    spec.workload.tasks = tasks;
    spec
}

fn assert_all_tasks_get_done(names: &[&str]) {
    for name in names {
        assert_eq!(done(&run(&shipped(name, 100))), 100, "{name}");
    }
}

#[test]
fn the_thesis_experiments_do_all_their_tasks() {
    assert_all_tasks_get_done(&[
        "custom_1k_1",
        "custom_1k_2",
        "custom_10k_2",
        "custom_10k_10",
        "custom_10k_20",
        "custom_10k_100",
        "baseline_1k_1",
        "baseline_10k_1",
    ]);
}

#[test]
fn experiments_with_other_replies_do_all_their_tasks() {
    assert_all_tasks_get_done(&[
        "broadcast_1k_2",
        "broadcast_1k_10",
        "broadcast_10k_20",
        "response_topic_1k_2",
        "response_topic_1k_10",
        "response_topic_10k_20",
    ]);
}

#[test]
fn experiments_on_reasons_do_all_their_tasks() {
    assert_all_tasks_get_done(&[
        "reason_10k_2_gw10",
        "reason_10k_2_nodelay",
        "reason_10k_2_concurrent",
        "reason_10k_20_gw2",
        "reason_10k_20_reply_queue",
        "reason_1k_1_reply_queue",
        "reason_1k_1_workers_at_once",
    ]);
}

#[test]
fn the_other_shipped_experiments_do_all_their_tasks() {
    assert_all_tasks_get_done(&["smoke", "serial", "serial_nodelay", "store", "chain"]);
}

/// The most tasks that were in the queue, or on their way to a worker, when one more came.
fn most_waiting(outcome: &Outcome) -> usize {
    let waiting = |now_us| {
        outcome
            .tasks
            .iter()
            .filter(move |task| task.dispatched_us <= now_us && task.started_us.is_none_or(|at| at > now_us))
    };
    outcome.tasks.iter().map(|task| waiting(task.dispatched_us).count()).max().unwrap()
}

#[test]
fn a_dispatcher_with_a_limit_keeps_the_task_queue_short() {
    let mut spec = small();
    assert!(most_waiting(&run(&spec)) > 40, "far more come than are taken");
    spec.backbone.dispatcher.waiting_max = 10;
    let outcome = run(&spec);
    let most = most_waiting(&outcome);
    // Those that workers were sent and have not begun no longer wait for RabbitMQ.
    let sent = spec.replicas.task_workers as usize * usize::from(spec.backbone.task_worker.prefetch);
    assert!((10..=10 + sent).contains(&most), "{most}");
    assert_eq!(done(&outcome), 60);
}

#[test]
fn serial_gateways_stall_with_mosquittos_defaults_and_not_with_set_tcp_nodelay() {
    let busy_us = |name| {
        let outcome = run(&shipped(name, 400));
        assert_eq!(done(&outcome), 400);
        outcome.busy_us()
    };
    let (stalling, flowing) = (busy_us("serial"), busy_us("serial_nodelay"));
    assert!(stalling > 2 * flowing, "{stalling} and {flowing} us");
}

#[test]
fn a_seed_decides_the_digest_and_the_outcome() {
    let mut spec = shipped("store", 200);
    let first = run(&spec);
    assert_eq!(run(&spec), first);
    spec.seed += 1;
    assert_ne!(run(&spec).trace_digest, first.trace_digest);
}
