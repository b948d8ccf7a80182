//! The thesis' figures, ours beside them, and those that the thesis does not have.

use super::{
    Evaluation, Kind,
    claims::{Metric, SLOW},
    measured::Measured,
    reference::Published,
    sensitivity,
    verdict::published_metric,
};
use crate::{
    digits::grouped,
    plot::{Cumulative, Curve, Figure, Lines, Overlay, Point, Row, Rows, Shape, Wording},
    spec::{Change, Spec, changes},
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const THROUGHPUT: &str = "throughput_over_replicas";
pub(super) const SUCCESS: &str = "success_over_replicas";
pub(super) const REASON: &str = "reason";
pub(super) const GATEWAYS: &str = "reason_gateways";
pub(super) const CUMULATIVE: &str = "reason_cumulative";
pub(super) const SENSITIVITY: &str = "sensitivity";

/// What most figures have on their x axis.
const REPLICAS: &str = "router replicas";

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
    members: Vec<Member>,
}

/// An experiment of a family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    replicas: u32,
    name: String,
    /// What it has otherwise than most of its family, apart from the replicas.
    setting: Option<String>,
}

/// The families of the thesis' own experiments that have more than one member.
pub(super) fn families(evaluation: &Evaluation) -> Vec<Family> {
    families_of(evaluation, |kind| kind == Kind::Thesis)
}

fn families_of(evaluation: &Evaluation, wanted: impl Fn(Kind) -> bool) -> Vec<Family> {
    let mut families: BTreeMap<&str, Vec<&Spec>> = BTreeMap::new();
    for (name, measured) in &evaluation.runs {
        let replicas = measured.spec.replicas.routers;
        if Kind::of(name).is_some_and(&wanted)
            && let Some(family) = name.strip_suffix(&format!("_{replicas}"))
        {
            families.entry(family).or_default().push(&measured.spec);
        }
    }
    let several = families.into_iter().filter(|(_, specs)| specs.len() > 1);
    several.map(|(name, specs)| Family { name: name.to_owned(), members: members(&specs) }).collect()
}

/// The experiments `specs` by replicas, each with what sets it apart.
fn members(specs: &[&Spec]) -> Vec<Member> {
    let alike = |spec: &Spec| {
        let like = apart_from_replicas(spec);
        specs.iter().filter(|other| apart_from_replicas(other) == like).count()
    };
    // Of equally many, those with the fewest replicas.
    let mut by_replicas: Vec<&Spec> = specs.to_vec();
    by_replicas.sort_by_key(|spec| spec.replicas.routers);
    let common = by_replicas.iter().rev().max_by_key(|spec| alike(spec));
    let member = |spec: &&Spec| Member {
        replicas: spec.replicas.routers,
        name: spec.name.clone(),
        setting: common.and_then(|common| setting(spec, common)),
    };
    by_replicas.iter().map(member).collect()
}

/// What `spec` has otherwise than `common`, apart from the replicas; `None` if nothing.
fn setting(spec: &Spec, common: &Spec) -> Option<String> {
    let [common, own] = [common, spec].map(apart_from_replicas);
    let differing = changes(&common, &own).expect("a spec came from TOML, so it fits into TOML");
    let told = |change: &Change| {
        let value = change.to.as_ref().map_or("not set".to_owned(), ToString::to_string);
        match change.path.as_str() {
            "fleet.gateways" => format!("{value} gateways"),
            "workload.tasks" => format!("{} tasks", grouped(&value)),
            path => format!("{path} = {value}"),
        }
    };
    (!differing.is_empty()).then(|| differing.iter().map(told).collect::<Vec<_>>().join(", "))
}

