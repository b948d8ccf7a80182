//! Whether a replica has what it needs: its connections, and what it does over them.

use super::{Ask, Event, Standing, Telemetry};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard},
};

/// The connections of one replica: those that its service keeps, as it says at its start.
#[derive(Default)]
pub struct Readiness(Mutex<Connections>);

#[derive(Default)]
struct Connections {
    kept: Vec<(&'static str, Ask)>,
    last_failures: BTreeMap<&'static str, String>,
}

/// What a replica that is not ready waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unready {
    /// Its service has not begun.
    Starting,
    /// Connections that are not up, each with what its dials met last, or over which the service can't work, with the
    /// reason.
    Disconnected(Vec<(&'static str, String)>),
}

impl Readiness {
    /// Whether all connections are up and of use. Asking makes those that are not dial, if they don't already.
    ///
    /// # Errors
    /// What is waited for.
    pub fn check(&self) -> Result<(), Unready> {
        let kept = self.connections().kept.clone();
        if kept.is_empty() {
            return Err(Unready::Starting);
        }
        // Asked without the lock: a connection that is found broken is reported as an event, here, too.
        let asked: Vec<_> = kept.iter().map(|(broker, ask)| (*broker, ask())).collect();
        let connections = self.connections();
        let last_failure = |broker| connections.last_failures.get(broker).map_or("not dialled before", String::as_str);
        let reason = |(broker, standing)| match standing {
            Standing::Up => None,
            Standing::Stalled(reason) => Some((broker, reason)),
            Standing::Down => Some((broker, last_failure(broker).to_owned())),
        };
        let waited_for: Vec<_> = asked.into_iter().filter_map(reason).collect();
        if waited_for.is_empty() { Ok(()) } else { Err(Unready::Disconnected(waited_for)) }
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readiness")
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Disconnected(brokers) => {
                let waits: Vec<_> = brokers.iter().map(|(broker, reason)| format!("{broker} ({reason})")).collect();
                write!(f, "waiting for {}", waits.join(", "))
            }
        }
    }
}

impl Telemetry for Readiness {
    fn record(&self, event: &Event<'_>) {
        if let Event::Disconnected { broker, reason } = event {
            self.connections().last_failures.insert(broker, (*reason).to_owned());
        }
    }

    fn keeps(&self, broker: &'static str, ask: &Ask) {
        self.connections().kept.push((broker, ask.clone()));
    }
}
