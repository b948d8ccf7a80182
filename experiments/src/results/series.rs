//! A run second by second: as rows, and as a picture.

use crate::{
    measure::{CpuUsed, Outcome, Replicas, Row, SECOND_US, Sample, Series},
    plot::{Band, Panel, Scale, Timeline, Trace},
    spec::{Fault, Spec},
};
use anyhow::Context;

/// Most steps of a picture: more could not be seen.
const STEPS_MAX: u64 = 240;
/// Fewer seconds are no picture.
const ROWS_MIN: usize = 3;
/// Rates, latencies, tasks.
const PANELS_BEFORE_QUEUES: usize = 3;

/// A row a second, empty where nothing can be told. What waits is what waited at the end of the second.
pub(super) fn csv(outcome: &Outcome) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "second",
        "arrivals",
        "offered",
        "done",
        "given_up",
        "in_flight",
        "end_to_end_p50_ms",
        "end_to_end_p99_ms",
        "waiting",
        "in_work",
        "retrying",
        "requests",
        "dead_letters",
        "mqtt_queued",
        "cpu_ms_amqp",
        "cpu_ms_mqtt",
        "cpu_ms_redis",
        "cpu_ms_gateways",
        "cpu_ms_routers",
        "cpu_ms_task_workers",
        "routers_wanted",
        "routers_ready",
        "task_workers_wanted",
        "task_workers_ready",
    ])?;
    for row in Series::of(outcome, 1).rows {
        let latency = |ms: Option<f64>| ms.map_or(String::new(), |ms| format!("{ms:.3}"));
        let seen = |what: fn(Sample) -> Option<u64>| row.sample.and_then(what).map_or(String::new(), |n| n.to_string());
        let cpu = |what: fn(CpuUsed) -> u64| {
            let used_us = row.sample.and_then(|sample| sample.cpu).map(what);
            used_us.map_or(String::new(), |us| format!("{:.3}", us as f64 / 1e3))
        };
        let number = |count: Option<u32>| count.map_or(String::new(), |count| count.to_string());
        writer.write_record([
            row.at_s.to_string(),
            row.arrivals.to_string(),
            row.offered.to_string(),
            row.done.to_string(),
            row.given_up.to_string(),
            row.in_flight.to_string(),
            latency(row.p50_ms),
            latency(row.p99_ms),
            seen(|sample| Some(sample.waiting)),
            seen(|sample| sample.in_work),
            seen(|sample| Some(sample.retrying)),
            seen(|sample| Some(sample.requests)),
            seen(|sample| Some(sample.dead_letters)),
            seen(|sample| sample.mqtt_queued),
            cpu(|used| used.amqp_us),
            cpu(|used| used.mqtt_us),
            cpu(|used| used.redis_us),
            cpu(|used| used.gateways_us),
            cpu(|used| used.routers_us),
            cpu(|used| used.task_workers_us),
            number(row.routers.map(|replicas| replicas.wanted)),
            number(row.routers.map(|replicas| replicas.ready)),
            number(row.task_workers.map(|replicas| replicas.wanted)),
            number(row.task_workers.map(|replicas| replicas.ready)),
        ])?;
    }
    writer.into_inner().context("writing rows into memory")
}

/// The picture of a run whose work came over time; `None` if it was all there at the start, or nothing came.
pub(super) fn timeline(spec: &Spec, outcome: &Outcome) -> Option<Timeline> {
    if spec.workload.is_paced() { over_time(spec, outcome) } else { None }
}

