//! `experiments capacity`: the smallest deployment that keeps a promise, or the highest rate that one carries.

use super::{Program, changes::Changes, output::print};
use crate::{
    capacity::{Found, Promise, Search, Trial},
    digits::grouped,
    measure::{Latency, Quantity, Statistic},
    spec::{Arrivals, Override, Spec, SpecError},
    table,
};
use anyhow::Context;
use clap::Args;
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _};

/// What is to be kept, and what may be varied for it.
#[derive(Debug, Args)]
pub(super) struct CapacityArgs {
    /// The experiment's name, as `experiments list` shows them, or the path of its file.
    #[arg(value_name = "SPEC")]
    name: String,
    #[command(flatten)]
    changes: Changes,
    /// What is to be kept, as in end_to_end.p99=500ms [default: the spec's slo.end_to_end_p99_ms].
    #[arg(long, value_name = "LATENCY=LIMIT")]
    slo: Option<Promise>,
    /// Which fields to make as small as possible.
    #[arg(long, value_name = "KEY,...", value_delimiter = ',', default_values_t =
        ["replicas.routers".to_owned(), "replicas.task_workers".to_owned()])]
    vary: Vec<String>,
    /// Up to where these are tried.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    most: u32,
    /// Searches the highest rate that the deployment carries, instead of the smallest deployment.
    #[arg(long, conflicts_with_all = ["vary", "most"])]
    rate: bool,
    /// Prints JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Shows no progress.
    #[arg(long)]
    pub(super) quiet: bool,
}

/// For programs.
#[derive(Serialize)]
struct Report<'a> {
    spec: &'a str,
    seed: u64,
    slo: Promise,
    keys: &'a [String],
    holds: &'a [u32],
    does_not_hold: &'a [Vec<u32>],
    runs: Vec<&'a Trial>,
}

/// # Errors
/// When the input is wrong, a run fails, or nothing keeps the promise.
pub(super) fn capacity(arguments: &CapacityArgs, program: Program) -> anyhow::Result<()> {
    let CapacityArgs { name, changes, rate, .. } = arguments;
    let spec = changes.load(name, program)?;
    let promise = promise(arguments, &spec)?;
    if *rate && matches!(spec.workload.arrivals, Arrivals::Burst | Arrivals::Replay) {
        let reason = "has no rate: its tasks do not come over a time; --set workload.arrivals=poisson --set \
                      workload.duration_s=60 would give it one";
        return Err(SpecError::Wrong { at: "--rate".into(), reason: format!("{name} {reason}") }.into());
    }
    let keys = if *rate { vec!["workload.tasks".to_owned()] } else { arguments.vary.clone() };
    let mut distinct = keys.clone();
    distinct.sort();
    distinct.dedup();
    if distinct.len() < keys.len() {
        let reason = format!("names a field twice: {}", keys.join(", "));
        return Err(SpecError::Wrong { at: "--vary".into(), reason }.into());
    }
    let load = |values: &[u32]| changes.load_with(name, program, &overrides(&keys, values));
    let mut search = Search {
        keys: keys.clone(),
        promise,
        load: &load,
        simulate: program.simulate,
        quiet: arguments.quiet,
        tried: BTreeMap::new(),
    };
    let found = if *rate { search.highest(spec.workload.tasks) } else { search.smallest(arguments.most) };
    let found = found.with_context(|| format!("{}: {promise}", spec.name))?;
    if arguments.json {
        let runs = search.tried.values().collect();
        let report = Report {
            spec: &spec.name,
            seed: spec.seed,
            slo: promise,
            keys: &keys,
            holds: &found.holds,
            does_not_hold: &found.neighbours,
            runs,
        };
        return print(&format!("{}\n", serde_json::to_string_pretty(&report).context("writing JSON")?));
    }
    print(&told(&spec, &search, &found, *rate))
}

fn promise(arguments: &CapacityArgs, spec: &Spec) -> Result<Promise, SpecError> {
    let limit_ms = spec.slo.end_to_end_p99_ms;
    let own = || Promise { quantity: Quantity::Latency(Latency::EndToEnd, Statistic::P99), limit_ms: limit_ms.into() };
    arguments.slo.or_else(|| (limit_ms > 0).then(own)).ok_or_else(|| SpecError::Wrong {
        at: "--slo".into(),
        reason: format!("is missing, and {} promises nothing (slo.end_to_end_p99_ms)", spec.name),
    })
}

/// The options that set `keys` to `values`.
pub(super) fn overrides(keys: &[String], values: &[u32]) -> Vec<Override> {
    let one = |(key, value): (&String, &u32)| Override {
        option: format!("{key}={value}"),
        path: key.clone(),
        value: i64::from(*value).into(),
    };
    keys.iter().zip(values).map(one).collect()
}

fn told(spec: &Spec, search: &Search<'_>, found: &Found, rate: bool) -> String {
    let what = if rate { "the highest rate that holds" } else { "the smallest deployment that holds" };
    let mut out = format!("{}: {what} {}\n\n", spec.name, search.promise);
    let mut rows = vec![search.keys.clone()];
    rows[0].extend([format!("{} ms", search.promise.quantity), "tasks/s came".into(), "fullest".into(), String::new()]);
    for point in std::iter::once(&found.holds).chain(&found.neighbours) {
        let trial = &search.tried[point];
        let mut row: Vec<String> = point.iter().map(ToString::to_string).collect();
        row.push(trial.numbers[0].map_or("-".into(), |ms| grouped(&format!("{ms:.2}"))));
        row.push(trial.came_per_s.map_or("all at once".into(), |rate| grouped(&format!("{rate:.2}"))));
        row.push(trial.fullest.as_ref().map_or(String::new(), |full| format!("{} {:.0} %", full.of, full.percent)));
        row.push(if trial.holds() { "holds".into() } else { format!("does not: {}", trial.flaws.join(", ")) });
        rows.push(row);
    }
    out += &table::columns(&rows);
    let _ = writeln!(out, "\n{} runs with seed {}", search.tried.len(), spec.seed);
    if spec.workload.is_paced() && spec.workload.warm_up_s == 0 {
        out += "measured from the first task on, when connections and queues are new; workload.warm_up_s leaves \
                that out\n";
    }
    out
}
