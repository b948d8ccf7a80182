//! What the broker keeps of a client while it is away, and the connection that it has when it is here.

use super::{inbound::Inbound, outbound::Outbound, v3::Version, write_buffer::WriteBuffer};
use crate::broker::sparse::Sparse;
use bytes::Bytes;
use rumqttc::mqttbytes::v5::Publish;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::time::Instant;

/// One session, whether its client is connected or away (MQTT 5, section 4.1).
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client_id: String,
    /// What it speaks, or spoke when it was here last.
    pub(super) version: Version,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    /// Number of the routed message that it has got last.
    pub(super) last_message: u64,
    /// Filters as the client wrote them.
    pub(super) subscriptions: BTreeSet<String>,
    /// `None` while the client is away.
    pub(super) connection: Option<Connected>,
    /// Session Expiry Interval.
    pub(super) expiry_s: u32,
    /// When the session ends, if the client stays away.
    pub(super) expires_at: Option<Instant>,
    /// What is published then, if the client stays away and its session lives.
    pub(super) delayed_will: Option<(Instant, Publish)>,
    pub(super) warned: Warned,
}

/// What was warned of on a session's account, or would have been.
#[derive(Debug, Default)]
pub(super) struct Warned {
    /// Messages for which its queue had no room.
    pub(super) queue_full: Sparse,
    /// Messages larger than it takes.
    pub(super) too_large: Sparse,
    /// Its answers to what is not in flight.
    pub(super) unknown_answers: Sparse,
    /// Its messages that were dropped, since it does not release others.
    pub(super) unreleased: Sparse,
    /// Subscriptions beyond its limit.
    pub(super) subscriptions: Sparse,
}

/// A client's open connection.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) number: u64,
    pub(super) write_buffer: Arc<WriteBuffer>,
    /// The topics that the client has given numbers.
    pub(super) aliases: BTreeMap<u16, Bytes>,
    pub(super) will: Option<Will>,
}

/// What the client wants published if it goes without a word.
#[derive(Debug)]
pub(super) struct Will {
    pub(super) publish: Publish,
    pub(super) delay_s: u32,
}

impl Session {
    /// A message of its client was dropped, since too many others are not released.
    pub(super) fn warn_of_unreleased(&mut self) {
        if let Some(count) = self.warned.unreleased.again() {
            let client = &self.client_id;
            tracing::warn!(client, count, "mqtt: too many messages of QoS 2 are not released; message dropped");
        }
    }
}
