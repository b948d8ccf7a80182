//! How the work came, and whether the run kept up with it: what has to be known before its latencies mean anything.

use super::{Outcome, Series, TaskRecord, Utilisation, ms, per_second};
use crate::spec::Spec;
use serde::{Deserialize, Serialize};

/// A task that the dispatcher takes later than this is late, in microseconds. Less is how exact timers are.
const LATE_US: u64 = 10_000;
/// In the middle of the measured time and at its end it is looked how much is in flight, over so much of it: a tenth.
const LOOK_PART: u64 = 10;
/// A backlog has grown if so many parts of a thousand of the tasks that came between the two looks are in flight on top
/// of what was, ...
const GROWTH_PER_MILLE: f64 = 10.0;
/// ... and more than these: what is in flight goes up and down.
const GROWTH_TASKS: f64 = 10.0;

/// How the work of a run came that is not all there at the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Tasks that came before the measured time.
    pub warm_up_tasks: u64,
    /// Tasks a second in the measured time.
    pub mean_per_s: f64,
    /// Most tasks in any second of it.
    pub peak_per_s: u64,
    /// Measured tasks that the dispatcher took more than 10 ms after their moment.
    pub late_tasks: u64,
    /// How much later than its moment the dispatcher took a measured task at most.
    pub late_ms_max: f64,
    /// Tasks in flight around the middle of the measured time, at the mean; with `steps`, of the last one.
    pub in_flight_middle: f64,
    /// The same at its end.
    pub in_flight_end: f64,
    /// Whether the run kept up: what was in flight did not grow to the end. If it did, latencies would be larger the
    /// longer the run had gone on.
    pub settled: bool,
    /// Seconds of the measured time, in which tasks were done, whose p99 was above `slo.end_to_end_p99_ms`. Left out
    /// without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_above_slo: Option<u64>,
    /// How much of their CPU time pods used, the fullest first. Left out where nothing costs any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub utilisation: Vec<Utilisation>,
}

impl Load {
    /// Of a run of `spec`; `None` if all its tasks come at once, or none has.
    #[must_use]
    pub fn of(spec: &Spec, outcome: &Outcome) -> Option<Self> {
        if !spec.workload.is_paced() {
            return None;
        }
        let measured = || outcome.measured();
        let first_us = measured().map(|task| task.published_us).min()?;
        let last_us = measured().map(|task| task.published_us).max()?;
        let span_us = last_us - first_us;
        let tasks = measured().count() as u64;
        // Where rates go up in steps, more is in flight with each: so it is looked within the last one.
        let steps = spec.workload.steps.len().max(1) as u64;
        let looked_us = first_us + span_us / steps * (steps - 1);
        let look_us = ((last_us - looked_us) / LOOK_PART).max(1);
        let middle_us = looked_us + (last_us - looked_us) / 2;
        let in_flight_middle = in_flight(outcome, middle_us - look_us / 2, look_us);
        let in_flight_end = in_flight(outcome, last_us.saturating_sub(look_us), look_us);
        let came = measured().filter(|task| task.published_us >= middle_us).count() as f64;
        let grown = in_flight_end - in_flight_middle;
        let has_grown = grown > GROWTH_TASKS.max(came * GROWTH_PER_MILLE / 1_000.0);
        let late = || measured().map(|task| task.offered_us - task.published_us);
        let of_measured = Outcome { tasks: measured().cloned().collect(), ..Outcome::default() };
        let rows = Series::of(&of_measured, 1).rows;
        let slo_ms = f64::from(spec.slo.end_to_end_p99_ms);
        let above = rows.iter().filter(|row| row.p99_ms.is_some_and(|p99| p99 > slo_ms));
        Some(Self {
            warm_up_tasks: outcome.warm_up_tasks as u64,
            mean_per_s: per_second(tasks, span_us),
            peak_per_s: rows.iter().map(|row| row.arrivals).max().unwrap_or(0),
            late_tasks: late().filter(|us| *us > LATE_US).count() as u64,
            late_ms_max: late().max().map_or(0.0, ms),
            in_flight_middle: rounded(in_flight_middle),
            in_flight_end: rounded(in_flight_end),
            settled: !has_grown,
            utilisation: Utilisation::of(spec, outcome),
            seconds_above_slo: (spec.slo.end_to_end_p99_ms > 0).then(|| above.count() as u64),
        })
    }
}

