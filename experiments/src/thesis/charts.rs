//! The thesis' figures, ours beside them, and those that the thesis does not have.

use super::{
    Evaluation, Kind,
    claims::{Metric, SLOW},
    measured::Measured,
    reference::Published,
    verdict::published_metric,
};
use crate::{
    plot::{Cumulative, Curve, Figure, Lines, Overlay, Point, Row, Rows, Shape},
    spec::Spec,
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const THROUGHPUT: &str = "throughput_over_replicas";
pub(super) const SUCCESS: &str = "success_over_replicas";
pub(super) const REASON: &str = "reason";
pub(super) const GATEWAYS: &str = "reason_gateways";
pub(super) const CUMULATIVE: &str = "reason_cumulative";

pub(super) fn overlay_stem(experiment: &str) -> String {
    format!("overlay_{experiment}")
}

pub(super) fn latency_stem(family: &str) -> String {
    format!("latency_over_replicas_{family}")
}

/// A figure as it goes into files.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) svg: String,
    pub(super) png: Vec<u8>,
}

impl Picture {
    fn of(figure: &impl Figure) -> anyhow::Result<Self> {
        Ok(Self { svg: figure.svg()?, png: figure.png()? })
    }
}

/// Experiments that differ in their replicas: `custom_10k` is `custom_10k_2`, `custom_10k_10` and so on.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub(super) name: String,
    /// By replicas.
    members: Vec<(u32, String)>,
}

/// The families of the thesis' own experiments that have more than one member.
pub(super) fn families(evaluation: &Evaluation) -> Vec<Family> {
    families_of(evaluation, |kind| kind == Kind::Thesis)
}

fn families_of(evaluation: &Evaluation, wanted: impl Fn(Kind) -> bool) -> Vec<Family> {
    let mut families: BTreeMap<&str, Vec<(u32, String)>> = BTreeMap::new();
    for (name, measured) in &evaluation.runs {
        let replicas = measured.spec.replicas.routers;
        if Kind::of(name).is_some_and(&wanted)
            && let Some(family) = name.strip_suffix(&format!("_{replicas}"))
        {
            families.entry(family).or_default().push((replicas, name.clone()));
        }
    }
    let several = families.into_iter().filter(|(_, members)| members.len() > 1);
    let family = several.map(|(name, mut members)| {
        members.sort();
        Family { name: name.to_owned(), members }
    });
    family.collect()
}

/// Says with how many gateways the members of a family ran.
pub(super) fn gateways_of(evaluation: &Evaluation, family: &Family) -> String {
    let mut replicas: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (count, name) in &family.members {
        replicas.entry(evaluation.runs[name].spec.fleet.gateways).or_default().push(count.to_string());
    }
    match replicas.into_iter().collect::<Vec<_>>().as_slice() {
        [(gateways, _)] => format!("{gateways} gateways"),
        several => {
            let part = |(gateways, at): &(u32, Vec<String>)| format!("{gateways} with {} replicas", at.join(", "));
            format!("gateways: {}", several.iter().map(part).collect::<Vec<_>>().join("; "))
        }
    }
}

/// Draws all figures of the report that the runs allow, by stem. A histogram is no such figure: each run draws its own.
///
/// # Errors
/// When plotters fails to draw.
pub(super) fn draw(evaluation: &Evaluation) -> anyhow::Result<BTreeMap<String, Picture>> {
    let mut pictures = BTreeMap::new();
    for (name, measured) in &evaluation.runs {
        if let Some(published) = evaluation.reference.get(name) {
            pictures.insert(overlay_stem(name), Picture::of(&overlay(name, published, measured))?);
        }
    }
    for family in families(evaluation) {
        pictures.insert(latency_stem(&family.name), Picture::of(&latency(evaluation, &family))?);
    }
    let families = families_of(evaluation, |kind| kind != Kind::Reason);
    if !families.is_empty() {
        pictures.insert(THROUGHPUT.into(), Picture::of(&throughput(evaluation, &families))?);
        pictures.insert(SUCCESS.into(), Picture::of(&success(evaluation, &families))?);
    }
    let reason = reason(evaluation);
    if !reason.rows.is_empty() {
        pictures.insert(REASON.into(), Picture::of(&reason)?);
    }
    if let Some(slow) = evaluation.runs.get(SLOW) {
        pictures.insert(GATEWAYS.into(), Picture::of(&gateways(evaluation, &slow.spec))?);
        pictures.insert(CUMULATIVE.into(), Picture::of(&cumulative(evaluation, slow))?);
    }
    Ok(pictures)
}

/// The thesis' bars and the outline of ours, in the same bins.
fn overlay(name: &str, published: &Published, measured: &Measured) -> Overlay {
    let bins = published.bins();
    let seeds = measured.runs.len();
    let ours = if seeds == 1 { "simulation".to_owned() } else { format!("simulation, {seeds} seeds") };
    Overlay {
        title: vec![name.to_owned(), measured.spec.title.clone()],
        measured: Some(Shape::of_bins("thesis".into(), &bins)),
        ours: vec![Shape::of_samples(ours, &measured.pooled_us(), bins.low_ms, bins.width_ms)],
    }
}

fn point(replicas: u32, measured: &Measured, metric: Metric) -> Point {
    let spread = measured.metric(metric);
    Point { replicas, value: spread.median, min: spread.min, max: spread.max }
}

fn exact(replicas: u32, value: f64) -> Point {
    Point { replicas, value, min: value, max: value }
}

fn curve(evaluation: &Evaluation, family: &Family, metric: Metric, name: &str, colour: usize) -> Curve {
    let points = family.members.iter().map(|(replicas, name)| point(*replicas, &evaluation.runs[name], metric));
    Curve { name: name.to_owned(), points: points.collect(), foreign: false, colour }
}

