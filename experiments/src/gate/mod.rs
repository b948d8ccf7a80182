//! The regression gate: runs specs and compares them with their committed `results/<spec>/summary.json`.
//!
//! Virtual time makes this exact: on any machine, an unchanged system gives the committed numbers to the last digit. So
//! the tolerance is there for changes that are too small to matter, not for noise. What counts as a failure:
//!
//! - a latency (p50, p99, max of each that [`Latency`](crate::measure::Latency) defines, and of retries and of what was
//!   given up) or throughput beyond the tolerance, **in either direction**: a committed result that is
//!   worse than today's would let a later loss hide in the difference, so a gain has to be accepted, too;
//! - any change in how many tasks and requests ended how, and in what was dropped;
//! - a run that does not come out as its spec expects (`[expect]`), whatever is committed;
//! - a spec that is not the one that the committed result is of (fields that are younger than the result had their
//!   defaults then), a result that is missing, a run that fails.
//!
//! A changed trace digest with equal numbers is a note: packets took another order, and nobody could tell by the
//! result. Wall time is not judged here. Where latencies moved, [`explain`] says by which causes.

mod causes;
mod committed;
mod compare;
mod junit;
mod report;

pub use causes::{Causes, EXPLAINED_MAX, Grown, Why, explain, write_causes};
pub use committed::{Committed, committed_specs, path as summary_path};
pub use compare::{Checked, Judgement, Move, Verdict};
pub use junit::junit;
pub use report::{github, json, table};

use crate::{
    results::Summary,
    run::{Run, batch},
    simulate::Simulate,
    spec::Spec,
};
use std::path::Path;

/// How far p50, p99, max and throughput may move, in per cent, unless the command line says otherwise.
pub const TOLERANCE_PERCENT: f64 = 1.0;

/// A spec that was run and judged.
#[derive(Debug)]
pub struct Judged {
    /// The verdict and its reasons.
    pub checked: Checked,
    /// What was run, and its summary; `None` if the run failed.
    pub run: Option<(Run, Summary)>,
}

/// Runs `specs` side by side and compares each with what is committed below `results`.
#[must_use]
pub fn check(specs: &[Spec], results: &Path, tolerance_percent: f64, simulate: Simulate, quiet: bool) -> Vec<Judged> {
    let runs = batch::run_all(specs, simulate, quiet);
    specs.iter().zip(runs).map(|(spec, run)| judge(spec, run, results, tolerance_percent)).collect()
}

fn judge(spec: &Spec, run: anyhow::Result<Run>, results: &Path, tolerance_percent: f64) -> Judged {
    let run = match run {
        Ok(run) => run,
        Err(error) => {
            let checked = Checked::failed(&spec.name, Verdict::Failed, format!("the run failed: {error:#}"));
            return Judged { checked, run: None };
        }
    };
    let summary = Summary::of(spec, &run);
    let checked = match committed::read(results, &spec.name) {
        Ok(Some(committed)) => compare::compare(&committed, &summary, tolerance_percent),
        Ok(None) => {
            let path = committed::path(results, &spec.name);
            let what = format!(
                "there is no {}; `experiments check {} --bless` writes it, and then it has to be committed",
                path.display(),
                spec.name
            );
            Checked { today: Some(compare::Today::of(&summary)), ..Checked::failed(&spec.name, Verdict::Missing, what) }
        }
        Err(error) => Checked::failed(&spec.name, Verdict::Damaged, format!("{error:#}")),
    };
    Judged { checked, run: Some((run, summary)) }
}

#[cfg(test)]
mod tests;
