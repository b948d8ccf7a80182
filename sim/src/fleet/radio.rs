//! Who hears whom: gateways on a grid over the store's floor, labels anywhere on it, and a signal that fades with
//! distance.
//!
//! The signal follows the log-distance model (Rappaport, Wireless Communications, section 4.9): the mean falls by
//! 10·n·log10(d), and each reading scatters around it. Walls, floors and interference are not modelled, and nothing
//! is lost: that is the business of [`air`](super::air).

use backbone::message::Mac;
use rand_chacha::{ChaCha8Rng, rand_core::Rng};

/// Mean signal strength at 1 m, in dBm: a common BLE beacon.
const AT_ONE_METRE_DBM: f64 = -59.0;
/// Path-loss exponent n of a store with shelves of metal.
const PATH_LOSS_EXPONENT: f64 = 2.5;
/// Readings scatter by at most this much to either side, in dB.
const SCATTER_DB: i8 = 4;
/// By this much less scatters what a gateway makes of many readings: an exponential mean that gives the newest reading
/// a weight of 0.4 has 0.4 / (2 - 0.4), a quarter, of their variance.
pub(super) const SMOOTHED: i8 = 2;

/// The shape of one store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StorePlan {
    /// Gateways on its floor.
    pub gateways: usize,
    /// Labels on its floor.
    pub labels: usize,
    /// How many gateways hear a label: those nearest to it.
    pub gateways_in_range: usize,
    /// Length of the square floor's side, in metres.
    pub side_m: f64,
}

/// A label as one gateway hears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The label.
    pub label: Mac,
    /// Its mean signal strength, in dBm.
    pub mean_dbm: i8,
}

impl Heard {
    /// One reading of the signal.
    pub(super) fn reading(self, rng: &mut ChaCha8Rng) -> (Mac, i8) {
        self.scattered(SCATTER_DB, rng)
    }

    /// What a gateway makes of many readings: see [`SMOOTHED`].
    pub(super) fn smoothed(self, rng: &mut ChaCha8Rng) -> (Mac, i8) {
        self.scattered(SCATTER_DB / SMOOTHED, rng)
    }

    fn scattered(self, db: i8, rng: &mut ChaCha8Rng) -> (Mac, i8) {
        let span = 2 * u32::from(db.unsigned_abs()) + 1;
        let scatter = i8::try_from(rng.next_u32() % span).expect("the span is small") - db;
        (self.label, self.mean_dbm.saturating_add(scatter))
    }
}

/// A place on a store's floor, in metres from its corner.
pub(super) type Place = (f64, f64);

/// Where the gateways of a store are: on a grid.
pub(super) fn grid(plan: StorePlan) -> Vec<Place> {
    let columns = (plan.gateways as f64).sqrt().ceil().max(1.0) as usize;
    let rows = plan.gateways.div_ceil(columns).max(1);
    let on_grid = |i: usize| {
        let part = |cell: usize, cells: usize| (cell as f64 + 0.5) / cells as f64 * plan.side_m;
        (part(i % columns, columns), part(i / columns, rows))
    };
    (0..plan.gateways).map(on_grid).collect()
}

/// Somewhere on a square floor.
pub(super) fn anywhere(side_m: f64, rng: &mut ChaCha8Rng) -> Place {
    let mut along = || f64::from(rng.next_u32()) / f64::from(u32::MAX) * side_m;
    (along(), along())
}

/// How far apart two places are, in metres.
pub(super) fn distance_m(a: Place, b: Place) -> f64 {
    libm::hypot(a.0 - b.0, a.1 - b.1)
}

/// The mean strength at this distance, in dBm.
pub(super) fn path_dbm(distance_m: f64) -> f64 {
    AT_ONE_METRE_DBM - 10.0 * PATH_LOSS_EXPONENT * libm::log10(distance_m.max(1.0))
}

/// Places the gateways and labels of a store: for each gateway, the labels it hears. `label_mac` names the store's
/// labels.
pub fn place_store(plan: StorePlan, label_mac: impl Fn(usize) -> Mac, rng: &mut ChaCha8Rng) -> Vec<Vec<Heard>> {
    let gateways = grid(plan);
    let mut heard = vec![Vec::new(); plan.gateways];
    for label in 0..plan.labels {
        let here = anywhere(plan.side_m, rng);
        let mut near: Vec<(f64, usize)> =
            gateways.iter().enumerate().map(|(i, gateway)| (distance_m(*gateway, here), i)).collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (distance_m, gateway) in near.into_iter().take(plan.gateways_in_range) {
            heard[gateway].push(Heard { label: label_mac(label), mean_dbm: mean_dbm(distance_m) });
        }
    }
    heard
}

fn mean_dbm(distance_m: f64) -> i8 {
    path_dbm(distance_m).clamp(-120.0, -1.0).round() as i8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    const PLAN: StorePlan = StorePlan { gateways: 20, labels: 500, gateways_in_range: 3, side_m: 60.0 };

    fn placed() -> Vec<Vec<Heard>> {
        place_store(PLAN, |i| Mac::new(i as u64), &mut Seed::new(1).stream("radio"))
    }

    #[test]
    fn each_label_is_heard_by_as_many_gateways_as_planned() {
        let mut times = vec![0; PLAN.labels];
        for heard in placed().iter().flatten() {
            times[heard.label.value() as usize] += 1;
        }
        assert!(times.iter().all(|n| *n == PLAN.gateways_in_range));
    }

    #[test]
    fn every_gateway_of_a_full_store_hears_some_label() {
        assert!(placed().iter().all(|heard| !heard.is_empty()));
    }

    #[test]
    fn the_signal_fades_with_distance_and_never_becomes_positive() {
        assert!(mean_dbm(0.0) > mean_dbm(5.0) && mean_dbm(5.0) > mean_dbm(50.0));
        assert!(mean_dbm(0.0) < 0);
    }

    #[test]
    fn readings_scatter_around_the_mean() {
        let mut rng = Seed::new(1).stream("noise");
        let heard = Heard { label: Mac::new(1), mean_dbm: -70 };
        let readings: Vec<i8> = (0..500).map(|_| heard.reading(&mut rng).1).collect();
        assert_eq!((readings.iter().min(), readings.iter().max()), (Some(&-74), Some(&-66)));
    }
}
