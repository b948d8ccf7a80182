//! What a client's packets do: publish, subscribe, acknowledge; and how a message finds its receivers.

use super::{
    message::{Delivery, Message},
    server::{ConnectionKey, Server, TOPIC_ALIAS_MAX},
    session::{Pushed, SessionKey},
    topics::{self, Filter, Options, is_valid_topic},
};
use bytes::Bytes;
use rumqttc::mqttbytes::{
    QoS,
    v5::{
        Disconnect, DisconnectReasonCode, Packet, PubAck, PubAckReason, Publish, RetainForwardRule, SubAck, Subscribe,
        SubscribeReasonCode, UnsubAck, UnsubAckReason, Unsubscribe,
    },
};
use std::sync::Arc;
use tokio::time::Instant;

/// Most subscriptions of one session; a service has a handful.
const SUBSCRIPTIONS_MAX: usize = 10_000;
/// Most retained messages; far above one a device.
const RETAINED_MAX: usize = 100_000;

/// Topics of the broker itself, which no client may publish to.
const OWN_TOPICS: &[u8] = b"$SYS";

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client has said goodbye, and whether its will is to be published.
    Goodbye { publish_will: bool },
    /// Another connection has the session now, or the broker has restarted.
    Void,
    /// The client broke the protocol.
    Refused(DisconnectReasonCode),
}

impl Server {
    /// Does what `packet` asks for. Answers go to the outbox of the connection.
    ///
    /// # Errors
    /// The connection ends for the given reason.
    pub(super) fn handle(&mut self, connection: ConnectionKey, packet: Packet, now: Instant) -> Result<(), End> {
        self.advance(now);
        if self.client(connection).is_none() {
            return Err(End::Void);
        }
        match packet {
            Packet::Publish(publish) => self.publish(connection.session, publish, now),
            Packet::PubAck(ack) => {
                let client = self.client(connection).expect("was just seen");
                if client.session.acknowledge(ack.pkid) {
                    self.pump(connection.session, now);
                } else {
                    tracing::warn!(client = client.id, id = ack.pkid, "mqtt: PUBACK for what is not in flight");
                }
                Ok(())
            }
            Packet::Subscribe(subscribe) => self.subscribe(connection.session, subscribe, now),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(connection.session, &unsubscribe),
            Packet::PingReq => {
                self.answer(connection.session, &Packet::PingResp);
                Ok(())
            }
            Packet::Disconnect(disconnect) => Err(self.goodbye(connection, &disconnect)),
            // QoS 2 is not offered, AUTH was not negotiated, a second CONNECT is forbidden, the rest is a server's.
            _ => Err(End::Refused(DisconnectReasonCode::ProtocolError)),
        }
    }

    /// Sends what the session may send.
    pub(super) fn pump(&mut self, key: SessionKey, now: Instant) {
        let mut expired = 0;
        while let Some(client) = self.clients.get_mut(&key)
            && let Some(connection) = &client.connection
            && let Some((message, delivery)) = client.session.next(now, &mut expired)
        {
            if connection.outbox.push(&Packet::Publish(message.packet(&delivery, now))) {
                self.stats.publishes_sent += 1;
            } else {
                tracing::warn!(client = client.id, topic = message.topic(), "mqtt: message too large for its receiver");
                client.session.acknowledge(delivery.packet_id);
                self.stats.messages_dropped += 1;
            }
        }
        self.stats.messages_expired += expired;
    }

    /// Hands a message to all its receivers and keeps it if it is to be retained. Returns how many there were.
    pub(super) fn route(&mut self, publisher: Option<SessionKey>, publish: &Publish, now: Instant) -> usize {
        let message = Arc::new(Message::new(publish, now));
        if message.retain {
            self.retain(&message);
        }
        let mut receivers = std::mem::take(&mut self.receivers);
        let is_online = |key| self.clients.get(&key).is_some_and(|client| client.connection.is_some());
        self.topics.receivers(message.topic(), is_online, &mut receivers);
        let count = receivers.len();
        receivers.retain(|(key, options)| !options.no_local || publisher != Some(*key));
        for (key, options) in receivers.drain(..) {
            self.deliver(key, &message, options, message.retain && options.retain_as_published, now);
        }
        self.receivers = receivers;
        count
    }

