//! Searches for the edge between what keeps a promise and what doesn't.

use super::{Promise, Trial};
use crate::{
    run::batch,
    simulate::Simulate,
    spec::{Spec, SpecError, range},
};
use anyhow::{Context, bail};
use std::collections::BTreeMap;

/// A rate is searched until what holds and what doesn't are no more than one part in so many apart.
const RATE_PARTS: u32 = 50;
/// The path of what a rate is made of.
const TASKS: &str = "workload.tasks";

/// Runs a spec with other values of some keys, and remembers each run.
pub struct Search<'a> {
    /// The paths of what is varied.
    pub keys: Vec<String>,
    /// What is to be kept.
    pub promise: Promise,
    /// The spec with such values.
    pub load: &'a dyn Fn(&[u32]) -> Result<Spec, SpecError>,
    /// What runs it.
    pub simulate: Simulate,
    /// Whether no progress is shown.
    pub quiet: bool,
    /// All runs so far, by their values.
    pub tried: BTreeMap<Vec<u32>, Trial>,
}

/// What a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What keeps the promise.
    pub holds: Vec<u32>,
    /// Its neighbours, which don't.
    pub neighbours: Vec<Vec<u32>>,
}

impl Search<'_> {
    /// Makes sure that all `points` were tried; as many at a time as there are cores.
    fn try_all(&mut self, points: Vec<Vec<u32>>) -> anyhow::Result<()> {
        let mut new: Vec<Vec<u32>> = points.into_iter().filter(|point| !self.tried.contains_key(point)).collect();
        new.dedup();
        let (mut points, mut specs) = (Vec::new(), Vec::new());
        for point in new {
            match (self.load)(&point) {
                Ok(spec) => {
                    points.push(point);
                    specs.push(spec);
                }
                // What is no spec at the very first is none at all; later it is only beyond what there can be.
                Err(error) if self.tried.is_empty() && specs.is_empty() => return Err(error.into()),
                Err(error) => drop(self.tried.insert(point.clone(), Trial::refused(point, &error))),
            }
        }
        let runs = batch::run_all(&specs, self.simulate, self.quiet);
        for ((point, spec), run) in points.into_iter().zip(&specs).zip(runs) {
            let what = self.named(&point);
            let trial = Trial::of(spec, point.clone(), &[self.promise.quantity], run);
            let mut trial = trial.with_context(|| format!("the run with {what}"))?;
            trial.judge(self.promise);
            self.tried.insert(point, trial);
        }
        Ok(())
    }

    fn holds(&self, point: &[u32]) -> bool {
        self.tried.get(point).is_some_and(Trial::holds)
    }

    /// `replicas.routers = 2, …`.
    #[must_use]
    pub fn named(&self, point: &[u32]) -> String {
        let named = self.keys.iter().zip(point).map(|(key, value)| format!("{key} = {value}"));
        named.collect::<Vec<_>>().join(", ")
    }

    /// The smallest values that keep the promise, of which none can be lowered alone, and the neighbours of that.
    /// `most`: up to where it is searched.
    ///
    /// # Errors
    /// When a run fails, or when not even `most` of everything keeps the promise: then the message says what was full.
    pub fn smallest(&mut self, most: u32) -> anyhow::Result<Found> {
        let least: Vec<u32> = self.keys.iter().map(|key| range(key).map_or(1, |(min, _)| min.max(1))).collect();
        let mut point = self.grow(&least, most)?;
        loop {
            for (place, least) in least.iter().enumerate() {
                self.lower(&mut point, place, *least)?;
            }
            let neighbours: Vec<Vec<u32>> = (0..point.len())
                .filter(|place| point[*place] > least[*place])
                .map(|place| {
                    let mut neighbour = point.clone();
                    neighbour[place] -= 1;
                    neighbour
                })
                .collect();
            self.try_all(neighbours.clone())?;
            match neighbours.iter().find(|neighbour| self.holds(neighbour)) {
                // More did hurt somewhere.
                Some(smaller) => point.clone_from(smaller),
                None => return Ok(Found { holds: point, neighbours }),
            }
        }
    }

    /// Doubles all values together until they hold.
    fn grow(&mut self, least: &[u32], most: u32) -> anyhow::Result<Vec<u32>> {
        let scaled = |factor: u32| least.iter().map(|value| value.saturating_mul(factor).min(most)).collect::<Vec<_>>();
        let mut factor = 1;
        loop {
            let pair = [scaled(factor), scaled(factor.saturating_mul(2))];
            self.try_all(pair.to_vec())?;
            if let Some(point) = pair.iter().find(|point| self.holds(point)) {
                return Ok(point.clone());
            }
            let last = &pair[1];
            if last.iter().all(|value| *value >= most) {
                let trial = &self.tried[last];
                let full =
                    trial.fullest.as_ref().map(|full| format!("; fullest was {} at {} %", full.of, full.percent));
                bail!(
                    "with {} it does not hold: {}{}; what else is to grow belongs into --vary, --most is the limit",
                    self.named(last),
                    trial.flaws.join(", "),
                    full.unwrap_or_default()
                );
            }
            factor = factor.saturating_mul(4);
        }
    }

    /// Lowers one value as far as it goes, two runs at a time.
    fn lower(&mut self, point: &mut [u32], place: usize, least: u32) -> anyhow::Result<()> {
        let (mut low, mut high) = (least - 1, point[place]);
        while high - low > 1 {
            let values = thirds(low, high);
            let points: Vec<Vec<u32>> = values
                .iter()
                .map(|value| {
                    let mut at = point.to_vec();
                    at[place] = *value;
                    at
                })
                .collect();
            self.try_all(points.clone())?;
            let first = values.iter().zip(&points).find(|(_, at)| self.holds(at)).map(|(value, _)| *value);
            low = values.into_iter().filter(|value| first.is_none_or(|first| *value < first)).max().unwrap_or(low);
            high = first.unwrap_or(high);
        }
        point[place] = high;
        Ok(())
    }

    /// The most tasks, in the time in which the spec has them come, that it can do and keep the promise; to one part in
    /// 50. `tasks`: how many it has.
    ///
    /// # Errors
    /// When a run fails, or when nothing holds, or everything.
    pub fn highest(&mut self, tasks: u32) -> anyhow::Result<Found> {
        let (_, most) = range(TASKS).expect("it has a range");
        let (mut low, mut high) = (0, tasks);
        self.try_all(vec![vec![high]])?;
        while self.holds(&[high]) {
            low = high;
            if high == most {
                bail!("it holds with {most} tasks, too, and no spec may have more; give it less time to do them");
            }
            high = high.saturating_mul(2).min(most);
            self.try_all(vec![vec![high]])?;
        }
        while high - low > (low / RATE_PARTS).max(1) {
            let values = thirds(low, high);
            self.try_all(values.iter().map(|value| vec![*value]).collect())?;
            let first = values.iter().find(|value| !self.holds(&[**value])).copied();
            low = values.into_iter().filter(|value| first.is_none_or(|first| *value < first)).max().unwrap_or(low);
            high = first.unwrap_or(high);
        }
        if low == 0 {
            bail!("not even one task keeps the promise: {}", self.tried[&vec![high]].flaws.join(", "));
        }
        Ok(Found { holds: vec![low], neighbours: vec![vec![high]] })
    }
}

