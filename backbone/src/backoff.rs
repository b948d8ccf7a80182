//! How long to wait before trying again: exponential, bounded, with jitter so that replicas that lost the same broker
//! don't come back in step.

use crate::env::Env;
use std::time::Duration;

/// First delay. Most lost connections were a peer's restart, and the next dial succeeds.
const DELAY_MIN: Duration = Duration::from_millis(100);
/// Longest delay: a broker that is back is found again within this time.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// A sequence of delays, each twice the one before.
#[derive(Debug)]
pub(crate) struct Backoff {
    /// What is due next, before jitter.
    due: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { due: DELAY_MIN }
    }

    /// The next delay: between half of what is due and all of it.
    pub(crate) fn next_delay(&mut self, env: &Env) -> Duration {
        let due = self.due;
        self.due = DELAY_MAX.min(due * 2);
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