    fn deliver(&mut self, key: SessionKey, message: &Arc<Message>, options: Options, retain: bool, now: Instant) {
        let queued_messages_max = self.config.queued_messages_max;
        let client = self.clients.get_mut(&key).expect("subscriptions go with their session");
        if message.qos == QoS::AtMostOnce || options.qos == QoS::AtMostOnce {
            // As in Mosquitto's default settings: not kept for a client that is away or far behind.
            let delivery = Delivery { packet_id: 0, dup: false, retain, identifier: options.identifier };
            let sent = client.connection.as_ref().is_some_and(|connection| {
                connection.outbox.len() < queued_messages_max
                    && connection.outbox.push(&Packet::Publish(message.packet(&delivery, now)))
            });
            let counter = if sent { &mut self.stats.publishes_sent } else { &mut self.stats.messages_dropped };
            *counter += 1;
            return;
        }
        match client.session.push(message.clone(), retain, options.identifier, now) {
            Pushed::Taken => self.pump(key, now),
            Pushed::Dropped => {
                tracing::warn!(client = client.id, topic = message.topic(), "mqtt: queue full, message dropped");
                self.stats.messages_dropped += 1;
            }
        }
    }

    fn publish(&mut self, key: SessionKey, mut publish: Publish, now: Instant) -> Result<(), End> {
        let properties = publish.properties.as_ref();
        if properties.is_some_and(|p| !p.subscription_identifiers.is_empty()) {
            return Err(End::Refused(DisconnectReasonCode::ProtocolError));
        }
        if let Some(alias) = properties.and_then(|p| p.topic_alias) {
            self.resolve_alias(key, alias, &mut publish.topic)?;
        }
        if publish.qos == QoS::ExactlyOnce {
            return Err(End::Refused(DisconnectReasonCode::QoSNotSupported));
        }
        if !std::str::from_utf8(&publish.topic).is_ok_and(is_valid_topic) {
            return Err(End::Refused(DisconnectReasonCode::ProtocolError));
        }
        self.stats.publishes_received += 1;
        let reason = if publish.topic.starts_with(OWN_TOPICS) {
            PubAckReason::NotAuthorized
        } else if self.route(Some(key), &publish, now) == 0 {
            PubAckReason::NoMatchingSubscribers
        } else {
            PubAckReason::Success
        };
        if publish.qos == QoS::AtLeastOnce {
            self.answer(key, &Packet::PubAck(PubAck { reason, ..PubAck::new(publish.pkid, None) }));
        }
        Ok(())
    }

    /// Notes which topic `alias` stands for, or puts that in for an empty `topic` (section 3.3.2.3.4).
    fn resolve_alias(&mut self, key: SessionKey, alias: u16, topic: &mut Bytes) -> Result<(), End> {
        if alias == 0 || alias > TOPIC_ALIAS_MAX {
            return Err(End::Refused(DisconnectReasonCode::TopicAliasInvalid));
        }
        let connection = self.clients.get_mut(&key).and_then(|client| client.connection.as_mut());
        let aliases = &mut connection.expect("the caller has seen it").aliases;
        if !topic.is_empty() {
            // A copy, since a slice would keep the whole read buffer.
            aliases.insert(alias, Bytes::copy_from_slice(topic));
        } else if let Some(known) = aliases.get(&alias) {
            *topic = known.clone();
        } else {
            return Err(End::Refused(DisconnectReasonCode::ProtocolError));
        }
        Ok(())
    }

    fn retain(&mut self, message: &Arc<Message>) {
        if message.is_empty() {
            self.retained.remove(message.topic());
        } else if self.retained.len() < RETAINED_MAX || self.retained.contains_key(message.topic()) {
            self.retained.insert(message.topic().to_owned(), message.clone());
        } else {
            tracing::warn!(topic = message.topic(), "mqtt: {RETAINED_MAX} messages are retained, this one is not");
        }
    }

