//! Two runs side by side: how long tasks took, and by which causes.

use super::{Shares, Stretch, what_if::Latencies};
use crate::{
    attribution::{Attribution, Cause},
    digits::grouped,
};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// A cause below this share of the mean in both runs is not shown.
const SHOWN_SHARE_MIN: f64 = 0.001;

/// A run with its name.
#[derive(Debug)]
pub struct Side<'a> {
    /// Its spec's name, or how it was changed.
    pub name: &'a str,
    /// Where the time of its tasks went.
    pub attribution: &'a Attribution,
    /// The first so many tasks are not measured.
    pub warm_up_tasks: usize,
}

impl Side<'_> {
    fn shares(&self, stretch: Stretch) -> Option<Shares> {
        Shares::of(self.attribution, self.warm_up_tasks, stretch)
    }
}

/// Causes beside causes, in ms of the mean task of each band, and how much more the second run has; `None` if in one of
/// them no task was done.
#[must_use]
pub fn beside(sides: &[Side<'_>; 2]) -> Option<String> {
    let mut out = String::new();
    for stretch in [Stretch::EndToEnd, Stretch::DecidingTry] {
        let [a, b] = [sides[0].shares(stretch)?, sides[1].shares(stretch)?];
        let bands: Vec<usize> =
            (0..a.bands.len()).filter(|at| ["all", "p50", "p99"].contains(&a.bands[*at].name)).collect();
        let ms = |shares: &Shares, band: usize, cause: Cause| {
            let band = &shares.bands[band];
            band.of_cause_us(cause) as f64 / band.tasks.max(1) as f64 / 1e3
        };
        let mut causes: Vec<Cause> = a.causes();
        causes.extend(b.causes().into_iter().filter(|cause| !a.causes().contains(cause)));
        let is_shown = |cause: &Cause| {
            let of = |shares: &Shares| ms(shares, 0, *cause) / (shares.bands[0].mean_us / 1e3).max(f64::MIN_POSITIVE);
            of(&a).max(of(&b)) >= SHOWN_SHARE_MIN
        };
        causes.retain(is_shown);
        let by = |cause: &Cause| (ms(&b, 0, *cause) - ms(&a, 0, *cause)).abs();
        causes.sort_by(|x, y| by(y).total_cmp(&by(x)));
        let title = format!("{stretch}, ms");
        let width = causes.iter().map(|cause| cause.name().len()).max().unwrap_or(0).max(title.len());
        let _ = write!(out, "{title:width$}");
        for band in &bands {
            let _ = write!(out, "{:>14}{:>14}{:>12}", format!("{} of A", a.bands[*band].name), "of B", "more");
        }
        out.push('\n');
        let mut row = |name: &str, of: &dyn Fn(&Shares, usize) -> f64| {
            let _ = write!(out, "{name:width$}");
            for band in &bands {
                let [was, is] = [of(&a, *band), of(&b, *band)];
                let cell = |ms: f64| grouped(&format!("{ms:.2}"));
                let _ = write!(out, "{:>14}{:>14}{:>12}", cell(was), cell(is), cell(is - was));
            }
            out.push('\n');
        };
        for cause in &causes {
            row(cause.name(), &|shares, band| ms(shares, band, *cause));
        }
        row("mean", &|shares, band| shares.bands[band].mean_us / 1e3);
        out.push('\n');
    }
    let _ = writeln!(out, "A: {}\nB: {}", sides[0].name, sides[1].name);
    Some(out)
}

/// The same for programs.
#[must_use]
pub fn beside_json(sides: &[Side<'_>; 2]) -> Option<Value> {
    let side = |side: &Side<'_>| {
        let latencies = Latencies::measured(side.attribution, side.warm_up_tasks)?;
        Some(json!({
            "spec": side.name,
            "end_to_end_ms": latencies.end_to_end,
            "deciding_try_ms": latencies.deciding_try,
            "causes": [side.shares(Stretch::EndToEnd)?.json(), side.shares(Stretch::DecidingTry)?.json()],
        }))
    };
    Some(json!([side(&sides[0])?, side(&sides[1])?]))
}
