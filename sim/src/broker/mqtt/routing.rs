//! How a message finds its receivers: those that have subscribed, and those that will.

use super::{
    keys::SessionKey,
    message::{Delivery, Message},
    outbound::{Outgoing, Pushed},
    server::Server,
    topics::{self, Filter, Options},
    v3::Version,
};
use rumqttc::mqttbytes::{
    QoS,
    v5::{Packet, PubRel, Publish},
};
use std::sync::Arc;
use tokio::time::Instant;

/// Most retained messages; far above one a device.
const RETAINED_MAX: usize = 100_000;

impl Server {
    /// Sends what the session may send.
    pub(super) fn pump(&mut self, key: SessionKey, now: Instant) {
        let mut expired = 0;
        while let Some(session) = self.sessions.get_mut(&key)
            && let Some(connection) = &session.connection
            && let Some(outgoing) = session.outbound.next(now, &mut expired)
        {
            let (message, delivery) = match outgoing {
                Outgoing::Message(message, delivery) => (message, delivery),
                Outgoing::Release(packet_id) => {
                    connection.write_buffer.push(&Packet::PubRel(PubRel::new(packet_id, None)));
                    continue;
                }
            };
            if connection.write_buffer.push(&Packet::Publish(message.packet(&delivery, now))) {
                self.stats.publishes_sent += 1;
            } else {
                if let Some(count) = session.warned.too_large.again() {
                    let topic = message.topic();
                    tracing::warn!(
                        client = session.client_id,
                        topic,
                        count,
                        "mqtt: message too large for its receiver"
                    );
                }
                session.outbound.skip(delivery.packet_id);
                self.stats.messages_dropped += 1;
            }
        }
        self.stats.messages_expired += expired;
    }

    /// As [`Self::route_message`], for a message that is just there.
    pub(super) fn route(&mut self, publisher: Option<SessionKey>, publish: &Publish, now: Instant) -> usize {
        self.route_message(publisher, &Arc::new(Message::new(publish, now)), now)
    }

    /// Hands a message to all its receivers and keeps it if it is to be retained. Returns how many there were.
    pub(super) fn route_message(
        &mut self,
        publisher: Option<SessionKey>,
        message: &Arc<Message>,
        now: Instant,
    ) -> usize {
        if message.retain || self.faults.retains(message.topic()) {
            self.retain(message);
        }
        self.messages_routed += 1;
        let number = self.messages_routed;
        let mut receivers = std::mem::take(&mut self.receivers);
        let is_online = |key| self.sessions.get(&key).is_some_and(|session| session.connection.is_some());
        self.topics.receivers(message.topic(), is_online, &mut receivers);
        let count = receivers.len();
        receivers.retain(|(key, options)| !options.no_local || publisher != Some(*key));
        for (key, options) in receivers.drain(..) {
            let session = self.sessions.get(&key).expect("subscriptions go with their session");
            // Mosquitto gives clients of older versions one copy, however many of their subscriptions match.
            let one_copy = session.version != Version::V5;
            if one_copy && session.last_message == number {
                continue;
            }
            let retain = message.retain && options.retain_as_published;
            if self.deliver(key, message, options, retain, now) && one_copy {
                self.sessions.get_mut(&key).expect("was just there").last_message = number;
            }
        }
        self.receivers = receivers;
        count
    }

    /// Sends a message, or lets it wait. Returns whether it did, so not if the message was dropped.
    pub(super) fn deliver(
        &mut self,
        key: SessionKey,
        message: &Arc<Message>,
        options: Options,
        retain: bool,
        now: Instant,
    ) -> bool {
        let queued_messages_max = self.config.queued_messages_max;
        let session = self.sessions.get_mut(&key).expect("subscriptions go with their session");
        let qos = if message.qos < options.qos { message.qos } else { options.qos };
        if qos == QoS::AtMostOnce {
            // As in Mosquitto's default settings: not kept for a client that is away or far behind.
            let delivery = Delivery { qos, packet_id: 0, dup: false, retain, identifier: options.identifier };
            let sent = session.connection.as_ref().is_some_and(|connection| {
                connection.write_buffer.len() < queued_messages_max
                    && connection.write_buffer.push(&Packet::Publish(message.packet(&delivery, now)))
            });
            let counter = if sent { &mut self.stats.publishes_sent } else { &mut self.stats.messages_dropped };
            *counter += 1;
            return sent;
        }
        match session.outbound.push(message.clone(), qos, retain, options.identifier, now) {
            Pushed::Taken => {
                if self.faults.repeats() {
                    // A second message to its receiver, whose queue may be full now: then it is just not repeated.
                    let _ = session.outbound.push(message.clone(), qos, retain, options.identifier, now);
                }
                self.pump(key, now);
                true
            }
            Pushed::Dropped => {
                if let Some(count) = session.warned.queue_full.again() {
                    let topic = message.topic();
                    tracing::warn!(client = session.client_id, topic, count, "mqtt: queue full, message dropped");
                }
                self.stats.messages_dropped += 1;
                false
            }
        }
    }

    fn retain(&mut self, message: &Arc<Message>) {
        if message.is_empty() {
            self.retained.remove(message.topic());
        } else if self.retained.len() < RETAINED_MAX || self.retained.contains_key(message.topic()) {
            self.retained.insert(message.topic().to_owned(), message.clone());
        } else if let Some(count) = self.not_retained.again() {
            let topic = message.topic();
            tracing::warn!(topic, count, "mqtt: {RETAINED_MAX} messages are retained, this one is not");
        }
    }

    /// The retained messages that match `filter`; expired ones go on this occasion.
    pub(super) fn retained_for(&mut self, filter: &Filter<'_>, now: Instant) -> Vec<Arc<Message>> {
        if !filter.path.contains(['+', '#']) {
            return self
                .retained
                .get(filter.path)
                .filter(|message| !message.is_expired(now))
                .cloned()
                .into_iter()
                .collect();
        }
        self.retained.retain(|_, message| !message.is_expired(now));
        let matching = self.retained.iter().filter(|(topic, _)| topics::matches(filter.path, topic));
        matching.map(|(_, message)| message.clone()).collect()
    }
}
