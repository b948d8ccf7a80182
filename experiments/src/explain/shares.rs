//! How much of their time tasks spent on which cause: over all, and over those around a percentile.

use super::{Stretch, sorted};
use crate::{
    attribution::{Attribution, Cause, Part},
    digits::grouped,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

/// Tasks that are looked at together.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// `all`, `p50` and so on.
    pub name: &'static str,
    /// How many tasks.
    pub tasks: usize,
    /// Their mean latency, in microseconds.
    pub mean_us: f64,
    /// Microseconds of all of them together for each cause, and of queues also for what lies behind.
    pub us: BTreeMap<(Cause, Option<Cause>), u64>,
}

/// From which share of the tasks to which, sorted by latency, in thousandths.
const BANDS: [(&str, usize, usize); 5] =
    [("all", 0, 1_000), ("p50", 475, 525), ("p90", 875, 925), ("p99", 985, 995), ("slowest", 999, 1_000)];

/// Causes over bands.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares {
    /// What part of tasks' time it is of.
    pub stretch: Stretch,
    /// All tasks, those around P50, P90 and P99, and the slowest.
    pub bands: Vec<Band>,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose.
    pub cause: Cause,
    /// What lies behind it; `Some(None)`: nothing that is known. `None`: the row of the cause itself.
    pub behind: Option<Option<Cause>>,
    /// In percent, a cell for each band.
    pub cells: Vec<String>,
}

impl Row {
    /// What people read.
    #[must_use]
    pub fn name(&self) -> String {
        match self.behind {
            None => self.cause.name().to_owned(),
            Some(behind) => format!("  meanwhile: {}", behind.map_or("(nothing that is known)", Cause::name)),
        }
    }
}

impl Band {
    /// Of these tasks' parts.
    fn of<'a>(name: &'static str, tasks: impl Iterator<Item = &'a [Part]>) -> Self {
        let mut band = Self { name, tasks: 0, mean_us: 0.0, us: BTreeMap::new() };
        for parts in tasks {
            band.tasks += 1;
            for part in parts {
                *band.us.entry((part.cause, part.because)).or_default() += u64::from(part.us);
            }
        }
        band.mean_us = band.sum_us() as f64 / band.tasks.max(1) as f64;
        band
    }

    fn sum_us(&self) -> u64 {
        self.us.values().sum()
    }

    /// Microseconds for a cause, whatever lies behind.
    #[must_use]
    pub fn of_cause_us(&self, cause: Cause) -> u64 {
        self.us.iter().filter(|((other, _), _)| *other == cause).map(|(_, us)| us).sum()
    }

    /// Hundredths of a percent for each of these, 10,000 in all: what rounding leaves goes to the largest rests.
    fn shares(&self, rows: &[u64]) -> Vec<u64> {
        const WHOLE: u128 = 10_000;
        let sum: u128 = rows.iter().map(|us| u128::from(*us)).sum();
        if sum == 0 {
            return vec![0; rows.len()];
        }
        let exact = |us: &u64| (u128::from(*us) * WHOLE / sum, u128::from(*us) * WHOLE % sum);
        let mut shares: Vec<u64> = rows.iter().map(|us| exact(us).0 as u64).collect();
        let mut by_rest: Vec<usize> = (0..rows.len()).collect();
        by_rest.sort_by_key(|row| std::cmp::Reverse(exact(&rows[*row]).1));
        let missing = WHOLE as u64 - shares.iter().sum::<u64>();
        by_rest.into_iter().take(missing as usize).for_each(|row| shares[row] += 1);
        shares
    }
}

impl Shares {
    /// Of a run; `None` if no task was done.
    #[must_use]
    pub fn of(attribution: &Attribution, warm_up_tasks: usize, stretch: Stretch) -> Option<Self> {
        let tasks = sorted(attribution, warm_up_tasks, stretch);
        let last = tasks.len().checked_sub(1)?;
        let band = |(name, from, to): (&'static str, usize, usize)| {
            // The slowest task is always in the last one.
            let (first, end) = ((tasks.len() * from / 1_000).min(last), (tasks.len() * to).div_ceil(1_000));
            Band::of(name, tasks[first..end.max(first + 1)].iter().map(|(.., parts)| parts.as_slice()))
        };
        Some(Self { stretch, bands: BANDS.into_iter().map(band).collect() })
    }

