//! The calendar of one radio, which does one thing at a time.

use std::collections::BTreeMap;

/// When a label listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listens {
    Always,
    /// It wakes at this phase of each period, in microseconds, and is gone again at once.
    At {
        phase_us: u64,
        period_us: u64,
    },
}

impl Listens {
    /// When it listens next, from `now_us` on.
    fn next_us(self, now_us: u64) -> u64 {
        match self {
            Self::Always => now_us,
            Self::At { phase_us, period_us } => {
                let missed = now_us.saturating_sub(phase_us).div_ceil(period_us);
                phase_us + missed * period_us
            }
        }
    }
}

/// What a radio is booked for: from when until when, in microseconds. What is over is forgotten, so it holds at most
/// one booking for each command that the gateway works on.
#[derive(Debug, Default)]
pub(super) struct Calendar(BTreeMap<u64, u64>);

impl Calendar {
    /// The first time from `now_us` on at which the radio is free for `length_us` and the label listens. Books nothing.
    pub(super) fn first_free_us(&mut self, now_us: u64, length_us: u64, listens: Listens) -> u64 {
        self.0.retain(|_, end_us| *end_us > now_us);
        let mut begin_us = listens.next_us(now_us);
        // Each round passes one booking or more, so it ends.
        while let Some(busy_until_us) = self.busy_until_us(begin_us, begin_us + length_us) {
            begin_us = listens.next_us(busy_until_us);
        }
        begin_us
    }

    /// Books the radio for `length_us` from `begin_us` on.
    pub(super) fn book(&mut self, begin_us: u64, length_us: u64) {
        self.0.insert(begin_us, begin_us + length_us);
    }

    /// When the last booking ends that overlaps with this time; `None`: none does.
    fn busy_until_us(&self, begin_us: u64, end_us: u64) -> Option<u64> {
        let (_, last_end_us) = self.0.range(..end_us).next_back()?;
        (*last_end_us > begin_us).then_some(*last_end_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_radio_serves_one_label_after_the_other() {
        let mut calendar = Calendar::default();
        let begins: Vec<u64> = (0..3)
            .map(|_| {
                let begin_us = calendar.first_free_us(1_000, 700, Listens::Always);
                calendar.book(begin_us, 700);
                begin_us
            })
            .collect();
        assert_eq!(begins, [1_000, 1_700, 2_400]);
        assert_eq!(calendar.first_free_us(5_000, 700, Listens::Always), 5_000, "all of that is over");
        assert_eq!(calendar.0.len(), 0);
    }

    #[test]
    fn a_label_that_sleeps_is_served_when_it_wakes_and_others_meanwhile() {
        let mut calendar = Calendar::default();
        let sleeper = Listens::At { phase_us: 3_000, period_us: 10_000 };
        assert_eq!(calendar.first_free_us(4_000, 700, sleeper), 13_000);
        calendar.book(13_000, 700);
        assert_eq!(calendar.first_free_us(4_000, 700, Listens::Always), 4_000);
        // What does not fit before it comes after it.
        assert_eq!(calendar.first_free_us(12_500, 700, Listens::Always), 13_700);
        assert_eq!(calendar.first_free_us(12_500, 500, Listens::Always), 12_500);
    }

    #[test]
    fn of_two_labels_that_wake_at_the_same_time_one_waits_for_its_next_wake_up() {
        let mut calendar = Calendar::default();
        let listens = Listens::At { phase_us: 3_000, period_us: 10_000 };
        calendar.book(3_000, 700);
        assert_eq!(calendar.first_free_us(3_000, 700, listens), 13_000);
        assert_eq!(Calendar::default().first_free_us(3_000, 700, listens), 3_000);
        assert_eq!(Calendar::default().first_free_us(0, 700, listens), 3_000);
    }
}
