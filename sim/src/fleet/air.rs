//! A store's air: who hears whom how well at any moment, what gets lost, and what that costs in time on the air.
//!
//! The mean strength falls with distance as in [`radio`](super::radio). Around it, for each pair of gateway and label,
//! lies log-normal shadowing: what stands between the two. It stays while the label does, and is drawn anew for each
//! square of [`SHADOW_SIDE_M`] that the label comes to. Around that each single packet scatters, since LE hops from
//! channel to channel and each has its own echoes. What arrives of a packet is [`phy`](super::phy)'s business. Both
//! directions are alike: radios of the same power, and the same things between them.
//!
//! Not modelled: gateways that disturb each other (they would have to send on one of 37 channels at the same time), and
//! echoes that depend on where people stand.

mod plan;
mod usage;

pub use plan::{Interference, RadioPlan};
pub use usage::RadioUse;

use super::{
    airtime::Listens,
    phy::{self, ACK_BYTES, BROADCAST_BYTES},
    radio::{Heard, Place, SMOOTHED, StorePlan, anywhere, distance_m, grid, path_dbm},
    roaming::Walk,
};
use crate::seed::{Seed, even, normal};
use backbone::message::Mac;
use rand_chacha::{ChaCha8Rng, rand_core::Rng as _};
use rustc_hash::FxHashMap;
use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Shadows change over this distance, in metres: what 3GPP's TR 38.901 has for offices without line of sight (table
/// 7.5-6, "InH-Office", correlation distance of the shadow fading).
const SHADOW_SIDE_M: f64 = 6.0;
/// Places of labels that roam are looked at once in this time, in microseconds: within it one moves by a step.
const STEP_US: u64 = 1_000_000;
/// What a gateway can report, in dBm: see `backbone::message`.
const REPORTED_DBM: RangeInclusive<f64> = -125.0..=-1.0;

/// A store's air. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug)]
pub struct Air(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    plan: RadioPlan,
    in_range: usize,
    /// Decides shadows and phases.
    salt: u64,
    begin: Instant,
    gateways: Vec<Place>,
    /// The labels that stay where they are, gateway by gateway.
    fixed: Vec<Vec<Heard>>,
    /// Only looked up.
    index: FxHashMap<Mac, usize>,
    /// Of those that roam.
    roaming: Vec<usize>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    labels: Vec<Label>,
    gateway_us: Vec<u64>,
    /// All but what follows from the others.
    sums: RadioUse,
}

#[derive(Debug)]
struct Label {
    mac: Mac,
    whereabouts: Whereabouts,
    receive_us: u64,
    send_us: u64,
}

#[derive(Debug)]
enum Whereabouts {
    Fixed(Place),
    Roaming(Box<Roaming>),
}

#[derive(Debug)]
struct Roaming {
    walk: Walk,
    /// Since when it is here, in steps.
    step: u64,
    /// Which gateways hear it here, the strongest first, and how strongly, in dBm.
    near: Vec<(usize, f64)>,
}

/// What became of a packet with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    /// The label has it.
    pub(super) delivered: bool,
    /// The gateway knows.
    pub(super) acknowledged: bool,
}

impl Air {
    /// The air of a store in which time begins now. `label_mac` names its labels; `name` tells it from other stores
    /// with the same seed.
    #[must_use]
    pub fn new(seed: Seed, name: &str, plan: RadioPlan, store: StorePlan, label_mac: impl Fn(usize) -> Mac) -> Self {
        let mut rng = seed.stream(&format!("air of {name}"));
        let salt = rng.next_u64();
        let roams = |draw: u64| plan.roaming_m_per_s > 0.0 && draw % 100 < u64::from(plan.roaming_percent);
        let mut labels = Vec::with_capacity(store.labels);
        let mut roaming = Vec::new();
        for number in 0..store.labels {
            let (mac, start) = (label_mac(number), anywhere(store.side_m, &mut rng));
            let whereabouts = if roams(rng.next_u64()) {
                roaming.push(number);
                let walk = seed.stream(&format!("walk of {mac}"));
                let walk = Walk::new(start, store.side_m, plan.roaming_m_per_s, walk);
                Whereabouts::Roaming(Box::new(Roaming { walk, step: u64::MAX, near: Vec::new() }))
            } else {
                Whereabouts::Fixed(start)
            };
            labels.push(Label { mac, whereabouts, receive_us: 0, send_us: 0 });
        }
        let index = labels.iter().enumerate().map(|(number, label)| (label.mac, number)).collect();
        let sums = RadioUse { gateways: store.gateways as u64, labels: store.labels as u64, ..RadioUse::default() };
        let state = State { labels, gateway_us: vec![0; store.gateways], sums };
        let mut shared = Shared {
            plan,
            in_range: store.gateways_in_range,
            salt,
            begin: Instant::now(),
            gateways: grid(store),
            fixed: vec![Vec::new(); store.gateways],
            index,
            roaming,
            state: Mutex::new(state),
        };
        shared.fixed = shared.heard_of_fixed();
        Self(Arc::new(shared))
    }

