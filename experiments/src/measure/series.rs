//! A run over time: what came, what was done, what waited, and what that cost, step by step.
//!
//! What tasks went through is in their records; what brokers and pods show of themselves is looked at once a second.

use super::{Outcome, TaskEnd, TaskRecord, ms, statistics::percentile};
use crate::spec::Target;

/// Of what series are made.
pub const SECOND_US: u64 = 1_000_000;

/// What brokers and pods show at one moment. What can't be seen (in a live run) is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// In microseconds from the start of the world.
    pub at_us: u64,
    /// Tasks that wait for a worker.
    pub waiting: u64,
    /// Tasks that workers have in hand.
    pub in_work: Option<u64>,
    /// Tasks that wait for their next try.
    pub retrying: u64,
    /// Requests that wait for a forward router, or that one has in hand; 0 over HTTP, where there is no such queue.
    pub requests: u64,
    /// Tasks that were given up.
    pub dead_letters: u64,
    /// Messages that the MQTT broker has queued for its clients, or on their way to them.
    pub mqtt_queued: Option<u64>,
    /// CPU time since the sample before.
    pub cpu: Option<CpuUsed>,
}

/// CPU time that pods have taken on, in microseconds, those of a kind together. 0 where nothing costs any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuUsed {
    /// RabbitMQ.
    pub amqp_us: u64,
    /// The MQTT broker.
    pub mqtt_us: u64,
    /// Redis.
    pub redis_us: u64,
    /// Gateways.
    pub gateways_us: u64,
    /// Routers.
    pub routers_us: u64,
    /// Task workers.
    pub task_workers_us: u64,
}

impl std::ops::AddAssign for CpuUsed {
    fn add_assign(&mut self, other: Self) {
        self.amqp_us += other.amqp_us;
        self.mqtt_us += other.mqtt_us;
        self.redis_us += other.redis_us;
        self.gateways_us += other.gateways_us;
        self.routers_us += other.routers_us;
        self.task_workers_us += other.task_workers_us;
    }
}

/// One step of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    /// When it begins, in seconds from the start of the world.
    pub at_s: u64,
    /// Tasks that came.
    pub arrivals: u64,
    /// Tasks that the dispatcher took.
    pub offered: u64,
    /// Tasks that were done.
    pub done: u64,
    /// Tasks that were given up.
    pub given_up: u64,
    /// Tasks that had come by its end and had not ended.
    pub in_flight: u64,
    /// The same over the whole step, at the mean.
    pub in_flight_mean: f64,
    /// The median, end to end, of the tasks that were done in it, in ms.
    pub p50_ms: Option<f64>,
    /// The 99th percentile of the same, in ms.
    pub p99_ms: Option<f64>,
    /// The last sample within it or at its end, with the CPU time of the whole step.
    pub sample: Option<Sample>,
    /// Router replicas at its end; `None` where they are not scaled.
    pub routers: Option<Replicas>,
    /// Task workers at its end; `None` where they are not scaled.
    pub task_workers: Option<Replicas>,
}

/// How many replicas there are of what is scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replicas {
    /// As many as the autoscaler wants.
    pub wanted: u32,
    /// As many as can work.
    pub ready: u32,
}

/// A run, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Length of a step, in seconds.
    pub step_s: u64,
    /// One a step, none left out, from the one in which the first task came.
    pub rows: Vec<Row>,
}

impl Series {
    /// Of a run, in steps of `step_s` seconds. Empty if no task came.
    ///
    /// # Panics
    /// If `step_s` is 0.
    #[must_use]
    pub fn of(outcome: &Outcome, step_s: u64) -> Self {
        assert!(step_s > 0, "time goes on");
        let Some(first_us) = outcome.tasks.iter().map(|task| task.published_us).min() else {
            return Self { step_s, rows: Vec::new() };
        };
        let begin_s = first_us / SECOND_US;
        let last_us =
            outcome.tasks.iter().map(end_of).chain(outcome.samples.iter().map(|sample| sample.at_us - 1)).max();
        let place = |at_us: u64| ((at_us / SECOND_US).saturating_sub(begin_s) / step_s) as usize;
        let count = place(last_us.unwrap_or(first_us)) + 1;
        let mut rows: Vec<Row> =
            (0..count as u64).map(|row| Row { at_s: begin_s + row * step_s, ..Row::default() }).collect();
        let mut latencies: Vec<Vec<u64>> = vec![Vec::new(); count];
        for task in &outcome.tasks {
            rows[place(task.published_us)].arrivals += 1;
            rows[place(task.offered_us)].offered += 1;
            let until_us = task.finished_us.unwrap_or(u64::MAX);
            for (number, row) in rows.iter_mut().enumerate().skip(place(task.published_us)) {
                let from_us = (begin_s + number as u64 * step_s) * SECOND_US;
                let to_us = from_us + step_s * SECOND_US;
                let within_us = until_us.min(to_us) - task.published_us.max(from_us);
                row.in_flight_mean += within_us as f64 / (step_s * SECOND_US) as f64;
                if until_us <= to_us {
                    break;
                }
            }
            let Some(finished_us) = task.finished_us else { continue };
            let row = &mut rows[place(finished_us)];
            match task.end {
                TaskEnd::Done => {
                    row.done += 1;
                    latencies[place(finished_us)].extend(task.end_to_end_us());
                }
                TaskEnd::DeadLettered(_) => row.given_up += 1,
                TaskEnd::Queued => {}
            }
        }
        let mut in_flight = 0;
        for (row, latencies) in rows.iter_mut().zip(&mut latencies) {
            in_flight = in_flight + row.arrivals - row.done - row.given_up;
            row.in_flight = in_flight;
            latencies.sort_unstable();
            if !latencies.is_empty() {
                (row.p50_ms, row.p99_ms) = (Some(ms(percentile(latencies, 50))), Some(ms(percentile(latencies, 99))));
            }
        }
        // A sample at the very end of a second is of that second.
        for sample in outcome.samples.iter().filter(|sample| sample.at_us > begin_s * SECOND_US) {
            let slot = &mut rows[place(sample.at_us - 1)].sample;
            let mut cpu = sample.cpu;
            if let (Some(cpu), Some(before)) = (&mut cpu, slot.and_then(|before| before.cpu)) {
                *cpu += before;
            }
            *slot = Some(Sample { cpu, ..*sample });
        }
        for row in &mut rows {
            let end_us = (row.at_s + step_s) * SECOND_US;
            row.routers = replicas(outcome, Target::Routers, end_us);
            row.task_workers = replicas(outcome, Target::TaskWorkers, end_us);
        }
        Self { step_s, rows }
    }
}

