//! Gateways' clocks: when a report was made, by the router's own.
//!
//! A report says when it was made by the gateway's clock. That orders the reports of one gateway, whichever way they
//! come, and shows which one has waited for too long: a late one must not hide a later one. But gateways boot without
//! the time, lose their time server, or write seconds where milliseconds belong. What a report's lag (its arrival minus
//! its time) is taken for:
//!
//! | lag | taken for | the time that counts |
//! |---|---|---|
//! | up to half the time that a route is fresh, in either direction | the way here | the gateway's |
//! | more, and as its reports had lately, give or take a quarter of that time | its clock | the gateway's, shifted |
//! | more, and growing or unheard of | a report that has waited | none: the report is dropped |
//! | negative by more than that half: no message comes from the future | its clock, at once | the gateway's, shifted |
//! | beyond a day, in either direction | no clock at all | the arrival |
//!
//! A report that waited in a queue arrives together with those before and after it, so their lags differ by the time
//! between them; a wrong clock is wrong by the same for seconds. So a lag is a clock's once it was the same for
//! [`STEADY_MS`]. Until then a gateway whose clock is behind is not heard: for its first report in a router's life.
//!
//! What is remembered is a cache of this replica's: losing it costs that report.

use crate::{config::Routing, env::Env, message::Mac};
use std::{collections::BTreeMap, sync::Mutex};

/// For how long a lag has to be the same, in milliseconds: longer than what has piled up takes to arrive.
const STEADY_MS: i64 = 1_000;
/// A clock that is further off is none, in milliseconds: one that counts seconds, or from its start. A day, since no
/// report of use waits that long.
const CLOCK_OFF_MAX_MS: i64 = 24 * 60 * 60 * 1_000;
/// Most gateways with wrong clocks that are remembered: some hundred bytes each. Beyond that the one is forgotten that
/// was heard the longest ago.
const REMEMBERED_MAX: usize = 10_000;

/// What is known of gateways whose clocks are wrong.
#[derive(Debug, Default)]
pub(super) struct Clocks(Mutex<BTreeMap<Mac, Odd>>);

/// A gateway whose reports have odd times.
#[derive(Clone, Copy, Debug, Default)]
struct Odd {
    /// The lag that is its clock's, in milliseconds, if it is known.
    known_ms: Option<i64>,
    /// Another lag that its last reports had, in milliseconds, and since when, in milliseconds since 1970.
    other: Option<(i64, i64)>,
    /// When its last report came.
    heard_unix_ms: i64,
}

/// When a report was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// At this time by the router's clock, in milliseconds since 1970. If the gateway's clock is wrong, or no longer
    /// is, how far it is ahead of the router's.
    At { unix_ms: u64, ahead_ms: Option<i64> },
    /// So long ago by the gateway's clock, as far as can be told.
    TooLongAgo { lag_ms: i64 },
}

impl Clocks {
    /// When the report of `gateway` was made that arrives now and says `heard_unix_ms`.
    pub(super) fn made(&self, env: &Env, routing: &Routing, gateway: Mac, heard_unix_ms: u64) -> Made {
        let (now, fresh_ms) = (signed(env.unix_ms()), signed(routing.route_fresh_ms));
        let (believed_ms, tolerance_ms) = (fresh_ms / 2, fresh_ms / 4);
        let lag_ms = now.saturating_sub(signed(heard_unix_ms));
        let mut all = self.0.lock().expect("no holder of this lock panics");
        if lag_ms.abs() <= believed_ms {
            let is_other = |odd: &mut Odd| !odd.has(lag_ms, tolerance_ms);
            let corrected = all.get_mut(&gateway).is_some_and(is_other).then(|| all.remove(&gateway)).flatten();
            let ahead_ms = corrected.and_then(|odd| odd.known_ms).map(|_| -lag_ms);
            return Made::At { unix_ms: heard_unix_ms, ahead_ms };
        }
        if all.len() >= REMEMBERED_MAX && !all.contains_key(&gateway) {
            let longest_ago = all.iter().min_by_key(|(_, odd)| odd.heard_unix_ms).map(|(gateway, _)| *gateway);
            longest_ago.map(|gateway| all.remove(&gateway));
        }
        let odd = all.entry(gateway).or_default();
        odd.heard_unix_ms = now;
        if lag_ms.abs() > CLOCK_OFF_MAX_MS {
            *odd = Odd { known_ms: Some(lag_ms), other: None, ..*odd };
            return Made::At { unix_ms: unsigned(now), ahead_ms: Some(-lag_ms) };
        }
        match odd.shift_ms(lag_ms, now, tolerance_ms) {
            Some(shift_ms) => {
                Made::At { unix_ms: unsigned(signed(heard_unix_ms) + shift_ms), ahead_ms: Some(-shift_ms) }
            }
            None => Made::TooLongAgo { lag_ms },
        }
    }
}

impl Odd {
    /// Whether its reports had this lag before.
    fn has(&self, lag_ms: i64, tolerance_ms: i64) -> bool {
        let lags = [self.known_ms, self.other.map(|(lag_ms, _)| lag_ms)];
        lags.into_iter().flatten().any(|known_ms| known_ms.abs_diff(lag_ms) <= tolerance_ms.unsigned_abs())
    }

