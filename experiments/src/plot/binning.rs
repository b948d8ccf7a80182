//! Bins that lie between the values that a sample can have. Timers fire at whole milliseconds, packets arrive every
//! 50 us, and what waits for a timer and then for packets ends at about the same time after a whole millisecond. Bins
//! that know nothing of that hold now two possible values and now one, and draw a comb that is not there.

use crate::measure::{BINS, ms};
use std::collections::BTreeMap;

/// So many of a hundred samples must keep to the steps; the rest may lie beside them.
const ON_GRID_PERCENT: u64 = 98;
/// From one moment at which timers fire to the next.
const TIMER_US: u64 = 1_000;
/// Parts of that, to see in which of them samples gather.
const SLOTS: usize = 20;
/// Steps that only look like some must leave so many possible values: a few samples have any number of steps in common.
const VALUES_MIN: u64 = 8;
/// A step is a product of these; what is measured in has no other factors.
const FACTORS: [u64; 3] = [2, 3, 5];

/// Bins of equal width, each over as many possible values as every other one. At most [`BINS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binning {
    /// The smallest possible value that was seen.
    first_us: i64,
    /// From one possible value to the next.
    step_us: i64,
    /// A multiple of the step.
    width_us: i64,
    /// How many bins.
    pub(super) bins: usize,
}

impl Binning {
    /// For samples in ascending order; `None` without any.
    pub(super) fn of(sorted_us: &[u64]) -> Option<Self> {
        let (first, last) = (*sorted_us.first()?, *sorted_us.last()?);
        let common = most_common(sorted_us)?;
        let step = step_us(sorted_us, common, last - first);
        let gathered = (step < TIMER_US).then(|| gathering_us(sorted_us, step)).flatten();
        let (step, common) = gathered.map_or((step, common), |middle_us| (TIMER_US, middle_us));
        let (step_us, common) = (step as i64, common as i64);
        // The nearest possible value.
        let steps_to = |us: u64| (us as i64 - common + step_us / 2).div_euclid(step_us);
        let values = steps_to(last) - steps_to(first) + 1;
        let width_us = whole_ticks(round((values as u64).div_ceil(BINS as u64)) * step_us as u64) as i64;
        let bins = (values * step_us + width_us - 1) / width_us;
        Some(Self { first_us: common + steps_to(first) * step_us, step_us, width_us, bins: bins as usize })
    }

    /// How many of the samples are in each bin. What lies outside counts into the bin at that edge.
    pub(super) fn counts(&self, us: &[u64]) -> Vec<u64> {
        let mut counts = vec![0; self.bins];
        for us in us {
            // The first edge lies half a step before the first value; twice all, so that halves are whole.
            let twice = 2 * (*us as i64 - self.first_us) + self.step_us;
            counts[(twice / (2 * self.width_us)).clamp(0, self.bins as i64 - 1) as usize] += 1;
        }
        counts
    }

    /// The left edge of the first bin, half a step before the first possible value.
    pub(super) fn low_ms(&self) -> f64 {
        (self.first_us as f64 - self.step_us as f64 / 2.0) / 1_000.0
    }

    /// Of each bin.
    pub(super) fn width_ms(&self) -> f64 {
        ms(self.width_us as u64)
    }

    /// The left and right edge of a bin; the right edge of the last one is that of the last bin's full width.
    pub(super) fn edges_ms(&self, bin: usize) -> (f64, f64) {
        let left = self.low_ms() + self.width_ms() * bin as f64;
        (left, left + self.width_ms())
    }

    /// The right edge of the last bin.
    pub(super) fn high_ms(&self) -> f64 {
        self.low_ms() + self.width_ms() * self.bins as f64
    }
}

/// The sample that is there most often; the smallest of several.
fn most_common(sorted_us: &[u64]) -> Option<u64> {
    let mut times: BTreeMap<u64, usize> = BTreeMap::new();
    for us in sorted_us {
        *times.entry(*us).or_default() += 1;
    }
    times.into_iter().rev().max_by_key(|(_, times)| *times).map(|(us, _)| us)
}

/// The greatest step by whole multiples of which nearly all samples differ from `common`.
fn step_us(sorted_us: &[u64], common: u64, range_us: u64) -> u64 {
    if range_us == 0 {
        return TIMER_US;
    }
    let allowed = |step: u64| step <= TIMER_US || step * VALUES_MIN <= range_us;
    let fits = |step: u64| {
        let on_grid = sorted_us.iter().filter(|us| us.abs_diff(common).is_multiple_of(step)).count();
        is_nearly_all(on_grid as u64, sorted_us.len() as u64)
    };
    let mut step = 1;
    for factor in FACTORS {
        while allowed(step * factor) && fits(step * factor) {
            step *= factor;
        }
    }
    step
}

fn is_nearly_all(part: u64, all: u64) -> bool {
    part * 100 >= all * ON_GRID_PERCENT
}

