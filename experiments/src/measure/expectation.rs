//! Whether a run came out as its spec expects.

use super::TaskCounts;
use crate::spec::Spec;
use serde::Serialize;

/// What share of the tasks was to be done, and what share was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Expectation {
    /// Tasks done, in percent of those that there were, rounded down to hundredths.
    pub done_percent: f64,
    /// At least that share was to be done.
    pub done_percent_min: u8,
    /// At most that share was to be done.
    pub done_percent_max: u8,
    /// Whether it was so.
    pub met: bool,
}

impl Expectation {
    /// Of a run of `spec` that ended with these counts.
    #[must_use]
    pub fn of(spec: &Spec, counts: &TaskCounts) -> Self {
        let (all, done) = (u64::from(spec.workload.tasks), counts.done);
        let (min, max) = spec.expect.done_percent(spec.should_do_all());
        let at_least = done * 100 >= u64::from(min) * all;
        let at_most = done * 100 <= u64::from(max) * all;
        Self {
            done_percent: (done * 10_000 / all.max(1)) as f64 / 100.0,
            done_percent_min: min,
            done_percent_max: max,
            met: at_least && at_most,
        }
    }

    /// What was missed, in a sentence; `None` if nothing was.
    #[must_use]
    pub fn miss(&self) -> Option<String> {
        let Self { done_percent, done_percent_min: min, done_percent_max: max, met } = *self;
        let expected =
            if done_percent < f64::from(min) { format!("at least {min} %") } else { format!("at most {max} %") };
        (!met).then(|| format!("{done_percent} % of the tasks were done; expected was {expected}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Fault, FaultKind, Pod};

    fn of(min: Option<u8>, max: Option<u8>, breaks: bool, done: u64) -> Expectation {
        let mut spec = Spec::default();
        spec.workload.tasks = 1_000;
        (spec.expect.done_percent_min, spec.expect.done_percent_max) = (min, max);
        if breaks {
            spec.faults = vec![Fault::new(0, FaultKind::Crash, Pod::Amqp, 1)];
        }
        Expectation::of(&spec, &TaskCounts { done, ..TaskCounts::default() })
    }

    #[test]
    fn where_nothing_breaks_all_tasks_must_be_done() {
        assert!(of(None, None, false, 1_000).met);
        let missed = of(None, None, false, 999).miss().unwrap();
        assert_eq!(missed, "99.9 % of the tasks were done; expected was at least 100 %");
    }

    #[test]
    fn where_something_breaks_nothing_is_expected_but_what_the_spec_says() {
        assert!(of(None, None, true, 0).met);
        assert!(!of(Some(50), None, true, 499).met);
        assert!(of(Some(50), None, true, 500).met);
    }

    #[test]
    fn a_run_that_is_to_fail_must_not_succeed() {
        assert!(of(None, Some(10), false, 100).met);
        let missed = of(None, Some(10), false, 1_000).miss().unwrap();
        assert_eq!(missed, "100 % of the tasks were done; expected was at most 10 %");
    }

    #[test]
    fn a_share_is_never_rounded_up_to_all() {
        let mut spec = Spec::default();
        spec.workload.tasks = 1_000_000;
        let expectation = Expectation::of(&spec, &TaskCounts { done: 999_999, ..TaskCounts::default() });
        assert_eq!((expectation.done_percent, expectation.met), (99.99, false));
    }
}
