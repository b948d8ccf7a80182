//! What is left to chance when a world is drawn.

use rand_chacha::{ChaCha8Rng, rand_core::Rng as _};
use sim::Seed;
use std::ops::RangeInclusive;

/// A stream of draws from a seed.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// Those of `seed` for `purpose`: draws for one purpose do not shift those for another.
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        Self(Seed::new(seed).stream(purpose))
    }

    /// Any number below `count`, which is not 0.
    fn below(&mut self, count: u64) -> u64 {
        self.0.next_u64() % count
    }

    /// Whether something happens that happens so often.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Any number of `range`, all alike.
    pub(super) fn any(&mut self, range: RangeInclusive<u32>) -> u32 {
        range.start() + self.below(u64::from(range.end() - range.start()) + 1) as u32
    }

    /// A number of `range`, from 1 on, of which each order of magnitude is as likely as any other.
    pub(super) fn magnitude(&mut self, range: RangeInclusive<u32>) -> u32 {
        let (low, high) = (f64::from(*range.start()), f64::from(*range.end()));
        let part = self.below(1_000_001) as f64 / 1e6;
        let number = low * libm::pow(high / low, part);
        (number as u32).clamp(*range.start(), *range.end())
    }

    /// One of `all`, of which there is at least one.
    pub(super) fn one<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_in_their_ranges_and_reach_both_ends() {
        let mut dice = Dice::new(1, "a");
        let any: Vec<u32> = (0..1_000).map(|_| dice.any(3..=7)).collect();
        assert_eq!((any.iter().min(), any.iter().max()), (Some(&3), Some(&7)));
        let sizes: Vec<u32> = (0..3_000).map(|_| dice.magnitude(10..=10_000)).collect();
        assert!(sizes.iter().all(|size| (10..=10_000).contains(size)));
        let small = sizes.iter().filter(|size| **size < 100).count();
        assert!((900..1_100).contains(&small), "a third has two digits: {small}");
        let yes = (0..1_000).filter(|_| dice.percent(25)).count();
        assert!((200..300).contains(&yes), "{yes}");
    }
}
