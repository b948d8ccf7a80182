//! What `experiments thesis` leaves on disk: data, figures, and the report.

use super::{
    Evaluation, Metric, Row, charts,
    report::{document, html, markdown},
};
use crate::{
    cost::Cost,
    results::{Directories, replace},
};
use anyhow::Context;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The numbers of a run that `runs.csv` has, in its order.
const METRICS: [(&str, Metric); 10] = [
    ("mean_ms", Metric::MeanMs),
    ("p50_ms", Metric::P50Ms),
    ("p90_ms", Metric::P90Ms),
    ("p99_ms", Metric::P99Ms),
    ("max_ms", Metric::MaxMs),
    ("width_ms", Metric::WidthMs),
    ("tasks_done_percent", Metric::SuccessPercent),
    ("tasks_per_s", Metric::TasksPerS),
    ("misrouted_replies", Metric::MisroutedReplies),
    ("modes", Metric::Modes),
];

/// Writes everything and gives the paths of the report's two forms. If nothing has changed but the time that it took,
/// the files stay as they are, to the byte.
///
/// # Errors
/// When a figure can't be drawn or a file can't be written.
pub fn write(to: &Directories, evaluation: &mut Evaluation) -> anyhow::Result<[PathBuf; 2]> {
    let (results, plots) = (to.results.join("thesis"), to.plots.join("thesis"));
    let data = results.join("thesis.json");
    keep_cost(&data, evaluation)?;
    replace(&data, json(evaluation)?.as_bytes())?;
    replace(&results.join("runs.csv"), &runs_csv(evaluation)?)?;
    replace(&results.join("comparisons.csv"), &comparisons_csv(evaluation)?)?;
    let pictures = charts::draw(evaluation)?;
    for (stem, picture) in &pictures {
        replace(&plots.join(format!("{stem}.svg")), picture.svg.as_bytes())?;
        replace(&plots.join(format!("{stem}.png")), &picture.png)?;
    }
    let svgs: BTreeMap<String, String> = pictures.into_iter().map(|(stem, picture)| (stem, picture.svg)).collect();
    let document = document(evaluation);
    let report = ["report.html", "report.md"].map(|name| results.join(name));
    replace(&report[0], html(&document, &svgs).as_bytes())?;
    replace(&report[1], markdown(&document, &svgs.keys().collect(), &link(&results, &plots)).as_bytes())?;
    Ok(report)
}

/// The way from one directory to another, if they have a directory in common; otherwise the other as it is.
fn link(from: &Path, to: &Path) -> String {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    if common <= usize::from(from.is_absolute()) {
        return to.display().to_string();
    }
    let up = from.components().skip(common).map(|_| "..".to_owned());
    let down = to.components().skip(common).map(|part| part.as_os_str().to_string_lossy().into_owned());
    up.chain(down).collect::<Vec<_>>().join("/")
}

/// The data, for programs.
#[derive(Serialize)]
struct Data<'a> {
    seeds: u32,
    experiments: Vec<Experiment<'a>>,
    failed: &'a [(String, String)],
    figures: &'a [Row],
    claims: &'a [Row],
    #[serde(rename = "machine")]
    cost: &'a Cost,
}

#[derive(Serialize)]
struct Experiment<'a> {
    spec: &'a str,
    title: &'a str,
    router_replicas: u32,
    gateways: u32,
    task_workers: u32,
    runs: Vec<RunNumbers<'a>>,
}

#[derive(Serialize)]
struct RunNumbers<'a> {
    seed: u64,
    #[serde(flatten)]
    figures: BTreeMap<&'static str, f64>,
    virtual_s: f64,
    trace_digest: &'a str,
}

