//! All that the broker knows. What is done with it is in `routing`, `lifecycle` and `control_packets`. "Now" is an
//! argument.

use super::{
    config::Config,
    faults::Faults,
    keys::{ConnectionKey, SessionKey},
    message::Message,
    rights::Rights,
    session::Session,
    topics::{Options, Topics},
};
use crate::broker::sparse::Sparse;
use rumqttc::mqttbytes::v5::Packet;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::{sync::Notify, time::Instant};

/// Highest number that a client may give a topic (Mosquitto's `max_topic_alias`).
pub(super) const TOPIC_ALIAS_MAX: u16 = 10;

/// Everything the broker knows.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) config: Config,
    pub(super) rights: Rights,
    pub(super) faults: Faults,
    pub(super) topics: Topics,
    pub(super) retained: BTreeMap<String, Arc<Message>>,
    pub(super) stats: Stats,
    pub(super) sessions: BTreeMap<SessionKey, Session>,
    pub(super) by_client_id: BTreeMap<String, SessionKey>,
    /// Ends of the sessions whose clients are away.
    pub(super) expiries: BTreeSet<(Instant, SessionKey)>,
    /// When the wills of clients that are away are due, if they are delayed.
    pub(super) wills: BTreeSet<(Instant, SessionKey)>,
    /// When the broker began to serve.
    pub(super) started: Option<Instant>,
    /// When the broker's own topics are told again; `None` while nobody wants them.
    pub(super) own_topics_at: Option<Instant>,
    /// Most sessions at a time that the broker's own topics have told of.
    pub(super) sessions_max: usize,
    /// Messages that were not retained, for want of room.
    pub(super) not_retained: Sparse,
    /// The first of `wills`, or `own_topics_at`, may be another one.
    pub(super) rescheduled: Arc<Notify>,
    pub(super) sessions_made: u64,
    pub(super) connections_made: u64,
    pub(super) messages_routed: u64,
    /// Receivers of the publish at hand; kept for its capacity.
    pub(super) receivers: Vec<(SessionKey, Options)>,
}

/// What a broker has done since it was made; restarts do not reset it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// PUBLISH packets accepted from clients.
    pub publishes_received: u64,
    /// PUBLISH packets sent to clients, repetitions included.
    pub publishes_sent: u64,
    /// Messages that a subscriber missed: its queue was full, it was away (QoS 0), or the packet was larger than it
    /// takes.
    pub messages_dropped: u64,
    /// Messages whose expiry interval ran out before they were sent.
    pub messages_expired: u64,
    /// Messages, sent or not, that were unacknowledged when their session ended: by its expiry, a clean start, or for
    /// want of an expiry interval. The other members of a shared subscription don't get them.
    pub messages_abandoned: u64,
}

impl Server {
    pub(super) fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// The session of `connection`, unless another connection has taken it over, or it is gone.
    pub(super) fn session_of(&mut self, connection: ConnectionKey) -> Option<&mut Session> {
        let session = self.sessions.get_mut(&connection.session)?;
        session.connection.as_ref().is_some_and(|c| c.number == connection.number).then_some(session)
    }

    /// Sends a packet to the client of a session, if it is here.
    pub(super) fn answer(&mut self, key: SessionKey, packet: &Packet) {
        if let Some(connection) = self.sessions.get_mut(&key).and_then(|session| session.connection.as_ref()) {
            connection.write_buffer.push(packet);
        }
    }
}