/// The picture of any run, with what waited where, and when something was broken, counted from `began_us`; `None` if it
/// was over too soon to show anything.
pub(super) fn full_timeline(spec: &Spec, outcome: &Outcome, began_us: u64) -> Option<Timeline> {
    let begin_s = outcome.tasks.iter().map(|task| task.published_us).min()? / SECOND_US;
    let mut timeline = over_time(spec, outcome)?;
    let series = Series::of(outcome, step_s(outcome));
    if series.rows.len() < ROWS_MIN {
        return None;
    }
    let trace = |name: &str, of: &dyn Fn(Sample) -> Option<u64>| {
        let step_s = series.step_s as f64;
        let point = |row: &Row| Some(((row.at_s - begin_s) as f64 + step_s / 2.0, of(row.sample?)? as f64));
        Trace { name: name.to_owned(), points: series.rows.iter().filter_map(point).collect() }
    };
    let waiting = vec![
        trace("requests for a router", &|sample| Some(sample.requests)),
        trace("at the MQTT broker", &|sample| sample.mqtt_queued),
        trace("tasks for their next try", &|sample| Some(sample.retrying)),
        trace("dead letters", &|sample| Some(sample.dead_letters)),
    ];
    let place = timeline.panels.len().min(PANELS_BEFORE_QUEUES);
    timeline.panels.insert(place, Panel { y: "in queues".into(), scale: Scale::Linear, traces: waiting });
    let from_begin_s = |at_ms: u64| (began_us + at_ms * 1_000) as f64 / SECOND_US as f64 - begin_s as f64;
    let band = |fault: &Fault| {
        let lasts_ms = if fault.kind.is_instant() { Some(0) } else { fault.for_ms };
        Band {
            name: format!("{}: {}", fault.target, fault.kind),
            from_s: from_begin_s(fault.at_ms),
            to_s: lasts_ms.map_or(f64::INFINITY, |ms| from_begin_s(fault.at_ms + ms)),
        }
    };
    timeline.bands = spec.faults.iter().map(band).collect();
    Some(timeline)
}

fn step_s(outcome: &Outcome) -> u64 {
    (Series::of(outcome, 1).rows.len() as u64).div_ceil(STEPS_MAX).max(1)
}

fn over_time(spec: &Spec, outcome: &Outcome) -> Option<Timeline> {
    let series = Series::of(outcome, step_s(outcome));
    let step_s = series.step_s as f64;
    let begin_s = series.rows.first()?.at_s as f64;
    let trace = |name: &str, of: &dyn Fn(&Row) -> Option<f64>| {
        // In the middle of its step.
        let point = |row: &Row| Some((row.at_s as f64 - begin_s + step_s / 2.0, of(row)?));
        Trace { name: name.to_owned(), points: series.rows.iter().filter_map(point).collect() }
    };
    let cores = |of: fn(CpuUsed) -> u64| move |row: &Row| Some(of(row.sample?.cpu?) as f64 / SECOND_US as f64 / step_s);
    let panel = |y: &str, scale, traces| Panel { y: y.to_owned(), scale, traces };
    let mut panels = vec![
        panel(
            "tasks/s",
            Scale::Linear,
            vec![
                trace("came", &|row| Some(row.arrivals as f64 / step_s)),
                trace("done", &|row| Some(row.done as f64 / step_s)),
            ],
        ),
        panel(
            "end to end, ms",
            Scale::Logarithmic,
            vec![trace("p50", &|row| row.p50_ms), trace("p99", &|row| row.p99_ms)],
        ),
        panel(
            "tasks",
            Scale::Linear,
            vec![
                trace("in flight", &|row| Some(row.in_flight_mean)),
                trace("waiting for a worker", &|row| Some(row.sample?.waiting as f64)),
            ],
        ),
    ];
    let replicas = |of: fn(&Row) -> Option<Replicas>, what: fn(Replicas) -> u32| {
        move |row: &Row| of(row).map(|replicas| f64::from(what(replicas)))
    };
    let scaled: Vec<Trace> = [
        ("routers wanted", replicas(|row| row.routers, |count| count.wanted)),
        ("routers ready", replicas(|row| row.routers, |count| count.ready)),
        ("workers wanted", replicas(|row| row.task_workers, |count| count.wanted)),
        ("workers ready", replicas(|row| row.task_workers, |count| count.ready)),
    ]
    .into_iter()
    .map(|(name, of)| trace(name, &of))
    .filter(|trace| !trace.points.is_empty())
    .collect();
    if !scaled.is_empty() {
        panels.push(panel("replicas", Scale::Linear, scaled));
    }
    if spec.costs_cpu() {
        panels.push(panel(
            "CPU, cores",
            Scale::Linear,
            vec![
                trace("RabbitMQ", &cores(|used| used.amqp_us)),
                trace("MQTT broker", &cores(|used| used.mqtt_us)),
                trace("Redis", &cores(|used| used.redis_us)),
                trace("routers", &cores(|used| used.routers_us)),
                trace("workers", &cores(|used| used.task_workers_us)),
            ],
        ));
    }
    Some(Timeline {
        title: vec![format!("{}: {}", spec.name, spec.title), format!("in steps of {}", length(series.step_s))],
        panels,
        bands: Vec::new(),
    })
}

fn length(seconds: u64) -> String {
    if seconds.is_multiple_of(60) { format!("{} min", seconds / 60) } else { format!("{seconds} s") }
}
