//! One life of a pod, as the simulator sees it.

use crate::{
    engine::{is_running, with},
    env,
};
use backbone::env::Env;
use std::fmt;

/// One incarnation of a pod, from its start to its end. A restarted pod has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incarnation {
    pub(super) host: u16,
}

impl Incarnation {
    /// The outside world as what runs in it sees it. Of no use after its end.
    #[must_use]
    pub fn env(self) -> Env {
        env::on_host(self.host)
    }

    /// Puts an event of this pod into the trace.
    pub fn trace(self, event: fmt::Arguments<'_>) {
        with(|engine| {
            let name = engine.pods.name_of(self.host).to_owned();
            engine.record(&name, event);
        });
    }

    /// Whether its process lives. A killed one has nothing to say any more, nor has any once the simulation is over,
    /// though what they held is dropped only then.
    #[must_use]
    pub fn is_alive(self) -> bool {
        is_running() && with(|engine| engine.hosts[self.host].is_alive())
    }

    /// Virtual time since the start, in microseconds.
    #[must_use]
    pub fn now_us(self) -> u64 {
        with(|engine| engine.now_us())
    }
}
