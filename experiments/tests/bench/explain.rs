//! Every microsecond of every task is explained, whatever happens in a run. A cause that is planted comes out first.

use backbone::config::{Acknowledgement, ReplyQueue, RouterKind, RpcKind};
use experiments::{
    attribution::{Cause, Details},
    explain::{
        Shares, Side, Stretch, beside, folded, page, picture, story,
        what_if::{Assumptions, Latencies, WhatIf, remedied},
    },
    gate::{Causes, summary_path},
    plot::Figure as _,
    run::{Explained, explained},
    simulate::simulate,
    spec::{Fault, FaultKind, GatewayMode, Library, Order, Pod, Spec},
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

fn small() -> Spec {
    let mut spec = Spec::default();
    spec.workload.tasks = 200;
    spec.replicas.task_workers = 4;
    spec.replicas.routers = 2;
    spec.fleet.gateways = 3;
    spec.fleet.esls = 30;
    spec.limits.virtual_s_max = 3_600;
    spec
}

/// Runs it; no time of any task may be unexplained, neither of all of it nor of its last try.
fn explain(spec: &Spec) -> Explained {
    let run = explained(spec, Details::default(), true).unwrap();
    let tasks = &run.attribution.tasks;
    assert!(!tasks.is_empty(), "{}", spec.name);
    let unexplained: Vec<_> = tasks.iter().filter(|task| task.unexplained_us() > 0).collect();
    let first = unexplained.first().map(|task| {
        let which = task.record.id().parse().unwrap();
        (task.unexplained_us(), story(&run.attribution, 0, Stretch::EndToEnd, &which).unwrap())
    });
    if let Some((us, story)) = first {
        panic!("{}: {us} us of the first of {} tasks, of {}: {story}", spec.name, unexplained.len(), tasks.len());
    }
    for task in tasks {
        let (_, parts) = Stretch::DecidingTry.of(task);
        let sum_us: u64 = parts.iter().map(|part| u64::from(part.us)).sum();
        assert_eq!(Some(sum_us), task.record.try_us, "{}", task.record.id());
    }
    run
}

fn shares(run: &Explained, stretch: Stretch) -> Shares {
    Shares::of(&run.attribution, 0, stretch).unwrap()
}

/// The cause that took most of the time, with what lies behind it.
fn first(run: &Explained, stretch: Stretch) -> (Cause, Option<Cause>) {
    let shares = shares(run, stretch);
    let cause = shares.causes()[0];
    let behind: BTreeMap<Option<Cause>, u64> =
        shares.bands[0].us.iter().filter(|((c, _), _)| *c == cause).map(|((_, why), us)| (*why, *us)).collect();
    (cause, behind.into_iter().max_by_key(|(_, us)| *us).unwrap().0)
}

fn fault(at_ms: u64, kind: FaultKind, target: Pod, for_ms: u64) -> Fault {
    Fault::new(at_ms, kind, target, for_ms)
}

#[test]
fn nothing_of_the_short_experiments_of_the_gate_is_unexplained() {
    explain(&Library::repository().load("smoke").unwrap());
    for (name, tasks) in [
        ("custom_1k_1", 300),
        ("custom_1k_2", 300),
        ("custom_10k_20", 300),
        ("custom_10k_2", 300),
        ("store", 300),
        ("radio_rssi", 200),
    ] {
        let mut spec = Library::repository().load(name).unwrap();
        spec.workload.tasks = tasks;
        explain(&spec);
    }
}

#[test]
fn nothing_is_unexplained_whatever_the_choices() {
    for (reply_queue, acknowledgement, mode, order) in [
        (ReplyQueue::PerCall, Acknowledgement::Auto, GatewayMode::Serial, Order::ReplyFirst),
        (ReplyQueue::PerWorker, Acknowledgement::AfterHandover, GatewayMode::Concurrent, Order::AcknowledgeFirst),
        (ReplyQueue::PerCall, Acknowledgement::AfterHandover, GatewayMode::Serial, Order::AcknowledgeFirst),
    ] {
        let mut spec = small();
        (spec.fleet.mode, spec.fleet.order) = (mode, order);
        spec.backbone.task_worker.reply_queue = reply_queue;
        spec.backbone.fwd_router.acknowledgement = acknowledgement;
        explain(&spec);
        spec.backbone.results.publish = false;
        explain(&spec);
    }
    let mut spec = small();
    spec.backbone.rpc.kind = RpcKind::Http;
    explain(&spec);
}

#[test]
fn nothing_is_unexplained_whatever_breaks() {
    let routers = [RouterKind::Forward, RouterKind::Backward].map(|kind| Pod::Router(kind, 0));
    let others = [Pod::TaskWorker(0), Pod::Gateway(0), Pod::Amqp, Pod::Mqtt, Pod::Redis];
    for target in routers.into_iter().chain(others) {
        for kind in [FaultKind::Crash, FaultKind::Cut, FaultKind::Freeze] {
            let mut spec = small();
            spec.name = format!("{kind:?} of {target}");
            spec.fleet.ble_service_ms.median = 3;
            spec.backbone.task_worker.reply_timeout_ms = 3_000;
            spec.backbone.task_worker.retry_delay_ms = 1_000;
            spec.faults = vec![fault(100, kind, target, 500)];
            explain(&spec);
        }
    }
}

#[test]
fn the_gates_experiments_have_the_causes_of_their_committed_results() {
    let library = Library::repository();
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("results");
    let gated: Vec<_> = library.list_all().unwrap().into_iter().filter(|listed| listed.gate).collect();
    assert!(gated.len() > 5, "{}", gated.len());
    for spec in gated {
        let causes = Causes::read(&results, &spec.name).unwrap();
        let causes = causes.unwrap_or_else(|| panic!("`experiments check {} --bless` writes its causes", spec.name));
        let summary = std::fs::read_to_string(summary_path(&results, &spec.name)).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
        assert!(causes.are_of(summary["trace_digest"].as_str().unwrap()), "{}: bless it again", spec.name);
    }
}

#[test]
fn who_looks_on_changes_nothing() {
    let spec = small();
    let [seen, unseen] = [explain(&spec).run.outcome, simulate(&spec, &Arc::default(), None).unwrap()];
    assert_eq!(seen, unseen);
}

#[test]
fn a_router_with_a_hundredth_of_a_cpu_is_stopped_by_its_quota() {
    let mut spec = small();
    (spec.workload.tasks, spec.replicas.task_workers, spec.replicas.routers) = (60, 1, 1);
    (spec.machines.router.frame_us, spec.machines.router.cpu_quota_us) = (400, 1_000);
    assert_eq!(first(&explain(&spec), Stretch::DecidingTry).0, Cause::Throttled);
}

#[test]
fn a_window_of_one_message_keeps_the_rest_in_the_broker() {
    let mut spec = small();
    (spec.fleet.gateways, spec.brokers.mqtt_inflight_max, spec.replicas.task_workers) = (1, 1, 12);
    (spec.fleet.mode, spec.fleet.ble_service_ms.median) = (GatewayMode::Concurrent, 4);
    spec.fleet.order = Order::ReplyFirst;
    assert_eq!(first(&explain(&spec), Stretch::DecidingTry), (Cause::Window, Some(Cause::Radio)));
}

#[test]
fn a_slow_gateway_makes_others_wait_for_its_radio() {
    let mut spec = small();
    (spec.fleet.gateways, spec.fleet.mode, spec.replicas.task_workers) = (1, GatewayMode::Serial, 12);
    spec.fleet.ble_service_ms.median = 30;
    assert_eq!(first(&explain(&spec), Stretch::DecidingTry), (Cause::GatewayQueue, Some(Cause::Radio)));
}

#[test]
fn lost_segments_cost_their_timeouts() {
    let mut spec = small();
    spec.network.loss_ppm = 30_000;
    assert_eq!(first(&explain(&spec), Stretch::DecidingTry).0, Cause::Retransmission);
}

#[test]
fn too_few_workers_leave_tasks_in_their_queue() {
    let mut spec = small();
    spec.replicas.task_workers = 1;
    assert_eq!(first(&explain(&spec), Stretch::EndToEnd).0, Cause::TaskQueue);
}

#[test]
fn a_prefetch_of_one_leaves_requests_in_their_queue() {
    let mut spec = small();
    (spec.replicas.routers, spec.replicas.task_workers, spec.backbone.fwd_router.prefetch) = (1, 20, 1);
    assert_eq!(first(&explain(&spec), Stretch::DecidingTry).0, Cause::RequestQueue);
}

#[test]
fn workers_that_start_late_are_waited_for() {
    let mut spec = small();
    (spec.workload.tasks, spec.replicas.task_workers, spec.replicas.worker_stagger_ms) = (4, 4, 2_000);
    spec.fleet.ble_service_ms.median = 1_000;
    let run = explain(&spec);
    let waited = shares(&run, Stretch::EndToEnd).bands[0].of_cause_us(Cause::ConsumerNotThere);
    assert!(waited > 1_900_000, "{waited} us");
}

#[test]
fn nagles_algorithm_against_delayed_acknowledgements_is_found_behind_all_queues() {
    let mut spec = Library::repository().load("custom_10k_2").unwrap();
    (spec.workload.tasks, spec.replicas.worker_stagger_ms) = (300, 0);
    let run = explain(&spec);
    let all = &shares(&run, Stretch::DecidingTry).bands[0];
    let sum_us: u64 = all.us.values().sum();
    let stalls = all.us.iter().filter(|((cause, why), _)| why.unwrap_or(*cause) == Cause::DelayedAck);
    let stalls_us: u64 = stalls.map(|(_, us)| us).sum();
    assert!(stalls_us * 10 > sum_us * 9, "{stalls_us} of {sum_us} us");
}

#[test]
fn a_task_that_is_tried_again_has_waited_in_vain_and_for_its_next_try() {
    let mut spec = small();
    spec.backbone.task_worker.reply_timeout_ms = 3_000;
    spec.backbone.task_worker.retry_delay_ms = 1_000;
    spec.fleet.ble_service_ms.median = 3;
    spec.faults = vec![fault(50, FaultKind::Crash, Pod::Gateway(0), 4_000)];
    let run = explain(&spec);
    let retried = run.attribution.tasks.iter().find(|task| task.record.attempts == 2).expect("one was tried again");
    let of =
        |cause| retried.parts.iter().filter(|part| part.cause == cause).map(|part| u64::from(part.us)).sum::<u64>();
    assert_eq!(of(Cause::RetryDelay), 1_000_000);
}

#[test]
fn shares_stories_stacks_and_pictures_say_the_same() {
    let run = explain(&small());
    let all = shares(&run, Stretch::EndToEnd);
    assert_eq!(all.bands.iter().map(|band| band.name).collect::<Vec<_>>(), ["all", "p50", "p90", "p99", "slowest"]);
    for (place, band) in all.bands.iter().enumerate() {
        let causes = all.percentages().into_iter().filter(|row| row.behind.is_none());
        let hundredths = |cell: &str| if cell == "-" { 0 } else { cell.replace('.', "").parse::<u64>().unwrap() };
        let sum: u64 = causes.map(|row| hundredths(&row.cells[place])).sum();
        assert_eq!(sum, 10_000, "{}: {}", band.name, all.table());
    }
    let stacks = folded(&run.attribution, 0, Stretch::EndToEnd);
    let sum_us: u64 = stacks.lines().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(sum_us, all.bands[0].us.values().sum::<u64>());
    let slowest = story(&run.attribution, 0, Stretch::EndToEnd, &"max".parse().unwrap()).unwrap();
    assert!(slowest.contains("task queue, workers busy") && slowest.contains("dispatcher -> amqp"), "{slowest}");
    let figure = picture(&[("small", &run.attribution, 0)], Stretch::EndToEnd).unwrap();
    assert!(figure.description().contains("task queue, workers busy"), "{}", figure.description());
}

fn percent_off(of: f64, truth: f64) -> f64 {
    (of - truth).abs() / truth * 100.0
}

/// In a short run the start, when all workers begin at once, weighs more than in the thesis' 10,000 tasks.
#[test]
fn without_nagles_algorithm_tasks_would_take_about_as_long_as_in_a_run_without_it() {
    let mut spec = Library::repository().load("custom_10k_2").unwrap();
    (spec.workload.tasks, spec.replicas.worker_stagger_ms, spec.replicas.workers_before_rush) = (1_000, 0, 0);
    spec.machines.router.cpu_quota_us = 0;
    let assumptions = Assumptions(vec!["nagle=0".parse().unwrap()]);
    let answer = WhatIf::of(&spec, &explained(&spec, Details::FOR_REPLAY, true).unwrap(), &assumptions).unwrap();
    let ran = explain(&remedied(&spec, &assumptions).unwrap().spec);
    let ran = Latencies::measured(&ran.attribution, 0).unwrap();
    let [was, would_be, is] = [answer.measured, answer.estimated, ran].map(|of| of.end_to_end.mean);
    assert!(was > 5.0 * is, "{was} and {is} ms: there is nothing to estimate");
    assert!(percent_off(would_be, is) < 12.0, "{would_be} instead of {is} ms: {}", answer.table());
    let (would_be, is) = (answer.estimated.deciding_try.mean, ran.deciding_try.mean);
    assert!(percent_off(would_be, is) < 12.0, "{would_be} instead of {is} ms: {}", answer.table());
}

#[test]
fn half_the_load_on_gateways_that_all_wait_for_halves_the_time() {
    let mut spec = small();
    (spec.fleet.gateways, spec.fleet.mode, spec.replicas.task_workers) = (2, GatewayMode::Serial, 12);
    spec.fleet.ble_service_ms.median = 30;
    let run = explained(&spec, Details::FOR_REPLAY, true).unwrap();
    let answer = WhatIf::of(&spec, &run, &Assumptions(vec!["gateway_queue=0.5".parse().unwrap()])).unwrap();
    assert!(percent_off(answer.replayed.end_to_end.p99, answer.measured.end_to_end.p99) < 2.0, "{}", answer.table());
    assert!(
        percent_off(answer.estimated.end_to_end.p99, answer.measured.end_to_end.p99 / 2.0) < 5.0,
        "{}",
        answer.table()
    );
}

#[test]
fn a_run_that_is_played_again_comes_out_as_it_was() {
    for spec in ["chain", "store", "smoke"] {
        let mut spec = Library::repository().load(spec).unwrap();
        spec.workload.tasks = 300;
        let answer = WhatIf::of(&spec, &explained(&spec, Details::FOR_REPLAY, true).unwrap(), &Assumptions::default());
        let answer = answer.unwrap();
        let [replayed, was] = [answer.replayed, answer.measured].map(|of| of.end_to_end.p99);
        assert!(percent_off(replayed, was) < 3.0, "{}: {}", spec.name, answer.table());
    }
}

#[test]
fn two_runs_side_by_side_show_which_cause_makes_the_difference_first() {
    let mut slow = small();
    slow.fleet.ble_service_ms.median = 30;
    let runs = [explain(&small()), explain(&slow)];
    let side = |name, run: usize| Side { name, attribution: &runs[run].attribution, warm_up_tasks: 0 };
    let table = beside(&[side("fast", 0), side("slow", 1)]).unwrap();
    let of_tries = table.lines().skip_while(|line| !line.starts_with("the try that ended it")).nth(1).unwrap();
    assert!(of_tries.starts_with("radio ") || of_tries.starts_with("gateway's queue "), "{table}");
    assert!(table.ends_with("A: fast\nB: slow\n"), "{table}");
}

/// Milliseconds of all tasks for a fault, as a cause of its own or of what lies behind another one.
fn fault_ms(run: &Explained, kind: FaultKind) -> u64 {
    let all = shares(run, Stretch::EndToEnd).bands.swap_remove(0);
    let is_fault = |(cause, why): &(Cause, Option<Cause>)| why.unwrap_or(*cause) == Cause::Fault(kind);
    all.us.iter().filter(|(causes, _)| is_fault(causes)).map(|(_, us)| us / 1_000).sum()
}

#[test]
fn time_that_a_fault_costs_has_its_kind_for_a_cause() {
    for (kind, target) in [
        (FaultKind::Freeze, Pod::Redis),
        (FaultKind::Freeze, Pod::Gateway(0)),
        (FaultKind::Freeze, Pod::Amqp),
        (FaultKind::Cut, Pod::Mqtt),
        (FaultKind::Crash, Pod::Gateway(0)),
        (FaultKind::Crash, Pod::Redis),
    ] {
        let mut spec = small();
        spec.fleet.ble_service_ms.median = 3;
        spec.backbone.task_worker.reply_timeout_ms = 3_000;
        spec.backbone.task_worker.retry_delay_ms = 1_000;
        spec.faults = vec![fault(100, kind, target, 500)];
        let ms = fault_ms(&explain(&spec), kind);
        assert!(ms >= 400, "{kind:?} of {target}: {ms} ms");
        spec.faults.clear();
        assert_eq!(fault_ms(&explain(&spec), kind), 0);
    }
}

#[test]
fn a_page_has_all_of_a_run_in_one_file_and_fetches_nothing() {
    let spec = small();
    let html = page(&spec, &explain(&spec)).unwrap();
    assert!(html.len() < 2_000_000, "{} bytes", html.len());
    for part in
        ["as expected: 200 of 200 tasks done", "Where the time went", "The slowest tasks", "workload.tasks = 200"]
    {
        assert!(html.contains(part), "no `{part}`");
    }
    assert!(html.contains("2 x fwd_router"), "no map");
    assert!(html.matches("<svg ").count() >= 3 && html.matches("<details>").count() > 10);
    // An SVG's name space is no address.
    let addresses = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for outside in ["http:", "https:", "src=", "url(", "@import", "<script"] {
        assert!(!addresses.contains(outside), "{outside}");
    }
    for element in ["table", "details", "figure", "ul", "pre", "div", "main", "body"] {
        let opened = html.matches(&format!("<{element}>")).count() + html.matches(&format!("<{element} ")).count();
        assert_eq!(opened, html.matches(&format!("</{element}>")).count(), "{element}");
    }
}
