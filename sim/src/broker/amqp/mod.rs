//! An emulated RabbitMQ 3 that speaks AMQP 0-9-1 over any [`Env`], simulated or real TCP.
//!
//! Exchanges (direct, fanout, topic), classic queues, consumers, acknowledgements, publisher confirms, time to live,
//! dead-lettering and direct reply-to behave as RabbitMQ documents them, and as the conformance suite has seen it. What it
//! doesn't have (headers exchanges, bindings between exchanges, alternate exchanges, transactions, priorities, quorum queues,
//! streams) it refuses with the protocol's own error and a log line. Arguments of bindings and the `CC` and `BCC` headers are
//! not looked at. `no_local` of `basic.consume` is ignored, as RabbitMQ does; any user and password is let in.
//!
//! From the inside out: `queue` is one queue's messages, `named_queue` adds name, owner and consumers, `channel` is one
//! channel's bookkeeping, `exchange` one exchange's bindings, `state` holds all of them, `delivery` and `direct_reply` move
//! messages between them; `session` and the modules named after the protocol's classes say what each method does. None of
//! these has IO or a clock. `connection` has the sockets.

mod arguments;
mod basic_methods;
mod channel;
mod codec;
mod connection;
mod delivery;
mod direct_reply;
mod exchange;
mod exchange_methods;
mod message;
mod named_queue;
mod nesting;
mod queue;
mod queue_methods;
mod refusal;
mod session;
mod state;
#[cfg(test)]
mod tests;

pub use message::Message;

use super::accept::accept;
use backbone::env::{Env, Listener, Stream};
use state::State;
use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// What the broker proposes to clients, and its limits. The defaults are those of RabbitMQ 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Proposed heartbeat interval; the client decides. A peer that is silent for two of them is dropped. 0: none.
    pub heartbeat_s: u16,
    /// Largest frame, from 8,192 (the protocol's minimum) on.
    pub frame_bytes_max: u32,
    /// Highest channel number of a connection, from 1 on.
    pub channel_max: u16,
    /// Largest message body. A larger one closes the channel with 406.
    pub body_bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { heartbeat_s: 60, frame_bytes_max: 131_072, channel_max: 2_047, body_bytes_max: 128 * 1024 * 1024 }
    }
}

/// A broker: its state, which outlives the processes that serve it. All clones are the same broker.
#[derive(Clone, Debug)]
pub struct Broker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// What "now" counts from: the first [`Broker::serve`] or [`Broker::attach`].
    epoch: Mutex<Option<Instant>>,
    rescheduled: Arc<Notify>,
}

impl Broker {
    /// A broker without queues and connections.
    ///
    /// # Panics
    /// If `config` has a frame size or a channel limit below the protocol's minimum.
    #[must_use]
    pub fn new(config: Config) -> Self {
        assert!(config.frame_bytes_max >= 8_192, "a frame of 8,192 bytes is the least that peers must take");
        assert!(config.channel_max >= 1, "a connection without channels is of no use");
        let state = State::new(config);
        let rescheduled = Arc::clone(&state.rescheduled);
        Self(Arc::new(Shared { state: Mutex::new(state), epoch: Mutex::new(None), rescheduled }))
    }

    /// Serves all connections, each by two tasks of `env`. Drop the future to stop. Messages and queues expire only while
    /// it runs.
    pub async fn serve(&self, env: Env, listener: Listener) -> Infallible {
        self.start_clock(env.unix_time());
        let accept = accept("amqp", listener, |stream, place| connection::spawn(self, &env, stream, Some(place)));
        tokio::select! {
            biased;
            never = accept => never,
            never = self.expire_in_time() => never,
        }
    }

    /// Serves one connection that is there already.
    pub fn attach(&self, env: &Env, stream: Stream) {
        self.start_clock(env.unix_time());
        connection::spawn(self, env, stream, None);
    }

    /// What a restart of the broker's process does: connections, exclusive, auto-delete and non-durable queues are gone, so
    /// are messages that aren't persistent; unacknowledged ones are back in their places and marked as redelivered.
    ///
    /// Call it when the process that served has died; its tasks, if they still run, end.
    pub fn restart(&self) {
        self.state().restart();
    }

    /// Messages of a queue, delivered but unacknowledged ones included. `None`: there is no such queue.
    #[must_use]
    pub fn queue_depth(&self, name: &str) -> Option<usize> {
        let state = self.state();
        state.names.get(name).map(|id| state.queues[id].messages.depth())
    }

    /// All queues, in alphabetical order.
    #[must_use]
    pub fn queue_names(&self) -> Vec<String> {
        self.state().names.keys().map(|name| name.to_string()).collect()
    }

    /// Connections that are open.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.state().connections.len()
    }

    /// The messages of a queue in their order, delivered but unacknowledged ones included. Empty if there is no such queue.
    #[must_use]
    pub fn messages(&self, name: &str) -> Vec<Arc<Message>> {
        let state = self.state();
        state.names.get(name).map(|id| state.queues[id].messages.messages()).unwrap_or_default()
    }

    fn start_clock(&self, unix: Duration) {
        let mut epoch = self.0.epoch.lock().expect("nobody panics with the epoch in hand");
        if epoch.is_none() {
            *epoch = Some(Instant::now());
            drop(epoch);
            self.state().unix_us_at_start = micros(unix);
        }
    }

    fn epoch(&self) -> Option<Instant> {
        *self.0.epoch.lock().expect("nobody panics with the epoch in hand")
    }

    /// The state, with its clock set.
    fn state(&self) -> MutexGuard<'_, State> {
        let now_us = self.epoch().map_or(0, |epoch| micros(epoch.elapsed()));
        let mut state = self.0.state.lock().expect("a broker that has panicked serves nobody");
        state.set_now(now_us);
        state
    }

    /// Lets messages and queues expire. Sleeps until the next one does.
    async fn expire_in_time(&self) -> Infallible {
        loop {
            let next_us = {
                let mut state = self.state();
                state.expire();
                state.next_expiry_us()
            };
            let next = async {
                match (self.epoch(), next_us) {
                    (Some(epoch), Some(us)) => sleep_until(epoch + Duration::from_micros(us)).await,
                    _ => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = next => {}
                () = self.0.rescheduled.notified() => {}
            }
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("584,000 years are enough")
}
