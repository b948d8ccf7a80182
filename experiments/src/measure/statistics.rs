//! Exact statistics over all samples; no sketch, no estimate.

use serde::{Deserialize, Serialize};

/// Mean and percentiles of a set of durations, in milliseconds.
///
/// A percentile is by nearest rank: of n sorted values, the one at place ceil(p/100 * n), counted from 1. So it is
/// always a value that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// How many samples.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

impl Statistics {
    /// Of `sorted_us`, which must be in ascending order; `None` without samples.
    #[must_use]
    pub fn of(sorted_us: &[u64]) -> Option<Self> {
        assert!(sorted_us.is_sorted(), "percentiles need sorted samples");
        let max = *sorted_us.last()?;
        let sum: u128 = sorted_us.iter().map(|value| u128::from(*value)).sum();
        // Rounded to a nanosecond, so that the shortest form of the number is a short one.
        let mean = (sum as f64 / sorted_us.len() as f64 * 1_000.0).round() / 1_000_000.0;
        let at = |percent| ms(percentile(sorted_us, percent));
        Some(Self {
            count: sorted_us.len() as u64,
            mean,
            p50: at(50),
            p90: at(90),
            p95: at(95),
            p99: at(99),
            max: ms(max),
        })
    }
}

/// Microseconds as milliseconds.
#[must_use]
pub fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

/// The nearest-rank percentile.
pub(crate) fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.max(1) - 1]
}

/// `count` things in `span_us`, per second; 0 for an empty span.
#[must_use]
pub fn per_second(count: u64, span_us: u64) -> f64 {
    if span_us == 0 { 0.0 } else { (count as f64 * 1e6 / span_us as f64 * 1_000.0).round() / 1_000.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_at_their_nearest_rank() {
        let values: Vec<u64> = (1..=200).map(|value| value * 1_000).collect();
        let statistics = Statistics::of(&values).unwrap();
        assert_eq!(
            (statistics.p50, statistics.p90, statistics.p95, statistics.p99, statistics.max, statistics.mean),
            (100.0, 180.0, 190.0, 198.0, 200.0, 100.5)
        );
    }

    #[test]
    fn one_sample_is_every_percentile() {
        let statistics = Statistics::of(&[1_500]).unwrap();
        assert_eq!((statistics.mean, statistics.p50, statistics.p99, statistics.max), (1.5, 1.5, 1.5, 1.5));
    }

    #[test]
    fn no_samples_have_no_statistics() {
        assert_eq!(Statistics::of(&[]), None);
        assert_eq!(per_second(7, 0), 0.0);
    }
}
