//! The thesis' baseline over HTTP, and its repairs: what works with one router, what breaks with two, what mends it.

use backbone::{
    config::{Connections, Correlation, Replies, RouterKind, RpcKind},
    telemetry::{DropReason, FailReason},
};
use experiments::{
    measure::{Outcome, TaskEnd},
    simulate::simulate,
    spec::{Fault, FaultKind, Library, Pod, Spec},
};
use std::sync::Arc;

const TASKS: u32 = 80;

/// A shipped experiment, smaller: few workers, so that each has many tasks.
fn shipped(name: &str) -> Spec {
    let mut spec = Library::repository().load(name).unwrap();
    (spec.workload.tasks, spec.replicas.task_workers) = (TASKS, 8);
    spec
}

/// Production settings, but over HTTP.
fn over_http(routers: u32) -> Spec {
    let mut spec = Spec::default();
    spec.workload.tasks = TASKS;
    (spec.replicas.task_workers, spec.replicas.routers) = (6, routers);
    (spec.fleet.gateways, spec.fleet.esls) = (4, 60);
    spec.backbone.rpc.kind = RpcKind::Http;
    spec.backbone.task_worker.retry_delay_ms = 1_000;
    spec
}

fn run(spec: &Spec) -> Outcome {
    let outcome = simulate(spec, &Arc::default(), None).unwrap();
    assert_eq!(outcome.violations, []);
    assert_eq!(outcome.counters.rpcs_misrouted, 0);
    let counts = outcome.task_counts();
    assert_eq!(counts.dispatched, u64::from(spec.workload.tasks));
    assert_eq!(counts.dispatched, counts.done + counts.dead_lettered + counts.queued);
    outcome
}

fn drops(outcome: &Outcome, reason: DropReason) -> u64 {
    outcome.counters.drops.get(&reason).copied().unwrap_or(0)
}

#[track_caller]
fn assert_all_are_done(outcome: &Outcome) {
    assert_eq!(outcome.task_counts().done, outcome.tasks.len() as u64, "{:?}", outcome.counters);
    assert_eq!(outcome.counters.rpcs_timed_out, 0);
}

#[test]
fn one_router_gets_all_replies_and_does_all_tasks() {
    for connections in [Connections::PerRequest, Connections::KeepAlive] {
        let mut spec = shipped("baseline_1k_1");
        spec.backbone.rpc.connections = connections;
        let outcome = run(&spec);
        assert_all_are_done(&outcome);
        assert_eq!(outcome.counters.rpcs_replied, 2 * u64::from(TASKS));
        assert_eq!(outcome.counters.replies_misdelivered(), 0);
    }
}

/// Of two routers the broker picks the right one half of the time. A task needs both of its replies. Were the two
/// independent of each other, three quarters of the tasks would fail; but they are asked for at the same moment,
/// through brokers that deal in turn, so fewer do; were they one choice, half of them would.
#[test]
fn two_routers_lose_half_of_the_replies_and_most_tasks_end_at_60_s() {
    for connections in [Connections::PerRequest, Connections::KeepAlive] {
        let outcomes: Vec<Outcome> = (1..=16)
            .map(|seed| {
                let mut spec = shipped("baseline_1k_2");
                spec.seed = seed;
                spec.backbone.rpc.connections = connections;
                run(&spec)
            })
            .collect();
        let (mut calls, mut lost_calls, mut tasks, mut lost_tasks) = (0, 0, 0, 0);
        for outcome in &outcomes {
            let counters = &outcome.counters;
            assert_eq!(counters.rpcs_sent, counters.rpcs_replied + counters.rpcs_timed_out);
            assert_eq!(counters.rpcs_timed_out, counters.replies_misdelivered(), "each lost reply is one lost call");
            for task in &outcome.tasks {
                match task.end {
                    TaskEnd::Done => assert!(task.try_us.unwrap() < 1_000_000, "{task:?}"),
                    TaskEnd::DeadLettered(FailReason::Timeout) => {
                        // A minute from when the broker took the later of the two over, which may be a few stalls
                        // later.
                        assert!((60_000_000..=60_200_000).contains(&task.try_us.unwrap()), "{task:?}");
                        assert_eq!((task.attempts, task.timeouts), (1, 1));
                    }
                    other => panic!("{other:?}"),
                }
            }
            (calls, lost_calls) = (calls + counters.rpcs_sent, lost_calls + counters.rpcs_timed_out);
            (tasks, lost_tasks) = (tasks + outcome.tasks.len() as u64, lost_tasks + outcome.task_counts().timed_out);
        }
        let [lost_calls, lost_tasks] = [lost_calls * 100 / calls, lost_tasks * 100 / tasks];
        assert!((40..=60).contains(&lost_calls), "{lost_calls} % of the calls, {connections:?}");
        assert!((45..=80).contains(&lost_tasks), "{lost_tasks} % of the tasks, {connections:?}");
    }
}

/// One of its two replies goes to the other router, unless a reply to another worker comes between the two.
#[test]
fn tasks_whose_requests_meet_at_one_of_two_routers_nearly_all_fail() {
    let spec = shipped("baseline_1k_2");
    assert_eq!(spec.backbone.rpc.connections, Connections::PerTask);
    let outcome = run(&spec);
    assert_eq!(outcome.counters.rpcs_timed_out, outcome.counters.replies_misdelivered());
    let lost_tasks = outcome.task_counts().timed_out * 100 / u64::from(TASKS);
    assert!(lost_tasks >= 85, "{lost_tasks} % of the tasks");
}

