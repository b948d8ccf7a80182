//! Wall clocks that are wrong. All are right unless somebody sets one; monotonic time is the same everywhere.

const NS_PER_MS: i128 = 1_000_000;
const PPM: i128 = 1_000_000;

/// How a pod's wall clock is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockError {
    /// How far it is ahead from the beginning on, in milliseconds; negative: behind.
    pub ahead_ms: i64,
    /// How much faster it runs, in parts per million; negative: slower.
    pub drift_ppm: i64,
}

#[derive(Debug)]
struct Wrong {
    number: u64,
    pod: u16,
    error: ClockError,
    since_ns: u64,
    /// How often its time was asked for.
    asked: u64,
}

/// All that is wrong with clocks at a moment.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    begun: u64,
    wrong: Vec<Wrong>,
}

impl Clocks {
    /// From `now_ns` on a pod's clock is wrong, beside what is wrong with it already. Returns the error's number.
    pub(crate) fn begin(&mut self, pod: u16, error: ClockError, now_ns: u64) -> u64 {
        self.begun += 1;
        self.wrong.push(Wrong { number: self.begun, pod, error, since_ns: now_ns, asked: 0 });
        self.begun
    }

    /// The error of this number is over: somebody has set the clock. Returns how often its time was asked for.
    pub(crate) fn end(&mut self, number: u64) -> u64 {
        let over = self.wrong.iter().position(|wrong| wrong.number == number);
        over.map_or(0, |place| self.wrong.remove(place).asked)
    }

    /// How often the time of the clock with this error was asked for.
    pub(crate) fn asked(&self, number: u64) -> u64 {
        self.wrong.iter().find(|wrong| wrong.number == number).map_or(0, |wrong| wrong.asked)
    }

    /// How far a pod's clock is ahead, in nanoseconds.
    pub(crate) fn ahead_ns(&mut self, pod: u16, now_ns: u64) -> i128 {
        let mut ahead_ns = 0;
        for wrong in self.wrong.iter_mut().filter(|wrong| wrong.pod == pod) {
            wrong.asked += 1;
            let elapsed_ns = i128::from(now_ns - wrong.since_ns);
            let ClockError { ahead_ms, drift_ppm } = wrong.error;
            ahead_ns += i128::from(ahead_ms) * NS_PER_MS + elapsed_ns * i128::from(drift_ppm) / PPM;
        }
        ahead_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_clock_add_up_and_end_one_by_one() {
        let mut clocks = Clocks::default();
        let step = clocks.begin(1, ClockError { ahead_ms: -5, drift_ppm: 0 }, 0);
        let drift = clocks.begin(1, ClockError { ahead_ms: 0, drift_ppm: 100 }, 1_000_000_000);
        assert_eq!(clocks.ahead_ns(1, 3_000_000_000), -5_000_000 + 200_000);
        assert_eq!(clocks.ahead_ns(0, 3_000_000_000), 0);
        assert_eq!(clocks.end(step), 1);
        assert_eq!(clocks.ahead_ns(1, 3_000_000_000), 200_000);
        assert_eq!((clocks.end(drift), clocks.ahead_ns(1, 3_000_000_000)), (2, 0));
    }
}