/// Two numbers between `low` and `high` that part them evenly; one if there is only one.
fn thirds(low: u32, high: u32) -> Vec<u32> {
    let span = high - low;
    if span == 2 { vec![low + 1] } else { vec![low + span / 3, low + span * 2 / 3] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Outcome, TaskEnd, TaskRecord};

    /// A stand-in that keeps the promise of 100 ms with two routers and five workers, and up to 700 tasks.
    fn simulate(
        spec: &Spec,
        _: &std::sync::Arc<crate::progress::Progress>,
        _: Option<Box<dyn std::io::Write + Send>>,
    ) -> anyhow::Result<Outcome> {
        let enough = spec.replicas.routers >= 2 && spec.replicas.task_workers >= 5 && spec.workload.tasks <= 700;
        let finished_us = if enough { 50_000 } else { 500_000 };
        let task =
            |index| TaskRecord { index, finished_us: Some(finished_us), end: TaskEnd::Done, ..TaskRecord::default() };
        Ok(Outcome { tasks: (0..spec.workload.tasks).map(task).collect(), ..Outcome::default() })
    }

    fn search<'a>(keys: &[&str], load: &'a dyn Fn(&[u32]) -> Result<Spec, SpecError>) -> Search<'a> {
        Search {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            promise: "end_to_end.p99=100ms".parse().unwrap(),
            load,
            simulate,
            quiet: true,
            tried: BTreeMap::new(),
        }
    }

    fn sized(routers: u32, workers: u32, tasks: u32) -> Spec {
        let mut spec = Spec::default();
        (spec.replicas.routers, spec.replicas.task_workers, spec.workload.tasks) = (routers, workers, tasks);
        spec
    }

    #[test]
    fn the_smallest_deployment_is_one_of_which_nothing_can_be_taken_away() {
        let load = |values: &[u32]| Ok(sized(values[0], values[1], 10));
        let mut search = search(&["replicas.routers", "replicas.task_workers"], &load);
        let found = search.smallest(64).unwrap();
        assert_eq!(found, Found { holds: vec![2, 5], neighbours: vec![vec![1, 5], vec![2, 4]] });
        assert!(search.tried.len() < 16, "{} runs", search.tried.len());
        assert!(search.tried[&vec![1, 5]].flaws[0].contains("end_to_end.p99 is 500 ms"));
    }

    #[test]
    fn what_never_holds_is_said_with_what_was_tried() {
        let load = |values: &[u32]| Ok(sized(values[0], 1, 10));
        let error = search(&["replicas.routers"], &load).smallest(8).unwrap_err().to_string();
        assert!(error.starts_with("with replicas.routers = 8 it does not hold: end_to_end.p99 is 500 ms"), "{error}");
    }

    #[test]
    fn the_highest_rate_is_found_from_below_and_from_above() {
        let load = |values: &[u32]| Ok(sized(2, 5, values[0]));
        for start in [10, 700, 5_000] {
            let found = search(&[TASKS], &load).highest(start).unwrap();
            let (low, high) = (found.holds[0], found.neighbours[0][0]);
            assert!(low <= 700 && high > 700 && high - low <= 14, "from {start}: {low} to {high}");
        }
    }
}