    /// What `gateway` of this store has of it; counted from 0.
    #[must_use]
    pub fn antenna(&self, gateway: usize) -> Antenna {
        Antenna { air: self.clone(), gateway }
    }

    /// What the radio came to until now.
    #[must_use]
    pub fn usage(&self) -> RadioUse {
        let elapsed_us = self.now_us();
        let wake_us = micros(self.0.plan.wake_period);
        let listened_us =
            elapsed_us.checked_div(wake_us).map_or(elapsed_us, |times| times * phy::listening_us(wake_us));
        let state = self.0.state();
        let of_label = |label: &Label| label.receive_us + label.send_us;
        RadioUse {
            gateway_us: state.gateway_us.iter().sum(),
            gateway_us_max: state.gateway_us.iter().copied().max().unwrap_or(0),
            label_receive_us: state.labels.iter().map(|label| label.receive_us).sum(),
            label_send_us: state.labels.iter().map(|label| label.send_us).sum(),
            label_us_max: state.labels.iter().map(of_label).max().unwrap_or(0),
            label_listen_us: listened_us * state.labels.len() as u64,
            ..state.sums
        }
    }

    fn now_us(&self) -> u64 {
        micros(self.0.begin.elapsed())
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("a run ends before 2^64 us")
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that stays the same for the same question.
    fn hash(&self, parts: [u64; 4]) -> u64 {
        let mut bytes = [0; 32];
        bytes.chunks_exact_mut(8).zip(parts).for_each(|(chunk, part)| chunk.copy_from_slice(&part.to_le_bytes()));
        xxh3_64_with_seed(&bytes, self.salt)
    }

    /// The mean strength between a gateway and a label that is at `place`, in dBm.
    fn strength_dbm(&self, gateway: usize, label: Mac, place: Place) -> f64 {
        let square = |along: f64| (along / SHADOW_SIDE_M) as u64;
        let pair = |part: u64| {
            let square = square(place.0) << 32 | square(place.1);
            self.hash([gateway as u64, label.value(), square, part])
        };
        let shadow_db = self.plan.shadowing_db * normal(pair(0), pair(1));
        path_dbm(distance_m(self.gateways[gateway], place)) + shadow_db
    }

    /// The gateways that may hear a label at `place`, the strongest first.
    fn near(&self, label: Mac, place: Place) -> Vec<(usize, f64)> {
        let strength = |gateway| (gateway, self.strength_dbm(gateway, label, place));
        let mut near: Vec<(usize, f64)> = (0..self.gateways.len()).map(strength).collect();
        near.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        near.truncate(self.in_range);
        near
    }

    fn heard_of_fixed(&self) -> Vec<Vec<Heard>> {
        let mut heard = self.fixed.clone();
        for label in &self.state().labels {
            if let Whereabouts::Fixed(place) = label.whereabouts {
                for (gateway, dbm) in self.near(label.mac, place) {
                    heard[gateway].push(Heard { label: label.mac, mean_dbm: reported(dbm) });
                }
            }
        }
        heard
    }

    /// Brings a label that roams to where it is at `now_us`.
    fn walk(&self, label: &mut Label, now_us: u64) {
        let mac = label.mac;
        if let Whereabouts::Roaming(roaming) = &mut label.whereabouts
            && roaming.step != now_us / STEP_US
        {
            roaming.step = now_us / STEP_US;
            let place = roaming.walk.place(roaming.step * STEP_US);
            roaming.near = self.near(mac, place);
        }
    }

    fn noise_dbm(&self, now_us: u64) -> f64 {
        let Interference { noise_db, from, lasts } = self.plan.interference;
        let (from_us, lasts_us) = (micros(from), micros(lasts));
        let is_disturbed = now_us.checked_sub(from_us).is_some_and(|since_us| since_us < lasts_us);
        phy::noise_dbm(self.plan.noise_figure_db) + if is_disturbed { noise_db } else { 0.0 }
    }
}

fn reported(dbm: f64) -> i8 {
    dbm.clamp(*REPORTED_DBM.start(), *REPORTED_DBM.end()).round() as i8
}

/// A gateway's part of its store's air. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Antenna {
    air: Air,
    gateway: usize,
}

impl Antenna {
    pub(super) fn plan(&self) -> &RadioPlan {
        &self.air.0.plan
    }

    /// Time since the beginning, in microseconds.
    pub(super) fn now_us(&self) -> u64 {
        self.air.now_us()
    }

