//! Warnings that could come with every message: only some of them are said, so that one slow or broken client does not
//! fill a log.

/// Counts what is alike, and says when it is worth a line: the first time, the tenth, the hundredth and so on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sparse(u64);

impl Sparse {
    /// It has happened once more. How often by now, if that is to be said.
    pub(super) fn again(&mut self) -> Option<u64> {
        self.0 = self.0.saturating_add(1);
        (10_u64.pow(self.0.ilog10()) == self.0).then_some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_thousand_times_are_six_lines() {
        let mut sparse = Sparse::default();
        let said: Vec<u64> = (0..100_000).filter_map(|_| sparse.again()).collect();
        assert_eq!(said, [1, 10, 100, 1_000, 10_000, 100_000]);
    }
}
