//! What a latency is: the one place where each is defined. Table, summary, rows, gate and pictures take names, meanings
//! and numbers from here.

use super::{Outcome, Statistics, TaskEnd, TaskRecord};
use serde::{Deserialize, Serialize};

/// A latency of tasks that were done, or of their requests.
///
/// For each task [`EndToEnd`](Self::EndToEnd) is the sum of [`Waiting`](Self::Waiting), of what retries added, of
/// [`DecidingTry`](Self::DecidingTry), and of its result's way to the producer, if results are published. Tasks that
/// were given up count in none of them: their time says how patient the system is, not how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Latency {
    /// From the moment at which the producer had a task to publish to that at which it learnt that it was done, or at
    /// which it was, if producers learn nothing (`backbone.results.publish`).
    EndToEnd,
    /// From there to the moment at which a worker took it for the first time.
    Waiting,
    /// The try that ended it: from the moment at which a worker took it for the last time to its being done. What the
    /// thesis' figures show.
    DecidingTry,
    /// Of that try the calls alone, from the first request sent to the last reply received: without the begin and end
    /// of a reply queue.
    Calls,
    /// Of a request: from a forward router taking it to a backward router having handed over its reply; or within an
    /// HTTP router. Requests of tasks that were not done count, too, if they were answered.
    RouterToRouter,
}

impl Latency {
    /// All of them, from the outermost to the innermost.
    pub const ALL: [Self; 5] = [Self::EndToEnd, Self::Waiting, Self::DecidingTry, Self::Calls, Self::RouterToRouter];

    /// What people read.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EndToEnd => "end to end",
            Self::Waiting => "waiting for a worker",
            Self::DecidingTry => "the try that ended it",
            Self::Calls => "its calls",
            Self::RouterToRouter => "router to router",
        }
    }

    /// What programs read: the key in `summary.json`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::EndToEnd => "end_to_end",
            Self::Waiting => "waiting",
            Self::DecidingTry => "deciding_try",
            Self::Calls => "calls",
            Self::RouterToRouter => "router_to_router",
        }
    }
}

/// The latencies of a run, each `null` without samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latencies {
    /// See [`Latency::EndToEnd`].
    pub end_to_end: Option<Statistics>,
    /// See [`Latency::Waiting`].
    pub waiting: Option<Statistics>,
    /// See [`Latency::DecidingTry`].
    pub deciding_try: Option<Statistics>,
    /// See [`Latency::Calls`].
    pub calls: Option<Statistics>,
    /// See [`Latency::RouterToRouter`].
    pub router_to_router: Option<Statistics>,
    /// What retries added to tasks that needed some, over these alone: from the begin of the first try to that of the
    /// last one.
    pub retries: Option<Statistics>,
    /// How long it took, from when the producer had it, until a task was given up. Over those that were.
    pub given_up: Option<Statistics>,
}

impl Latencies {
    /// Of a run.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let of = |what| Statistics::of(&samples_us(outcome, what));
        let retried = done(outcome).filter(|task| task.attempts > 1).filter_map(TaskRecord::retries_us);
        let given_up = outcome.measured().filter(|task| matches!(task.end, TaskEnd::DeadLettered(_)));
        Self {
            end_to_end: of(Latency::EndToEnd),
            waiting: of(Latency::Waiting),
            deciding_try: of(Latency::DecidingTry),
            calls: of(Latency::Calls),
            router_to_router: of(Latency::RouterToRouter),
            retries: Statistics::of(&sorted(retried)),
            given_up: Statistics::of(&sorted(given_up.filter_map(TaskRecord::end_to_end_us))),
        }
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, latency: Latency) -> Option<Statistics> {
        match latency {
            Latency::EndToEnd => self.end_to_end,
            Latency::Waiting => self.waiting,
            Latency::DecidingTry => self.deciding_try,
            Latency::Calls => self.calls,
            Latency::RouterToRouter => self.router_to_router,
        }
    }
}

/// Every sample of a latency, in microseconds and in ascending order.
#[must_use]
pub fn samples_us(outcome: &Outcome, latency: Latency) -> Vec<u64> {
    let tasks = |of: fn(&TaskRecord) -> Option<u64>| sorted(done(outcome).filter_map(of));
    match latency {
        Latency::EndToEnd => tasks(TaskRecord::end_to_end_us),
        Latency::Waiting => tasks(TaskRecord::waiting_us),
        Latency::DecidingTry => tasks(|task| task.try_us),
        Latency::Calls => tasks(|task| task.calls_us),
        Latency::RouterToRouter => sorted(outcome.rpc_latencies_us.iter().copied().map(u64::from)),
    }
}

