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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_seed_and_component() {
        assert_eq!(Seed::new(1).number("a"), Seed::new(1).number("a"));
        assert_ne!(Seed::new(1).number("a"), Seed::new(1).number("b"));
        assert_ne!(Seed::new(1).number("a"), Seed::new(2).number("a"));
    }
}
