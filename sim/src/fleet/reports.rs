//! Which readings a gateway reports: all of them once a period, or those that changed.
//!
//! A gateway that reports changes listens all the time and smooths what it hears: so single packets' scatter makes no
//! change, only a label that moves does. A reading is reported when the label is heard for the first time, when its
//! smoothed strength is [`RssiChanges::change_db`] away from what was reported last, when nothing was reported of it
//! for [`RssiChanges::heartbeat`], and once, as [`LOST_DBM`], when it is not heard any more. Of a label that stays
//! where it is only heartbeats are due, and these lie in a queue: so it costs nothing between two of them, and one draw
//! at each. That is fair as long as `change_db` is larger than what is left of the scatter, a few dB: what is not drawn
//! would have changed nothing.

use super::{
    air::{Antenna, micros},
    radio::Heard,
};
use backbone::message::{Mac, RSSI_BYTES_MAX, RSSI_LABELS_MAX};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// What a report says of a label that its gateway has lost: the weakest reading that is one.
const LOST_DBM: i8 = -126;
/// Most bytes of a reading in JSON, with its comma: `["00:11:22:33:44:55",-126],`.
const READING_BYTES_MAX: usize = 27;
/// A gateway's labels have their heartbeats in so many reports: few enough that each is worth a message, many enough
/// that a router has not all labels at once.
const HEARTBEAT_PARTS: u64 = 8;
/// Bytes of a report around its readings, with a margin.
const AROUND_BYTES_MAX: usize = 128;
/// Most readings in one report: what a router takes, by number and by bytes.
pub(super) const READINGS_MAX: usize = {
    let by_bytes = (RSSI_BYTES_MAX - AROUND_BYTES_MAX) / READING_BYTES_MAX;
    if by_bytes < RSSI_LABELS_MAX { by_bytes } else { RSSI_LABELS_MAX }
};

/// When a gateway that reports changes reports a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RssiChanges {
    /// When its smoothed strength has changed by so much, in dB.
    pub change_db: u8,
    /// When nothing was reported of it for so long.
    pub heartbeat: Duration,
}

/// What one gateway hears and has reported.
pub(super) struct Readings {
    /// The labels that stay where they are.
    fixed: Vec<Heard>,
    antenna: Option<Antenna>,
    changes: Option<Changes>,
}

struct Changes {
    change_db: u8,
    heartbeat_us: u64,
    /// Which of `fixed` is due when, in microseconds, in order; `None`: nothing was reported yet.
    due: Option<VecDeque<(u64, usize)>>,
    roaming: BTreeMap<Mac, Reported>,
}

#[derive(Clone, Copy)]
struct Reported {
    mean_dbm: i8,
    due_us: u64,
}

impl Readings {
    pub(super) fn new(fixed: Vec<Heard>, antenna: Option<Antenna>, changes: Option<RssiChanges>) -> Self {
        let changes = changes.map(|RssiChanges { change_db, heartbeat }| Changes {
            change_db,
            heartbeat_us: micros(heartbeat),
            due: None,
            roaming: BTreeMap::new(),
        });
        Self { fixed, antenna, changes }
    }

    /// What is to be reported at `now_us`, which never goes back.
    pub(super) fn due(&mut self, now_us: u64, rng: &mut ChaCha8Rng) -> Vec<(Mac, i8)> {
        let Self { fixed, antenna, changes } = self;
        let antenna = antenna.as_ref();
        match (changes, antenna) {
            (Some(changes), _) => changes.due(fixed, antenna, now_us, rng),
            (None, Some(antenna)) => {
                let roaming = antenna.roaming(now_us);
                fixed.iter().chain(&roaming).filter_map(|heard| antenna.reading(*heard, now_us, rng)).collect()
            }
            (None, None) => fixed.iter().map(|heard| heard.reading(rng)).collect(),
        }
    }
}

impl Changes {
    fn due(&mut self, fixed: &[Heard], antenna: Option<&Antenna>, now_us: u64, rng: &mut ChaCha8Rng) -> Vec<(Mac, i8)> {
        let is_audible = |heard: Heard| antenna.is_none_or(|antenna| antenna.is_audible(heard, now_us));
        let mut readings = Vec::new();
        let mut report = |heard: Heard| {
            readings.push(match antenna {
                Some(antenna) => antenna.smoothed(heard, rng),
                None => heard.smoothed(rng),
            });
        };
        match &mut self.due {
            None => {
                let audible = || fixed.iter().enumerate().filter(|(_, heard)| is_audible(**heard));
                let count = audible().count() as u64;
                // The first heartbeats lie in all of its parts, so that all later ones do.
                let due = |(place, (index, _)): (u64, _)| {
                    let part = place * HEARTBEAT_PARTS / count + 1;
                    (now_us + part * self.heartbeat_us / HEARTBEAT_PARTS, index)
                };
                self.due = Some((0..).zip(audible()).map(due).collect());
                audible().for_each(|(_, heard)| report(*heard));
            }
            Some(due) => {
                while let Some((due_us, index)) = due.front().copied().filter(|(due_us, _)| *due_us <= now_us) {
                    due.pop_front();
                    due.push_back((due_us + self.heartbeat_us, index));
                    report(fixed[index]);
                }
            }
        }
        let Some(antenna) = antenna else { return readings };
        let heard: Vec<Heard> = antenna.roaming(now_us).into_iter().filter(|heard| is_audible(*heard)).collect();
        for heard in &heard {
            let is_due = self.roaming.get(&heard.label).is_none_or(|reported| {
                reported.due_us <= now_us || reported.mean_dbm.abs_diff(heard.mean_dbm) >= self.change_db
            });
            if is_due {
                let reported = Reported { mean_dbm: heard.mean_dbm, due_us: now_us + self.heartbeat_us };
                self.roaming.insert(heard.label, reported);
                report(*heard);
            }
        }
        if self.roaming.len() > heard.len() {
            let still: BTreeMap<Mac, ()> = heard.iter().map(|heard| (heard.label, ())).collect();
            let lost: Vec<Mac> = self.roaming.keys().filter(|label| !still.contains_key(label)).copied().collect();
            self.roaming.retain(|label, _| still.contains_key(label));
            readings.extend(lost.into_iter().map(|label| (label, LOST_DBM)));
        }
        readings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fleet::{Air, Interference, RadioPlan, StorePlan},
        seed::Seed,
    };

