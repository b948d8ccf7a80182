//! Replicas come and go by KEDA's and the HPA's rules, at the second at which these say so, and no task is lost.
//!
//! Each run checks by itself that dispatched = done + dead-lettered + queued: its `violations` say if not.

use experiments::{
    measure::{Outcome, ScalingStep, TaskEnd, TaskRecord},
    simulate::simulate,
    spec::{
        Autoscaler, Behavior, Fault, FaultKind, GatewayMode, Pod, Protocol, Quantity, ScalingRules, Spec, Target,
        Trigger,
    },
};
use std::sync::Arc;

/// Tasks of one command that take so long, whoever else works, and one worker to begin with.
fn spec(tasks: u32, ble_ms: u32) -> Spec {
    let mut spec = Spec::default();
    (spec.workload.tasks, spec.workload.commands_per_task) = (tasks, 1);
    (spec.replicas.task_workers, spec.replicas.routers) = (1, 1);
    (spec.fleet.gateways, spec.fleet.esls, spec.fleet.mode) = (2, 400, GatewayMode::Concurrent);
    spec.fleet.ble_service_ms.median = ble_ms;
    spec.backbone.task_worker.reply_timeout_ms = 120_000;
    spec.audit = true;
    spec
}

/// One replica for 20 messages, and one at least.
fn autoscaler(queue: &str, protocol: Protocol) -> Autoscaler {
    let trigger: Trigger = toml::from_str(&format!("queue = \"{queue}\"")).unwrap();
    let triggers = vec![Trigger { protocol, ..trigger }];
    Autoscaler { triggers, min_replica_count: 1, ..Autoscaler::default() }
}

fn run(spec: &Spec) -> Outcome {
    let outcome = simulate(spec, &Arc::default(), None).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(outcome.violations, []);
    let undone: Vec<_> = outcome.tasks.iter().filter(|task| task.end != TaskEnd::Done).collect();
    assert!(undone.is_empty(), "{undone:?}");
    outcome
}

/// The wanted replicas after each change, with the second of it, counted from the autoscaler's start.
fn wanted(outcome: &Outcome, target: Target) -> Vec<(u64, u32)> {
    changes(outcome, target, |step| step.wanted)
}

fn changes(outcome: &Outcome, target: Target, of: fn(&ScalingStep) -> u32) -> Vec<(u64, u32)> {
    let start_us = outcome.scaling[0].at_us;
    let steps = outcome.scaling.iter().filter(|step| step.target == target);
    let mut changes: Vec<(u64, u32)> = steps.map(|step| ((step.at_us - start_us) / 1_000_000, of(step))).collect();
    changes.dedup_by_key(|(_, replicas)| *replicas);
    changes
}

/// How long there were as many replicas as were wanted, all of them together, in microseconds.
fn wanted_us(outcome: &Outcome, target: Target) -> u64 {
    let steps: Vec<_> = outcome.scaling.iter().filter(|step| step.target == target).collect();
    let ends = steps.iter().skip(1).map(|step| step.at_us).chain([outcome.virtual_us]);
    steps.iter().zip(ends).map(|(step, end_us)| (end_us - step.at_us) * u64::from(step.wanted)).sum()
}

/// 300 tasks of 4 s for a worker, and at most 8 workers, which stay for 30 s after the last moment that wanted them.
fn backlog() -> Spec {
    let mut spec = spec(300, 4_000);
    let mut rules = autoscaler("task_queue", Protocol::Amqp);
    (rules.start_ms, rules.max_replica_count) = (2_500, 8);
    let scale_down = ScalingRules { stabilization_window_s: Some(30), ..ScalingRules::default() };
    rules.behavior = Some(Behavior { scale_down, ..Behavior::default() });
    spec.autoscale.task_workers = Some(rules);
    spec
}

#[test]
fn a_backlog_lets_workers_come_by_the_rules_and_go_when_the_window_is_over() {
    let outcome = run(&backlog());
    // 295 wait at 15 s: 15 workers are wanted, and 4 more than 1 are allowed. 8 are the most. From 105 s on 7 and fewer
    // are wanted, and the 8 of 90 s count for 30 s.
    let found = wanted(&outcome, Target::TaskWorkers);
    assert_eq!(found[..5], [(0, 1), (15, 5), (30, 8), (120, 7), (135, 5)], "{found:?}");
    assert!(found[5..].is_sorted_by(|earlier, later| earlier.1 > later.1), "{found:?}");
    // The start takes 2.5 s, and a probe sees it within a second.
    let ready = changes(&outcome, Target::TaskWorkers, |step| step.ready);
    assert!(ready.contains(&(18, 5)) && ready.contains(&(33, 8)), "{ready:?}");
    // Those that go finish their tasks of 4 s before.
    let (pods_us, wanted_us) = (outcome.pods_us[&Target::TaskWorkers], wanted_us(&outcome, Target::TaskWorkers));
    assert!((wanted_us..wanted_us + 8 * 5_000_000).contains(&pods_us), "{pods_us} us of pods, {wanted_us} us wanted");
    assert!(outcome.tasks.iter().all(|task| task.attempts == 1), "no worker left a task behind");
}