    /// What to add to the time of a report with this lag; `None` if it has waited, as far as can be told.
    fn shift_ms(&mut self, lag_ms: i64, now: i64, tolerance_ms: i64) -> Option<i64> {
        let known_ms = match (self.known_ms, self.other) {
            // Less lag than the clock's: what was taken for that was too much.
            (Some(known_ms), _) if lag_ms <= known_ms + tolerance_ms => known_ms.min(lag_ms),
            // No message comes from the future.
            (None, _) if lag_ms < 0 => lag_ms,
            (_, Some((other_ms, since))) if other_ms.abs_diff(lag_ms) <= tolerance_ms.unsigned_abs() => {
                if now - since < STEADY_MS {
                    return None;
                }
                lag_ms
            }
            _ => {
                self.other = Some((lag_ms, now));
                return None;
            }
        };
        (self.known_ms, self.other) = (Some(known_ms), None);
        Some(known_ms)
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn unsigned(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::memory::memory_env;
    use std::time::Duration;
    use tokio::time::sleep;

    const GATEWAY: Mac = Mac::new(7);
    const PERIOD: Duration = Duration::from_secs(2);

    struct Router {
        env: Env,
        clocks: Clocks,
    }

    impl Router {
        fn new() -> Self {
            Self { env: memory_env(), clocks: Clocks::default() }
        }

        fn says(&self, heard_unix_ms: i64) -> Made {
            self.clocks.made(&self.env, &Routing::default(), GATEWAY, unsigned(heard_unix_ms))
        }

        /// A report arrives that was made so long ago by the gateway's clock. How old it is taken to be.
        fn age_ms(&self, lag_ms: i64) -> Option<i64> {
            let now = signed(self.env.unix_ms());
            match self.says(now - lag_ms) {
                Made::At { unix_ms, .. } => Some(now - signed(unix_ms)),
                Made::TooLongAgo { .. } => None,
            }
        }

        fn remembered(&self) -> usize {
            self.clocks.0.lock().unwrap().len()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_right_costs_nothing_and_a_report_that_waited_is_late() {
        let router = Router::new();
        for lag_ms in [0, 40, 3_000, -3_000] {
            assert_eq!(router.age_ms(lag_ms), Some(lag_ms));
        }
        assert_eq!(router.remembered(), 0);
        assert_eq!(router.age_ms(3_001), None);
        sleep(PERIOD).await;
        assert_eq!((router.age_ms(40), router.remembered()), (Some(40), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_behind_is_known_by_its_second_report() {
        let router = Router::new();
        assert_eq!(router.age_ms(3_510), None);
        sleep(PERIOD).await;
        assert_eq!(router.age_ms(3_520), Some(0));
        sleep(PERIOD).await;
        assert_eq!(router.age_ms(3_600), Some(80));
        assert_eq!(router.age_ms(3_500), Some(0), "this one was faster");
        // One waits for a minute, and those after it are as before.
        assert_eq!(router.age_ms(63_500), None);
        assert_eq!(router.age_ms(3_500), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_piled_up_in_a_queue_is_late_and_not_the_clocks_fault() {
        let router = Router::new();
        for waited_s in (1..30).rev() {
            let lag_ms = waited_s * 2_000;
            if lag_ms > 3_000 {
                assert_eq!(router.age_ms(lag_ms), None, "{lag_ms}");
            }
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!((router.age_ms(20), router.remembered()), (Some(20), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_ahead_is_known_at_once() {
        let router = Router::new();
        assert_eq!(router.age_ms(-3_600_000), Some(0));
        assert_eq!(router.age_ms(-3_599_900), Some(100));
        assert_eq!(router.age_ms(-3_540_000), None, "it waited for a minute");
        sleep(PERIOD).await;
        // Its clock is set right.
        let now = router.env.unix_ms();
        assert_eq!(router.says(signed(now) - 50), Made::At { unix_ms: now - 50, ahead_ms: Some(-50) });
        assert_eq!(router.remembered(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn seconds_and_uptimes_and_microseconds_are_no_times_so_the_arrival_counts() {
        let router = Router::new();
        for heard in [|ms| ms / 1_000, |_| 0, |_| 12_345, |ms| ms * 1_000, |_| i64::MAX] {
            for _ in 0..3 {
                let now = router.env.unix_ms();
                let made = router.says(heard(signed(now)));
                assert!(matches!(made, Made::At { unix_ms, ahead_ms: Some(_) } if unix_ms == now), "{made:?}");
                sleep(PERIOD).await;
            }
        }
        assert_eq!(router.age_ms(10), Some(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_at_the_edge_of_what_is_believed_loses_no_reports() {
        let router = Router::new();
        let mut lost = 0;
        for i in 0..100 {
            lost += usize::from(router.age_ms(if i % 2 == 0 { 2_950 } else { 3_050 }).is_none());
            sleep(PERIOD).await;
        }
        assert_eq!(lost, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_goes_wrong_later_is_followed() {
        let router = Router::new();
        assert_eq!(router.age_ms(0), Some(0));
        for lag_ms in [5_000, 90_000, -7_000, 4_000] {
            let mut lost = 0;
            for _ in 0..4 {
                sleep(PERIOD).await;
                lost += usize::from(router.age_ms(lag_ms).is_none());
            }
            assert!(lost <= 1, "{lag_ms}: {lost}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (env, clocks) = (memory_env(), Clocks::default());
        for gateway in 0..=REMEMBERED_MAX as u64 {
            clocks.made(&env, &Routing::default(), Mac::new(gateway), env.unix_ms() + 10_000);
        }
        assert_eq!(clocks.0.lock().unwrap().len(), REMEMBERED_MAX);
    }
}