    /// The causes that are there, the largest over all first; each with what lies behind it, if that is known.
    fn rows(&self) -> Vec<(Cause, Vec<Option<Cause>>)> {
        let all = &self.bands[0];
        let mut causes: Vec<Cause> = Cause::all().filter(|cause| all.of_cause_us(*cause) > 0).collect();
        causes.sort_by_key(|cause| std::cmp::Reverse(all.of_cause_us(*cause)));
        let behind = |cause: Cause| {
            let mut behind: Vec<(u64, Option<Cause>)> =
                all.us.iter().filter(|((other, _), _)| *other == cause).map(|((_, why), us)| (*us, *why)).collect();
            behind.sort_by_key(|(us, _)| std::cmp::Reverse(*us));
            let known = behind.iter().any(|(_, why)| why.is_some());
            if known { behind.into_iter().map(|(_, why)| why).collect() } else { Vec::new() }
        };
        causes.into_iter().map(|cause| (cause, behind(cause))).collect()
    }

    /// The causes, the largest over all first.
    #[must_use]
    pub fn causes(&self) -> Vec<Cause> {
        self.rows().into_iter().map(|(cause, _)| cause).collect()
    }

    /// A row for each cause, and for what lies behind it; the rows of causes add up to 100.00 in each column.
    #[must_use]
    pub fn percentages(&self) -> Vec<Row> {
        let rows = self.rows();
        let of_causes = |band: &Band| rows.iter().map(|(cause, _)| band.of_cause_us(*cause)).collect::<Vec<u64>>();
        let columns: Vec<Vec<u64>> = self.bands.iter().map(|band| band.shares(&of_causes(band))).collect();
        let mut percentages = Vec::new();
        for (place, (cause, behind)) in rows.iter().enumerate() {
            let cells = columns.iter().map(|column| percent(column[place])).collect();
            percentages.push(Row { cause: *cause, behind: None, cells });
            for why in behind {
                let cell = |(band, column): (&Band, &Vec<u64>)| {
                    let us = band.us.get(&(*cause, *why)).copied().unwrap_or(0);
                    let whole_us = band.of_cause_us(*cause).max(1);
                    let share = u128::from(column[place]) * u128::from(us) / u128::from(whole_us);
                    format!("({})", percent(share as u64))
                };
                let cells = self.bands.iter().zip(&columns).map(cell).collect();
                percentages.push(Row { cause: *cause, behind: Some(*why), cells });
            }
        }
        // What only a few tasks between the bands spent a moment on, or less than can be shown.
        percentages.retain(|row| row.cells.iter().any(|cell| !matches!(cell.as_str(), "-" | "(-)")));
        percentages
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let rows = self.percentages();
        let names: Vec<String> = rows.iter().map(Row::name).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let mut out = String::new();
        let mut line = |name: &str, cells: &mut dyn Iterator<Item = String>| {
            write!(out, "{name:width$}").expect("a string takes everything");
            cells.for_each(|cell| write!(out, "{cell:>11}").expect("a string takes everything"));
            out.push('\n');
        };
        line(&format!("{}, %", self.stretch), &mut self.bands.iter().map(|band| band.name.to_owned()));
        for (row, name) in rows.iter().zip(&names) {
            line(name, &mut row.cells.iter().cloned());
        }
        let mean = |band: &Band| grouped(&format!("{:.2}", band.mean_us / 1e3));
        line("mean, ms", &mut self.bands.iter().map(mean));
        line("tasks", &mut self.bands.iter().map(|band| grouped(&band.tasks.to_string())));
        out
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows = self.rows();
        let band = |band: &Band| {
            let causes = rows.iter().map(|(cause, behind)| {
                let of = |why: &Option<Cause>| band.us.get(&(*cause, *why)).copied().unwrap_or(0);
                let behind = behind.iter().map(|why| json!({ "cause": why.map(Cause::key), "us": of(why) }));
                json!({
                    "cause": cause.key(),
                    "us": band.of_cause_us(*cause),
                    "meanwhile": behind.collect::<Vec<_>>(),
                })
            });
            json!({
                "band": band.name,
                "tasks": band.tasks,
                "mean_us": band.mean_us,
                "causes": causes.collect::<Vec<_>>(),
            })
        };
        json!({ "stretch": self.stretch.to_string(), "bands": self.bands.iter().map(band).collect::<Vec<_>>() })
    }
}

/// Hundredths of a percent.
fn percent(share: u64) -> String {
    if share == 0 { "-".into() } else { format!("{}.{:02}", share / 100, share % 100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_adds_up_to_100_percent() {
        let band = Band { name: "all", tasks: 1, mean_us: 0.0, us: BTreeMap::new() };
        for rows in [vec![1, 1, 1], vec![7, 11, 13, 17, 1_000_003], vec![5]] {
            assert_eq!(band.shares(&rows).iter().sum::<u64>(), 10_000, "{rows:?}");
        }
        assert_eq!(band.shares(&[1, 1, 1]), [3_334, 3_333, 3_333]);
        assert_eq!(band.shares(&[0, 0]), [0, 0]);
    }
}
