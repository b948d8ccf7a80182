//! One session's messages of QoS 2 from its client: here, but not yet let go by it (MQTT 5, section 4.3.3). A message
//! is passed on when its client releases it, so that it is passed on once, however often it comes.
//!
//! A client may have as many under way as the Receive Maximum says. Debian's Mosquitto 2.0.11 refuses more, and
//! messages of QoS 1 then, too, but takes each refusal for the end of a message, so that the next one may come.

use super::message::Message;
use crate::broker::sparse::Sparse;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    num::NonZeroU16,
    sync::Arc,
};

/// Survives connections, as its session does.
#[derive(Debug)]
pub(super) struct Inbound {
    messages: BTreeMap<u16, Arc<Message>>,
    /// Most messages whatever was refused.
    messages_max: usize,
    /// How many more may come on this connection.
    quota: u16,
    quota_max: u16,
    /// Packet ids that were used for another message.
    reused: Sparse,
}

impl Inbound {
    /// Nothing, from a client that is away. At most `messages_max` messages are held beside those that may be under
    /// way.
    pub(super) fn new(messages_max: usize) -> Self {
        Self { messages: BTreeMap::new(), messages_max, quota: 0, quota_max: 0, reused: Sparse::default() }
    }

    /// The client is here, and was told this Receive Maximum.
    pub(super) fn resume(&mut self, receive_maximum: NonZeroU16) {
        self.quota_max = receive_maximum.get();
        self.quota = self.quota_max.saturating_sub(u16::try_from(self.messages.len()).unwrap_or(u16::MAX));
    }

    /// Takes a message. The same one again changes nothing; another one under an id that is taken replaces the old one,
    /// as in Mosquitto. Returns whether it is held now.
    pub(super) fn take(&mut self, packet_id: u16, message: Arc<Message>) -> bool {
        let full = self.messages.len() >= self.messages_max.saturating_add(self.quota_max.into());
        match self.messages.entry(packet_id) {
            Entry::Vacant(_) if full || self.quota == 0 => false,
            Entry::Vacant(place) => {
                place.insert(message);
                self.quota -= 1;
                true
            }
            Entry::Occupied(mut place) => {
                if !place.get().is_same(&message) {
                    warn_of_reuse(&mut self.reused, packet_id);
                    place.insert(message);
                }
                true
            }
        }
    }

    /// A message of QoS 1 comes, which is done with at once. Returns whether it may.
    pub(super) fn pass(&mut self, packet_id: u16) -> bool {
        if self.messages.remove(&packet_id).is_some() {
            warn_of_reuse(&mut self.reused, packet_id);
        }
        self.quota > 0
    }

    /// A message was refused, for this or another reason.
    pub(super) fn refused(&mut self) {
        self.quota = self.quota_max.min(self.quota.saturating_add(1));
    }

    /// The client lets a message go. `None` if there is none, which may be as it was released before.
    pub(super) fn release(&mut self, packet_id: u16) -> Option<Arc<Message>> {
        self.quota = self.quota_max.min(self.quota.saturating_add(1));
        self.messages.remove(&packet_id)
    }
}

fn warn_of_reuse(reused: &mut Sparse, packet_id: u16) {
    if let Some(count) = reused.again() {
        tracing::warn!(packet_id, count, "mqtt: packet id used for another message, the old one is dropped");
    }
}
