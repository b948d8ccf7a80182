//! What the thesis says in words, claim by claim, each with the way it is tested; and the experiments that look for
//! reasons. Read from `experiments/reference/claims.toml`.

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The experiment in which the thesis meets its bottleneck.
pub(super) const SLOW: &str = "custom_10k_2";

const CLAIMS: &str = include_str!("../../reference/claims.toml");

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Claims, in the thesis' order.
    #[serde(rename = "claim")]
    pub claims: Vec<Claim>,
    /// Experiments that differ in one thing from another one.
    #[serde(rename = "variation", default)]
    pub variations: Vec<Variation>,
    /// What could be done about the slow experiment, one change each.
    #[serde(rename = "remedy", default)]
    pub remedies: Vec<Remedy>,
    /// Why an experiment can't be reproduced better; shown if it is not.
    #[serde(rename = "remark", default)]
    pub remarks: Vec<Remark>,
}

/// One claim.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Unique.
    pub id: String,
    /// Where the thesis says it.
    pub chapter: String,
    /// What it says; its own words where they are short.
    pub says: String,
    /// Whether it is one of the conclusions.
    #[serde(default)]
    pub conclusion: bool,
    /// How it is tested.
    #[serde(default)]
    pub test: Option<Test>,
    /// Why it is not.
    #[serde(default)]
    pub untested: Option<String>,
}

/// A number to be measured, and what it has to be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// In words.
    pub how: String,
    /// Which number.
    pub figure: Metric,
    /// Of which experiment.
    pub of: String,
    /// If given: as a multiple of the same number of this experiment.
    #[serde(default)]
    pub over: Option<String>,
    /// What the thesis gives for it; left out where its figures tell.
    #[serde(default)]
    pub thesis: Option<f64>,
    /// The claim holds if the number is within so many per cent of the thesis' ...
    #[serde(default)]
    pub within_percent: Option<f64>,
    /// ... and at least this ...
    #[serde(default)]
    pub min: Option<f64>,
    /// ... and at most this. At least one of the three is given.
    #[serde(default)]
    pub max: Option<f64>,
}

/// A number of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Mean latency of a task.
    MeanMs,
    /// Median.
    P50Ms,
    /// 90th percentile.
    P90Ms,
    /// 99th percentile.
    P99Ms,
    /// Largest.
    MaxMs,
    /// From the 10th to the 90th percentile.
    WidthMs,
    /// Done tasks of those dispatched.
    SuccessPercent,
    /// Replies that reached somebody who had not asked, a worker or a router.
    MisroutedReplies,
    /// Tasks done in a second of virtual time.
    TasksPerS,
    /// Humps of the histogram.
    Modes,
    /// Where the tallest is.
    MainModeMs,
    /// Where the first is.
    FirstModeMs,
    /// Of the tasks faster than 10 ms, those among the first or last tenth to be started.
    FastAtTheEdgesPercent,
}

impl Metric {
    /// For tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MeanMs => "mean",
            Self::P50Ms => "median",
            Self::P90Ms => "P90",
            Self::P99Ms => "P99",
            Self::MaxMs => "max",
            Self::WidthMs => "width (P90 - P10)",
            Self::SuccessPercent => "tasks done",
            Self::MisroutedReplies => "replies to the wrong one",
            Self::TasksPerS => "tasks/s",
            Self::Modes => "modes",
            Self::MainModeMs => "tallest mode at",
            Self::FirstModeMs => "first mode at",
            Self::FastAtTheEdgesPercent => "fast tasks at the edges",
        }
    }

    /// For tables; empty for a count.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::MeanMs | Self::P50Ms | Self::P90Ms | Self::P99Ms | Self::MaxMs => "ms",
            Self::WidthMs | Self::MainModeMs | Self::FirstModeMs => "ms",
            Self::SuccessPercent | Self::FastAtTheEdgesPercent => "%",
            Self::TasksPerS => "/s",
            Self::MisroutedReplies | Self::Modes => "",
        }
    }
}

/// An experiment that differs in one thing from another one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variation {
    /// The experiment.
    pub spec: String,
    /// What it is compared with.
    pub base: String,
    /// What is different, in a few words.
    pub changes: String,
    /// What it is to find out.
    pub question: String,
}

/// One change to the slow experiment, `custom_10k_2`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remedy {
    /// The experiment with that change.
    pub spec: String,
    /// What is done, in a few words.
    pub does: String,
}

/// Why an experiment can't be reproduced better.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remark {
    /// Which.
    pub experiment: String,
    /// The reason.
    pub text: String,
}

/// The claims that the program was built with.
///
/// # Panics
/// When the file is wrong; a test parses it.
#[must_use]
pub fn claims() -> Claims {
    parse(CLAIMS).expect("the claims are part of the program, and tested")
}

fn parse(text: &str) -> anyhow::Result<Claims> {
    let claims: Claims = toml::from_str(text).context("reading claims.toml")?;
    let mut ids = BTreeSet::new();
    for claim in &claims.claims {
        ensure!(ids.insert(&claim.id), "claims.toml: the claim {} is there twice", claim.id);
        match (&claim.test, &claim.untested) {
            (Some(test), None) => check(test).with_context(|| format!("claims.toml: {}", claim.id))?,
            (None, Some(_)) => {}
            _ => bail!("claims.toml: {} needs either `test` or `untested`", claim.id),
        }
    }
    Ok(claims)
}

fn check(test: &Test) -> anyhow::Result<()> {
    let rules = [test.within_percent, test.min, test.max];
    ensure!(rules.iter().any(Option::is_some), "says nothing about what the number has to be");
    let mut numbers = rules.iter().chain([&test.thesis]).flatten();
    ensure!(numbers.all(|number| number.is_finite()), "has a number that is none");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Library;

    #[test]
    fn the_shipped_claims_are_sound_and_about_shipped_experiments() {
        let claims = claims();
        let specs: Vec<String> = Library::repository().list_all().unwrap().into_iter().map(|spec| spec.name).collect();
        let tests = claims.claims.iter().filter_map(|claim| claim.test.as_ref());
        let mut named: Vec<&String> = tests.flat_map(|test| [Some(&test.of), test.over.as_ref()]).flatten().collect();
        named.extend(claims.variations.iter().flat_map(|variation| [&variation.spec, &variation.base]));
        named.extend(claims.remedies.iter().map(|remedy| &remedy.spec));
        named.extend(claims.remarks.iter().map(|remark| &remark.experiment));
        for name in named {
            assert!(specs.contains(name), "{name} is no experiment");
        }
        assert!(claims.claims.iter().any(|claim| claim.conclusion));
    }

    #[test]
    fn a_claim_without_a_test_or_without_a_rule_is_refused() {
        let claim = "[[claim]]\nid = 'a'\nchapter = 'c'\nsays = 's'\n";
        let test = "test = { how = 'h', figure = 'mean_ms', of = 'x' }\n";
        assert!(parse(claim).unwrap_err().to_string().contains("needs either"));
        assert!(format!("{:#}", parse(&format!("{claim}{test}")).unwrap_err()).contains("says nothing about"));
        assert!(parse(&format!("{claim}untested = 'u'\n{claim}untested = 'u'\n")).is_err());
        assert!(parse(&format!("{claim}untested = 'u'\nunknown = 1\n")).is_err());
    }
}
