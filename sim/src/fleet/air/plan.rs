//! What a store's radio is like.

use std::time::Duration;

/// The radio of a store's gateways and labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RadioPlan {
    /// Sigma of the shadowing, in dB.
    pub shadowing_db: f64,
    /// Sigma of what each packet scatters by, in dB.
    pub fading_db: f64,
    /// By how much a receiver is worse than thermal noise, in dB.
    pub noise_figure_db: f64,
    /// Payload of the packet that a command is on the air, in bytes.
    pub command_bytes: u32,
    /// How often a command is repeated that was not acknowledged.
    pub repeats_max: u32,
    /// How long after the last try a repeat begins at the earliest.
    pub repeat: Duration,
    /// How often a label wakes to listen, for a moment; zero: it always listens.
    pub wake_period: Duration,
    /// See [`Interference`].
    pub interference: Interference,
    /// How many of a hundred labels roam.
    pub roaming_percent: u32,
    /// Their mean speed, in metres a second; zero: nobody roams.
    pub roaming_m_per_s: f64,
}

/// A time with more noise than there is otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interference {
    /// By how much there is more, in dB.
    pub noise_db: f64,
    /// When it begins, counted from the start of the air.
    pub from: Duration,
    /// How long it lasts.
    pub lasts: Duration,
}
