//! `explain --what-if`: how latencies would be if a cause took less time, or none.
//!
//! To take a cause's time away from each task would be wrong where tasks wait for each other: who is served sooner
//! makes room sooner, and what was no bottleneck becomes one. So the run is played again (`replay`) from what is known
//! of each task (`plan`, `rooms`), with shorter parts. What waits for a worker, for RabbitMQ's metadata store, for a
//! gateway that takes one command at a time, or for a backward router that hands over one reply at a time, queues
//! anew. All else takes its time as it did, times its factor: also a wait for a CPU or its quota, and a stall of
//! Nagle's algorithm, though their lengths depend on the load. So the run as it was is played again, too, and how far
//! that is off tells how far an estimate can be trusted. `remedy` says which change of a spec takes a cause away, so
//! that a run can tell how near the estimate is.

mod plan;
mod remedy;
mod replay;
mod report;
mod rooms;

pub use remedy::{Remedied, Unrunnable, causes_that_can_be_run, remedied};
pub use report::{Ran, WhatIf};

use crate::{
    attribution::{Attribution, Cause},
    measure::{Statistics, TaskEnd},
    spec::Spec,
};
use plan::Plan;
use std::{fmt, str::FromStr};

/// How like a cause a word has to be for being meant.
const LIKENESS_MIN: f64 = 0.75;

/// That a cause takes another share of its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assumption {
    /// The cause. Nagle's algorithm stands for both of its causes, since one remedy takes both away.
    pub cause: Cause,
    /// From 0, no time, to 1, as much as it did. Of a queue: the share of the load that is left for each who serves it,
    /// so 0.5 stands for twice as many of them.
    pub factor: f64,
}

impl FromStr for Assumption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, factor) = text.split_once('=').ok_or("expected CAUSE=FACTOR, as in nagle=0")?;
        let Some(cause) = Cause::with_key(key) else {
            let likeness = |cause: &Cause| strsim::jaro_winkler(key, cause.key());
            let nearest = Cause::all().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            let nearest = nearest.filter(|cause| likeness(cause) >= LIKENESS_MIN);
            let hint = nearest.map_or(String::new(), |cause| format!("; did you mean `{}`?", cause.key()));
            let keys: Vec<&str> = Cause::PLAIN.iter().map(|cause| cause.key()).collect();
            return Err(format!("`{key}` is no cause{hint}; there are {}, and fault_KIND", keys.join(", ")));
        };
        match factor.parse() {
            Ok(factor) if (0.0..=1.0).contains(&factor) => Ok(Self { cause, factor }),
            _ => Err(format!("`{factor}` is no factor; expected 0 (takes no time) to 1 (as much as it did)")),
        }
    }
}

impl fmt::Display for Assumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.cause.key(), self.factor)
    }
}

/// Several of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assumptions(pub Vec<Assumption>);

impl Assumptions {
    /// What share of its time a cause takes; the last word on it counts.
    fn factor(&self, cause: Cause) -> f64 {
        let of = |cause: Cause| self.0.iter().rev().find(|one| one.cause == cause).map(|one| one.factor);
        let of_both = (cause == Cause::DelayedAck).then(|| of(Cause::Nagle)).flatten();
        of(cause).or(of_both).unwrap_or(1.0)
    }
}

impl fmt::Display for Assumptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(Assumption::to_string).collect();
        f.write_str(&all.join(" "))
    }
}

/// Latencies of a run's measured tasks that were done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latencies {
    /// From being published to the end.
    pub end_to_end: Statistics,
    /// The try that ended them.
    pub deciding_try: Statistics,
}

impl Latencies {
    fn of(mut end_to_end_us: Vec<u64>, mut try_us: Vec<u64>) -> Option<Self> {
        end_to_end_us.sort_unstable();
        try_us.sort_unstable();
        Some(Self { end_to_end: Statistics::of(&end_to_end_us)?, deciding_try: Statistics::of(&try_us)? })
    }

    /// As they were; `None` if no task was done.
    #[must_use]
    pub fn measured(attribution: &Attribution, warm_up_tasks: usize) -> Option<Self> {
        let records = || {
            let all = attribution.tasks.iter().map(|task| &task.record);
            all.filter(move |task| task.end == TaskEnd::Done && task.index as usize >= warm_up_tasks)
        };
        let tries_us = records().filter_map(|task| task.try_us).collect();
        Self::of(records().filter_map(|task| task.end_to_end_us()).collect(), tries_us)
    }
}

/// How latencies would be, estimated from a run whose requests were kept
/// ([`Details::FOR_REPLAY`](crate::attribution::Details::FOR_REPLAY)); `None` if no task was done.
#[must_use]
pub fn estimate(
    spec: &Spec,
    attribution: &Attribution,
    warm_up_tasks: usize,
    assumptions: &Assumptions,
) -> Option<Latencies> {
    let plan = Plan::of(spec, attribution, assumptions);
    let (mut whole_us, mut try_us) = (Vec::new(), Vec::new());
    for (task, times) in attribution.tasks.iter().zip(replay::replay(&plan)) {
        if task.record.end == TaskEnd::Done && task.record.index as usize >= warm_up_tasks {
            whole_us.push(times.ended_ns.saturating_sub(task.record.published_us * plan::NS_PER_US) / plan::NS_PER_US);
            try_us.push((times.try_ended_ns - times.started_ns) / plan::NS_PER_US);
        }
    }
    Latencies::of(whole_us, try_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assumption_names_a_cause_and_a_share_of_its_time() {
        let parsed: Assumption = "gateway_queue=0.5".parse().unwrap();
        assert_eq!(parsed, Assumption { cause: Cause::GatewayQueue, factor: 0.5 });
        for (wrong, told) in [
            ("nagle", "CAUSE=FACTOR"),
            ("nagel=0", "did you mean `nagle`?"),
            ("nagle=2", "0 (takes no time)"),
            ("nagle=-1", "0 (takes no time)"),
            ("nagle=NaN", "0 (takes no time)"),
        ] {
            let error = wrong.parse::<Assumption>().unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn nagles_algorithm_goes_with_the_delayed_acknowledgements_that_it_waits_for() {
        let both = Assumptions(vec!["nagle=0".parse().unwrap()]);
        assert_eq!([Cause::Nagle, Cause::DelayedAck, Cause::Link].map(|cause| both.factor(cause)), [0.0, 0.0, 1.0]);
        let one = Assumptions(vec!["delayed_ack=0".parse().unwrap()]);
        assert_eq!([Cause::Nagle, Cause::DelayedAck].map(|cause| one.factor(cause)), [1.0, 0.0]);
    }
}
