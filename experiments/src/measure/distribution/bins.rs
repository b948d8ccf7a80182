//! The thesis' histogram: 49 bins of equal width over the data's range, and the humps in it.

use crate::measure::ms;

/// Bins of every histogram, as in the thesis' figures.
pub const BINS: usize = 49;
/// A hump must stand out by this share of the tallest.
const PROMINENCE_MIN: f64 = 0.05;
/// And by this many times what chance makes: a bin that is expected to hold n varies by the square root of n.
const CHANCE_MIN: f64 = 2.0;

/// A histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Bins {
    /// The left edge of the first bin.
    pub low_ms: f64,
    /// Of each bin.
    pub width_ms: f64,
    /// How many values are in each. Digitised histograms have fractions.
    pub counts: [f64; BINS],
}

impl Bins {
    /// Of latencies in ascending order; `None` if there are none.
    #[must_use]
    pub fn of(sorted_us: &[u64]) -> Option<Self> {
        let (low_ms, high_ms) = (ms(*sorted_us.first()?), ms(*sorted_us.last()?));
        // All samples equal: one bar, a millisecond wide in all.
        let range_ms = if high_ms > low_ms { high_ms - low_ms } else { 1.0 };
        Some(Self { low_ms, width_ms: range_ms / BINS as f64, counts: [0.0; BINS] }.with(sorted_us))
    }

    /// Latencies in the same bins as these: how many humps a histogram has depends on how wide its bins are. What lies
    /// outside counts into the bin at that edge, so a hump out there is one, too.
    #[must_use]
    pub fn with(&self, sorted_us: &[u64]) -> Self {
        let mut bins = Self { counts: [0.0; BINS], ..self.clone() };
        for latency in sorted_us {
            let bin = ((ms(*latency) - self.low_ms) / self.width_ms).max(0.0) as usize;
            bins.counts[bin.min(BINS - 1)] += 1.0;
        }
        bins
    }

    /// The left and right edge of a bin.
    #[must_use]
    pub fn edges_ms(&self, bin: usize) -> (f64, f64) {
        let left = self.low_ms + self.width_ms * bin as f64;
        (left, left + self.width_ms)
    }

    /// The right edge of the last bin.
    #[must_use]
    pub fn high_ms(&self) -> f64 {
        self.low_ms + self.width_ms * BINS as f64
    }

    /// How wide it is without its tails: from the 10th to the 90th percentile, in ms, with the values of a bin spread
    /// evenly over it. 0 without values.
    #[must_use]
    pub fn spread_ms(&self) -> f64 {
        self.percentile_ms(90.0) - self.percentile_ms(10.0)
    }

    fn percentile_ms(&self, percent: f64) -> f64 {
        let mut missing = self.counts.iter().sum::<f64>() * percent / 100.0;
        for (bin, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            if missing <= *count {
                return self.edges_ms(bin).0 + self.width_ms * missing / count;
            }
            missing -= count;
        }
        self.low_ms
    }

    /// Where the humps are, in ms, from left to right.
    ///
    /// The counts are smoothed with (1, 2, 1). A peak counts if it rises above the dips around it, towards whatever is
    /// higher, by 5 % of the tallest peak and by twice the square root of its own height. So neither a far outlier nor
    /// the raggedness of a histogram of few samples makes a hump.
    #[must_use]
    pub fn modes_ms(&self) -> Vec<f64> {
        let heights = self.smoothed();
        let tallest = heights.iter().copied().fold(0.0, f64::max);
        let stands_out = |peak: &usize| {
            let prominence = prominence(&heights, *peak);
            prominence >= PROMINENCE_MIN * tallest && prominence >= CHANCE_MIN * heights[*peak].sqrt()
        };
        let peaks = (0..BINS).filter(|bin| is_peak(&heights, *bin)).filter(stands_out);
        peaks.map(|peak| self.middle_ms(peak)).collect()
    }

    /// Where the tallest hump is, in ms.
    #[must_use]
    pub fn main_mode_ms(&self) -> f64 {
        let heights = self.smoothed();
        let tallest = (0..BINS).rev().max_by(|a, b| heights[*a].total_cmp(&heights[*b])).unwrap_or(0);
        self.middle_ms(tallest)
    }

    fn middle_ms(&self, bin: usize) -> f64 {
        self.low_ms + self.width_ms * (bin as f64 + 0.5)
    }

    fn smoothed(&self) -> [f64; BINS] {
        std::array::from_fn(|bin| {
            let neighbours = [bin.checked_sub(1), Some(bin + 1).filter(|next| *next < BINS)];
            let own = (2.0 * self.counts[bin], 2.0);
            // At an edge the missing neighbour's weight is left out, not taken as empty.
            let (sum, weight) = neighbours
                .into_iter()
                .flatten()
                .fold(own, |(sum, weight), neighbour| (sum + self.counts[neighbour], weight + 1.0));
            sum / weight
        })
    }
}

