//! What our runs give for an experiment: every number once a seed.

use super::claims::Metric;
use crate::{
    measure::{Bins, Distribution, Statistics, TaskRecord, last_tries_us},
    results::Summary,
    run::Run,
    spec::Spec,
};
use serde::Serialize;

/// A task faster than this is one of the thesis' "small peak of less than 10 ms".
const FAST_US: u64 = 10_000;
/// Which part of the tasks, at the start and at the end each, counts as its edge.
const EDGE: usize = 10;

/// All runs of one experiment.
#[derive(Clone, Debug)]
pub struct Measured {
    /// With the seed of the first run.
    pub spec: Spec,
    /// A run a seed; at least one.
    pub runs: Vec<MeasuredRun>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct MeasuredRun {
    /// Its numbers.
    pub summary: Summary,
    /// The latencies of all finished tasks, in ascending order; at least one.
    pub latencies_us: Vec<u64>,
    /// Of those.
    pub statistics: Statistics,
    bins: Bins,
    distribution: Distribution,
    fast_at_the_edges_percent: f64,
}

/// A number over the seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The median over the seeds; of an even number of them, the lower one of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of one value a seed; `None` without any.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let median = *values.get(values.len().checked_sub(1)? / 2)?;
        Some(Self { median, min: *values.first()?, max: *values.last()? })
    }
}

impl MeasuredRun {
    /// `None` if no task finished.
    #[must_use]
    pub fn of(spec: &Spec, run: &Run) -> Option<Self> {
        let latencies_us = last_tries_us(&run.outcome);
        Some(Self {
            summary: Summary::of(spec, run),
            statistics: Statistics::of(&latencies_us)?,
            bins: Bins::of(&latencies_us)?,
            distribution: Distribution::of_samples(&latencies_us)?,
            fast_at_the_edges_percent: fast_at_the_edges_percent(&run.outcome.tasks),
            latencies_us,
        })
    }

    /// A number of this run.
    #[must_use]
    pub fn metric(&self, metric: Metric) -> f64 {
        let (statistics, summary) = (&self.statistics, &self.summary);
        match metric {
            Metric::MeanMs => statistics.mean,
            Metric::P50Ms => statistics.p50,
            Metric::P90Ms => statistics.p90,
            Metric::P99Ms => statistics.p99,
            Metric::MaxMs => statistics.max,
            Metric::WidthMs => self.bins.spread_ms(),
            Metric::SuccessPercent => 100.0 * summary.tasks.done as f64 / summary.tasks.dispatched.max(1) as f64,
            Metric::MisroutedReplies => (summary.rpcs.misrouted + summary.rpcs.dropped_replies) as f64,
            Metric::TasksPerS => summary.throughput.tasks_per_s,
            Metric::Modes => self.bins.modes_ms().len() as f64,
            Metric::MainModeMs => self.bins.main_mode_ms(),
            Metric::FirstModeMs => self.bins.modes_ms().first().copied().unwrap_or(self.bins.main_mode_ms()),
            Metric::FastAtTheEdgesPercent => self.fast_at_the_edges_percent,
        }
    }
}

impl Measured {
    /// A number over the seeds.
    #[must_use]
    pub fn metric(&self, metric: Metric) -> Spread {
        self.spread(|run| run.metric(metric))
    }

    /// The normalised Wasserstein distance to `reference`, over the seeds.
    #[must_use]
    pub fn distance(&self, reference: &Distribution) -> Spread {
        self.spread(|run| run.distribution.normalised_wasserstein(reference))
    }

    /// The number of humps in the bins of `reference`, over the seeds.
    #[must_use]
    pub fn modes_in(&self, reference: &Bins) -> Spread {
        self.spread(|run| reference.with(&run.latencies_us).modes_ms().len() as f64)
    }

    /// From the 10th to the 90th percentile in the bins of `reference`, over the seeds: what is narrower than a bar
    /// can't be read off a figure, so it may not be read off ours.
    #[must_use]
    pub fn width_in(&self, reference: &Bins) -> Spread {
        self.spread(|run| reference.with(&run.latencies_us).spread_ms())
    }

    fn spread(&self, number: impl Fn(&MeasuredRun) -> f64) -> Spread {
        Spread::of(self.runs.iter().map(number).collect()).expect("an experiment without runs is not kept")
    }

    /// The latencies of all seeds together, in ascending order.
    #[must_use]
    pub fn pooled_us(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.runs.iter().flat_map(|run| run.latencies_us.iter().copied()).collect();
        all.sort_unstable();
        all
    }
}

/// Of the fast tasks, how many are among the first or last tenth to be started; 0 without fast tasks.
fn fast_at_the_edges_percent(tasks: &[TaskRecord]) -> f64 {
    let mut started: Vec<(u64, bool)> = tasks
        .iter()
        .filter_map(|task| Some((task.started_us?, task.try_us.is_some_and(|latency| latency < FAST_US))))
        .collect();
    started.sort_unstable();
    let edge = started.len() / EDGE;
    let (mut fast, mut at_the_edges) = (0_u32, 0_u32);
    for (place, (_, is_fast)) in started.iter().enumerate() {
        let is_at_the_edge = place < edge || place >= started.len() - edge;
        fast += u32::from(*is_fast);
        at_the_edges += u32::from(*is_fast && is_at_the_edge);
    }
    if fast == 0 { 0.0 } else { 100.0 * f64::from(at_the_edges) / f64::from(fast) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_over_seeds_is_one_that_was_measured() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(Spread::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap(), Spread { median: 2.0, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn fast_tasks_at_the_edges_are_told_from_those_in_the_middle() {
        let task = |index: u32, fast: bool| TaskRecord {
            index,
            started_us: Some(u64::from(index)),
            try_us: Some(if fast { 5_000 } else { 50_000 }),
            ..TaskRecord::default()
        };
        let tasks = |fast: &[u32]| (0..100).map(|index| task(index, fast.contains(&index))).collect::<Vec<_>>();
        assert_eq!(fast_at_the_edges_percent(&tasks(&[0, 9, 90, 99])), 100.0);
        assert_eq!(fast_at_the_edges_percent(&tasks(&[0, 10, 50, 89])), 25.0);
        assert_eq!(fast_at_the_edges_percent(&tasks(&[])), 0.0);
    }
}
