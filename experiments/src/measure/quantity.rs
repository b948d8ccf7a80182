//! A number of a run by its name, as options and columns have it.

use super::{Latencies, Latency, Statistics};
use std::{fmt, str::FromStr};

/// One number of a run: `end_to_end.p99`, `tasks_per_s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Of a latency, in ms.
    Latency(Latency, Statistic),
    /// Tasks done a second.
    TasksPerS,
}

/// Which number of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The arithmetic mean.
    Mean,
    /// The median.
    P50,
    /// The 90th percentile.
    P90,
    /// The 95th percentile.
    P95,
    /// The 99th percentile.
    P99,
    /// The largest.
    Max,
}

impl Statistic {
    const ALL: [Self; 6] = [Self::Mean, Self::P50, Self::P90, Self::P95, Self::P99, Self::Max];

    fn key(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Max => "max",
        }
    }

    fn of(self, statistics: Statistics) -> f64 {
        match self {
            Self::Mean => statistics.mean,
            Self::P50 => statistics.p50,
            Self::P90 => statistics.p90,
            Self::P95 => statistics.p95,
            Self::P99 => statistics.p99,
            Self::Max => statistics.max,
        }
    }
}

/// What is no name of a number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no number of a run; accepted are tasks_per_s, and {latencies} with .mean, .p50, .p90, .p95, .p99 or \
         .max, as in end_to_end.p99", latencies = Latency::ALL.map(Latency::key).join(", "))]
pub struct UnknownQuantity(String);

impl Quantity {
    /// Its value; `None` if nothing was measured.
    #[must_use]
    pub fn of(self, latencies: &Latencies, tasks_per_s: f64) -> Option<f64> {
        match self {
            Self::Latency(latency, statistic) => latencies.get(latency).map(|all| statistic.of(all)),
            Self::TasksPerS => Some(tasks_per_s),
        }
    }

    /// What it is counted in.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Latency(..) => "ms",
            Self::TasksPerS => "tasks/s",
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency(latency, statistic) => write!(f, "{}.{}", latency.key(), statistic.key()),
            Self::TasksPerS => f.write_str("tasks_per_s"),
        }
    }
}

impl FromStr for Quantity {
    type Err = UnknownQuantity;

    fn from_str(name: &str) -> Result<Self, UnknownQuantity> {
        let latencies =
            Latency::ALL.into_iter().flat_map(|latency| Statistic::ALL.map(|one| Self::Latency(latency, one)));
        let mut all = latencies.chain([Self::TasksPerS]);
        all.find(|quantity| quantity.to_string() == name).ok_or_else(|| UnknownQuantity(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_the_name_that_it_prints() {
        for name in ["end_to_end.p99", "router_to_router.mean", "tasks_per_s"] {
            assert_eq!(name.parse::<Quantity>().unwrap().to_string(), name);
        }
        let error = "end_to_end.p98".parse::<Quantity>().unwrap_err().to_string();
        assert!(error.starts_with("`end_to_end.p98` is no number of a run; accepted are tasks_per_s, and end_to_end"));
    }
}