/// Whether `bin` is higher than what comes before, and what comes after is lower; a plateau counts at its left end.
fn is_peak(heights: &[f64; BINS], bin: usize) -> bool {
    let rises = bin == 0 || heights[bin - 1] < heights[bin];
    let falls = heights[bin..].iter().find(|height| **height != heights[bin]).is_none_or(|next| *next < heights[bin]);
    heights[bin] > 0.0 && rises && falls
}

/// How far one has to go down from `peak` before one can go up to something higher, on the side where that is less far.
/// The highest peak's prominence is its height.
fn prominence(heights: &[f64; BINS], peak: usize) -> f64 {
    let height = heights[peak];
    let descent = |side: &mut dyn Iterator<Item = f64>| {
        let mut dip = height;
        for other in side {
            if other > height {
                return Some(height - dip);
            }
            dip = dip.min(other);
        }
        None
    };
    let left = descent(&mut heights[..peak].iter().rev().copied());
    let right = descent(&mut heights[peak + 1..].iter().copied());
    match (left, right) {
        (Some(left), Some(right)) => left.min(right),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => height,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Humps `(centre, width, height)` in bins, and a ripple in multiples of what chance makes.
    fn humps(humps: &[(f64, f64, f64)], ripple: f64) -> Bins {
        let counts = std::array::from_fn(|bin| {
            let x = bin as f64;
            let sum: f64 = humps
                .iter()
                .map(|(at, width, height)| height * libm::exp(-(x - at) * (x - at) / (width * width)))
                .sum();
            (sum + if bin % 3 == 0 { ripple * sum.sqrt() } else { 0.0 }).round()
        });
        Bins { low_ms: 0.0, width_ms: 1.0, counts }
    }

    #[test]
    fn humps_are_counted_and_placed() {
        assert_eq!(humps(&[(20.0, 5.0, 100.0)], 0.0).modes_ms(), [20.5]);
        assert_eq!(humps(&[(5.0, 2.0, 60.0), (25.0, 4.0, 140.0)], 0.0).modes_ms(), [5.5, 25.5]);
        assert_eq!(humps(&[(5.0, 2.0, 60.0), (20.0, 3.0, 90.0), (40.0, 3.0, 30.0)], 0.0).modes_ms().len(), 3);
    }

    #[test]
    fn a_needle_is_narrow_and_a_hill_is_wide() {
        let mut needle = humps(&[], 0.0);
        needle.counts[20] = 7.0;
        assert!((needle.spread_ms() - 0.8).abs() < 1e-9, "eight tenths of its bin: {}", needle.spread_ms());
        // A bell of this width has a sigma of 5 / sqrt(2), and 2.56 of these between its tenths.
        let hill = humps(&[(24.0, 5.0, 10_000.0)], 0.0).spread_ms();
        assert!((9.0..9.2).contains(&hill), "{hill}");
        let even = Bins { low_ms: 3.0, width_ms: 2.0, counts: [1.0; BINS] };
        assert!((even.spread_ms() - 0.8 * 2.0 * BINS as f64).abs() < 1e-9);
        assert_eq!(humps(&[], 0.0).spread_ms(), 0.0);
    }

    #[test]
    fn raggedness_and_outliers_are_no_humps() {
        assert_eq!(humps(&[(20.0, 8.0, 80.0)], 1.0).modes_ms().len(), 1);
        let mut outlier = humps(&[(5.0, 3.0, 1_000.0)], 0.0);
        outlier.counts[48] = 9.0;
        assert_eq!(outlier.modes_ms().len(), 1);
    }

    #[test]
    fn humps_at_both_ends_count() {
        let mut bins = humps(&[], 0.0);
        (bins.counts[0], bins.counts[48]) = (52.0, 948.0);
        assert_eq!((bins.modes_ms().len(), bins.main_mode_ms()), (2, 48.5));
    }

    #[test]
    fn two_humps_that_melt_are_one() {
        assert_eq!(humps(&[(20.0, 4.0, 100.0), (24.0, 4.0, 100.0)], 0.0).modes_ms().len(), 1);
    }

    #[test]
    fn all_equal_samples_are_one_hump_in_the_first_bin() {
        let bins = Bins::of(&[5_000; 100]).unwrap();
        assert_eq!((bins.low_ms, bins.counts[0], bins.modes_ms().len()), (5.0, 100.0, 1));
        assert_eq!(Bins::of(&[]), None);
    }

    #[test]
    fn every_sample_is_in_a_bin() {
        let samples: Vec<u64> = (0..1_000).map(|i| i * i).collect();
        let bins = Bins::of(&samples).unwrap();
        assert_eq!(bins.counts.iter().sum::<f64>(), 1_000.0);
        assert!((bins.high_ms() - 998.001).abs() < 1e-6);
    }

    #[test]
    fn in_the_bins_of_another_what_is_outside_counts_at_the_edge() {
        let bins =
            Bins { low_ms: 10.0, width_ms: 1.0, counts: [0.0; BINS] }.with(&[3_000, 10_500, 11_000, 11_900, 99_000]);
        assert_eq!((bins.counts[0], bins.counts[1], bins.counts[BINS - 1]), (2.0, 2.0, 1.0));
        assert_eq!((bins.low_ms, bins.width_ms), (10.0, 1.0));
    }
}
