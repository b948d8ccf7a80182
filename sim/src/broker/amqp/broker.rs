//! The broker as programs use it: its state behind a lock, and the clock of that.

use super::{config::Config, message::Message, metadata::MetadataCost, state::State};
use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// A broker: its state, which outlives the processes that serve it. All clones are the same broker.
#[derive(Clone, Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    metadata_cost: Option<Arc<dyn MetadataCost>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// What "now" counts from: the first `Broker::serve` or `Broker::attach`.
    epoch: OnceLock<Instant>,
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
        let shared = Shared { state: Mutex::new(state), epoch: OnceLock::new(), rescheduled };
        Self { shared: Arc::new(shared), metadata_cost: None }
    }

    /// The same broker. What it serves from now on pays `cost` for each `queue.declare` and `queue.delete`, and handles
    /// nothing more of that connection meanwhile. `None`, as in a new broker: there is nothing to pay.
    #[must_use]
    pub fn with_metadata_cost(self, cost: Option<Arc<dyn MetadataCost>>) -> Self {
        Self { metadata_cost: cost, ..self }
    }

    pub(super) fn metadata_cost(&self) -> Option<&dyn MetadataCost> {
        self.metadata_cost.as_deref()
    }

    /// What a restart of the broker's process does: connections, exclusive, auto-delete and non-durable queues are
    /// gone, so are messages that aren't persistent; unacknowledged ones are back in their places and marked as
    /// redelivered.
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

    /// Messages of a queue that wait for a consumer. `None`: there is no such queue.
    #[must_use]
    pub fn queue_ready(&self, name: &str) -> Option<usize> {
        let state = self.state();
        state.names.get(name).map(|id| state.queues[id].messages.ready_count())
    }

    /// Consumers of a queue. `None`: there is no such queue.
    #[must_use]
    pub fn consumer_count(&self, name: &str) -> Option<usize> {
        let state = self.state();
        state.names.get(name).map(|id| state.queues[id].consumers.len())
    }

    /// Deletes a queue, whoever it belongs to, as `rabbitmqctl delete_queue` does. Its consumers are told.
    pub fn delete_queue(&self, name: &str) {
        let mut state = self.state();
        if let Some(id) = state.names.get(name).copied() {
            state.delete_queue(id);
        }
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

    /// The messages of a queue in their order, delivered but unacknowledged ones included. Empty if there is no such
    /// queue.
    #[must_use]
    pub fn messages(&self, name: &str) -> Vec<Arc<Message>> {
        let state = self.state();
        state.names.get(name).map(|id| state.queues[id].messages.messages()).unwrap_or_default()
    }

    /// Lets time begin, if it hasn't. `unix` is the wall-clock time.
    pub(super) fn start_clock(&self, unix: Duration) {
        if self.shared.epoch.set(Instant::now()).is_ok() {
            self.state().unix_us_at_start = micros(unix);
        }
    }

    fn epoch(&self) -> Option<Instant> {
        self.shared.epoch.get().copied()
    }

    /// The state, with its clock set.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        let now_us = self.epoch().map_or(0, |epoch| micros(epoch.elapsed()));
        let mut state = self.shared.state.lock().expect("a broker that has panicked serves nobody");
        state.set_now(now_us);
        state
    }

    /// Lets messages and queues expire. Sleeps until the next one does.
    pub(super) async fn expire_in_time(&self) -> Infallible {
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
                () = self.shared.rescheduled.notified() => {}
            }
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("584,000 years are enough")
}
