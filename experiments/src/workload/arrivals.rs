//! When tasks come.
//!
//! A spec says how many come in which time, and in which shape. The moments are then independent of each other and
//! drawn from that shape: given how many events of a Poisson process fall into a time, they lie there just so.

use crate::spec::{Arrivals, Spec, Workload};
use rand_chacha::{ChaCha8Rng, rand_core::Rng as _};

/// How fast tasks come in each hour of a day in retail, midnight first: the night's price changes reach the labels
/// before the shop opens at eight, offers of the day change at noon, and what has to go before the evening. The shape
/// is ours; what counts is that the peak is four times the mean, and the nights are quiet.
const RETAIL_DAY: [u32; 24] = [1, 1, 1, 2, 6, 25, 75, 100, 40, 18, 14, 20, 45, 28, 16, 16, 32, 50, 36, 20, 10, 5, 2, 1];

/// A task's moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrival {
    /// In ms from the first moment.
    pub(super) at_ms: u32,
    /// The store whose labels it commands; `None`: any.
    pub(super) store: Option<u32>,
}

/// The moments of all tasks, in their order. Empty: all come at once.
pub(super) fn draw(spec: &Spec, rng: &mut ChaCha8Rng) -> Vec<Arrival> {
    let Workload { arrivals, tasks, duration_s, .. } = spec.workload;
    let duration_ms = u64::from(duration_s) * 1_000;
    let of_any_store = |at_ms: u64| Arrival { at_ms: in_ms(at_ms), store: None };
    let mut all: Vec<Arrival> = match arrivals {
        Arrivals::Burst => Vec::new(),
        Arrivals::Constant => (0..u64::from(tasks)).map(|i| of_any_store(i * duration_ms / u64::from(tasks))).collect(),
        Arrivals::Poisson => (0..tasks).map(|_| of_any_store(rng.next_u64() % duration_ms)).collect(),
        Arrivals::Steps => {
            (0..tasks).map(|_| of_any_store(moment_in_steps(&spec.workload.steps, duration_ms, rng))).collect()
        }
        Arrivals::Day => {
            let days = Days::of(spec);
            (0..tasks).map(|_| days.draw(rng)).collect()
        }
        Arrivals::Replay => {
            let replayed = spec.workload.replayed.iter();
            replayed.map(|task| Arrival { at_ms: task.at_ms, store: None }).collect()
        }
    };
    // Of several at one moment the order does not matter, but it must be the same each time.
    all.sort_unstable();
    all
}

fn in_ms(ms: u64) -> u32 {
    u32::try_from(ms).expect("a valid spec's tasks come within a week")
}

fn moment_in_steps(steps: &[u32], duration_ms: u64, rng: &mut ChaCha8Rng) -> u64 {
    let all: u64 = steps.iter().copied().map(u64::from).sum();
    let mut left = rng.next_u64() % all;
    let count = steps.len() as u64;
    for (place, rate) in (0..count).zip(steps) {
        if left < u64::from(*rate) {
            let (begin, end) = (place * duration_ms / count, (place + 1) * duration_ms / count);
            return begin + rng.next_u64() % (end - begin).max(1);
        }
        left -= u64::from(*rate);
    }
    unreachable!("what is left is less than all")
}

/// The days of all stores.
struct Days<'a> {
    curves: Vec<&'a [u32]>,
    stores: u32,
    duration_ms: u64,
    /// The highest rate of any.
    peak: u64,
}

impl<'a> Days<'a> {
    fn of(spec: &'a Spec) -> Self {
        let own = &spec.workload.curves;
        let curves: Vec<&[u32]> =
            if own.is_empty() { vec![&RETAIL_DAY] } else { own.iter().map(Vec::as_slice).collect() };
        let peak = curves.iter().flat_map(|curve| curve.iter()).copied().max().unwrap_or(1);
        let duration_ms = u64::from(spec.workload.duration_s) * 1_000;
        Self { curves, stores: spec.fleet.stores, duration_ms, peak: peak.into() }
    }

    /// The rate of `store` at a moment, times the length of the day: so it is a whole number.
    fn rate(&self, store: u32, at_ms: u64) -> u64 {
        let curve = self.curves[store as usize % self.curves.len()];
        let count = curve.len() as u64;
        let (place, beyond) = (at_ms * count / self.duration_ms, at_ms * count % self.duration_ms);
        let at = |place: u64| u64::from(curve[(place % count) as usize]);
        at(place) * (self.duration_ms - beyond) + at(place + 1) * beyond
    }

