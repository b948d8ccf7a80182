//! Holds our runs against the thesis: figure by figure, claim by claim.

use super::{
    claims::{Claim, Claims, Metric, Test},
    measured::{Measured, Spread},
    reference::{Published, Reference},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// How far mean, median and P90 may be from the thesis', in per cent.
pub(super) const WITHIN_PERCENT: f64 = 25.0;
/// How far P99 may be: the tail of one run of 1,000 tasks rests on ten of them.
pub(super) const P99_WITHIN_PERCENT: f64 = 40.0;
/// How far the width may be, from the 10th to the 90th percentile: a needle is no hill.
pub(super) const WIDTH_WITHIN_PERCENT: f64 = 33.3;
/// Largest normalised Wasserstein distance.
pub(super) const DISTANCE_MAX: f64 = 0.25;

/// All experiments that were run, by name.
pub type Runs = BTreeMap<String, Measured>;

/// What became of a row. The default is what holds before anything is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Ours meets the rule.
    Holds,
    /// It does not.
    Fails,
    /// An experiment it needs was not run.
    NotRun,
    /// All were run, but in the one that is compared with, nothing was done: of nothing there is no multiple.
    NothingToCompare,
    /// There is no experiment that could tell.
    #[default]
    NotTested,
}

/// One number of the thesis, ours, and the verdict.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// The experiment of a figure, the id of a claim.
    pub of: String,
    /// Where the thesis says it.
    pub chapter: String,
    /// What it says.
    pub says: String,
    /// How it is tested, or why not.
    pub how: String,
    /// Whether it is one of the thesis' conclusions.
    pub conclusion: bool,
    /// The unit of the numbers; `x` for a multiple.
    pub unit: &'static str,
    /// The thesis' number; `None` where it gives none.
    pub thesis: Option<f64>,
    /// Ours.
    pub ours: Option<Spread>,
    /// How far ours is from the thesis', in per cent of that.
    pub distance_percent: Option<f64>,
    /// What the number has to be.
    pub rule: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Whether the thesis' own number breaks the rule that its words make.
    pub thesis_contradicts_itself: bool,
}

/// The figures' legends and shapes: seven rows a figure, in this order: mean, median, P90, P99, width,
/// distance, modes.
#[must_use]
pub(super) fn figures(reference: &Reference, runs: &Runs) -> Vec<Row> {
    reference.iter().flat_map(|(name, published)| figure_rows(name, published, runs.get(name))).collect()
}

fn figure_rows(name: &str, published: &Published, measured: Option<&Measured>) -> Vec<Row> {
    let within = |percent| Bounds { within_percent: Some(percent), ..Bounds::default() };
    let number = |metric: Metric, bounds: Bounds| {
        let ours = measured.map(|measured| match metric {
            Metric::Modes => measured.modes_in(&published.bins()),
            Metric::WidthMs => measured.width_in(&published.bins()),
            _ => measured.metric(metric),
        });
        let row = Row { says: metric.name().to_owned(), unit: metric.unit(), ..Row::default() };
        judged(row, bounds, published_metric(published, metric), ours.ok_or(Unmeasured::NotRun))
    };
    let distance = measured.map(|measured| measured.distance(&published.distribution()));
    let says = "normalised Wasserstein distance".to_owned();
    let at_most = Bounds { max: Some(DISTANCE_MAX), ..Bounds::default() };
    let mut rows = vec![
        number(Metric::MeanMs, within(WITHIN_PERCENT)),
        number(Metric::P50Ms, within(WITHIN_PERCENT)),
        number(Metric::P90Ms, within(WITHIN_PERCENT)),
        number(Metric::P99Ms, within(P99_WITHIN_PERCENT)),
        number(Metric::WidthMs, within(WIDTH_WITHIN_PERCENT)),
        judged(Row { says, ..Row::default() }, at_most, None, distance.ok_or(Unmeasured::NotRun)),
        number(Metric::Modes, within(0.0)),
    ];
    for row in &mut rows {
        name.clone_into(&mut row.of);
        "Homologation".clone_into(&mut row.chapter);
    }
    rows
}

