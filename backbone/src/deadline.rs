//! The one absolute deadline of a request, as each hop sees it.

use crate::env::Env;
use std::time::Duration;
use tokio::time::Instant;

/// Longest time a request may have left. A caller whose clock is wrong must not fill the stores for ever.
const LEFT_MAX: Duration = Duration::from_secs(60 * 60);

/// A point in time, on the wall clock (to send on) and on this process's timer (to wait for).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    unix_ms: u64,
    at: Instant,
}

impl Deadline {
    /// The deadline that is `left` away from now.
    pub(crate) fn after(env: &Env, left: Duration) -> Self {
        Self { unix_ms: env.unix_ms() + duration_ms(left), at: Instant::now() + left }
    }

    /// The deadline that came with a request; `None` if it has passed. One too far ahead is brought nearer.
    pub(crate) fn from_unix_ms(env: &Env, unix_ms: u64) -> Option<Self> {
        let left = Duration::from_millis(unix_ms.saturating_sub(env.unix_ms())).min(LEFT_MAX);
        (!left.is_zero()).then(|| Self { unix_ms, at: Instant::now() + left })
    }

    /// In milliseconds since 1970.
    pub(crate) fn unix_ms(self) -> u64 {
        self.unix_ms
    }

    /// On this process's timer.
    pub(crate) fn at(self) -> Instant {
        self.at
    }

    /// What is left, in whole milliseconds, at least 1: that is what a time-to-live accepts.
    pub(crate) fn left_ms(self) -> u64 {
        duration_ms(self.at.saturating_duration_since(Instant::now())).max(1)
    }

    /// What is left, in whole seconds, rounded up, at least 1.
    pub(crate) fn left_s(self) -> u32 {
        u32::try_from(self.left_ms().div_ceil(1000)).expect("an hour of seconds fits 32 bits")
    }
}

fn duration_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("milliseconds of any sane time fit 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_has_passed_is_none() {
        assert!(Deadline::from_unix_ms(&Env::tokio(), Env::tokio().unix_ms() - 1).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_shrinks_with_time_but_never_to_zero() {
        let deadline = Deadline::after(&Env::tokio(), Duration::from_millis(1500));
        assert_eq!((deadline.left_ms(), deadline.left_s()), (1500, 2));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((deadline.left_ms(), deadline.left_s()), (500, 1));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(deadline.left_ms(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_in_the_far_future_is_brought_nearer() {
        let deadline = Deadline::from_unix_ms(&Env::tokio(), u64::MAX).unwrap();
        assert_eq!(deadline.left_s(), 3600);
    }
}
