//! What is told of an estimate: beside what was, and beside what a run says.

use super::{Assumptions, Latencies, estimate};
use crate::{
    digits::grouped,
    explain::Stretch,
    measure::Statistics,
    run::Explained,
    spec::{Change, Spec},
};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// An estimate with what it is held against.
#[derive(Clone, Debug)]
pub struct WhatIf {
    /// What is assumed.
    pub assumptions: Assumptions,
    /// As it was.
    pub measured: Latencies,
    /// What the same way of estimating makes of the run as it was: how far it can be trusted.
    pub replayed: Latencies,
    /// As it would be.
    pub estimated: Latencies,
    /// As it is in a run with a setting that makes the assumptions true.
    pub ran: Option<Ran>,
}

/// A run with a setting that makes assumptions true.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What was changed.
    pub changes: Vec<Change>,
    /// What of it is not quite what is assumed ([`Remedied::rounded`](super::Remedied::rounded)).
    pub rounded: Vec<String>,
    /// What came out.
    pub latencies: Latencies,
}

impl WhatIf {
    /// Of a run whose requests were kept; `None` if no task was done.
    #[must_use]
    pub fn of(spec: &Spec, explained: &Explained, assumptions: &Assumptions) -> Option<Self> {
        let (attribution, warm_up) = (&explained.attribution, explained.run.outcome.warm_up_tasks);
        Some(Self {
            assumptions: assumptions.clone(),
            measured: Latencies::measured(attribution, warm_up)?,
            replayed: estimate(spec, attribution, warm_up, &Assumptions::default())?,
            estimated: estimate(spec, attribution, warm_up, assumptions)?,
            ran: None,
        })
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = String::new();
        for stretch in [Stretch::EndToEnd, Stretch::DecidingTry] {
            let title = format!("{stretch}, ms");
            let _ = writeln!(out, "{title:<28}{:>12}{:>12}{:>12}{:>12}", "mean", "p50", "p90", "p99");
            let mut row = |name: &str, cells: [String; 4]| {
                let cells: String = cells.iter().map(|cell| format!("{cell:>12}")).collect();
                let _ = writeln!(out, "  {name:<26}{cells}");
            };
            let numbers = |of: &Latencies| figures(of.in_stretch(stretch));
            let shown = |of: &Latencies| numbers(of).map(|ms| grouped(&format!("{ms:.2}")));
            let off = |of: &Latencies, truth: &Latencies| differences(numbers(of), numbers(truth));
            row("as it is", shown(&self.measured));
            row("  replayed: off by, %", off(&self.replayed, &self.measured));
            row("estimated", shown(&self.estimated));
            if let Some(Ran { latencies, .. }) = &self.ran {
                row("run", shown(latencies));
                row("  estimate: off by, %", off(&self.estimated, latencies));
            }
            out.push('\n');
        }
        let _ = writeln!(out, "what if {}", self.assumptions);
        for change in self.ran.iter().flat_map(|ran| &ran.changes) {
            let _ = writeln!(out, "run with {change}");
        }
        for rounded in self.ran.iter().flat_map(|ran| &ran.rounded) {
            let _ = writeln!(out, "not quite what is assumed: {rounded}");
        }
        out
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let latencies = |of: &Latencies| json!({ "end_to_end": of.end_to_end, "deciding_try": of.deciding_try });
        let assumed = self.assumptions.0.iter().map(|one| json!({ "cause": one.cause.key(), "factor": one.factor }));
        let ran = self.ran.as_ref().map(|Ran { changes, rounded, latencies: ran }| {
            json!({ "changes": changes, "rounded": rounded, "latency_ms": latencies(ran) })
        });
        json!({
            "what_if": assumed.collect::<Vec<_>>(),
            "measured_ms": latencies(&self.measured),
            "replayed_ms": latencies(&self.replayed),
            "estimated_ms": latencies(&self.estimated),
            "ran": ran,
        })
    }
}

impl Latencies {
    fn in_stretch(&self, stretch: Stretch) -> &Statistics {
        match stretch {
            Stretch::EndToEnd => &self.end_to_end,
            Stretch::DecidingTry => &self.deciding_try,
        }
    }
}

fn figures(of: &Statistics) -> [f64; 4] {
    [of.mean, of.p50, of.p90, of.p99]
}

fn differences(of: [f64; 4], truth: [f64; 4]) -> [String; 4] {
    std::array::from_fn(|place| match truth[place] {
        0.0 => "-".to_owned(),
        truth => format!("{:+.1}", (of[place] - truth) / truth * 100.0),
    })
}