/// What the thesis says in words: a row a claim.
#[must_use]
pub(super) fn claims(claims: &Claims, reference: &Reference, runs: &Runs) -> Vec<Row> {
    claims.claims.iter().map(|claim| claim_row(claim, reference, runs)).collect()
}

fn claim_row(claim: &Claim, reference: &Reference, runs: &Runs) -> Row {
    let row = Row {
        of: claim.id.clone(),
        chapter: claim.chapter.clone(),
        says: claim.says.clone(),
        how: claim.untested.clone().unwrap_or_default(),
        conclusion: claim.conclusion,
        ..Row::default()
    };
    let Some(test) = &claim.test else { return row };
    let bounds = Bounds { within_percent: test.within_percent, min: test.min, max: test.max };
    let thesis = test.thesis.or_else(|| published_number(test, reference));
    let own_words = Bounds { within_percent: None, ..bounds };
    let row = Row {
        how: test.how.clone(),
        unit: if test.over.is_some() { "x" } else { test.figure.unit() },
        thesis_contradicts_itself: thesis.is_some_and(|thesis| !own_words.allow(thesis, None)),
        ..row
    };
    judged(row, bounds, thesis, measured_number(test, runs))
}

fn judged(row: Row, bounds: Bounds, thesis: Option<f64>, ours: Result<Spread, Unmeasured>) -> Row {
    let verdict = match ours {
        Err(Unmeasured::NotRun) => Verdict::NotRun,
        Err(Unmeasured::OfNothing) => Verdict::NothingToCompare,
        Ok(ours) if bounds.allow(ours.median, thesis) => Verdict::Holds,
        Ok(_) => Verdict::Fails,
    };
    let ours = ours.ok();
    let distance_percent = match (thesis, ours) {
        (Some(thesis), Some(ours)) if thesis != 0.0 => Some((ours.median - thesis) / thesis * 100.0),
        _ => None,
    };
    Row { thesis, ours, distance_percent, rule: bounds.rule(row.unit), verdict, ..row }
}

/// Why a claim has no number of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unmeasured {
    /// An experiment was not run.
    NotRun,
    /// With no seed was there anything in the experiment that the other is a multiple of.
    OfNothing,
}

fn measured_number(test: &Test, runs: &Runs) -> Result<Spread, Unmeasured> {
    let run = |name: &String| runs.get(name).ok_or(Unmeasured::NotRun);
    let of = run(&test.of)?;
    let Some(over) = &test.over else { return Ok(of.metric(test.figure)) };
    // Seed by seed, so that a seed's peculiarities are on both sides.
    let pairs = of.runs.iter().zip(&run(over)?.runs);
    multiple(pairs.map(|(of, over)| (of.metric(test.figure), over.metric(test.figure))))
}

/// What multiple of the second number the first is, pair by pair. Of nothing there is none.
fn multiple(pairs: impl Iterator<Item = (f64, f64)>) -> Result<Spread, Unmeasured> {
    let multiples = pairs.map(|(of, over)| of / over).filter(|multiple| multiple.is_finite());
    Spread::of(multiples.collect()).ok_or(Unmeasured::OfNothing)
}

fn published_number(test: &Test, reference: &Reference) -> Option<f64> {
    let number = |name: &String| published_metric(reference.get(name)?, test.figure);
    let of = number(&test.of)?;
    match &test.over {
        None => Some(of),
        Some(over) => Some(of / number(over)?),
    }
}

/// What a published figure gives for `metric`; `None` if that can't be seen in it.
pub(super) fn published_metric(published: &Published, metric: Metric) -> Option<f64> {
    let legend = &published.legend;
    Some(match metric {
        Metric::MeanMs => legend.mean_ms,
        Metric::P50Ms => legend.p50_ms,
        Metric::P90Ms => legend.p90_ms,
        Metric::P99Ms => legend.p99_ms,
        Metric::MaxMs => legend.max_ms_about,
        Metric::WidthMs => published.bins().spread_ms(),
        Metric::SuccessPercent => legend.success_percent(),
        Metric::Modes => published.bins().modes_ms().len() as f64,
        Metric::MainModeMs => published.bins().main_mode_ms(),
        Metric::FirstModeMs => *published.bins().modes_ms().first()?,
        Metric::MisroutedReplies | Metric::TasksPerS | Metric::FastAtTheEdgesPercent => return None,
    })
}

