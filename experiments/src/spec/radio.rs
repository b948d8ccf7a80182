//! The radio between gateways and labels, where signal strength decides.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Signal strength decides what arrives: Bluetooth LE at 1 Mb/s. The section alone switches it on, also if it is empty.
/// Without it every command reaches its label.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Radio {
    /// Length of a store's side; 0: such that each label has 0.2 square metres; in m. Default: 0.
    pub side_m: u32,
    /// Sigma of the log-normal shadowing of each pair of gateway and label: it stays while the label does. Default: 8,
    /// as in offices without line of sight (3GPP TR 38.901, table 7.4.1-1).
    pub shadowing_db: u32,
    /// Sigma of what each packet scatters by, as LE hops from channel to channel. Default: 4, between a line of sight
    /// and none: Rayleigh fading has 5.6.
    pub fading_db: u32,
    /// By how much receivers are worse than thermal noise. Default: 7, which makes them sensitive down to -96 dBm.
    pub noise_figure_db: u32,
    /// Payload of the one packet that a command is on the air. Default: 100.
    pub command_bytes: u32,
    /// How often a gateway repeats a command that its label did not acknowledge, before it answers `failed`. Default:
    /// 3.
    pub repeats_max: u32,
    /// How long after a try its repeat begins at the earliest. Default: 20.
    pub repeat_ms: u32,
    /// Labels sleep and wake once in this time to listen for a moment, each at its own; 0: they always listen. Default:
    /// 0.
    pub wake_period_ms: u32,
    /// So much more noise there is in rush hours. Default: 0.
    pub interference_db: u32,
    /// When these begin, counted from the start of the world. Default: 0.
    pub interference_from_s: u32,
    /// How long they last. Default: 0.
    pub interference_for_s: u32,
    /// How many labels roam, by random waypoint over their store's floor. Default: 100, all of them, once they have a
    /// speed.
    pub roaming_percent: u32,
    /// Their mean speed; 0: nobody roams. Default: 0.
    pub roaming_m_per_min: u32,
}

impl Default for Radio {
    fn default() -> Self {
        Self {
            side_m: 0,
            shadowing_db: 8,
            fading_db: 4,
            noise_figure_db: 7,
            command_bytes: 100,
            repeats_max: 3,
            repeat_ms: 20,
            wake_period_ms: 0,
            interference_db: 0,
            interference_from_s: 0,
            interference_for_s: 0,
            roaming_percent: 100,
            roaming_m_per_min: 0,
        }
    }
}

impl Radio {
    /// The same for the simulator.
    #[must_use]
    pub fn plan(&self) -> sim::fleet::RadioPlan {
        let ms = |ms: u32| Duration::from_millis(ms.into());
        sim::fleet::RadioPlan {
            shadowing_db: self.shadowing_db.into(),
            fading_db: self.fading_db.into(),
            noise_figure_db: self.noise_figure_db.into(),
            command_bytes: self.command_bytes,
            repeats_max: self.repeats_max,
            repeat: ms(self.repeat_ms),
            wake_period: ms(self.wake_period_ms),
            interference: sim::fleet::Interference {
                noise_db: self.interference_db.into(),
                from: Duration::from_secs(self.interference_from_s.into()),
                lasts: Duration::from_secs(self.interference_for_s.into()),
            },
            roaming_percent: self.roaming_percent,
            roaming_m_per_s: f64::from(self.roaming_m_per_min) / 60.0,
        }
    }
}