    /// The moment that is so long after the beginning.
    pub(super) fn instant(&self, at_us: u64) -> Instant {
        self.air.0.begin + Duration::from_micros(at_us)
    }

    /// The labels that stay where they are and are in range, with their mean strengths.
    pub(super) fn fixed(&self) -> &[Heard] {
        &self.air.0.fixed[self.gateway]
    }

    /// Those that roam and are in range at `now_us`, which never goes back. Their order is that of the store's labels.
    pub(super) fn roaming(&self, now_us: u64) -> Vec<Heard> {
        let shared = &self.air.0;
        let mut state = shared.state();
        let mut heard = Vec::new();
        for number in &shared.roaming {
            let label = &mut state.labels[*number];
            shared.walk(label, now_us);
            if let Whereabouts::Roaming(roaming) = &label.whereabouts
                && let Some((_, dbm)) = roaming.near.iter().find(|(gateway, _)| *gateway == self.gateway)
            {
                heard.push(Heard { label: label.mac, mean_dbm: reported(*dbm) });
            }
        }
        heard
    }

    /// What the gateway reads when `heard` broadcasts once; `None`: it misses that.
    pub(super) fn reading(&self, heard: Heard, now_us: u64, rng: &mut ChaCha8Rng) -> Option<(Mac, i8)> {
        let dbm = f64::from(heard.mean_dbm) + self.plan().fading_db * normal(rng.next_u64(), rng.next_u64());
        let lost = phy::packet_error_rate(dbm - self.air.0.noise_dbm(now_us), BROADCAST_BYTES);
        (even(rng.next_u64()) >= lost).then_some((heard.label, reported(dbm)))
    }

    /// What it makes of many broadcasts: see [`SMOOTHED`].
    pub(super) fn smoothed(&self, heard: Heard, rng: &mut ChaCha8Rng) -> (Mac, i8) {
        let scatter_db = self.plan().fading_db / f64::from(SMOOTHED) * normal(rng.next_u64(), rng.next_u64());
        (heard.label, reported(f64::from(heard.mean_dbm) + scatter_db))
    }

    /// Whether it gets most broadcasts of a label that is so strong.
    pub(super) fn is_audible(&self, heard: Heard, now_us: u64) -> bool {
        let snr_db = f64::from(heard.mean_dbm) - self.air.0.noise_dbm(now_us);
        phy::packet_error_rate(snr_db, BROADCAST_BYTES) < 0.5
    }

    /// When `label` listens.
    pub(super) fn listens(&self, label: Mac) -> Listens {
        let period_us = micros(self.plan().wake_period);
        match self.air.0.hash([label.value(), 0, 0, 2]).checked_rem(period_us) {
            Some(phase_us) => Listens::At { phase_us, period_us },
            None => Listens::Always,
        }
    }

    /// What became of a command to `label` whose time on the air ends at `now_us`.
    pub(super) fn exchange(&self, label: Mac, now_us: u64, rng: &mut ChaCha8Rng) -> Exchange {
        let shared = &self.air.0;
        let command_bytes = shared.plan.command_bytes;
        let mut state = shared.state();
        state.gateway_us[self.gateway] += phy::exchange_us(command_bytes);
        state.sums.tries += 1;
        let Some(number) = shared.index.get(&label) else {
            return Exchange { delivered: false, acknowledged: false }; // of another store, or of none
        };
        let label = &mut state.labels[*number];
        shared.walk(label, now_us);
        let mean_dbm = match &mut label.whereabouts {
            Whereabouts::Fixed(place) => shared.strength_dbm(self.gateway, label.mac, *place),
            Whereabouts::Roaming(roaming) => {
                let place = roaming.walk.place(roaming.step * STEP_US);
                shared.strength_dbm(self.gateway, label.mac, place)
            }
        };
        let dbm = mean_dbm + shared.plan.fading_db * normal(rng.next_u64(), rng.next_u64());
        let snr_db = dbm - shared.noise_dbm(now_us);
        let mut arrives = |bytes| even(rng.next_u64()) >= phy::packet_error_rate(snr_db, bytes);
        let (command_arrives, ack_arrives) = (arrives(command_bytes), arrives(ACK_BYTES));
        label.receive_us += phy::packet_us(command_bytes);
        label.send_us += if command_arrives { phy::packet_us(ACK_BYTES) } else { 0 };
        Exchange { delivered: command_arrives, acknowledged: command_arrives && ack_arrives }
    }

    /// Counts a command that has ended after so many tries.
    pub(super) fn count(&self, tries: u32, is_answered: bool) {
        let sums = &mut self.air.0.state().sums;
        sums.commands += 1;
        sums.at_first_try += u64::from(is_answered && tries == 1);
        sums.answered += u64::from(is_answered);
        sums.unanswered += u64::from(!is_answered);
    }
}

#[cfg(test)]
mod tests;
