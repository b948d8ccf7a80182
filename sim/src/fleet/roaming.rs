//! Labels that move: on pallets, on trolleys, on a shelf that is set up elsewhere.
//!
//! Random waypoint: a label goes straight to a place drawn evenly from the floor, with a speed drawn for this leg, and
//! on from there. Speeds lie evenly between half and one and a half times the mean, since with a least speed near 0
//! such a world slows down for ever (Yoon, Liu and Noble, Random Waypoint Considered Harmful, INFOCOM 2003). Nobody
//! rests: a label that does is one that does not roam.

use super::radio::{Place, anywhere, distance_m};
use crate::seed::even;
use rand_chacha::{ChaCha8Rng, rand_core::Rng as _};

/// A label on its way.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    rng: ChaCha8Rng,
    side_m: f64,
    mean_m_per_s: f64,
    leg: Leg,
}

#[derive(Clone, Copy, Debug)]
struct Leg {
    from: Place,
    to: Place,
    begin_us: u64,
    end_us: u64,
}

impl Walk {
    /// One that begins at `start`, at time 0.
    pub(super) fn new(start: Place, side_m: f64, mean_m_per_s: f64, rng: ChaCha8Rng) -> Self {
        let leg = Leg { from: start, to: start, begin_us: 0, end_us: 0 };
        Self { rng, side_m, mean_m_per_s, leg }
    }

    /// Where it is at `now_us`, which never goes back.
    pub(super) fn place(&mut self, now_us: u64) -> Place {
        while now_us >= self.leg.end_us {
            self.leg = self.next_leg();
        }
        let Leg { from, to, begin_us, end_us } = self.leg;
        let part = (now_us - begin_us) as f64 / (end_us - begin_us) as f64;
        (from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1))
    }

    fn next_leg(&mut self) -> Leg {
        let (from, begin_us) = (self.leg.to, self.leg.end_us);
        let to = anywhere(self.side_m, &mut self.rng);
        let m_per_s = self.mean_m_per_s * (0.5 + even(self.rng.next_u64()));
        let leg_us = (distance_m(from, to) / m_per_s * 1e6) as u64;
        Leg { from, to, begin_us, end_us: begin_us + leg_us.max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    const SECOND: u64 = 1_000_000;

    fn walk() -> Walk {
        Walk::new((10.0, 20.0), 50.0, 1.2, Seed::new(1).stream("walk"))
    }

    #[test]
    fn a_label_stays_on_the_floor_and_has_its_mean_speed() {
        let mut walk = walk();
        let places: Vec<Place> = (0..20_000).map(|s| walk.place(s * SECOND)).collect();
        assert_eq!(places[0], (10.0, 20.0));
        let on_floor = |along: f64| (0.0..=50.0).contains(&along);
        assert!(places.iter().all(|place| on_floor(place.0) && on_floor(place.1)));
        let steps: Vec<f64> = places.windows(2).map(|pair| distance_m(pair[0], pair[1])).collect();
        let mean = steps.iter().sum::<f64>() / steps.len() as f64;
        assert!(steps.iter().all(|step| *step < 1.9), "one and a half times the mean is the most");
        // Over time, since slow legs take longer: 1 / mean of 1 / v, 0.91 times the mean of all speeds.
        assert!((1.0..1.2).contains(&mean), "{mean}");
    }

    #[test]
    fn how_often_one_looks_changes_nothing() {
        let (mut often, mut seldom) = (walk(), walk());
        for s in 0..5_000 {
            often.place(s * SECOND);
        }
        assert_eq!(often.place(5_000 * SECOND), seldom.place(5_000 * SECOND));
    }
}