/// What the thesis published of a family; `None` if nothing.
fn published(evaluation: &Evaluation, family: &Family, metric: Metric, name: &str, colour: usize) -> Option<Curve> {
    let point = |(replicas, name): &(u32, String)| {
        Some(exact(*replicas, published_metric(evaluation.reference.get(name)?, metric)?))
    };
    let points: Vec<Point> = family.members.iter().filter_map(point).collect();
    (!points.is_empty()).then(|| Curve { name: format!("{name}, thesis"), points, foreign: true, colour })
}

fn latency(evaluation: &Evaluation, family: &Family) -> Lines {
    let metrics = || [Metric::P50Ms, Metric::P90Ms, Metric::P99Ms].into_iter().enumerate();
    let ours = metrics().map(|(colour, metric)| curve(evaluation, family, metric, metric.name(), colour));
    let theirs = metrics().filter_map(|(colour, metric)| published(evaluation, family, metric, metric.name(), colour));
    let title = vec![format!("Latency over replicas: {}", family.name), gateways_of(evaluation, family)];
    Lines { title, y: "latency of a task, in ms".into(), log_y: true, curves: ours.chain(theirs).collect() }
}

fn throughput(evaluation: &Evaluation, families: &[Family]) -> Lines {
    let curves = families.iter().enumerate().map(|(colour, family)| {
        let mut curve = curve(evaluation, family, Metric::TasksPerS, &family.name, colour);
        // A logarithmic axis has no zero: where nothing was done there is no point.
        curve.points.retain(|point| point.min > 0.0);
        curve
    });
    let title = vec!["Throughput over replicas".to_owned()];
    Lines { title, y: "tasks a second (virtual)".into(), log_y: true, curves: curves.collect() }
}

fn success(evaluation: &Evaluation, families: &[Family]) -> Lines {
    let families = || families.iter().filter(|family| family.name.ends_with("_1k")).enumerate();
    let metric = Metric::SuccessPercent;
    let mut curves: Vec<Curve> =
        families().map(|(colour, family)| curve(evaluation, family, metric, &family.name, colour)).collect();
    if let Some((colour, baseline)) = families().find(|(_, family)| family.name == "baseline_1k") {
        curves.extend(published(evaluation, baseline, metric, &baseline.name, colour));
        let by_chance = baseline
            .members
            .iter()
            .map(|(replicas, _)| exact(*replicas, 100.0 / (f64::from(*replicas) * f64::from(*replicas))));
        let colour = families().count();
        curves.push(Curve { name: "by chance".into(), points: by_chance.collect(), foreign: true, colour });
    }
    let title = vec!["Tasks done over replicas".to_owned(), "of 1,000 tasks".to_owned()];
    Lines { title, y: "tasks done, in per cent".into(), log_y: false, curves }
}

/// Each base followed by what was derived from it.
fn reason(evaluation: &Evaluation) -> Rows {
    let mut bases: Vec<&str> = evaluation.variations.iter().map(|variation| variation.base.as_str()).collect();
    bases.dedup();
    let mut rows = Vec::new();
    for (group, base) in bases.into_iter().enumerate() {
        let varied = evaluation.variations.iter().filter(|variation| variation.base == base);
        let named = varied.map(|variation| (variation.spec.as_str(), variation.changes.as_str()));
        for (name, label) in [(base, base)].into_iter().chain(named) {
            if let Some(measured) = evaluation.runs.get(name) {
                rows.push(Row { name: label.to_owned(), statistics: measured.runs[0].statistics, group });
            }
        }
    }
    Rows { title: vec!["What one change makes".to_owned()], rows }
}

/// `spec` without its name and what the lines of [`gateways`] vary.
fn apart_from_replicas_and_gateways(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    (spec.name, spec.title, spec.gate) = (String::new(), String::new(), false);
    (spec.replicas.routers, spec.fleet.gateways) = (0, 0);
    spec
}

/// All experiments that differ from `slow` in nothing but replicas and gateways, a line for each number of gateways.
fn gateways(evaluation: &Evaluation, slow: &Spec) -> Lines {
    let like = apart_from_replicas_and_gateways(slow);
    let all = evaluation.runs.values();
    let alike: Vec<&Measured> =
        all.filter(|measured| apart_from_replicas_and_gateways(&measured.spec) == like).collect();
    let counts: BTreeSet<u32> = alike.iter().map(|measured| measured.spec.fleet.gateways).collect();
    let curves = counts.into_iter().enumerate().map(|(colour, count)| {
        let members = alike.iter().filter(|measured| measured.spec.fleet.gateways == count);
        let mut points: Vec<Point> =
            members.map(|measured| point(measured.spec.replicas.routers, measured, Metric::MeanMs)).collect();
        points.sort_by_key(|point| point.replicas);
        Curve { name: format!("{count} gateways"), points, foreign: false, colour }
    });
    let (tasks, workers) = (slow.workload.tasks, slow.replicas.task_workers);
    let title = vec!["Replicas or gateways?".to_owned(), format!("{tasks} tasks, {workers} workers")];
    Lines { title, y: "mean latency of a task, in ms".into(), log_y: true, curves: curves.collect() }
}

fn cumulative(evaluation: &Evaluation, slow: &Measured) -> Cumulative {
    let mut experiments = vec![(SLOW.to_owned(), slow.runs[0].latencies_us.clone())];
    for remedy in &evaluation.remedies {
        if let Some(measured) = evaluation.runs.get(&remedy.spec) {
            experiments.push((remedy.does.replace('`', ""), measured.runs[0].latencies_us.clone()));
        }
    }
    Cumulative { title: vec![format!("{SLOW}, and what one change makes of it")], experiments }
}
