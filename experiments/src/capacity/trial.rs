//! One run with other values, and whether it kept its promise.

use crate::{
    measure::{Load, Quantity, UnknownQuantity, Utilisation},
    results::Summary,
    run::Run,
    simulate::NotDone,
    spec::{Spec, SpecError},
};
use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A limit of a latency: `end_to_end.p99=500ms`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promise {
    /// Of what.
    pub quantity: Quantity,
    /// In ms.
    pub limit_ms: f64,
}

/// What is no promise.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum UnknownPromise {
    /// No `=`, or no time after it.
    #[error("expected a latency and its limit, as in end_to_end.p99=500ms or end_to_end.max=2s")]
    Form,
    /// No latency before it.
    #[error(transparent)]
    Quantity(#[from] UnknownQuantity),
}

impl FromStr for Promise {
    type Err = UnknownPromise;

    fn from_str(text: &str) -> Result<Self, UnknownPromise> {
        let (quantity, limit) = text.split_once('=').ok_or(UnknownPromise::Form)?;
        let quantity: Quantity = quantity.trim().parse()?;
        let limit = limit.trim();
        let (number, factor) = match (limit.strip_suffix("ms"), limit.strip_suffix('s')) {
            (Some(number), _) => (number, 1.0),
            (None, Some(number)) => (number, 1_000.0),
            (None, None) => return Err(UnknownPromise::Form),
        };
        let number: f64 = number.trim().parse().map_err(|_| UnknownPromise::Form)?;
        if !(number.is_finite() && number > 0.0) || quantity == Quantity::TasksPerS {
            return Err(UnknownPromise::Form);
        }
        Ok(Self { quantity, limit_ms: number * factor })
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <= {} ms", self.quantity, self.limit_ms)
    }
}

impl Serialize for Promise {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One run with other values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// The values, in the order of their keys.
    pub values: Vec<u32>,
    /// The numbers that were asked for; `null` where nothing was measured.
    pub numbers: Vec<Option<f64>>,
    /// Tasks a second that came; `null` if all came at once.
    pub came_per_s: Option<f64>,
    /// What used most of the CPU time that it had.
    pub fullest: Option<Utilisation>,
    /// Why its numbers mean little, or that they were not reached; empty: nothing is wrong.
    pub flaws: Vec<String>,
}

impl Trial {
    /// Of a run of `spec`.
    ///
    /// # Errors
    /// If the run failed otherwise than by not being done in time.
    pub fn of(
        spec: &Spec,
        values: Vec<u32>,
        quantities: &[Quantity],
        run: anyhow::Result<Run>,
    ) -> anyhow::Result<Self> {
        let run = match run {
            Ok(run) => run,
            Err(error) => {
                let flaws = vec![error.downcast::<NotDone>()?.to_string()];
                return Ok(Self {
                    values,
                    numbers: vec![None; quantities.len()],
                    came_per_s: None,
                    fullest: None,
                    flaws,
                });
            }
        };
        let summary = Summary::of(spec, &run);
        let numbers =
            quantities.iter().map(|quantity| quantity.of(&summary.latency_ms, summary.throughput.tasks_per_s));
        let mut flaws: Vec<String> = summary.expectation.miss().into_iter().collect();
        if summary.load.as_ref().is_some_and(|load| !load.settled) {
            flaws.push("did not keep up".into());
        }
        Ok(Self {
            values,
            numbers: numbers.collect(),
            came_per_s: summary.load.as_ref().map(|Load { mean_per_s, .. }| *mean_per_s),
            fullest: Utilisation::of(spec, &run.outcome).into_iter().next(),
            flaws,
        })
    }

    /// Of a spec that can't be: too much of something.
    pub(super) fn refused(values: Vec<u32>, error: &SpecError) -> Self {
        Self { values, numbers: vec![None], came_per_s: None, fullest: None, flaws: vec![error.to_string()] }
    }

    /// Takes note of whether it keeps `promise`, whose number is the first one.
    pub(super) fn judge(&mut self, promise: Promise) {
        match self.numbers.first().copied().flatten() {
            Some(ms) if ms > promise.limit_ms => self.flaws.push(format!("{} is {ms} ms", promise.quantity)),
            Some(_) => {}
            None if self.flaws.is_empty() => self.flaws.push("nothing was measured".into()),
            None => {}
        }
    }

    /// Whether nothing is wrong with it.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.flaws.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_a_latency_with_a_limit() {
        let promise: Promise = "end_to_end.p99=0.5s".parse().unwrap();
        assert_eq!(promise.to_string(), "end_to_end.p99 <= 500 ms");
        assert_eq!("calls.max = 7ms".parse::<Promise>().unwrap().limit_ms, 7.0);
        for wrong in ["end_to_end.p99", "end_to_end.p99=500", "end_to_end.p99=-1ms", "tasks_per_s=5ms", "x.p99=5ms"] {
            assert!(wrong.parse::<Promise>().is_err(), "{wrong}");
        }
    }
}
