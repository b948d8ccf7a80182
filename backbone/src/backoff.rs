//! How long to wait before trying again: exponential, bounded, with jitter so that replicas that lost the same broker
//! don't come back in step.

use crate::env::Env;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::time::Duration;

/// First delay. Most lost connections were a peer's restart, and the next dial succeeds.
const DELAY_MIN: Duration = Duration::from_millis(100);
/// Longest delay: a broker that is back is found again within this time.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// A sequence of growing delays.
#[derive(Debug)]
pub(crate) struct Backoff(ExponentialBackoff);

impl Backoff {
    pub(crate) fn new() -> Self {
        // The jitter is ours, so backon's generator is seeded only to keep it from asking the operating system.
        let delays = ExponentialBuilder::new()
            .with_min_delay(DELAY_MIN)
            .with_max_delay(DELAY_MAX)
            .without_max_times()
            .with_jitter_seed(0);
        Self(delays.build())
    }

    /// The next delay: between half of what is due and all of it.
    pub(crate) fn next_delay(&mut self, env: &Env) -> Duration {
        let due = self.0.next().unwrap_or(DELAY_MAX);
        let mut jitter = [0; 2];
        env.random(&mut jitter);
        due / 2 + due / 2 * u32::from(u16::from_be_bytes(jitter)) / u32::from(u16::MAX)
    }

    /// Waits for the next delay.
    pub(crate) async fn pause(&mut self, env: &Env) {
        tokio::time::sleep(self.next_delay(env)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;

    #[test]
    fn delays_grow_and_stay_bounded() {
        let mut backoff = Backoff::new();
        let delays: Vec<_> = (0..20).map(|_| backoff.next_delay(&Env::tokio())).collect();
        assert!(delays[0] >= DELAY_MIN / 2 && delays[0] <= DELAY_MIN, "{delays:?}");
        assert!(delays[3] > delays[0], "{delays:?}");
        assert!(delays.iter().all(|delay| *delay <= DELAY_MAX), "{delays:?}");
        assert!(delays[19] >= DELAY_MAX / 2, "{delays:?}");
    }
}