/// What a number has to be; all that is given must hold.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    within_percent: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
}

impl Bounds {
    fn allow(self, value: f64, thesis: Option<f64>) -> bool {
        let near = match (self.within_percent, thesis) {
            (None, _) => true,
            (Some(percent), Some(thesis)) => (value - thesis).abs() <= thesis.abs() * percent / 100.0,
            (Some(_), None) => false,
        };
        near && self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }

    /// In words.
    fn rule(self, unit: &str) -> String {
        let near = self.within_percent.map(|percent| match percent {
            0.0 => "equal".to_owned(),
            percent => format!("within {percent} %"),
        });
        let space = if matches!(unit, "" | "x") { "" } else { " " };
        let min = self.min.map(|min| format!("at least {min}{space}{unit}"));
        let max = self.max.map(|max| format!("at most {max}{space}{unit}"));
        [near, min, max].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::reference::reference, *};

    fn verdict(bounds: Bounds, thesis: Option<f64>, ours: Option<f64>) -> Verdict {
        let ours = ours.map(|median| Spread { median, min: median, max: median });
        judged(Row::default(), bounds, thesis, ours.ok_or(Unmeasured::NotRun)).verdict
    }

    #[test]
    fn a_rule_is_met_up_to_its_bound_and_not_beyond() {
        let within = Bounds { within_percent: Some(25.0), ..Bounds::default() };
        let verdicts = [Some(50.0), Some(50.1), Some(29.9), None].map(|ours| verdict(within, Some(40.0), ours));
        assert_eq!(verdicts, [Verdict::Holds, Verdict::Fails, Verdict::Fails, Verdict::NotRun]);
        let between = Bounds { min: Some(1.0), max: Some(2.0), ..Bounds::default() };
        assert_eq!([0.9, 1.0, 2.0, 2.1].map(|value| between.allow(value, None)), [false, true, true, false]);
        assert_eq!(between.rule("ms"), "at least 1 ms, at most 2 ms");
    }

    #[test]
    fn where_nothing_was_done_there_is_nothing_to_compare_with() {
        let at_most = Bounds { max: Some(1.0), ..Bounds::default() };
        let verdict =
            |pairs: &[(f64, f64)]| judged(Row::default(), at_most, None, multiple(pairs.iter().copied())).verdict;
        assert_eq!(verdict(&[(0.0, 0.0), (50.0, 0.0)]), Verdict::NothingToCompare);
        // A seed that has something to compare with is enough.
        assert_eq!(verdict(&[(0.0, 0.0), (50.0, 100.0)]), Verdict::Holds);
        assert_eq!(verdict(&[(0.0, 100.0)]), Verdict::Holds);
    }

    #[test]
    fn without_runs_every_figure_has_its_rows_and_none_a_verdict() {
        let rows = figures(&reference(), &Runs::new());
        assert_eq!(rows.len(), 7 * reference().len());
        assert!(rows.iter().all(|row| row.verdict == Verdict::NotRun));
    }

    #[test]
    fn a_claim_that_the_thesis_own_figure_denies_is_marked() {
        let text = "[[claim]]\nid = 'a'\nchapter = 'c'\nsays = 'the median increases'\n[claim.test]\nhow = 'h'\n\
                    figure = 'p50_ms'\nof = 'custom_1k_2'\nover = 'custom_1k_1'\nmin = 1.0\n";
        let rows = claims(&toml::from_str(text).unwrap(), &reference(), &Runs::new());
        assert!(rows[0].thesis_contradicts_itself);
        assert!((rows[0].thesis.unwrap() - 46.0 / 49.0).abs() < 1e-9);
    }
}