fn json(evaluation: &Evaluation) -> anyhow::Result<String> {
    let experiments = evaluation.runs.values().map(|measured| {
        let runs = measured.runs.iter().map(|run| RunNumbers {
            seed: run.summary.seed,
            figures: METRICS.iter().map(|(name, metric)| (*name, rounded(run.metric(*metric)))).collect(),
            virtual_s: run.summary.virtual_s,
            trace_digest: &run.summary.trace_digest,
        });
        Experiment {
            spec: &measured.spec.name,
            title: &measured.spec.title,
            router_replicas: measured.spec.replicas.routers,
            gateways: measured.spec.fleet.gateways,
            task_workers: measured.spec.replicas.task_workers,
            runs: runs.collect(),
        }
    });
    let data = Data {
        seeds: evaluation.seeds,
        experiments: experiments.collect(),
        failed: &evaluation.failed,
        figures: &evaluation.figures,
        claims: &evaluation.claims,
        cost: &evaluation.cost,
    };
    let mut json = serde_json::to_string_pretty(&data).context("writing the data as JSON")?;
    json.push('\n');
    Ok(json)
}

/// Takes the cost from the data that are at `path`, if they are the same in all else.
fn keep_cost(path: &Path, evaluation: &mut Evaluation) -> anyhow::Result<()> {
    let Ok(old) = std::fs::read_to_string(path) else { return Ok(()) };
    let value: Option<serde_json::Value> = serde_json::from_str(&old).ok();
    let cost = value.and_then(|value| serde_json::from_value(value.get("machine")?.clone()).ok());
    let Some(cost) = cost else { return Ok(()) };
    let new = std::mem::replace(&mut evaluation.cost, cost);
    if json(evaluation)? != old {
        evaluation.cost = new;
    }
    Ok(())
}

fn runs_csv(evaluation: &Evaluation) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = ["experiment", "seed", "router_replicas", "gateways", "task_workers", "tasks"];
    writer.write_record(head.into_iter().chain(METRICS.map(|(name, _)| name)).chain(["trace_digest"]))?;
    for measured in evaluation.runs.values() {
        let spec = &measured.spec;
        for run in &measured.runs {
            let mut row = vec![spec.name.clone(), run.summary.seed.to_string(), spec.replicas.routers.to_string()];
            row.extend([spec.fleet.gateways, spec.replicas.task_workers, spec.workload.tasks].map(|n| n.to_string()));
            row.extend(METRICS.map(|(_, metric)| rounded(run.metric(metric)).to_string()));
            row.push(run.summary.trace_digest.clone());
            writer.write_record(row)?;
        }
    }
    writer.into_inner().context("writing rows into memory")
}

fn comparisons_csv(evaluation: &Evaluation) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "kind",
        "of",
        "says",
        "unit",
        "thesis",
        "ours",
        "ours_min",
        "ours_max",
        "distance_percent",
        "rule",
        "verdict",
    ])?;
    let optional = |value: Option<f64>| value.map_or(String::new(), |value| rounded(value).to_string());
    let kinds = [("figure", &evaluation.figures), ("claim", &evaluation.claims)];
    for (kind, row) in kinds.into_iter().flat_map(|(kind, rows)| rows.iter().map(move |row| (kind, row))) {
        let verdict = serde_json::to_value(row.verdict).context("naming a verdict")?;
        writer.write_record([
            kind.to_owned(),
            row.of.clone(),
            row.says.clone(),
            row.unit.to_owned(),
            optional(row.thesis),
            optional(row.ours.map(|ours| ours.median)),
            optional(row.ours.map(|ours| ours.min)),
            optional(row.ours.map(|ours| ours.max)),
            optional(row.distance_percent),
            row.rule.clone(),
            verdict.as_str().unwrap_or_default().to_owned(),
        ])?;
    }
    writer.into_inner().context("writing rows into memory")
}

/// To a millionth: what is behind that is the arithmetic's, not the measurement's.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_linked_from_where_the_report_is() {
        assert_eq!(link(Path::new("/a/results/thesis"), Path::new("/a/plots/thesis")), "../../plots/thesis");
        assert_eq!(link(Path::new("/a/thesis"), Path::new("/b/thesis")), "/b/thesis");
        assert_eq!(link(Path::new("results/thesis"), Path::new("/x/plots/thesis")), "/x/plots/thesis");
    }
}
