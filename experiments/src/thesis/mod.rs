//! Runs the thesis' experiments again and holds them against what it published and says.
//!
//! `reference` has the thesis' figures, `claims` its words, `measured` our runs, `verdict` compares, `charts` and
//! `report` show it, `files` writes it. Which experiments are run is said by their names, see [`Kind`].

mod charts;
mod claims;
mod files;
mod measured;
mod reference;
mod report;
mod sensitivity;
mod verdict;

pub use claims::{Claim, Claims, Metric, Remark, Remedy, Test, Variation, claims};
pub use files::write;
pub use measured::{Measured, MeasuredRun, Spread};
pub use reference::{Bar, Legend, Published, Reference, reference};
pub use verdict::{Row, Runs, Verdict};

use crate::{
    cost::{Cost, Stopwatch},
    run::batch,
    simulate::Simulate,
    spec::{self, Library, Override, Spec, SpecError},
};

/// What an experiment is in the report; its name begins accordingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `custom_*` and `baseline_*`: the thesis' own, run with every seed.
    Thesis,
    /// `broadcast_*` and `response_topic_*`: repairs of the baseline, run with the first seed.
    Repair,
    /// `reason_*`: differs in one thing from another one, run with the first seed.
    Reason,
    /// `sensitivity_*`: the slow one with other times, made here, run with the first seed.
    Sensitivity,
}

impl Kind {
    /// Of an experiment by its name; `None` if it is no part of the report.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        match () {
            () if begins(&["custom_", "baseline_"]) => Some(Self::Thesis),
            () if begins(&["broadcast_", "response_topic_"]) => Some(Self::Repair),
            () if begins(&["reason_"]) => Some(Self::Reason),
            () if begins(&["sensitivity_"]) => Some(Self::Sensitivity),
            () => None,
        }
    }
}

/// All that was found.
#[derive(Debug)]
pub struct Evaluation {
    /// What the thesis published.
    pub reference: Reference,
    /// What was run.
    pub runs: Runs,
    /// What could not be run, and why.
    pub failed: Vec<(String, String)>,
    /// The figures, number by number.
    pub figures: Vec<Row>,
    /// The words, claim by claim.
    pub claims: Vec<Row>,
    /// Experiments that look for reasons.
    pub variations: Vec<Variation>,
    /// What could be done about the slow one.
    pub remedies: Vec<Remedy>,
    /// Why some can't be reproduced better.
    pub remarks: Vec<Remark>,
    /// Runs of each of the thesis' experiments.
    pub seeds: u32,
    /// What it cost.
    pub cost: Cost,
}

/// The specs of `library` that belong to the report, each with the seeds it is run with: 1 to `seeds`, or 1. Behind
/// them those that are made of the slow one.
///
/// # Errors
/// When a spec can't be read.
pub fn specs(library: &Library, seeds: u32) -> Result<Vec<Spec>, SpecError> {
    let mut specs = Vec::new();
    for listed in library.list_all()? {
        let runs = match Kind::of(&listed.name) {
            Some(Kind::Thesis) => seeds,
            Some(Kind::Repair | Kind::Reason | Kind::Sensitivity) => 1,
            None => continue,
        };
        for seed in 1..=runs {
            let option =
                Override { option: format!("--seed {seed}"), path: "seed".into(), value: i64::from(seed).into() };
            specs.push(spec::load(library, &listed.name, &[option])?);
        }
    }
    let slow = specs.iter().find(|spec| spec.name == claims::SLOW);
    specs.extend(slow.map(sensitivity::specs).unwrap_or_default());
    Ok(specs)
}

/// Runs `specs` side by side and compares.
#[must_use]
pub fn evaluate(specs: &[Spec], seeds: u32, simulate: Simulate, quiet: bool) -> Evaluation {
    let clock = Stopwatch::start();
    let all = batch::run_all(specs, simulate, quiet);
    let wall_s = (clock.elapsed_s() * 10.0).round() / 10.0;
    let mut runs = Runs::new();
    let mut failed = Vec::new();
    for (spec, run) in specs.iter().zip(all) {
        let measured = match &run {
            Ok(run) => MeasuredRun::of(spec, run).ok_or_else(|| "no task finished".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        };
        match measured {
            Ok(measured) => {
                let new = || Measured { spec: spec.clone(), runs: Vec::new() };
                runs.entry(spec.name.clone()).or_insert_with(new).runs.push(measured);
            }
            Err(error) => failed.push((format!("{} seed {}", spec.name, spec.seed), error)),
        }
    }
    let (reference, claims) = (reference(), claims());
    Evaluation {
        figures: verdict::figures(&reference, &runs),
        claims: verdict::claims(&claims, &reference, &runs),
        reference,
        runs,
        failed,
        variations: claims.variations,
        remedies: claims.remedies,
        remarks: claims.remarks,
        seeds,
        cost: Cost::here(wall_s),
    }
}
