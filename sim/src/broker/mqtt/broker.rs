//! The broker as programs use it: its state behind a lock, and the timer for what it publishes by itself.

use super::{
    config::Config,
    rights::Rights,
    server::{Server, Stats},
    session::Session,
};
use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::time::{Instant, sleep_until};

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

    /// Publishes the wills of clients that are away, each when its delay is over, and the broker's own topics.
    pub(super) async fn publish_in_time(&self) -> Infallible {
        let rescheduled = self.server().rescheduled.clone();
        loop {
            let next = {
                let mut server = self.server();
                server.advance(Instant::now());
                server.keep_own_topics(Instant::now());
                server.next_will_at().into_iter().chain(server.own_topics_at).min()
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

    /// From now on clients may do what `rights` leave them; what they have is not taken away.
    pub fn restrict(&self, rights: Rights) {
        self.server().rights = rights;
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
        let info = |session: &Session| SessionInfo {
            client_id: session.client_id.clone(),
            connected: session.connection.is_some(),
            queued: session.outbound.queued(),
            in_flight: session.outbound.in_flight(),
            subscriptions: session.subscriptions.len(),
        };
        server.sessions.values().map(info).collect()
    }

    /// How many clients are connected.
    #[must_use]
    pub fn clients_connected(&self) -> usize {
        self.server().sessions.values().filter(|session| session.connection.is_some()).count()
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().expect("nothing panics with it")
    }
}
