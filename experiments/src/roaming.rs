//! Does routing by signal strength earn its keep, and how fast may labels move before the table of routes is of no use?
//! One world, each way to route, each speed.

use crate::{
    measure::{Latencies, TaskCounts},
    plot::{Curve, Lines, Point},
    results::RadioNumbers,
    run::Run,
    spec::Spec,
};
use backbone::config::{Routing, RoutingMode};
use std::fmt::Write as _;

/// Mean speeds of the labels, in metres a minute: a shelf that is moved some day, up to a forklift truck. A walk is 80.
const SPEEDS_M_PER_MIN: [u32; 6] = [1, 10, 30, 80, 160, 320];
/// How much better another gateway has to be where hysteresis is tried, in dB: more than a packet's scatter.
const HYSTERESIS_DB: u8 = 6;
/// No gateway is better by so much: a label stays with its first one.
const FOR_GOOD_DB: u8 = 100;

/// A way to choose a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Strongest,
    Smoothed,
    Sticky,
    First,
    LastHeard,
    Random,
}

impl Way {
    const ALL: [Self; 6] = [Self::Strongest, Self::Smoothed, Self::Sticky, Self::First, Self::LastHeard, Self::Random];

    fn name(self) -> &'static str {
        match self {
            Self::Strongest => "the strongest",
            Self::Smoothed => "the strongest, smoothed",
            Self::Sticky => "the strongest, with hysteresis",
            Self::First => "the strongest at its first command",
            Self::LastHeard => "who heard it last",
            Self::Random => "any that heard it",
        }
    }

    fn set(self, routing: &mut Routing, period_ms: u32) {
        routing.mode = match self {
            Self::Strongest | Self::Smoothed | Self::Sticky | Self::First => RoutingMode::Rssi,
            Self::LastHeard => RoutingMode::LastHeard,
            Self::Random => RoutingMode::Random,
        };
        routing.smoothing_ms = if self == Self::Smoothed { period_ms.into() } else { 0 };
        routing.hysteresis_db = match self {
            Self::Sticky => HYSTERESIS_DB,
            Self::First => FOR_GOOD_DB,
            Self::Strongest | Self::Smoothed | Self::LastHeard | Self::Random => 0,
        };
    }
}

/// A way to route at a speed.
#[derive(Clone, Copy, Debug)]
struct Cell {
    way: Way,
    m_per_min: u32,
}

fn cells() -> impl Iterator<Item = Cell> {
    Way::ALL.into_iter().flat_map(|way| SPEEDS_M_PER_MIN.map(|m_per_min| Cell { way, m_per_min }))
}

/// `base`, which has a radio, with each way to route and each speed.
///
/// # Panics
/// If `base` has no radio.
#[must_use]
pub fn specs(base: &Spec) -> Vec<Spec> {
    let one = |Cell { way, m_per_min }| {
        let mut spec = base.clone();
        spec.name = format!("{}, {m_per_min} m/min", way.name());
        spec.gate = false;
        spec.fleet.radio.as_mut().expect("the base has a radio").roaming_m_per_min = m_per_min;
        way.set(&mut spec.backbone.routing, spec.fleet.rssi_period_ms);
        spec
    };
    cells().map(one).collect()
}

/// What came of all of them.
#[derive(Debug)]
pub struct Roaming {
    base: String,
    lines: Vec<(Cell, RadioNumbers, TaskCounts, Latencies)>,
}

impl Roaming {
    /// Of the `runs` of [`specs`], in their order.
    ///
    /// # Panics
    /// If a run has no radio.
    #[must_use]
    pub fn of(base: &Spec, runs: &[Run]) -> Self {
        let line = |(cell, run): (Cell, &Run)| {
            let outcome = &run.outcome;
            let radio = outcome.radio.as_ref().expect("the base has a radio");
            let radio = RadioNumbers::of(radio, outcome.virtual_us);
            (cell, radio, outcome.task_counts(), Latencies::of(outcome))
        };
        Self { base: base.name.clone(), lines: cells().zip(runs).map(line).collect() }
    }

    /// A table for documents.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out =
            "| a command goes to | m/min | at the first packet, % | answered, % | packets each | radio, us an \
                       answer | label, us an answer | tasks retried | last try, mean ms |\n\
                       |---|---|---|---|---|---|---|---|---|\n"
                .to_owned();
        for (Cell { way, m_per_min }, radio, tasks, latencies) in &self.lines {
            let try_ms = latencies.deciding_try.map_or(0.0, |latency| latency.mean);
            let _ = writeln!(
                out,
                "| {} | {m_per_min} | {:.1} | {:.1} | {:.2} | {:.0} | {:.0} | {} | {try_ms:.0} |",
                way.name(),
                radio.at_first_try_percent,
                radio.answered_percent,
                radio.tries_per_command,
                radio.gateway_us_per_answer,
                radio.label_us_per_answer,
                tasks.retried
            );
        }
        out
    }

    /// Success at the first packet over speed, a line a way.
    #[must_use]
    pub fn figure(&self) -> Lines {
        let curve = |(colour, way): (usize, Way)| {
            let of_way = self.lines.iter().filter(|(cell, ..)| cell.way == way);
            let point = |(cell, radio, ..): &(Cell, RadioNumbers, TaskCounts, Latencies)| {
                let value = radio.at_first_try_percent;
                Point { x: cell.m_per_min, value, min: value, max: value, setting: None }
            };
            Curve { name: way.name().to_owned(), points: of_way.map(point).collect(), foreign: false, colour }
        };
        Lines {
            title: vec!["How fast labels may move".to_owned(), format!("{} with other speeds", self.base)],
            x: "mean speed of the labels, in m/min".into(),
            y: "commands acknowledged at the first packet, in per cent".into(),
            log_y: false,
            curves: Way::ALL.into_iter().enumerate().map(curve).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Library, Radio};

    #[test]
    fn specs_differ_in_speed_and_routing_alone_and_are_valid() {
        let base = Library::repository().load("radio_rssi").unwrap();
        let specs = specs(&base);
        assert_eq!(specs.len(), Way::ALL.len() * SPEEDS_M_PER_MIN.len());
        for mut spec in specs {
            assert!(crate::spec::parse(&spec.to_toml()).is_ok() && spec.backbone.validate().is_ok(), "{}", spec.name);
            let radio = spec.fleet.radio.take().unwrap();
            spec.fleet.radio = Some(Radio { roaming_m_per_min: 0, ..radio });
            spec.backbone.routing = base.backbone.routing.clone();
            spec.name.clone_from(&base.name);
            assert_eq!(spec.to_toml(), base.to_toml());
        }
    }
}