    fn subscribe(&mut self, key: SessionKey, subscribe: Subscribe, now: Instant) -> Result<(), End> {
        let identifier = subscribe.properties.and_then(|p| p.id);
        let mut return_codes = Vec::with_capacity(subscribe.filters.len());
        let mut greetings = Vec::new();
        for wanted in subscribe.filters {
            let client = self.clients.get_mut(&key).expect("the caller has seen it");
            let Some(filter) = Filter::parse(&wanted.path) else {
                tracing::warn!(client = client.id, filter = wanted.path, "mqtt: filter is not well-formed");
                return Err(End::Refused(DisconnectReasonCode::MalformedPacket));
            };
            if filter.share.is_some() && wanted.nolocal {
                return Err(End::Refused(DisconnectReasonCode::ProtocolError));
            }
            if client.subscriptions.len() >= SUBSCRIPTIONS_MAX && !client.subscriptions.contains(&wanted.path) {
                tracing::warn!(client = client.id, "mqtt: more than {SUBSCRIPTIONS_MAX} subscriptions");
                return_codes.push(SubscribeReasonCode::QuotaExceeded);
                continue;
            }
            let qos = if wanted.qos == QoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            let retain_as_published = wanted.preserve_retain;
            let options = Options { qos, no_local: wanted.nolocal, retain_as_published, identifier };
            client.subscriptions.insert(wanted.path.clone());
            let new = self.topics.subscribe(&filter, key, options);
            let greeted = match wanted.retain_forward_rule {
                RetainForwardRule::OnEverySubscribe => true,
                RetainForwardRule::OnNewSubscribe => new,
                RetainForwardRule::Never => false,
            };
            if greeted && filter.share.is_none() {
                greetings.extend(self.retained_for(&filter, now).into_iter().map(|message| (message, options)));
            }
            return_codes.push(SubscribeReasonCode::Success(qos));
        }
        self.answer(key, &Packet::SubAck(SubAck { pkid: subscribe.pkid, return_codes, properties: None }));
        for (message, options) in greetings {
            self.deliver(key, &message, options, true, now);
        }
        Ok(())
    }

    /// The retained messages that match `filter`; expired ones go on this occasion.
    fn retained_for(&mut self, filter: &Filter<'_>, now: Instant) -> Vec<Arc<Message>> {
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

    fn unsubscribe(&mut self, key: SessionKey, unsubscribe: &Unsubscribe) -> Result<(), End> {
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for text in &unsubscribe.filters {
            let client = self.clients.get_mut(&key).expect("the caller has seen it");
            let reason = match Filter::parse(text) {
                None => return Err(End::Refused(DisconnectReasonCode::MalformedPacket)),
                Some(filter) if client.subscriptions.remove(text) => {
                    self.topics.unsubscribe(&filter, key);
                    UnsubAckReason::Success
                }
                Some(_) => UnsubAckReason::NoSubscriptionExisted,
            };
            reasons.push(reason);
        }
        self.answer(key, &Packet::UnsubAck(UnsubAck { pkid: unsubscribe.pkid, reasons, properties: None }));
        Ok(())
    }

    /// A DISCONNECT may change how long the session lives on, but not from nothing to something (section 3.14.2.2.2).
    fn goodbye(&mut self, connection: ConnectionKey, disconnect: &Disconnect) -> End {
        let client = self.client(connection).expect("the caller has seen it");
        if let Some(expiry_s) = disconnect.properties.as_ref().and_then(|p| p.session_expiry_interval) {
            if client.expiry_s == 0 && expiry_s != 0 {
                return End::Refused(DisconnectReasonCode::ProtocolError);
            }
            client.expiry_s = expiry_s;
        }
        End::Goodbye { publish_will: disconnect.reason_code != DisconnectReasonCode::NormalDisconnection }
    }

    fn answer(&mut self, key: SessionKey, packet: &Packet) {
        if let Some(connection) = self.clients.get_mut(&key).and_then(|client| client.connection.as_ref()) {
            connection.outbox.push(packet);
        }
    }
}