/// Those of a target just before a moment.
fn replicas(outcome: &Outcome, target: Target, before_us: u64) -> Option<Replicas> {
    let until = outcome.scaling.partition_point(|step| step.at_us < before_us);
    let last = outcome.scaling[..until].iter().rev().find(|step| step.target == target)?;
    Some(Replicas { wanted: last.wanted, ready: last.ready })
}

fn end_of(task: &TaskRecord) -> u64 {
    task.finished_us.unwrap_or(0).max(task.published_us).max(task.offered_us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::ScalingStep;

    fn task(index: u32, published_us: u64, finished_us: Option<u64>) -> TaskRecord {
        let end = if finished_us.is_some() { TaskEnd::Done } else { TaskEnd::Queued };
        TaskRecord { index, published_us, offered_us: published_us, finished_us, end, ..TaskRecord::default() }
    }

    fn outcome() -> Outcome {
        let tasks = vec![
            task(0, 1_500_000, Some(1_600_000)),
            task(1, 1_700_000, Some(3_100_000)),
            task(2, 3_000_000, Some(3_500_000)),
            task(3, 3_900_000, None),
        ];
        let sample = |at_us, amqp_us| Sample {
            at_us,
            waiting: at_us / SECOND_US,
            cpu: Some(CpuUsed { amqp_us, ..CpuUsed::default() }),
            ..Sample::default()
        };
        let samples = vec![sample(1_000_000, 50), sample(2_000_000, 7), sample(3_000_000, 5), sample(4_000_000, 1)];
        Outcome { tasks, samples, ..Outcome::default() }
    }

    #[test]
    fn each_second_says_what_came_what_was_done_and_what_is_left() {
        let rows = Series::of(&outcome(), 1).rows;
        let means: Vec<f64> = rows.iter().map(|row| row.in_flight_mean).collect();
        assert!(means.iter().zip([0.4, 1.0, 0.7]).all(|(mean, expected)| (mean - expected).abs() < 1e-9), "{means:?}");
        let counts: Vec<_> = rows.iter().map(|row| (row.at_s, row.arrivals, row.done, row.in_flight)).collect();
        assert_eq!(counts, [(1, 2, 1, 1), (2, 0, 0, 1), (3, 2, 2, 1)]);
        assert_eq!((rows[0].p50_ms, rows[1].p50_ms, rows[2].p99_ms), (Some(100.0), None, Some(1_400.0)));
    }

    #[test]
    fn a_sample_belongs_to_the_second_that_ends_with_it() {
        let rows = Series::of(&outcome(), 1).rows;
        assert_eq!(rows.iter().map(|row| row.sample.unwrap().waiting).collect::<Vec<_>>(), [2, 3, 4]);
    }

    #[test]
    fn longer_steps_have_the_sums_and_percentiles_of_all_that_is_in_them() {
        let rows = Series::of(&outcome(), 10).rows;
        let [row] = rows[..] else { panic!("{rows:?}") };
        assert_eq!((row.arrivals, row.done, row.in_flight, row.p50_ms), (4, 3, 1, Some(500.0)));
        assert_eq!(row.sample.unwrap().cpu.unwrap().amqp_us, 7 + 5 + 1);
    }

    #[test]
    fn replicas_are_those_at_the_end_of_a_step() {
        let step = |at_us, target, wanted| ScalingStep { at_us, target, wanted, ready: wanted - 1 };
        let scaling = vec![
            step(900_000, Target::TaskWorkers, 2),
            step(1_999_999, Target::TaskWorkers, 5),
            step(2_000_000, Target::Routers, 3),
        ];
        let rows = Series::of(&Outcome { scaling, ..outcome() }, 1).rows;
        let wanted = |replicas: Option<Replicas>| replicas.map(|replicas| (replicas.wanted, replicas.ready));
        assert_eq!((wanted(rows[0].task_workers), wanted(rows[0].routers)), (Some((5, 4)), None));
        assert_eq!((wanted(rows[1].task_workers), wanted(rows[1].routers)), (Some((5, 4)), Some((3, 2))));
    }

    #[test]
    fn without_tasks_there_is_nothing_to_show() {
        assert_eq!(Series::of(&Outcome::default(), 1).rows, []);
    }
}
