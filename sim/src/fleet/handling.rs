//! What a gateway's processor does with a command before the radio gets it, and before the reply leaves.

use crate::seed::log_normal;
use futures_util::future::BoxFuture;
use rand_chacha::{ChaCha8Rng, rand_core::Rng as _};
use std::{fmt, time::Duration};
use tokio::time::Instant;

/// CPU time for each command: reading it, a line of log, the reply. Drawn from a log-normal distribution, to the
/// nanosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// Half of all commands take less, in microseconds. 0: it takes no time.
    pub median_us: u64,
    /// Sigma of its logarithm, in percent. 0: it is always the median.
    pub spread_percent: u32,
}

impl Handling {
    pub(super) fn draw_ns(self, rng: &mut ChaCha8Rng) -> u64 {
        log_normal(self.median_us * 1_000, self.spread_percent, || rng.next_u64())
    }
}

/// What does a gateway's work.
pub trait Processor: fmt::Debug + Send + Sync {
    /// Ready when `cost_ns` of CPU time are over.
    fn work(&self, cost_ns: u64) -> BoxFuture<'_, ()>;
}

/// This machine's: its thread is busy for as long. Of use in real time only.
#[derive(Clone, Copy, Debug)]
pub struct BusyProcessor;

impl Processor for BusyProcessor {
    fn work(&self, cost_ns: u64) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // Sleeping would be too coarse: tokio's timers have whole milliseconds.
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_nanos(cost_ns) {
                std::hint::spin_loop();
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_real_processor_is_busy_for_as_long_as_it_was_told() {
        let begin = Instant::now();
        BusyProcessor.work(300_000).await;
        assert!(begin.elapsed() >= Duration::from_micros(300));
    }
}
