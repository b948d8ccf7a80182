//! One shared connection to a broker: dialled at its first use, and again after it was found broken.
//!
//! There is one dial at a time, in a task of its own, so that a caller who gives up does not undo it. Callers wait for
//! it until their deadline and no longer. What a connection is and how it is made is the [`Dialer`]'s business.

use crate::{
    backoff::Backoff,
    env::{DIAL_LIMIT, Env},
    telemetry::{Ask, Event, Standing, Telemetry},
};
use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

/// Makes connections of one kind.
pub(crate) trait Dialer: Send + Sync + 'static {
    /// Something cheap to clone.
    type Connection: Clone + Send + Sync + 'static;
    /// The name in [`Event::Connected`].
    const BROKER: &'static str;

    /// Connects and sets up what all users of the connection need.
    fn dial(&self) -> impl Future<Output = Result<Self::Connection, DialError>> + Send;

    /// Whether the connection is not known to be broken.
    fn is_up(connection: &Self::Connection) -> bool;

    /// Why the service can't work over a connection that is up, if that is so. Asked by whoever asks for readiness.
    fn stall(&self, _: &Self::Connection) -> Option<String> {
        None
    }
}

/// Why a dial failed.
pub(crate) type DialError = Box<dyn std::error::Error + Send + Sync>;

/// No connection could be had in time.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no connection to {broker} in time; last failure: {last_failure}")]
pub(crate) struct Unavailable {
    broker: &'static str,
    last_failure: Arc<str>,
}

/// The shared connection. Clones share it.
pub(crate) struct Reconnect<D: Dialer>(Arc<Inner<D>>);

struct Inner<D: Dialer> {
    env: Env,
    telemetry: Arc<dyn Telemetry>,
    dialer: D,
    state: Mutex<State<D::Connection>>,
    /// Told when a dial has succeeded.
    dialled: Notify,
}

struct State<C> {
    phase: Phase<C>,
    last_failure: Arc<str>,
    /// Counts the connections, so that a report of a broken one can't hit its successor.
    generation: u64,
}

enum Phase<C> {
    Down,
    Dialling,
    Up(C),
}

/// A connection, with what [`Reconnect::broken`] wants to know of it.
#[derive(Clone)]
pub(crate) struct Line<C> {
    pub(crate) connection: C,
    generation: u64,
}

impl<D: Dialer> Clone for Reconnect<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D: Dialer> fmt::Debug for Reconnect<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reconnect({})", D::BROKER)
    }
}

impl<D: Dialer> Reconnect<D> {
    pub(crate) fn new(env: Env, telemetry: Arc<dyn Telemetry>, dialer: D) -> Self {
        let state = State { phase: Phase::Down, last_failure: "none yet".into(), generation: 0 };
        let inner = Inner { env, telemetry, dialer, state: Mutex::new(state), dialled: Notify::new() };
        let inner = Arc::new(inner);
        // Not a strong one: dialling ends with the last user of the connection.
        let watched = Arc::downgrade(&inner);
        let ask: Ask = Arc::new(move || {
            let Some(reconnect) = watched.upgrade().map(Self) else { return Standing::Down };
            let Some(line) = reconnect.current_or_dial() else { return Standing::Down };
            reconnect.0.dialer.stall(&line.connection).map_or(Standing::Up, Standing::Stalled)
        });
        inner.telemetry.keeps(D::BROKER, &ask);
        Self(inner)
    }

    /// The connection, as soon as there is one.
    ///
    /// # Errors
    /// [`Unavailable`] if there is none before `deadline`.
    pub(crate) async fn get(&self, deadline: Instant) -> Result<Line<D::Connection>, Unavailable> {
        loop {
            if let Some(line) = self.current_or_dial() {
                return Ok(line);
            }
            let mut dialled = std::pin::pin!(self.0.dialled.notified());
            // Registered before another look at the state: a dial that has just succeeded is not missed.
            dialled.as_mut().enable();
            if self.current().is_some() {
                continue;
            }
            if timeout_at(deadline, dialled).await.is_err() {
                return Err(Unavailable { broker: D::BROKER, last_failure: self.state().last_failure.clone() });
            }
        }
    }

    /// The connection, if there is one already.
    pub(crate) fn current(&self) -> Option<Line<D::Connection>> {
        let state = self.state();
        match &state.phase {
            Phase::Up(connection) => Some(Line { connection: connection.clone(), generation: state.generation }),
            Phase::Down | Phase::Dialling => None,
        }
    }

    /// Reports that `line` does not work. The next [`get`](Self::get) dials anew. True for the first report of a line.
    pub(crate) fn broken(&self, line: &Line<D::Connection>, reason: &str) -> bool {
        let mut state = self.state();
        let first = state.generation == line.generation && matches!(state.phase, Phase::Up(_));
        if first {
            state.phase = Phase::Down;
            state.last_failure = reason.into();
        }
        drop(state);
        if first {
            self.0.telemetry.record(&Event::Disconnected { broker: D::BROKER, reason });
        }
        first
    }

    fn current_or_dial(&self) -> Option<Line<D::Connection>> {
        let line = self.current();
        if let Some(line) = line {
            if D::is_up(&line.connection) {
                return Some(line);
            }
            self.broken(&line, "the connection was lost");
        }
        let mut state = self.state();
        if matches!(state.phase, Phase::Down) {
            state.phase = Phase::Dialling;
            drop(state);
            self.0.env.spawn("dial", self.clone().dial());
        }
        None
    }

    /// Dials until it succeeds or nobody is left who could want the connection.
    async fn dial(self) {
        let mut backoff = Backoff::new();
        if self.state().generation > 0 {
            // All who lost this broker are about to dial it: not at the same moment.
            backoff.pause(&self.0.env).await;
        }
        while Arc::strong_count(&self.0) > 1 {
            let failure = match timeout(DIAL_LIMIT, self.0.dialer.dial()).await {
                Ok(Ok(connection)) => {
                    let mut state = self.state();
                    state.generation += 1;
                    state.phase = Phase::Up(connection);
                    drop(state);
                    self.0.telemetry.record(&Event::Connected { broker: D::BROKER });
                    self.0.dialled.notify_waiters();
                    return;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer to the dial within {DIAL_LIMIT:?}"),
            };
            self.0.telemetry.record(&Event::Disconnected { broker: D::BROKER, reason: &failure });
            self.state().last_failure = failure.into();
            backoff.pause(&self.0.env).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State<D::Connection>> {
        self.0.state.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests;