/// Says with how many gateways the members of a family ran.
pub(super) fn gateways_of(evaluation: &Evaluation, family: &Family) -> String {
    let mut replicas: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for member in &family.members {
        let gateways = evaluation.runs[&member.name].spec.fleet.gateways;
        replicas.entry(gateways).or_default().push(member.replicas.to_string());
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
    let families = families_of(evaluation, |kind| matches!(kind, Kind::Thesis | Kind::Repair));
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
    let sensitivity = sensitivity::lines(evaluation);
    if !sensitivity.curves.is_empty() {
        pictures.insert(SENSITIVITY.into(), Picture::of(&sensitivity)?);
    }
    Ok(pictures)
}

/// The thesis' bars and the outline of ours, in the same bins.
fn overlay(name: &str, published: &Published, measured: &Measured) -> Overlay {
    let bins = published.bins();
    let seeds = measured.runs.len();
    let ours = if seeds == 1 { "simulation".to_owned() } else { format!("simulation, {seeds} seeds") };
    Overlay {
        name: name.to_owned(),
        title: measured.spec.title.clone(),
        wording: Wording::Thesis { router_replicas: measured.spec.replicas.routers },
        measured: Some(Shape::of_bins("thesis".into(), &bins)),
        ours: vec![Shape::of_samples(ours, &measured.pooled_us(), bins.low_ms, bins.width_ms)],
    }
}

fn point(measured: &Measured, metric: Metric, setting: Option<String>) -> Point {
    let spread = measured.metric(metric);
    let replicas = measured.spec.replicas.routers;
    Point { x: replicas, value: spread.median, min: spread.min, max: spread.max, setting }
}

fn exact(replicas: u32, value: f64, setting: Option<String>) -> Point {
    Point { x: replicas, value, min: value, max: value, setting }
}

fn curve(evaluation: &Evaluation, family: &Family, metric: Metric, name: &str, colour: usize) -> Curve {
    let of = |member: &Member| point(&evaluation.runs[&member.name], metric, member.setting.clone());
    let points = family.members.iter().map(of);
    Curve { name: name.to_owned(), points: points.collect(), foreign: false, colour }
}

/// What the thesis published of a family; `None` if nothing.
fn published(evaluation: &Evaluation, family: &Family, metric: Metric, name: &str, colour: usize) -> Option<Curve> {
    let point = |Member { replicas, name, setting }: &Member| {
        Some(exact(*replicas, published_metric(evaluation.reference.get(name)?, metric)?, setting.clone()))
    };
    let points: Vec<Point> = family.members.iter().filter_map(point).collect();
    (!points.is_empty()).then(|| Curve { name: format!("{name}, thesis"), points, foreign: true, colour })
}

fn latency(evaluation: &Evaluation, family: &Family) -> Lines {
    let metrics = || [Metric::P50Ms, Metric::P90Ms, Metric::P99Ms].into_iter().enumerate();
    let ours = metrics().map(|(colour, metric)| curve(evaluation, family, metric, metric.name(), colour));
    let theirs = metrics().filter_map(|(colour, metric)| published(evaluation, family, metric, metric.name(), colour));
    let title = vec![format!("Latency over replicas: {}", family.name), gateways_of(evaluation, family)];
    Lines {
        title,
        x: REPLICAS.into(),
        y: "latency of the try that ended a task, in ms".into(),
        log_y: true,
        curves: ours.chain(theirs).collect(),
    }
}

fn throughput(evaluation: &Evaluation, families: &[Family]) -> Lines {
    let curves = families.iter().enumerate().map(|(colour, family)| {
        let mut curve = curve(evaluation, family, Metric::TasksPerS, &family.name, colour);
        // A logarithmic axis has no zero: where nothing was done there is no point.
        curve.points.retain(|point| point.min > 0.0);
        curve
    });
    let title = vec!["Throughput over replicas".to_owned()];
    Lines { title, x: REPLICAS.into(), y: "tasks a second (virtual)".into(), log_y: true, curves: curves.collect() }
}

fn success(evaluation: &Evaluation, families: &[Family]) -> Lines {
    let families = || families.iter().filter(|family| family.name.ends_with("_1k")).enumerate();
    let metric = Metric::SuccessPercent;
    let mut curves: Vec<Curve> =
        families().map(|(colour, family)| curve(evaluation, family, metric, &family.name, colour)).collect();
    if let Some((colour, baseline)) = families().find(|(_, family)| family.name == "baseline_1k") {
        curves.extend(published(evaluation, baseline, metric, &baseline.name, colour));
        let by_chance = baseline.members.iter().map(|Member { replicas, .. }| {
            exact(*replicas, 100.0 / (f64::from(*replicas) * f64::from(*replicas)), None)
        });
        let colour = families().count();
        curves.push(Curve { name: "by chance".into(), points: by_chance.collect(), foreign: true, colour });
    }
    let title = vec!["Tasks done over replicas".to_owned(), "of 1,000 tasks".to_owned()];
    Lines { title, x: REPLICAS.into(), y: "tasks done, in per cent".into(), log_y: false, curves }
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

/// `spec` without its name and its replicas.
fn apart_from_replicas(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    (spec.name, spec.title, spec.gate, spec.extends) = (String::new(), String::new(), false, None);
    spec.replicas.routers = 0;
    spec
}

/// `spec` without its name and what the lines of [`gateways`] vary.
fn apart_from_replicas_and_gateways(spec: &Spec) -> Spec {
    let mut spec = apart_from_replicas(spec);
    spec.fleet.gateways = 0;
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
        let mut points: Vec<Point> = members.map(|measured| point(measured, Metric::MeanMs, None)).collect();
        points.sort_by_key(|point| point.x);
        Curve { name: format!("{count} gateways"), points, foreign: false, colour }
    });
    let (tasks, workers) = (slow.workload.tasks, slow.replicas.task_workers);
    let title =
        vec!["Replicas or gateways?".to_owned(), format!("{} tasks, {workers} workers", grouped(&tasks.to_string()))];
    Lines {
        title,
        x: REPLICAS.into(),
        y: "mean latency of the try that ended a task, in ms".into(),
        log_y: true,
        curves: curves.collect(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_more_than_the_replicas_is_set_apart_and_said() {
        let spec = |routers: u32, gateways: u32, tasks: u32| {
            let mut spec = Spec { name: format!("custom_{routers}"), ..Spec::default() };
            spec.title = format!("{routers} replicas");
            (spec.replicas.routers, spec.fleet.gateways, spec.workload.tasks) = (routers, gateways, tasks);
            spec
        };
        let mut odd = spec(50, 2, 10_000);
        odd.backbone.task_worker.prefetch += 1;
        let prefetch = odd.backbone.task_worker.prefetch;
        let specs = [spec(100, 2, 10_000), spec(2, 2, 10_000), spec(20, 10, 10_000), spec(10, 10, 5_000), odd];
        let members = members(&specs.iter().collect::<Vec<_>>());
        let settings: Vec<(u32, Option<&str>)> =
            members.iter().map(|member| (member.replicas, member.setting.as_deref())).collect();
        let changed = format!("backbone.task_worker.prefetch = {prefetch}");
        let expected = [
            (2, None),
            (10, Some("10 gateways, 5,000 tasks")),
            (20, Some("10 gateways")),
            (50, Some(changed.as_str())),
            (100, None),
        ];
        assert_eq!(settings, expected);
    }
}
