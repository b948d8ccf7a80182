//! Distributions of latencies: how far two are apart, and how many humps one has.

mod bins;

pub use bins::{BINS, Bins};

use super::statistics::ms;

/// A distribution of milliseconds, made of pieces: single values, and bars over which values are spread evenly.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// Not empty; masses add up to 1.
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    low_ms: f64,
    /// Equal to `low_ms` for a single value.
    high_ms: f64,
    mass: f64,
}

impl Distribution {
    /// Of single values, in microseconds; `None` without any.
    #[must_use]
    pub fn of_samples(us: &[u64]) -> Option<Self> {
        Self::of_pieces(us.iter().map(|us| Piece { low_ms: ms(*us), high_ms: ms(*us), mass: 1.0 }))
    }

    /// Of bars `(low_ms, high_ms, count)`; `None` if they are empty. Counts must not be negative.
    #[must_use]
    pub fn of_bars(bars: impl IntoIterator<Item = (f64, f64, f64)>) -> Option<Self> {
        Self::of_pieces(bars.into_iter().map(|(low_ms, high_ms, mass)| Piece { low_ms, high_ms, mass }))
    }

    fn of_pieces(pieces: impl IntoIterator<Item = Piece>) -> Option<Self> {
        let mut pieces: Vec<Piece> = pieces.into_iter().filter(|piece| piece.mass > 0.0).collect();
        let total: f64 = pieces.iter().map(|piece| piece.mass).sum();
        pieces.iter_mut().for_each(|piece| piece.mass /= total);
        (!pieces.is_empty()).then_some(Self { pieces })
    }

    /// Its mean.
    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        self.pieces.iter().map(|piece| piece.mass * (piece.low_ms + piece.high_ms) / 2.0).sum()
    }

    /// The Wasserstein-1 distance to `other`, in ms: by how much the average task would have to become slower or faster
    /// to turn one distribution into the other. It is the area between the two cumulative distributions, computed
    /// exactly.
    #[must_use]
    pub fn wasserstein_ms(&self, other: &Self) -> f64 {
        let mut edges: Vec<Edge> = self.pieces.iter().flat_map(|piece| piece.edges(1.0)).collect();
        edges.extend(other.pieces.iter().flat_map(|piece| piece.edges(-1.0)));
        edges.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
        let (mut area, mut gap, mut slope) = (0.0, 0.0, 0.0);
        let mut last_ms = edges.first().map_or(0.0, |edge| edge.at_ms);
        for edge in edges {
            let width = edge.at_ms - last_ms;
            let next = gap + slope * width;
            area += area_of_line(gap, next, width);
            gap = next + edge.jump;
            slope += edge.slope;
            last_ms = edge.at_ms;
        }
        area
    }

    /// [`Distribution::wasserstein_ms`] over the mean of `reference`: 0 is equal, 0.25 means that the average task is
    /// off by a quarter of the reference's mean latency.
    #[must_use]
    pub fn normalised_wasserstein(&self, reference: &Self) -> f64 {
        self.wasserstein_ms(reference) / reference.mean_ms()
    }
}

/// Where the difference of two cumulative distributions jumps or bends.
struct Edge {
    at_ms: f64,
    jump: f64,
    slope: f64,
}

impl Piece {
    fn edges(self, sign: f64) -> [Edge; 2] {
        let width = self.high_ms - self.low_ms;
        let (jump, slope) = if width > 0.0 { (0.0, sign * self.mass / width) } else { (sign * self.mass, 0.0) };
        [Edge { at_ms: self.low_ms, jump, slope }, Edge { at_ms: self.high_ms, jump: 0.0, slope: -slope }]
    }
}

/// The area between 0 and a straight line from `from` to `to`.
fn area_of_line(from: f64, to: f64, width: f64) -> f64 {
    let (a, b) = (from.abs(), to.abs());
    if from * to >= 0.0 { (a + b) / 2.0 * width } else { (a * a + b * b) / (2.0 * (a + b)) * width }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(ms: &[u64]) -> Distribution {
        let us: Vec<u64> = ms.iter().map(|ms| ms * 1_000).collect();
        Distribution::of_samples(&us).unwrap()
    }

    #[track_caller]
    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-9, "{value} instead of {expected}");
    }

    #[test]
    fn equal_distributions_have_no_distance() {
        near(samples(&[1, 5, 5, 9]).wasserstein_ms(&samples(&[5, 9, 1, 5])), 0.0);
        // Twice as many samples of the same shape are the same distribution.
        near(samples(&[1, 9]).wasserstein_ms(&samples(&[1, 1, 9, 9])), 0.0);
    }

    #[test]
    fn a_shift_is_as_far_as_it_shifts() {
        near(samples(&[10, 20, 30]).wasserstein_ms(&samples(&[17, 27, 37])), 7.0);
        let bars = |by: f64| Distribution::of_bars([(by, by + 2.0, 3.0), (by + 4.0, by + 5.0, 1.0)]).unwrap();
        near(bars(0.0).wasserstein_ms(&bars(1.5)), 1.5);
    }

    #[test]
    fn a_part_that_moves_counts_by_its_mass() {
        // A tenth of the tasks takes 100 ms longer: the average task is 10 ms off.
        let (base, slow) = (samples(&[50; 10]), samples(&[50, 50, 50, 50, 50, 50, 50, 50, 50, 150]));
        near(base.wasserstein_ms(&slow), 10.0);
        near(slow.normalised_wasserstein(&base), 0.2);
        near(base.normalised_wasserstein(&slow), 10.0 / 60.0);
    }

    #[test]
    fn it_is_not_the_distance_of_the_means() {
        near(samples(&[0, 100]).wasserstein_ms(&samples(&[50, 50])), 50.0);
    }

    #[test]
    fn a_bar_against_its_middle_is_a_quarter_of_its_width() {
        let bar = Distribution::of_bars([(0.0, 8.0, 5.0)]).unwrap();
        near(bar.wasserstein_ms(&samples(&[4])), 2.0);
        near(bar.mean_ms(), 4.0);
    }

    #[test]
    fn nothing_has_no_distribution() {
        assert_eq!(Distribution::of_samples(&[]), None);
        assert_eq!(Distribution::of_bars([(0.0, 1.0, 0.0)]), None);
    }
}
