//! What is wrong between pods: silence, loss, delay, and packets that are held back.
//!
//! A disturbance belongs to names, not to hosts: a pod that comes back as a new host is in it still. Any number of them
//! may lie over each other, and each ends by itself: what holds at a moment is all that has begun and has not ended.

use std::fmt;

/// One direction between pods, each named by its number; `None` is anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) from: Option<u16>,
    pub(crate) to: Option<u16>,
}

impl Way {
    fn is_on(self, from: u16, to: u16) -> bool {
        self.from.is_none_or(|pod| pod == from) && self.to.is_none_or(|pod| pod == to)
    }
}

/// What is wrong on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// Nothing gets through. What was lost comes back with its sender's next retransmission.
    Silence,
    /// So many of a million segments are lost, beside those that are lost everywhere.
    Loss {
        /// Parts per million.
        ppm: u32,
    },
    /// Each segment takes so much longer.
    Delay {
        /// In microseconds.
        us: u64,
    },
    /// Nothing arrives before a time, and then all of it does.
    Hold {
        /// Virtual time from the start, in microseconds.
        until_us: u64,
    },
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("silence"),
            Self::Loss { ppm } => write!(f, "{ppm} of a million segments lost"),
            Self::Delay { us } => write!(f, "{us} us slower"),
            Self::Hold { until_us } => write!(f, "held back until {until_us} us"),
        }
    }
}

/// All disturbances of a moment.
#[derive(Debug, Default)]
pub(crate) struct Disturbances {
    begun: u64,
    active: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    number: u64,
    ways: Vec<Way>,
    what: Disturbance,
    /// Segments that it did something to.
    hits: u64,
}

impl Disturbances {
    /// Something goes wrong on these ways. Returns its number.
    pub(crate) fn begin(&mut self, ways: Vec<Way>, what: Disturbance) -> u64 {
        self.begun += 1;
        self.active.push(Active { number: self.begun, ways, what, hits: 0 });
        self.begun
    }

    /// The disturbance of this number is over. Returns how many segments it did something to.
    pub(crate) fn end(&mut self, number: u64) -> u64 {
        let over = self.active.iter().position(|active| active.number == number);
        over.map_or(0, |place| self.active.remove(place).hits)
    }

    /// How many segments the disturbance of this number has done something to.
    pub(crate) fn hits(&self, number: u64) -> u64 {
        self.active.iter().find(|active| active.number == number).map_or(0, |active| active.hits)
    }

    /// Whether nothing is wrong anywhere.
    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    fn on(&mut self, from: u16, to: u16) -> impl Iterator<Item = &mut Active> {
        self.active.iter_mut().filter(move |active| active.ways.iter().any(|way| way.is_on(from, to)))
    }

    /// Whether `to` can't hear `from`. Asked for each segment that is to get there.
    pub(super) fn silence(&mut self, from: u16, to: u16) -> bool {
        let silences = self.on(from, to).filter(|active| active.what == Disturbance::Silence);
        silences.map(|active| active.hits += 1).count() > 0
    }

    /// How many of a million segments are lost by chance.
    pub(super) fn loss_ppm(&mut self, from: u16, to: u16) -> u64 {
        self.on(from, to).map(|active| if let Disturbance::Loss { ppm } = active.what { ppm.into() } else { 0 }).sum()
    }

    /// A segment was lost by chance.
    pub(super) fn lost(&mut self, from: u16, to: u16) {
        let losses = self.on(from, to).filter(|active| matches!(active.what, Disturbance::Loss { .. }));
        losses.for_each(|active| active.hits += 1);
    }

    /// When a segment arrives that would at `arrival_ns`.
    pub(super) fn delayed_ns(&mut self, from: u16, to: u16, arrival_ns: u64) -> u64 {
        let mut late_ns = arrival_ns;
        for active in self.on(from, to) {
            if let Disturbance::Delay { us } = active.what {
                active.hits += 1;
                late_ns += us * 1_000;
            }
        }
        for active in self.on(from, to) {
            if let Disturbance::Hold { until_us } = active.what
                && until_us * 1_000 > arrival_ns
            {
                active.hits += 1;
                late_ns = late_ns.max(until_us * 1_000);
            }
        }
        late_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANYBODY_TO_1: Way = Way { from: None, to: Some(1) };
    const FROM_0_TO_1: Way = Way { from: Some(0), to: Some(1) };

    #[test]
    fn silences_that_overlap_end_one_by_one_and_tell_what_each_has_hit() {
        let mut all = Disturbances::default();
        let first = all.begin(vec![ANYBODY_TO_1], Disturbance::Silence);
        let second = all.begin(vec![FROM_0_TO_1], Disturbance::Silence);
        assert!(all.silence(0, 1) && all.silence(7, 1) && !all.silence(1, 0));
        assert_eq!(all.end(first), 2);
        assert!(all.silence(0, 1) && !all.silence(7, 1));
        assert_eq!(all.end(second), 2);
        assert!(all.is_empty() && !all.silence(0, 1));
    }

    #[test]
    fn losses_and_delays_that_overlap_add_up_and_the_longest_hold_counts() {
        let mut all = Disturbances::default();
        let begun = [
            Disturbance::Loss { ppm: 600_000 },
            Disturbance::Loss { ppm: 500_000 },
            Disturbance::Delay { us: 3 },
            Disturbance::Delay { us: 4 },
            Disturbance::Hold { until_us: 20 },
            Disturbance::Hold { until_us: 8 },
        ]
        .map(|what| all.begin(vec![FROM_0_TO_1], what));
        assert_eq!((all.loss_ppm(0, 1), all.loss_ppm(1, 0)), (1_100_000, 0));
        all.lost(0, 1);
        assert_eq!([9_000, 15_000].map(|at_ns| all.delayed_ns(0, 1, at_ns)), [20_000, 22_000]);
        assert_eq!(all.delayed_ns(1, 0, 9_000), 9_000);
        assert_eq!(begun.map(|number| all.end(number)), [1, 1, 2, 2, 2, 0]);
    }
}