#[test]
fn a_run_with_replicas_that_come_and_go_is_the_same_again() {
    let mut spec = backlog();
    spec.autoscale.task_workers.as_mut().unwrap().start_spread_percent = 50;
    spec.autoscale.routers = Some(autoscaler("routing", Protocol::Http));
    let (first, second) = (run(&spec), run(&spec));
    assert_eq!(first, second);
    assert!(first.scaling.iter().any(|step| step.target == Target::Routers), "both are scaled");
    spec.seed += 1;
    assert_ne!(run(&spec).scaling, first.scaling, "pods start at other times");
}

#[test]
fn routers_come_in_pairs() {
    let mut spec = spec(1_500, 0);
    spec.replicas.task_workers = 60;
    spec.machines.router.frame_us = 20_000;
    let mut rules = autoscaler("routing", Protocol::Http);
    rules.triggers[0].value = Quantity::whole(10);
    spec.autoscale.routers = Some(rules);
    let outcome = run(&spec);
    // Each worker has a request under way, so 60 and some more are unacknowledged; without a behavior 4 replicas are
    // allowed first.
    let found = wanted(&outcome, Target::Routers);
    assert_eq!(found[..2], [(0, 1), (15, 4)], "{found:?}");
    assert!(matches!(found[2], (30, 6..=7)), "{found:?}");
    let ready = changes(&outcome, Target::Routers, |step| step.ready);
    assert_eq!(ready.last().unwrap().1, found[2].1, "{ready:?}");
    let (pods_us, pairs_us) = (outcome.pods_us[&Target::Routers], wanted_us(&outcome, Target::Routers));
    let (least_us, margin_us) = (2 * pairs_us, 20_000_000); // the first ones are there before anybody counts
    assert!((least_us..least_us + margin_us).contains(&pods_us), "{pods_us} us of pods, {pairs_us} us of pairs wanted");
}

#[test]
fn unacknowledged_messages_count_by_http_alone() {
    for (protocol, expected) in [(Protocol::Amqp, 1), (Protocol::Http, 2)] {
        // One worker has all 40 in hand.
        let mut spec = spec(40, 40_000);
        spec.backbone.task_worker.prefetch = 40;
        spec.autoscale.task_workers = Some(autoscaler("task_queue", protocol));
        let found = wanted(&run(&spec), Target::TaskWorkers);
        assert_eq!(found.last().unwrap().1, expected, "{protocol:?}: {found:?}");
    }
}

/// One worker has all tasks, of 60 s each, in hand, so that by AMQP nothing waits, and KEDA scales to 0 at its second
/// look: at the first one there is no queue yet.
fn nothing_waits(grace_s: u32) -> Outcome {
    let mut spec = spec(40, 60_000);
    spec.backbone.task_worker.prefetch = 40;
    let rules = autoscaler("task_queue", Protocol::Amqp);
    spec.autoscale.task_workers = Some(Autoscaler { min_replica_count: 0, grace_s, ..rules });
    run(&spec)
}

#[test]
fn a_pod_that_does_not_end_is_killed_after_its_grace_period_and_its_tasks_are_done_by_others() {
    let outcome = nothing_waits(5);
    // Killed at 35 s; at 60 s KEDA sees the 40 tasks that are back in the queue.
    let found = wanted(&outcome, Target::TaskWorkers);
    assert_eq!(found[..3], [(0, 1), (30, 0), (60, 1)], "{found:?}");
    assert!(outcome.tasks.iter().all(|task| task.attempts == 2));
    let again_s = |task: &TaskRecord| (task.last_try_us.unwrap() - outcome.scaling[0].at_us) / 1_000_000;
    assert!(outcome.tasks.iter().all(|task| again_s(task) >= 60));
}

#[test]
fn a_pod_with_time_to_end_finishes_what_it_has() {
    let outcome = nothing_waits(45);
    let found = wanted(&outcome, Target::TaskWorkers);
    assert_eq!(found[..2], [(0, 1), (30, 0)], "{found:?}");
    assert!(outcome.tasks.iter().all(|task| task.attempts == 1));
}

#[test]
fn all_may_begin_with_none() {
    let mut spec = spec(60, 1_000);
    (spec.replicas.routers, spec.replicas.task_workers) = (0, 0);
    spec.backbone.task_worker.reply_timeout_ms = 5_000;
    let rules = Autoscaler { min_replica_count: 0, ..autoscaler("task_queue", Protocol::Amqp) };
    (spec.autoscale.routers, spec.autoscale.task_workers) = (Some(rules.clone()), Some(rules));
    // Replicas wait for KEDA's look at 30 s, since at the first one there is no queue yet. From 1 on it is the HPA's.
    let outcome = run(&spec);
    for target in Target::ALL {
        assert_eq!(wanted(&outcome, target)[..3], [(0, 0), (30, 1), (45, 3)], "{target}");
    }
}

#[test]
fn a_scaler_that_can_not_ask_changes_nothing() {
    let mut spec = backlog();
    let cut = Fault::new(20_000, FaultKind::Cut, Pod::Autoscaler, 50_000);
    spec.faults = vec![cut];
    let found = wanted(&run(&spec), Target::TaskWorkers);
    assert_eq!(found[..2], [(0, 1), (15, 5)], "{found:?}");
    let (next_s, replicas) = found[2];
    assert!((70..110).contains(&next_s) && replicas > 5, "{found:?}");
}
