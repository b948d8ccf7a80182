//! An emulated Mosquitto: a broker for MQTT 5, 3.1.1 and 3.1 with all QoS, persistent sessions, shared subscriptions, retained
//! messages and wills, and with Mosquitto's limits, since those decide how a loaded system behaves.
//!
//! What is not here: enhanced authentication and bridges. Asking for them gets the refusal that the standard provides. Any
//! user name and password will do, as with a Mosquitto without a password file.
//!
//! Sessions and subscriptions are plain state machines (`session`, `held`, `topics`), `server` and `handle` put them
//! together, and only `connection` knows sockets and timers. All of them know packets of version 5 only; `v3` translates. An
//! idle connection costs one timer, its keep alive.

mod connection;
mod handle;
mod held;
mod message;
mod outbox;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod topics;
mod v3;

pub use rumqttc::mqttbytes::QoS;
pub use session::Quota;

use super::accept::{Place, accept};
use backbone::env::{Env, Listener, Stream};
use server::Server;
use std::{
    convert::Infallible,
    future::pending,
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::time::{Instant, sleep_until};

/// How a broker behaves. The default is Mosquitto's.
#[derive(Clone, Debug)]
pub struct Config {
    /// Most messages of QoS 1 and 2 in flight to a client that names no Receive Maximum (`max_inflight_messages`). One that
    /// it names goes before this, be it less or more. Also the Receive Maximum that clients are told.
    pub max_inflight: NonZeroU16,
    /// How the broker keeps to that window.
    pub quota: Quota,
    /// Highest QoS (`max_qos`). Subscriptions get no more, and a client that publishes with more is disconnected.
    pub max_qos: QoS,
    /// Most messages that wait for one client beside those in flight (`max_queued_messages`); further ones are dropped. At
    /// least 1.
    pub queued_messages_max: usize,
    /// Write packet by packet, as Mosquitto does, instead of all pending packets at once. Decides what Nagle's algorithm
    /// makes of it.
    pub flush_each_packet: bool,
    /// Sessions and retained messages survive [`Broker::restart`] (`persistence`).
    pub persistent_sessions: bool,
    /// Longest keep alive that a client may choose (`max_keepalive`); others are told this one.
    pub keep_alive_max_s: u16,
    /// Largest packet that is accepted (`max_packet_size`). Mosquitto takes any size; nothing of ours comes near this.
    pub packet_bytes_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_inflight: NonZeroU16::new(20).expect("20 is not 0"),
            quota: Quota::Strict,
            max_qos: QoS::ExactlyOnce,
            queued_messages_max: 1000,
            flush_each_packet: false,
            persistent_sessions: false,
            keep_alive_max_s: u16::MAX,
            packet_bytes_max: 1 << 20,
        }
    }
}

impl Config {
    /// The keep alive that replaces a client's choice of `wanted_s`, if one does. 0 asks for none at all.
    fn server_keep_alive_s(&self, wanted_s: u16) -> Option<u16> {
        let too_long = wanted_s > self.keep_alive_max_s || (wanted_s == 0 && self.keep_alive_max_s != u16::MAX);
        too_long.then_some(self.keep_alive_max_s)
    }
}

/// What a broker has done since it was made; restarts do not reset it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// PUBLISH packets accepted from clients.
    pub publishes_received: u64,
    /// PUBLISH packets sent to clients, repetitions included.
    pub publishes_sent: u64,
    /// Messages that a subscriber missed: its queue was full, it was away (QoS 0), or the packet was larger than it takes.
    pub messages_dropped: u64,
    /// Messages whose expiry interval ran out before they were sent.
    pub messages_expired: u64,
    /// Messages, sent or not, that were unacknowledged when their session ended: by its expiry, a clean start, or for want
    /// of an expiry interval. The other members of a shared subscription don't get them.
    pub messages_abandoned: u64,
}

/// The state of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// The client's id.
    pub client_id: String,
    /// Whether the client is connected.
    pub connected: bool,
    /// Messages that wait.
    pub queued: usize,
    /// Messages sent and not yet acknowledged.
    pub in_flight: usize,
    /// How many subscriptions it has.
    pub subscriptions: usize,
}

/// One MQTT broker. All clones are the same broker.
#[derive(Clone, Debug)]
pub struct Broker {
    config: Arc<Config>,
    server: Arc<Mutex<Server>>,
}

impl Broker {
    /// A broker without sessions.
    ///
    /// # Panics
    /// If `config` breaks a rule that its documentation states.
    #[must_use]
    pub fn new(config: Config) -> Self {
        assert!(config.queued_messages_max > 0, "queued_messages_max: a message passes through the queue");
        Self { config: Arc::new(config.clone()), server: Arc::new(Mutex::new(Server::new(config))) }
    }

    /// Accepts connections until the task that runs this is dropped. Connections are tasks of their own; whoever aborts them
    /// all, as a crash does, calls [`Broker::restart`] before serving again. Delayed wills are published only while it runs.
    pub async fn serve(&self, env: Env, listener: Listener) -> Infallible {
        let accept = accept("mqtt", listener, |stream, place| self.connected(&env, stream, Some(place)));
        tokio::select! {
            biased;
            never = accept => never,
            never = self.publish_wills_in_time() => never,
        }
    }

    /// Serves one connection that is there already.
    pub fn attach(&self, env: &Env, stream: Stream) {
        self.connected(env, stream, None);
    }

    /// `place` is kept until the connection ends.
    fn connected(&self, env: &Env, stream: Stream, place: Option<Place>) {
        let connection = connection::run(env.clone(), self.clone(), stream);
        env.spawn("mqtt connection", async move {
            let _place = place;
            connection.await;
        });
    }

    async fn publish_wills_in_time(&self) -> Infallible {
        let rescheduled = self.server().rescheduled.clone();
        loop {
            let next = {
                let mut server = self.server();
                server.advance(Instant::now());
                server.next_will_at()
            };
            let due = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = due => {}
                () = rescheduled.notified() => {}
            }
        }
    }

    /// What a crash and restart does: closes all connections without a word, and forgets sessions and retained messages
    /// unless [`Config::persistent_sessions`]. Wills are not published.
    pub fn restart(&self) {
        self.server().restart(Instant::now());
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.server().stats
    }

    /// All sessions, in the order in which they were made.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let mut server = self.server();
        server.advance(Instant::now());
        let info = |client: &server::Client| SessionInfo {
            client_id: client.id.clone(),
            connected: client.connection.is_some(),
            queued: client.session.queued(),
            in_flight: client.session.in_flight(),
            subscriptions: client.subscriptions.len(),
        };
        server.clients.values().map(info).collect()
    }

    /// How many clients are connected.
    #[must_use]
    pub fn clients_connected(&self) -> usize {
        self.server().clients.values().filter(|client| client.connection.is_some()).count()
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().expect("nothing panics with it")
    }
}