    /// One task: a moment and a store are proposed, and taken as often as the rate there is of the peak.
    fn draw(&self, rng: &mut ChaCha8Rng) -> Arrival {
        loop {
            let store = (rng.next_u64() % u64::from(self.stores)) as u32;
            let at_ms = rng.next_u64() % self.duration_ms;
            if rng.next_u64() % (self.peak * self.duration_ms) < self.rate(store, at_ms) {
                return Arrival { at_ms: in_ms(at_ms), store: Some(store) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::Seed;

    fn spec(arrivals: Arrivals, tasks: u32, duration_s: u32) -> Spec {
        let mut spec = Spec::default();
        (spec.workload.arrivals, spec.workload.tasks, spec.workload.duration_s) = (arrivals, tasks, duration_s);
        spec
    }

    fn moments(spec: &Spec) -> Vec<u32> {
        draw(spec, &mut Seed::new(7).stream("arrivals")).iter().map(|arrival| arrival.at_ms).collect()
    }

    fn within(moments: &[u32], from_ms: u32, to_ms: u32) -> usize {
        moments.iter().filter(|at| (from_ms..to_ms).contains(at)).count()
    }

    #[test]
    fn a_constant_stream_has_equal_distances() {
        assert_eq!(moments(&spec(Arrivals::Constant, 4, 2)), [0, 500, 1_000, 1_500]);
    }

    #[test]
    fn distances_of_a_poisson_process_vary_as_much_as_they_are_long() {
        let moments = moments(&spec(Arrivals::Poisson, 10_000, 1_000));
        let gaps: Vec<f64> = moments.windows(2).map(|pair| f64::from(pair[1] - pair[0])).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean) * (gap - mean)).sum::<f64>() / gaps.len() as f64;
        let variation = libm::sqrt(variance) / mean;
        assert!((mean - 100.0).abs() < 2.0 && (variation - 1.0).abs() < 0.05, "{mean} {variation}");
    }

    #[test]
    fn steps_are_equally_long_and_as_busy_as_their_rates() {
        let mut spec = spec(Arrivals::Steps, 7_000, 30);
        spec.workload.steps = vec![1, 0, 6];
        let moments = moments(&spec);
        let counts = [(0, 10_000), (10_000, 20_000), (20_000, 30_000)].map(|(a, b)| within(&moments, a, b));
        assert!(counts[0].abs_diff(1_000) < 100 && counts[1] == 0 && counts[2].abs_diff(6_000) < 100, "{counts:?}");
    }

    #[test]
    fn a_day_follows_its_curve_with_straight_lines_between_its_moments() {
        let mut spec = spec(Arrivals::Day, 40_000, 400);
        spec.workload.curves = vec![vec![0, 100, 0, 0]];
        // Up for 100 s, down for 100 s, and then none come until the line from the last moment to the first.
        let moments = moments(&spec);
        let counts = [(0, 50), (50, 100), (100, 150), (150, 200), (200, 400)]
            .map(|(a, b)| within(&moments, a * 1_000, b * 1_000));
        for (count, expected) in counts.into_iter().zip([5_000, 15_000, 15_000, 5_000, 0]) {
            assert!(count.abs_diff(expected) < 400, "{counts:?}");
        }
    }

    #[test]
    fn stores_take_the_curves_in_turn() {
        let mut spec = spec(Arrivals::Day, 3_000, 100);
        spec.fleet.stores = 3;
        spec.workload.curves = vec![vec![1, 1, 0, 0], vec![0, 0, 1, 1]];
        let all = draw(&spec, &mut Seed::new(7).stream("arrivals"));
        let early = |store| all.iter().filter(|task| task.store == Some(store) && task.at_ms < 25_000).count();
        assert!(early(0) > 200 && early(1) == 0 && early(2) > 200, "{} {} {}", early(0), early(1), early(2));
    }

    #[test]
    fn the_day_in_retail_is_quiet_at_night_and_peaks_before_the_shop_opens() {
        let moments = moments(&spec(Arrivals::Day, 10_000, 86_400));
        let hour = |hour: u32| within(&moments, hour * 3_600_000, (hour + 1) * 3_600_000);
        assert!(hour(1) < 40 && hour(6) > 10 * hour(2) && hour(6) > hour(12), "{} {}", hour(1), hour(6));
        assert_eq!((0..24).map(hour).sum::<usize>(), 10_000);
    }
}
