//! What a client's control packets do: publish, subscribe, acknowledge, say goodbye.

use super::{
    keys::{ConnectionKey, SessionKey},
    message::Message,
    outbound::{Answer, Answered},
    own_topics::OWN,
    server::{Server, TOPIC_ALIAS_MAX},
    topics::{Filter, Options, is_valid_topic},
    v3::Version,
};
use bytes::Bytes;
use rumqttc::mqttbytes::{
    QoS,
    v5::{
        Disconnect, DisconnectReasonCode, Packet, PubAck, PubAckReason, PubComp, PubRec, PubRecReason, PubRel, Publish,
        RetainForwardRule, SubAck, Subscribe, SubscribeReasonCode, UnsubAck, UnsubAckReason, Unsubscribe,
    },
};
use std::sync::Arc;
use tokio::time::Instant;

/// Most subscriptions of one session; a service has a handful.
const SUBSCRIPTIONS_MAX: usize = 10_000;

/// The first reason code that means an error (MQTT 5, section 2.4).
const FIRST_ERROR: u8 = 0x80;

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
    /// Does what `packet` asks for. Answers go to the write buffer of the connection.
    ///
    /// # Errors
    /// The connection ends for the given reason.
    pub(super) fn handle(&mut self, connection: ConnectionKey, packet: Packet, now: Instant) -> Result<(), End> {
        self.advance(now);
        if self.session_of(connection).is_none() {
            return Err(End::Void);
        }
        let key = connection.session;
        match packet {
            Packet::Publish(publish) => self.publish(key, publish, now),
            Packet::PubAck(ack) => self.answered(key, Answer::Ack, ack.pkid, now),
            Packet::PubRec(ack) if ack.reason as u8 >= FIRST_ERROR => {
                self.answered(key, Answer::Refused, ack.pkid, now)
            }
            Packet::PubRec(ack) => self.answered(key, Answer::Received, ack.pkid, now),
            Packet::PubComp(ack) => self.answered(key, Answer::Complete, ack.pkid, now),
            Packet::PubRel(release) => {
                self.release(key, release.pkid, now);
                Ok(())
            }
            Packet::Subscribe(subscribe) => self.subscribe(key, subscribe, now),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(key, &unsubscribe),
            Packet::PingReq => {
                self.answer(key, &Packet::PingResp);
                Ok(())
            }
            Packet::Disconnect(disconnect) => Err(self.goodbye(connection, &disconnect)),
            // AUTH was not negotiated, a second CONNECT is forbidden, the rest is a server's.
            _ => Err(End::Refused(DisconnectReasonCode::ProtocolError)),
        }
    }

    /// A client answers a message. Like Mosquitto the broker answers any PUBREC, even for what is not in flight.
    fn answered(&mut self, key: SessionKey, answer: Answer, packet_id: u16, now: Instant) -> Result<(), End> {
        let session = self.sessions.get_mut(&key).expect("the caller has seen it");
        let answered = session.outbound.answered(answer, packet_id);
        if answered == Answered::Wrong {
            return Err(End::Refused(DisconnectReasonCode::ProtocolError));
        }
        if answered == Answered::Unknown
            && let Some(count) = session.warned.unknown_answers.again()
        {
            tracing::warn!(
                client = session.client_id,
                packet_id,
                ?answer,
                count,
                "mqtt: answer to what is not in flight"
            );
        }
        if answer == Answer::Received {
            self.answer(key, &Packet::PubRel(PubRel::new(packet_id, None)));
        } else if answered == Answered::Known {
            self.pump(key, now);
        }
        Ok(())
    }

    /// A client lets go of the packet id of a message of QoS 2, which is passed on now. An id that is unknown may be
    /// one that was released before.
    fn release(&mut self, key: SessionKey, packet_id: u16, now: Instant) {
        let session = self.sessions.get_mut(&key).expect("the caller has seen it");
        if let Some(message) = session.inbound.release(packet_id) {
            self.route_message(Some(key), &message, now);
        }
        self.answer(key, &Packet::PubComp(PubComp::new(packet_id, None)));
    }

    fn publish(&mut self, key: SessionKey, mut publish: Publish, now: Instant) -> Result<(), End> {
        let properties = publish.properties.as_ref();
        if properties.is_some_and(|p| !p.subscription_identifiers.is_empty()) {
            return Err(End::Refused(DisconnectReasonCode::ProtocolError));
        }
        if let Some(alias) = properties.and_then(|p| p.topic_alias) {
            self.resolve_alias(key, alias, &mut publish.topic)?;
        }
        if publish.qos > self.config.max_qos {
            return Err(End::Refused(DisconnectReasonCode::QoSNotSupported));
        }
        if !std::str::from_utf8(&publish.topic).is_ok_and(is_valid_topic) {
            return Err(End::Refused(DisconnectReasonCode::ProtocolError));
        }
        self.stats.publishes_received += 1;
        let permitted = !publish.topic.starts_with(OWN.as_bytes()) && self.rights.may_publish(&publish.topic);
        match publish.qos {
            QoS::ExactlyOnce => {
                let reason = if permitted { self.hold(key, &publish, now) } else { PubRecReason::NotAuthorized };
                let session = self.sessions.get_mut(&key).expect("the caller has seen it");
                // Others are not told, and go on as if it was received.
                if reason != PubRecReason::Success && session.version == Version::V5 {
                    session.inbound.refused();
                }
                self.answer(key, &Packet::PubRec(PubRec { reason, ..PubRec::new(publish.pkid, None) }));
            }
            QoS::AtLeastOnce => {
                let reason = if permitted { self.pass_on(key, &publish, now) } else { PubAckReason::NotAuthorized };
                self.answer(key, &Packet::PubAck(PubAck { reason, ..PubAck::new(publish.pkid, None) }));
            }
            QoS::AtMostOnce if permitted => {
                self.route(Some(key), &publish, now);
            }
            QoS::AtMostOnce => {}
        }
        Ok(())
    }

    /// Routes a message of QoS 1.
    fn pass_on(&mut self, key: SessionKey, publish: &Publish, now: Instant) -> PubAckReason {
        let session = self.sessions.get_mut(&key).expect("the caller has seen it");
        if !session.inbound.pass(publish.pkid) {
            session.warn_of_unreleased();
            session.inbound.refused();
            return PubAckReason::QuotaExceeded;
        }
        match self.route(Some(key), publish, now) {
            0 => PubAckReason::NoMatchingSubscribers,
            _ => PubAckReason::Success,
        }
    }

    /// Keeps a message of QoS 2 until its client releases it.
    fn hold(&mut self, key: SessionKey, publish: &Publish, now: Instant) -> PubRecReason {
        let session = self.sessions.get_mut(&key).expect("the caller has seen it");
        if session.inbound.take(publish.pkid, Arc::new(Message::new(publish, now))) {
            return PubRecReason::Success;
        }
        session.warn_of_unreleased();
        PubRecReason::QuotaExceeded
    }

    /// Notes which topic `alias` stands for, or puts that in for an empty `topic` (section 3.3.2.3.4).
    fn resolve_alias(&mut self, key: SessionKey, alias: u16, topic: &mut Bytes) -> Result<(), End> {
        if alias == 0 || alias > TOPIC_ALIAS_MAX {
            return Err(End::Refused(DisconnectReasonCode::TopicAliasInvalid));
        }
        let connection = self.sessions.get_mut(&key).and_then(|session| session.connection.as_mut());
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

    fn subscribe(&mut self, key: SessionKey, subscribe: Subscribe, now: Instant) -> Result<(), End> {
        let identifier = subscribe.properties.and_then(|p| p.id);
        let mut return_codes = Vec::with_capacity(subscribe.filters.len());
        let mut greetings = Vec::new();
        for wanted in subscribe.filters {
            let session = self.sessions.get_mut(&key).expect("the caller has seen it");
            let Some(filter) = Filter::parse(&wanted.path) else {
                tracing::warn!(client = session.client_id, filter = wanted.path, "mqtt: filter is not well-formed");
                return Err(End::Refused(DisconnectReasonCode::MalformedPacket));
            };
            if filter.share.is_some() && wanted.nolocal {
                return Err(End::Refused(DisconnectReasonCode::ProtocolError));
            }
            if session.subscriptions.len() >= SUBSCRIPTIONS_MAX && !session.subscriptions.contains(&wanted.path) {
                if let Some(count) = session.warned.subscriptions.again() {
                    let client = &session.client_id;
                    tracing::warn!(client, count, "mqtt: more than {SUBSCRIPTIONS_MAX} subscriptions");
                }
                return_codes.push(SubscribeReasonCode::QuotaExceeded);
                continue;
            }
            if !self.rights.may_subscribe(&wanted.path) {
                return_codes.push(SubscribeReasonCode::NotAuthorized);
                continue;
            }
            let qos = if wanted.qos < self.config.max_qos { wanted.qos } else { self.config.max_qos };
            let retain_as_published = wanted.preserve_retain;
            let options = Options { qos, no_local: wanted.nolocal, retain_as_published, identifier };
            session.subscriptions.insert(wanted.path.clone());
            if filter.path.starts_with(OWN) {
                self.begin_own_topics(now);
            }
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

    fn unsubscribe(&mut self, key: SessionKey, unsubscribe: &Unsubscribe) -> Result<(), End> {
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for text in &unsubscribe.filters {
            let session = self.sessions.get_mut(&key).expect("the caller has seen it");
            let reason = match Filter::parse(text) {
                None => return Err(End::Refused(DisconnectReasonCode::MalformedPacket)),
                Some(filter) if session.subscriptions.remove(text) => {
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
        let session = self.session_of(connection).expect("the caller has seen it");
        if let Some(expiry_s) = disconnect.properties.as_ref().and_then(|p| p.session_expiry_interval) {
            if session.expiry_s == 0 && expiry_s != 0 {
                return End::Refused(DisconnectReasonCode::ProtocolError);
            }
            session.expiry_s = expiry_s;
        }
        End::Goodbye { publish_will: disconnect.reason_code != DisconnectReasonCode::NormalDisconnection }
    }
}
