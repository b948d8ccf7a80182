//! The one seed of a run, split into independent streams: one for each component that draws at random.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};
use xxhash_rust::xxh3::xxh3_64;

/// Where all randomness of a run comes from.
#[derive(Clone, Copy, Debug)]
pub struct Seed(u64);

impl Seed {
    /// The seed that a user gave.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream of `component`. Streams of different components tell nothing of each other, so that a new consumer of
    /// randomness does not shift what the others draw.
    #[must_use]
    pub fn stream(self, component: &str) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.0);
        rng.set_stream(xxh3_64(component.as_bytes()));
        rng
    }

    /// The first number of a component's stream.
    #[must_use]
    pub fn number(self, component: &str) -> u64 {
        self.stream(component).next_u64()
    }

    /// Decides how the costs of a host's CPU vary.
    pub(crate) fn of_cpu(self, host: u16) -> u64 {
        self.number(&format!("cpu {host}"))
    }
}

/// A number whose logarithm is normally distributed, as times are that vary by a factor; `bits` are even draws.
/// `spread_percent` is the logarithm's sigma; 0: it is always `median`, and nothing is drawn.
#[must_use]
pub fn log_normal(median: u64, spread_percent: u32, mut bits: impl FnMut() -> u64) -> u64 {
    if spread_percent == 0 || median == 0 {
        return median;
    }
    // Twelve even draws make a normal one that is good enough, and the same on every machine.
    let normal = (0..12).map(|_| even(bits())).sum::<f64>() - 6.0;
    (median as f64 * libm::exp(f64::from(spread_percent) / 100.0 * normal)) as u64
}

/// A number between 0 and 1, evenly from 64 even bits.
pub(crate) fn even(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// A normally distributed number with mean 0 and variance 1, from two draws of 64 even bits (Box and Muller, A Note on
/// the Generation of Random Normal Deviates, 1958).
pub(crate) fn normal(first: u64, second: u64) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - even(first)));
    radius * libm::cos(std::f64::consts::TAU * even(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let mut rng = Seed::new(1).stream("a");
        let draws: Vec<f64> = (0..20_000).map(|_| normal(rng.next_u64(), rng.next_u64())).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|draw| draw * draw).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.02 && (0.97..1.03).contains(&variance), "{mean} {variance}");
        let beyond_two = draws.iter().filter(|draw| draw.abs() > 2.0).count();
        assert!((850..970).contains(&beyond_two), "4.55 % lie there: {beyond_two}");
    }

    #[test]
    fn a_log_normal_number_has_its_median_and_its_spread() {
        let mut rng = Seed::new(1).stream("a");
        let mut draws: Vec<u64> = (0..10_001).map(|_| log_normal(100_000, 80, || rng.next_u64())).collect();
        draws.sort_unstable();
        let (median, p84) = (draws[5_000] as f64, draws[8_413] as f64);
        assert!((0.97..1.03).contains(&(median / 100_000.0)), "{median}");
        assert!((0.96..1.04).contains(&(p84 / median / libm::exp(0.8))), "one sigma above it: {p84}");
        assert_eq!(log_normal(100_000, 0, || unreachable!("nothing is drawn")), 100_000);
    }

    #[test]
    fn streams_depend_on_seed_and_component() {
        assert_eq!(Seed::new(1).number("a"), Seed::new(1).number("a"));
        assert_ne!(Seed::new(1).number("a"), Seed::new(1).number("b"));
        assert_ne!(Seed::new(1).number("a"), Seed::new(2).number("a"));
    }
}