    const SECOND: u64 = 1_000_000;
    const CHANGES: RssiChanges = RssiChanges { change_db: 6, heartbeat: Duration::from_secs(100) };

    fn rng() -> ChaCha8Rng {
        Seed::new(1).stream("readings")
    }

    fn fixed(labels: u64) -> Vec<Heard> {
        (0..labels).map(|label| Heard { label: Mac::new(label), mean_dbm: -70 }).collect()
    }

    #[test]
    fn all_is_reported_at_first_and_then_heartbeats_spread_over_time() {
        let mut readings = Readings::new(fixed(500), None, Some(CHANGES));
        let mut rng = rng();
        assert_eq!(readings.due(0, &mut rng).len(), 500);
        let mut times = BTreeMap::<Mac, u32>::new();
        for second in 1..=300 {
            let due = readings.due(second * SECOND, &mut rng);
            // An eighth of the labels each 12.5 s.
            assert!([0, 62, 63].contains(&due.len()), "{} in second {second}", due.len());
            assert!(due.iter().all(|(_, dbm)| (-72..=-68).contains(dbm)), "what was smoothed scatters less");
            due.iter().for_each(|(label, _)| *times.entry(*label).or_default() += 1);
        }
        assert!(times.len() == 500 && times.values().all(|times| *times == 3));
    }

    #[test]
    fn without_changes_everything_is_reported_each_time() {
        let mut readings = Readings::new(fixed(50), None, None);
        assert!((0..5).all(|_| readings.due(0, &mut rng()).len() == 50));
    }

    /// A gateway in a store in which all labels roam, which is 100 m wide: so it hears a third of them.
    fn roaming(m_per_s: f64) -> Readings {
        let plan = RadioPlan {
            shadowing_db: 0.0,
            fading_db: 4.0,
            noise_figure_db: 7.0,
            command_bytes: 37,
            repeats_max: 3,
            repeat: Duration::ZERO,
            wake_period: Duration::ZERO,
            interference: Interference { noise_db: 0.0, from: Duration::ZERO, lasts: Duration::ZERO },
            roaming_percent: 100,
            roaming_m_per_s: m_per_s,
        };
        let store = StorePlan { gateways: 4, labels: 100, gateways_in_range: 4, side_m: 100.0 };
        let air = Air::new(Seed::new(1), "store 0", plan, store, |i| Mac::new(i as u64));
        Readings::new(Vec::new(), Some(air.antenna(0)), Some(CHANGES))
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_is_reported_and_what_is_lost_once() {
        let mut readings = roaming(2.0);
        let mut rng = rng();
        let mut last = BTreeMap::<Mac, i8>::new();
        let (mut reported, mut lost) = (0, 0);
        for second in 0..90 {
            for (label, dbm) in readings.due(second * SECOND, &mut rng) {
                let before = last.insert(label, dbm);
                assert!(dbm != LOST_DBM || before.is_some_and(|dbm| dbm != LOST_DBM), "{label} was not lost");
                reported += 1;
                lost += u32::from(dbm == LOST_DBM);
            }
        }
        assert!(lost > 10, "{lost}");
        assert!((100..1_000).contains(&reported), "{reported}; all readings would be about 2,700");
    }

    #[tokio::test(start_paused = true)]
    async fn who_hardly_moves_is_reported_by_heartbeats_alone() {
        let mut readings = roaming(0.001);
        let mut rng = rng();
        let first = readings.due(0, &mut rng).len();
        assert!(first > 20, "{first}");
        assert_eq!((1..100).map(|second| readings.due(second * SECOND, &mut rng).len()).sum::<usize>(), 0);
        assert_eq!(readings.due(100 * SECOND, &mut rng).len(), first);
    }

    #[test]
    fn a_full_report_is_one_that_routers_take() {
        use backbone::message::{Message as _, RssiReport};
        let labels = (0..READINGS_MAX as u64).map(|label| (Mac::new(label), LOST_DBM)).collect();
        let bytes = RssiReport { heard_unix_ms: u64::MAX, labels }.to_bytes();
        assert!(RssiReport::parse(&bytes).is_ok(), "{} bytes", bytes.len());
    }
}
