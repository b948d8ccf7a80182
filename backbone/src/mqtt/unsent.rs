//! Acknowledgements on their way to rumqttc.

use rumqttc::{AsyncClient, ManualAck, PubAck};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};

/// PUBACKs that rumqttc has not taken yet, since its queue of requests was full: publishes wait in the same one. None
/// may be lost, for a broker repeats a message only to the next connection, and once it has its share of
/// unacknowledged ones it sends no more. There are at most as many as there are messages that came over this connection
/// and were not acknowledged, which the service and the channel to it bound.
#[derive(Default)]
pub(super) struct Unsent(Mutex<VecDeque<u16>>);

impl Unsent {
    /// Acknowledges the message with `packet_id`, of the present connection, as soon as there is room.
    pub(super) fn send(&self, client: &AsyncClient, packet_id: u16) {
        let mut unsent = self.ids();
        unsent.push_back(packet_id);
        hand_over(&mut unsent, client);
    }

    /// Hands over what there is room for. The driver does so after each step of the client, and only a step makes room.
    pub(super) fn hand_over(&self, client: &AsyncClient) {
        hand_over(&mut self.ids(), client);
    }

    /// The connection is lost, and with it what was to be acknowledged.
    pub(super) fn forget(&self) {
        self.ids().clear();
    }

    fn ids(&self) -> MutexGuard<'_, VecDeque<u16>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

fn hand_over(unsent: &mut VecDeque<u16>, client: &AsyncClient) {
    while let Some(packet_id) = unsent.front() {
        if client.try_manual_ack(ManualAck::PubAck(PubAck::new(*packet_id, None))).is_err() {
            return;
        }
        unsent.pop_front();
    }
}