fn rounded(count: f64) -> f64 {
    (count * 100.0).round() / 100.0
}

/// How many tasks were in flight from `from_us` on, for `look_us`, at the mean.
fn in_flight(outcome: &Outcome, from_us: u64, look_us: u64) -> f64 {
    let to_us = from_us + look_us;
    let within = |task: &TaskRecord| {
        let end_us = task.finished_us.unwrap_or(u64::MAX).min(to_us);
        end_us.saturating_sub(task.published_us.max(from_us))
    };
    let all: u64 = outcome.tasks.iter().map(within).sum();
    all as f64 / look_us as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::TaskEnd, spec::Arrivals};

    /// Tasks that come every 10 ms for 100 s, each of which is done so much later.
    fn load(latency_us: impl Fn(u64) -> u64) -> Load {
        let mut spec = Spec::default();
        (spec.workload.arrivals, spec.slo.end_to_end_p99_ms) = (Arrivals::Constant, 50);
        let tasks = (0..10_000).map(|index| {
            let published_us = 1_000_000 + index * 10_000;
            TaskRecord {
                index: index as u32,
                published_us,
                offered_us: published_us + if index == 77 { 30_000 } else { 400 },
                finished_us: Some(published_us + latency_us(index)),
                end: TaskEnd::Done,
                ..TaskRecord::default()
            }
        });
        Load::of(&spec, &Outcome { tasks: tasks.collect(), ..Outcome::default() }).unwrap()
    }

    #[test]
    fn a_run_that_keeps_up_has_as_much_in_flight_at_its_end_as_in_its_middle() {
        let load = load(|_| 40_000);
        assert!(load.settled, "{load:?}");
        // Little's law: 100 a second, 40 ms each.
        assert_eq!((load.in_flight_middle, load.in_flight_end), (4.0, 4.0));
        assert_eq!((load.mean_per_s, load.peak_per_s, load.seconds_above_slo), (100.01, 100, Some(0)));
    }

    #[test]
    fn a_run_whose_backlog_grows_to_its_end_has_not_settled() {
        // Three in a hundred more come than are done.
        let load = load(|index| 40_000 + index * 300);
        assert!(!load.settled, "{load:?}");
        assert!(load.seconds_above_slo.unwrap() > 90, "{load:?}");
    }

    /// Tasks that come and end at such moments.
    fn outcome(count: u64, published_us: impl Fn(u64) -> u64, finished_us: impl Fn(u64) -> u64) -> Outcome {
        let task = |index| TaskRecord {
            index: index as u32,
            published_us: published_us(index),
            offered_us: published_us(index),
            finished_us: Some(finished_us(index)),
            end: TaskEnd::Done,
            ..TaskRecord::default()
        };
        Outcome { tasks: (0..count).map(task).collect(), ..Outcome::default() }
    }

    #[test]
    fn a_backlog_that_was_there_before_the_measured_time_does_not_hide_its_growth() {
        let mut spec = Spec::default();
        spec.workload.arrivals = Arrivals::Poisson;
        // Twice as many come as are done; the first four tenths are not measured.
        let mut outcome = outcome(3_000, |index| 1_000_000 + index * 10_000, |index| 1_040_000 + index * 20_000);
        outcome.warm_up_tasks = 1_200;
        let load = Load::of(&spec, &outcome).unwrap();
        assert!(!load.settled, "{load:?}");
    }

    #[test]
    fn more_in_flight_because_more_comes_is_no_backlog() {
        let mut spec = Spec::default();
        (spec.workload.arrivals, spec.workload.steps) = (Arrivals::Steps, vec![1, 9]);
        // 10 s with 10 a second, then 10 s with 90; each takes 2 s.
        let published_us = |index| match index {
            0..100 => 1_000_000 + index * 100_000,
            _ => 11_000_000 + (index - 100) * 11_111,
        };
        let outcome = outcome(1_000, published_us, |index| published_us(index) + 2_000_000);
        let load = Load::of(&spec, &outcome).unwrap();
        assert!(load.settled && load.in_flight_end > 170.0, "{load:?}");
    }

    #[test]
    fn a_dispatcher_that_falls_behind_is_counted() {
        let load = load(|_| 40_000);
        assert_eq!((load.late_tasks, load.late_ms_max), (1, 30.0));
    }

    #[test]
    fn work_that_is_there_at_once_has_no_rate() {
        assert_eq!(Load::of(&Spec::default(), &Outcome::default()), None);
    }
}
