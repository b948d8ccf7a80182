//! What the picture of a run shows.

use super::Summary;
use crate::{
    measure::{Latency, Outcome, TaskEnd},
    plot::{Content, Histogram, Note, Wording},
    spec::{Spec, has_figure_in_thesis},
};

/// The histogram of a run; `None` if no task has ended.
pub(super) fn histogram(spec: &Spec, outcome: &Outcome, summary: &Summary) -> Option<Histogram> {
    let latencies_us = |ended: fn(TaskEnd) -> bool| {
        let tasks = outcome.tasks.iter().filter(|task| ended(task.end));
        let mut latencies: Vec<u64> = tasks.filter_map(|task| task.try_us).collect();
        latencies.sort_unstable();
        latencies
    };
    let rows = Latency::ALL.into_iter();
    Histogram::of(&Content {
        name: &spec.name,
        title: &spec.title,
        wording: wording(spec),
        done_us: &latencies_us(|end| end == TaskEnd::Done),
        given_up_us: &latencies_us(|end| matches!(end, TaskEnd::DeadLettered(_))),
        rows: rows.filter_map(|row| Some((row.name().to_owned(), summary.latency_ms.get(row)?))).collect(),
        notes: notes(summary),
    })
}

/// The thesis' words for what stands beside a figure of the thesis.
fn wording(spec: &Spec) -> Wording {
    let router_replicas = spec.replicas.routers;
    if has_figure_in_thesis(&spec.name) { Wording::Thesis { router_replicas } } else { Wording::Plain }
}

fn notes(summary: &Summary) -> Vec<Note> {
    let live = summary.live.is_some().then(|| Note::remark("live run"));
    let seed = Note::remark(format!("seed {}", summary.seed));
    live.into_iter().chain([seed]).chain(summary.notes()).collect()
}
