//! What the picture of a run shows.

use super::Summary;
use crate::{
    digits::grouped,
    measure::{Outcome, TaskEnd},
    plot::{Content, Histogram, Note, Wording},
    spec::{Spec, has_figure_in_thesis},
};

/// The histogram of a run; `None` if no task has ended.
pub(super) fn histogram(spec: &Spec, outcome: &Outcome, summary: &Summary) -> Option<Histogram> {
    let latencies_us = |ended: fn(TaskEnd) -> bool| {
        let tasks = outcome.tasks.iter().filter(|task| ended(task.end));
        let mut latencies: Vec<u64> = tasks.filter_map(|task| task.latency_us).collect();
        latencies.sort_unstable();
        latencies
    };
    let rows = [
        ("the try that ended a task", summary.latency_ms),
        ("its calls alone", summary.calls_latency_ms),
        ("router to router", summary.communication_latency_ms),
    ];
    Histogram::of(&Content {
        name: &spec.name,
        title: &spec.title,
        wording: wording(spec),
        done_us: &latencies_us(|end| end == TaskEnd::Done),
        given_up_us: &latencies_us(|end| matches!(end, TaskEnd::DeadLettered(_))),
        rows: rows.into_iter().filter_map(|(name, row)| Some((name.to_owned(), row?))).collect(),
        notes: notes(summary),
    })
}

/// The thesis' words for what stands beside a figure of the thesis.
fn wording(spec: &Spec) -> Wording {
    let router_replicas = spec.replicas.routers;
    if has_figure_in_thesis(&spec.name) { Wording::Thesis { router_replicas } } else { Wording::Plain }
}

fn notes(summary: &Summary) -> Vec<Note> {
    let tasks = &summary.tasks;
    let mut notes = vec![Note::remark(format!("seed {}", summary.seed))];
    if summary.live.is_some() {
        notes.push(Note::remark("live run"));
    }
    let fates = [
        (tasks.dead_lettered, "were dead-lettered: they failed and were given up"),
        (tasks.queued, "were not finished when the run ended; they are not shown"),
    ];
    for (count, fate) in fates.into_iter().filter(|(count, _)| *count > 0) {
        let [count, all] = [count, tasks.dispatched].map(|count| grouped(&count.to_string()));
        notes.push(Note::warning(format!("{count} of {all} tasks {fate}")));
    }
    notes
}
