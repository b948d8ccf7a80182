//! The section that asks why: experiments that differ in one thing.

use super::{
    Block, Cell, Table,
    numbers::{deviation, number},
};
use crate::thesis::{
    Evaluation, charts,
    claims::{Metric, SLOW},
    measured::Measured,
};

/// What does most about the slow experiment, in a sentence.
pub(super) fn in_short(evaluation: &Evaluation) -> String {
    let (Some(slow), ranked) = (evaluation.runs.get(SLOW), ranked(evaluation)) else {
        return format!("`{SLOW}` was not run.");
    };
    match (ranked.first(), ranked.last()) {
        (Some((first, best)), Some((last, worst))) => format!(
            "What does most about the slow `{SLOW}` (mean {} ms) is: {first}; that makes it {} ms. What does least: \
             {last}; {} ms.",
            number(mean(slow)),
            number(mean(best)),
            number(mean(worst))
        ),
        _ => format!("No change to `{SLOW}` was run."),
    }
}

fn mean(measured: &Measured) -> f64 {
    measured.metric(Metric::MeanMs).median
}

/// The remedies that were run, the most effective first.
fn ranked(evaluation: &Evaluation) -> Vec<(&str, &Measured)> {
    let mut ranked: Vec<(&str, &Measured)> = evaluation
        .remedies
        .iter()
        .filter_map(|remedy| Some((remedy.does.as_str(), evaluation.runs.get(&remedy.spec)?)))
        .collect();
    ranked.sort_by(|a, b| mean(a.1).total_cmp(&mean(b.1)));
    ranked
}

/// Adds the section.
pub(super) fn section(evaluation: &Evaluation, blocks: &mut Vec<Block>) {
    blocks.push(Block::Section("The reason".into()));
    blocks.push(Block::Text(
        "Each of these experiments differs in one thing from one of the thesis'. A serial gateway answers one message \
         at a time, and all workers together have more requests waiting than there are gateways: so the time from one \
         answer of a gateway to its next decides how long a task takes. That time is the number of gateways over the \
         requests answered in a second. A stall of some 40 ms there is the mark of Nagle's algorithm at the broker \
         against the delayed acknowledgements of the gateways."
            .into(),
    ));
    variations(evaluation, blocks);
    for (stem, caption) in [
        (charts::REASON, "Every variation below what it was derived from, in the same colour.".to_owned()),
        (
            charts::GATEWAYS,
            "Mean latency of 10,000 tasks over the router replicas, a line for each number of gateways; all else is \
             equal. The lower the lines with more gateways, and the more level each, the less the replicas matter."
                .to_owned(),
        ),
        (charts::CUMULATIVE, format!("Where the tasks of `{SLOW}` are after one change.")),
        (
            charts::SENSITIVITY,
            "Each stall is lost or won in a race: does the broker's next command reach the gateway before its reply \
             has left, or after? So a gateway that takes longer makes the system faster, and a broker that answers \
             later makes it slower, within some hundred microseconds. Measured on real programs on one bridge, the \
             broker answered after 55 us and the gateway took 50."
                .to_owned(),
        ),
    ] {
        blocks.push(Block::Figure { stem: stem.into(), caption });
    }
    blocks.push(Block::Part("What to do first".into()));
    remedies(evaluation, blocks);
}

fn variations(evaluation: &Evaluation, blocks: &mut Vec<Block>) {
    let mut table = Table::new(
        &["what is different", "experiment", "question"],
        &["replicas", "gateways", "mean in ms", "P99 in ms", "slowest", "ms an answer", "mean against base"],
    );
    let mut last_base = "";
    for variation in &evaluation.variations {
        let Some(base) = evaluation.runs.get(&variation.base) else { continue };
        if last_base != variation.base {
            table.row(cells("(the thesis')", &variation.base, "", base, None));
            last_base = &variation.base;
        }
        if let Some(varied) = evaluation.runs.get(&variation.spec) {
            table.row(cells(&variation.changes, &variation.spec, &variation.question, varied, Some(base)));
        }
    }
    blocks.push(Block::Table(table));
    blocks.push(Block::Text(
        "\"ms an answer\" is the time between two answers of one gateway, on the average of the whole run.".into(),
    ));
}

fn cells(changes: &str, name: &str, question: &str, run: &Measured, base: Option<&Measured>) -> Vec<Cell> {
    let against = base.map(|base| deviation((mean(run) / mean(base) - 1.0) * 100.0));
    vec![
        changes.into(),
        format!("`{name}`").into(),
        question.into(),
        run.spec.replicas.routers.to_string().into(),
        run.spec.fleet.gateways.to_string().into(),
        number(mean(run)).into(),
        number(run.metric(Metric::P99Ms).median).into(),
        number(run.metric(Metric::MaxMs).median).into(),
        number(ms_an_answer(run)).into(),
        against.unwrap_or_default().into(),
    ]
}

/// Time between two answers of one gateway.
fn ms_an_answer(run: &Measured) -> f64 {
    let answers_per_s = run.metric(Metric::TasksPerS).median * f64::from(run.spec.workload.commands_per_task);
    1_000.0 * f64::from(run.spec.fleet.gateways) / answers_per_s
}

fn remedies(evaluation: &Evaluation, blocks: &mut Vec<Block>) {
    let Some(slow) = evaluation.runs.get(SLOW) else { return };
    blocks.push(Block::Text(format!(
        "From `{SLOW}` with a mean of {} ms, one change each, the most effective first: the order in which to try \
         them.",
        number(mean(slow))
    )));
    let mut table = Table::new(&["change"], &["mean in ms", "P99 in ms", "tasks/s", "mean, of what it was"]);
    for (does, run) in ranked(evaluation) {
        table.row([
            does.into(),
            Cell::from(number(mean(run))),
            number(run.metric(Metric::P99Ms).median).into(),
            number(run.metric(Metric::TasksPerS).median).into(),
            format!("{} %", number(100.0 * mean(run) / mean(slow))).into(),
        ]);
    }
    blocks.push(Block::Table(table));
}
