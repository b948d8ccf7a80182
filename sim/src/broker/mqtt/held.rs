//! One session's messages of QoS 2 from its client: here, but not yet let go by it (MQTT 5, section 4.3.3). A message is
//! passed on when its client releases it, so that it is passed on once, however often it comes.

use super::message::Message;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

/// Survives connections, as its session does.
#[derive(Debug, Default)]
pub(super) struct Held {
    messages: BTreeMap<u16, Arc<Message>>,
}

impl Held {
    /// Takes a message. The same one again changes nothing; another one under an id that is taken replaces the old one, as in
    /// Mosquitto. Returns whether it is held now: more than `held_max` are not.
    pub(super) fn take(&mut self, packet_id: u16, message: Arc<Message>, held_max: usize) -> bool {
        let count = self.messages.len();
        match self.messages.entry(packet_id) {
            Entry::Vacant(place) => {
                if count < held_max {
                    place.insert(message);
                }
                count < held_max
            }
            Entry::Occupied(mut place) => {
                if !place.get().is_same(&message) {
                    tracing::warn!(packet_id, "mqtt: packet id used for another message, the old one is dropped");
                    place.insert(message);
                }
                true
            }
        }
    }

    /// The client lets a message go. `None` if there is none, which may be as it was released before.
    pub(super) fn release(&mut self, packet_id: u16) -> Option<Arc<Message>> {
        self.messages.remove(&packet_id)
    }
}