/// Where, after each whole millisecond, nearly all samples are within half a one; `None` if they are everywhere, or too
/// few milliseconds have any. `step_us` is what they are multiples of. The millisecond with the most samples is left
/// out: a narrow hump is no steps.
fn gathering_us(sorted_us: &[u64], step_us: u64) -> Option<u64> {
    let mut slots: BTreeMap<u64, [u64; SLOTS]> = BTreeMap::new();
    for us in sorted_us {
        let slot = us % TIMER_US * SLOTS as u64 / TIMER_US;
        slots.entry(us / TIMER_US).or_insert([0; SLOTS])[slot as usize] += 1;
    }
    if (slots.len() as u64) < VALUES_MIN {
        return None;
    }
    let fullest = slots.values().map(|slots| slots.iter().sum::<u64>()).enumerate().max_by_key(|(_, count)| *count)?.0;
    let mut sums = [0; SLOTS];
    for (_, counts) in slots.values().enumerate().filter(|(place, _)| *place != fullest) {
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let within_half = |from: usize| (0..SLOTS / 2).map(|slot| sums[(from + slot) % SLOTS]).sum::<u64>();
    let from = (0..SLOTS).rev().max_by_key(|from| within_half(*from))?;
    // Slots begin at possible values, so half a step less is the middle between the first and the last of them.
    let middle_us = TIMER_US * from as u64 / SLOTS as u64 + TIMER_US / 4 - step_us.min(TIMER_US / SLOTS as u64) / 2;
    is_nearly_all(within_half(from), sums.iter().sum()).then_some(middle_us)
}

/// Up to whole milliseconds, if it is more than one: each bin then has as many moments at which timers fire as every
/// other one, though samples may lie too far from these for [`gathering_us`] to see it.
fn whole_ticks(width_us: u64) -> u64 {
    if width_us > TIMER_US { width_us.next_multiple_of(TIMER_US) } else { width_us }
}

/// Up to a number with two digits that say something, so that a bin is 4,100 us wide and not 4,082.
fn round(number: u64) -> u64 {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    number.div_ceil(unit) * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binning(us: impl IntoIterator<Item = u64>) -> (Binning, Vec<u64>) {
        let mut us: Vec<u64> = us.into_iter().collect();
        us.sort_unstable();
        let binning = Binning::of(&us).unwrap();
        let counts = binning.counts(&us);
        assert_eq!(counts.iter().sum::<u64>(), us.len() as u64, "every sample is in a bin");
        assert!(binning.bins <= BINS, "{binning:?}");
        let (low_us, high_us) = (binning.low_ms() * 1_000.0, binning.high_ms() * 1_000.0);
        assert!(low_us <= us[0] as f64 && us[us.len() - 1] as f64 <= high_us, "{binning:?}");
        (binning, counts)
    }

    #[test]
    fn whole_milliseconds_that_are_equally_frequent_make_equal_bars() {
        for values in [12_u64, 41, 49, 98, 147] {
            let (binning, counts) = binning((0..values).flat_map(|ms| [(ms + 30) * 1_000; 5]));
            assert_eq!(binning.step_us, 1_000, "{values}");
            assert!(counts[..counts.len() - 1].iter().all(|count| *count == counts[0]), "{values}: {counts:?}");
            assert_eq!(binning.low_ms(), 29.5);
        }
    }

    #[test]
    fn the_steps_of_timers_packets_and_clocks_are_found() {
        let step = |step: u64| {
            let samples = (0..500_u64).map(|i| 7 + step * (i * i % 211));
            binning(samples).0.step_us
        };
        assert_eq!([1_000, 4_000, 50, 1].map(step), [1_000, 4_000, 50, 1]);
    }

    #[test]
    fn samples_that_gather_after_each_millisecond_make_bins_of_whole_milliseconds() {
        // As many within each millisecond, 450 to 850 us after its begin, in steps of 50 us.
        let gathered = (13_000..53_000).step_by(1_000).flat_map(|ms| (450..=850).step_by(50).map(move |us| ms + us));
        let (binning, counts) = binning(gathered);
        assert_eq!((binning.step_us, binning.width_us, counts.len()), (1_000, 1_000, 40));
        assert!(counts.iter().all(|count| *count == 9), "{counts:?}");
        let edge_us = (binning.low_ms() * 1_000.0).rem_euclid(1_000.0);
        assert!(!(400.0..=900.0).contains(&edge_us), "an edge at {edge_us} us is among the samples");
    }

    #[test]
    fn samples_that_lie_loosely_about_the_milliseconds_make_bins_of_whole_milliseconds_too() {
        // Nine of ten a little after a millisecond, the rest anywhere.
        let samples =
            (13_000..83_000).step_by(1_000).flat_map(|ms| (0..200).map(move |i| ms + i * if i < 180 { 1 } else { 5 }));
        let (binning, counts) = binning(samples);
        assert_eq!(binning.width_us, 2_000);
        assert!(counts[1..counts.len() - 2].iter().all(|count| count.abs_diff(400) < 40), "{counts:?}");
    }

    #[test]
    fn a_narrow_hump_with_a_few_outliers_is_no_gathering() {
        let hump = (0..2_000).map(|i| 2_100 + i % 300);
        let outliers = (0..20).map(|i| 3_000 + i * 1_330);
        assert!(binning(hump.chain(outliers)).0.step_us < 1_000);
    }

    #[test]
    fn a_few_samples_beside_the_steps_do_not_hide_them() {
        let off = [30_001, 41_700];
        let (binning, counts) = binning((0..300_u64).map(|i| (30 + i % 30) * 1_000).chain(off));
        assert_eq!((binning.step_us, binning.width_us, counts.len()), (1_000, 1_000, 30));
        assert_eq!((counts[0], counts[12]), (11, 11));
    }

    #[test]
    fn many_values_share_a_bin_of_a_round_width() {
        let (binning, _) = binning((0..2_000).map(|i| 5_000 + i * 103));
        assert_eq!((binning.step_us, binning.width_us), (1, 5_000));
    }

    #[test]
    fn few_samples_make_no_wide_bins() {
        let (one, counts) = binning([5_000]);
        assert_eq!((one.low_ms(), one.high_ms(), counts), (4.5, 5.5, vec![1]));
        let (two, counts) = binning([10_000, 70_000]);
        assert!(two.width_us <= 8_000 && two.low_ms() > 0.0, "{two:?}");
        assert_eq!(counts.iter().filter(|count| **count == 1).count(), 2);
        assert_eq!(Binning::of(&[]), None);
    }
}