/// The last try of every task that has an end, done or given up, in microseconds and in ascending order. So the thesis
/// counts: a task that timed out is in its figures with the time that it was waited for.
#[must_use]
pub fn last_tries_us(outcome: &Outcome) -> Vec<u64> {
    sorted(outcome.tasks.iter().filter_map(|task| task.try_us))
}

fn done(outcome: &Outcome) -> impl Iterator<Item = &TaskRecord> {
    outcome.measured().filter(|task| task.end == TaskEnd::Done)
}

fn sorted(latencies: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut latencies: Vec<u64> = latencies.collect();
    latencies.sort_unstable();
    latencies
}

#[cfg(test)]
mod tests {
    use super::*;
    use backbone::telemetry::FailReason;

    /// Published at 1 ms, taken at 3 ms, and for the last time `retries_us` later.
    fn task(index: u32, retries_us: u64, try_us: u64, end: TaskEnd) -> TaskRecord {
        TaskRecord {
            index,
            published_us: 1_000,
            offered_us: 1_000,
            dispatched_us: 1_500,
            started_us: Some(3_000),
            last_try_us: Some(3_000 + retries_us),
            finished_us: Some(3_000 + retries_us + try_us),
            try_us: Some(try_us),
            calls_us: Some(try_us / 2),
            end,
            attempts: 1 + u32::from(retries_us > 0),
            timeouts: 0,
        }
    }

    fn outcome(tasks: Vec<TaskRecord>) -> Outcome {
        Outcome { tasks, rpc_latencies_us: vec![700, 500], ..Outcome::default() }
    }

    #[test]
    fn end_to_end_is_waiting_and_retries_and_the_deciding_try() {
        let task = task(0, 5_000_000, 40_000, TaskEnd::Done);
        let parts = [task.waiting_us(), task.retries_us(), task.try_us].map(Option::unwrap);
        assert_eq!(parts, [2_000, 5_000_000, 40_000]);
        assert_eq!(task.end_to_end_us(), Some(parts.iter().sum()));
    }

    #[test]
    fn a_task_that_was_given_up_is_in_no_latency_of_those_that_were_done() {
        let given_up = task(1, 9_000_000, 1_000, TaskEnd::DeadLettered(FailReason::Timeout));
        let latencies = Latencies::of(&outcome(vec![task(0, 0, 40_000, TaskEnd::Done), given_up]));
        for latency in [Latency::EndToEnd, Latency::Waiting, Latency::DecidingTry, Latency::Calls] {
            assert_eq!(latencies.get(latency).unwrap().count, 1, "{}", latency.name());
        }
        assert_eq!(latencies.deciding_try.unwrap().max, 40.0);
        assert_eq!((latencies.retries, latencies.given_up.unwrap().max), (None, 9_003.0));
    }

    #[test]
    fn what_comes_in_the_warm_up_is_in_no_latency() {
        let mut outcome = outcome(vec![task(0, 0, 90_000, TaskEnd::Done), task(1, 0, 40_000, TaskEnd::Done)]);
        outcome.warm_up_tasks = 1;
        let latencies = Latencies::of(&outcome);
        assert_eq!((latencies.deciding_try.unwrap().count, latencies.end_to_end.unwrap().max), (1, 42.0));
    }

    #[test]
    fn what_retries_added_is_told_of_the_tasks_that_needed_some() {
        let tasks = vec![task(0, 0, 40_000, TaskEnd::Done), task(1, 7_000_000, 40_000, TaskEnd::Done)];
        let retries = Latencies::of(&outcome(tasks)).retries.unwrap();
        assert_eq!((retries.count, retries.mean), (1, 7_000.0));
    }

    #[test]
    fn the_thesis_counts_every_task_that_ended() {
        let given_up = task(1, 0, 60_000_000, TaskEnd::DeadLettered(FailReason::Timeout));
        let outcome = outcome(vec![given_up, task(0, 0, 40_000, TaskEnd::Done)]);
        assert_eq!(last_tries_us(&outcome), [40_000, 60_000_000]);
    }

    #[test]
    fn each_latency_has_a_name_and_a_key_of_its_own_and_the_keys_are_those_of_the_summary() {
        let json = serde_json::to_value(Latencies::default()).unwrap();
        for (place, latency) in Latency::ALL.into_iter().enumerate() {
            assert!(json.get(latency.key()).is_some(), "{}", latency.key());
            assert!(Latency::ALL[..place].iter().all(|other| other.name() != latency.name()));
        }
    }
}