#[test]
fn a_router_gives_a_lost_reply_up_after_its_own_limit_or_else_at_the_deadline() {
    for (limit_ms, given_up_us) in [(5_000, 5_000_000..=5_200_000), (0, 64_999_000..=65_001_000)] {
        let mut spec = shipped("baseline_1k_2");
        spec.backbone.http_router.reply_timeout_ms = limit_ms;
        let outcome = run(&spec);
        let lost: Vec<_> = outcome.tasks.iter().filter(|task| task.timeouts > 0).collect();
        assert!(!lost.is_empty());
        for task in lost {
            assert!(given_up_us.contains(&task.try_us.unwrap()), "{task:?}");
        }
    }
}

#[test]
fn replies_to_all_routers_reach_the_right_one_and_are_dropped_by_the_others() {
    for routers in [2, 5] {
        let mut spec = shipped("broadcast_1k_2");
        spec.replicas.routers = routers;
        let outcome = run(&spec);
        assert_all_are_done(&outcome);
        let in_vain = drops(&outcome, DropReason::ReplyOfOther);
        assert_eq!(in_vain, u64::from(routers - 1) * outcome.counters.rpcs_replied);
        assert_eq!(outcome.counters.replies_misdelivered(), 0);
    }
}

#[test]
fn replies_to_a_response_topic_reach_the_right_router_and_nobody_else() {
    for routers in [2, 5] {
        let mut spec = shipped("response_topic_1k_2");
        spec.replicas.routers = routers;
        let outcome = run(&spec);
        assert_all_are_done(&outcome);
        assert!(outcome.counters.drops.is_empty(), "{:?}", outcome.counters.drops);
    }
}

#[test]
fn a_response_topic_keeps_apart_what_gateways_that_echo_nothing_cannot() {
    let mut spec = over_http(3);
    (spec.fleet.esls, spec.fleet.echoes_request_id) = (2, false);
    spec.fleet.ble_service_ms.median = 5;
    spec.backbone.correlation = Correlation::EslMac;
    spec.backbone.http_router.replies = Replies::ResponseTopic;
    assert_all_are_done(&run(&spec));
}

#[test]
fn with_label_addresses_the_later_of_two_calls_for_one_label_wins() {
    let mut spec = over_http(1);
    spec.fleet.esls = 2;
    spec.backbone.correlation = Correlation::EslMac;
    spec.backbone.task_worker.reply_timeout_ms = 1_000;
    spec.backbone.task_worker.attempts_max = 1;
    let outcome = run(&spec);
    assert!(outcome.counters.rpcs_timed_out > 0, "{:?}", outcome.counters);
}

#[test]
fn http_routers_keep_the_routing_table_of_the_strongest_signals() {
    for replies in [Replies::Broadcast, Replies::ResponseTopic] {
        let mut spec = over_http(3);
        spec.backbone.http_router.replies = replies;
        assert_all_are_done(&run(&spec));
    }
}

#[test]
fn a_router_with_too_many_requests_refuses_and_the_task_is_tried_again() {
    let mut spec = over_http(1);
    spec.backbone.http_router.in_flight_max = 2;
    spec.backbone.task_worker.attempts_max = 50;
    let outcome = run(&spec);
    assert_all_are_done(&outcome);
    assert!(outcome.counters.rpcs_replied < outcome.counters.rpcs_sent, "none was refused");
}

/// In the middle of the work, for half a second, router 0 goes away.
fn with_router_fault(spec: &mut Spec, kind: FaultKind) -> Outcome {
    // Slow enough that the fault at 50 ms is in the middle of it.
    spec.fleet.ble_service_ms.median = 5;
    spec.faults = vec![Fault::new(50, kind, Pod::Router(RouterKind::Http, 0), 500)];
    run(spec)
}

#[test]
fn a_crashed_router_delays_tasks_only() {
    let crash = |connections| {
        let mut spec = over_http(2);
        spec.backbone.rpc.connections = connections;
        let outcome = with_router_fault(&mut spec, FaultKind::Crash);
        assert_all_are_done(&outcome);
        assert!(outcome.counters.disconnects > 0);
        outcome.tasks.iter().filter(|task| task.attempts > 1).count()
    };
    assert!(crash(Connections::PerRequest) > 0, "the router had nothing in hand when it crashed");
    // On a connection that worked before, a worker takes the failure for one of the connection, and posts once more.
    assert_eq!(crash(Connections::KeepAlive), 0);
}

#[test]
fn a_crashed_router_of_the_thesis_loses_no_task_that_is_not_a_dead_letter() {
    let outcome = with_router_fault(&mut shipped("baseline_1k_1"), FaultKind::Crash);
    let counts = outcome.task_counts();
    assert!(counts.done > 0 && counts.dead_lettered > 0, "{counts:?}");
    assert_eq!(counts.queued, 0);
}

#[test]
fn a_router_that_is_asked_to_stop_answers_what_it_has() {
    for replies in [Replies::Broadcast, Replies::ResponseTopic] {
        let mut spec = over_http(2);
        spec.backbone.http_router.replies = replies;
        let outcome = with_router_fault(&mut spec, FaultKind::Restart);
        assert_all_are_done(&outcome);
    }
}

#[test]
fn a_seed_decides_the_digest() {
    let mut spec = shipped("baseline_1k_2");
    let first = run(&spec);
    assert_eq!(run(&spec), first);
    spec.seed += 1;
    assert_ne!(run(&spec).trace_digest, first.trace_digest);
}
