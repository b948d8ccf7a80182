//! The life of sessions: connect, resume, take over, lose, expire; and wills. Whatever is due by "now" happens before
//! anything else, so sessions end exactly in time although no timer runs.

use super::{
    inbound::Inbound,
    keys::{ConnectionKey, SessionKey},
    message::publish_of_will,
    outbound::Outbound,
    server::{Server, TOPIC_ALIAS_MAX},
    session::{Connected, Session, Warned, Will},
    topics::{Filter, is_valid_topic},
    v3::Version,
    write_buffer::WriteBuffer,
};
use rumqttc::mqttbytes::{
    QoS,
    v5::{ConnAck, ConnAckProperties, Connect, ConnectReturnCode, DisconnectReasonCode, LastWill, Packet, Publish},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// A Session Expiry Interval that means: never (MQTT 5, section 3.1.2.11.2).
const NEVER: u32 = u32::MAX;

impl Server {
    /// Ends every session and publishes every will whose time has come.
    pub(super) fn advance(&mut self, now: Instant) {
        loop {
            let will = self.wills.first().filter(|(at, _)| *at <= now).copied();
            let end = self.expiries.first().filter(|(at, _)| *at <= now).copied();
            match (will, end) {
                // A will is never due after the end of its session.
                (Some((will_at, key)), end) if end.is_none_or(|(at, _)| will_at <= at) => {
                    if let Some(will) = self.take_delayed_will(key) {
                        self.route(None, &will, will_at);
                    }
                }
                (_, Some((at, key))) => self.remove(key, at),
                _ => return,
            }
        }
    }

    /// When the next will is due.
    pub(super) fn next_will_at(&self) -> Option<Instant> {
        self.wills.first().map(|(at, _)| *at)
    }

    fn take_delayed_will(&mut self, key: SessionKey) -> Option<Publish> {
        let (at, will) = self.sessions.get_mut(&key)?.delayed_will.take()?;
        self.wills.remove(&(at, key));
        Some(will)
    }

    /// Opens or resumes the session of `connect`, whose client id is not empty; `assigned` tells the client that the
    /// broker chose it. The CONNACK is in the write buffer afterwards, in any case; on an error nothing else has
    /// happened.
    ///
    /// # Errors
    /// The code that was sent.
    pub(super) fn connect(
        &mut self,
        connect: Connect,
        will: Option<LastWill>,
        assigned: bool,
        write_buffer: Arc<WriteBuffer>,
        now: Instant,
    ) -> Result<ConnectionKey, ConnectReturnCode> {
        self.advance(now);
        if let Err(code) = self.check(&connect, will.as_ref()) {
            write_buffer.push(&Packet::ConnAck(ConnAck { session_present: false, code, properties: None }));
            return Err(code);
        }
        let old = self.by_client_id.get(&connect.client_id).copied();
        if let Some(key) = old {
            self.take_over(key, now);
        }
        if connect.clean_start
            && let Some(key) = old
        {
            self.remove(key, now);
        }
        let present = self.by_client_id.get(&connect.client_id).copied();
        if let Some(key) = present {
            // The client is back in time.
            self.take_delayed_will(key);
        }
        let key = present.unwrap_or_else(|| self.new_session(&connect.client_id));
        let id = assigned.then(|| connect.client_id.clone());
        let properties = Some(self.connack_properties(id, connect.keep_alive));
        let code = ConnectReturnCode::Success;
        write_buffer.push(&Packet::ConnAck(ConnAck { session_present: present.is_some(), code, properties }));

        // As in Mosquitto, what a client asks for goes before the broker's own limit, even if it is more.
        let receive_maximum = connect.properties.as_ref().and_then(|p| p.receive_maximum).and_then(NonZeroU16::new);
        let window = receive_maximum.unwrap_or(self.config.max_inflight);
        self.connections_made += 1;
        let number = self.connections_made;
        let session = self.sessions.get_mut(&key).expect("was just found or made");
        session.version = write_buffer.version();
        session.expiry_s = connect.properties.and_then(|p| p.session_expiry_interval).unwrap_or(0);
        if let Some(at) = session.expires_at.take() {
            self.expiries.remove(&(at, key));
        }
        let will = will.map(|will| Will {
            delay_s: will.properties.as_ref().and_then(|p| p.delay_interval).unwrap_or(0),
            publish: publish_of_will(will),
        });
        session.connection = Some(Connected { number, write_buffer, aliases: BTreeMap::new(), will });
        session.outbound.resume(window);
        session.inbound.resume(self.config.max_inflight);
        self.pump(key, now);
        Ok(ConnectionKey { session: key, number })
    }

    /// The connection is gone. `publish_will`: not by a proper DISCONNECT.
    pub(super) fn disconnected(&mut self, connection: ConnectionKey, publish_will: bool, now: Instant) {
        self.advance(now);
        if self.session_of(connection).is_some() {
            self.leave(connection.session, publish_will, now);
        }
    }

    /// Loses all connections, and all sessions and retained messages too unless they are kept on disk.
    pub(super) fn restart(&mut self, now: Instant) {
        for session in self.sessions.values_mut() {
            if let Some(connection) = &mut session.connection {
                connection.write_buffer.abort();
                connection.will = None;
            }
            session.delayed_will = None;
        }
        self.wills.clear();
        let keys: Vec<SessionKey> = self.sessions.keys().copied().collect();
        for key in keys {
            if !self.config.persistent_sessions {
                self.remove(key, now);
            } else if self.sessions[&key].connection.is_some() {
                self.leave(key, false, now);
            }
        }
        if !self.config.persistent_sessions {
            self.retained.clear();
        }
        self.started = None;
    }

    /// Ends the connection of a session, if it has one, in favour of a new one.
    fn take_over(&mut self, key: SessionKey, now: Instant) {
        let session = &self.sessions[&key];
        let Some(connection) = &session.connection else { return };
        tracing::warn!(client = session.client_id, "mqtt: another connection takes the session over");
        connection.write_buffer.disconnect(DisconnectReasonCode::SessionTakenOver);
        self.leave(key, true, now);
    }

    /// Marks a connected client as away: its session waits, or ends if it has no expiry interval.
    pub(super) fn leave(&mut self, key: SessionKey, publish_will: bool, now: Instant) {
        let session = self.sessions.get_mut(&key).expect("callers have looked it up");
        let connection = session.connection.take().expect("callers have checked it");
        session.outbound.suspend();
        let expiry_s = session.expiry_s;
        if expiry_s != 0 && expiry_s != NEVER {
            let at = now + Duration::from_secs(expiry_s.into());
            session.expires_at = Some(at);
            self.expiries.insert((at, key));
        }
        connection.write_buffer.close();
        if publish_will && let Some(will) = connection.will {
            // The end of the session cuts the delay short.
            let at = now + Duration::from_secs(will.delay_s.min(expiry_s).into());
            session.delayed_will = Some((at, will.publish));
            self.wills.insert((at, key));
            self.rescheduled.notify_one();
        }
        if expiry_s == 0 {
            self.remove(key, now);
        }
        self.advance(now);
    }

    fn new_session(&mut self, id: &str) -> SessionKey {
        self.sessions_made += 1;
        let key = SessionKey(self.sessions_made);
        let session = Session {
            client_id: id.to_owned(),
            version: Version::V5,
            inbound: Inbound::new(self.config.queued_messages_max),
            outbound: Outbound::new(self.config.quota, self.config.queued_messages_max),
            last_message: 0,
            subscriptions: BTreeSet::new(),
            connection: None,
            expiry_s: 0,
            expires_at: None,
            delayed_will: None,
            warned: Warned::default(),
        };
        self.sessions.insert(key, session);
        self.by_client_id.insert(id.to_owned(), key);
        key
    }

    /// Ends a session. Its messages end with it, those of shared subscriptions, too, as with Mosquitto.
    pub(super) fn remove(&mut self, key: SessionKey, now: Instant) {
        let will = self.take_delayed_will(key);
        let Some(session) = self.sessions.remove(&key) else { return };
        self.by_client_id.remove(&session.client_id);
        for text in &session.subscriptions {
            let filter = Filter::parse(text).expect("was checked when it was subscribed to");
            self.topics.unsubscribe(&filter, key);
        }
        if let Some(at) = session.expires_at {
            self.expiries.remove(&(at, key));
        }
        self.stats.messages_abandoned += (session.outbound.queued() + session.outbound.in_flight()) as u64;
        if let Some(will) = will {
            self.route(None, &will, now);
        }
    }

    fn connack_properties(&self, assigned: Option<String>, keep_alive_s: u16) -> ConnAckProperties {
        ConnAckProperties {
            session_expiry_interval: None,
            // Mosquitto announces its own in-flight limit here, which then is the client's window for its publishes.
            receive_max: Some(self.config.max_inflight.get()),
            // Nothing means 2.
            max_qos: (self.config.max_qos < QoS::ExactlyOnce).then_some(self.config.max_qos as u8),
            // That these are there is what their absence means.
            retain_available: None,
            max_packet_size: Some(self.config.packet_bytes_max),
            assigned_client_identifier: assigned,
            topic_alias_max: Some(TOPIC_ALIAS_MAX),
            reason_string: None,
            user_properties: vec![],
            wildcard_subscription_available: None,
            subscription_identifiers_available: None,
            shared_subscription_available: None,
            server_keep_alive: self.config.server_keep_alive_s(keep_alive_s),
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
        }
    }

    fn check(&self, connect: &Connect, will: Option<&LastWill>) -> Result<(), ConnectReturnCode> {
        if connect.properties.as_ref().is_some_and(|p| p.authentication_method.is_some()) {
            return Err(ConnectReturnCode::BadAuthenticationMethod);
        }
        if connect.properties.as_ref().is_some_and(|p| p.max_packet_size == Some(0)) {
            return Err(ConnectReturnCode::ProtocolError);
        }
        let Some(will) = will else { return Ok(()) };
        if will.qos > self.config.max_qos {
            return Err(ConnectReturnCode::QoSNotSupported);
        }
        if !std::str::from_utf8(&will.topic).is_ok_and(is_valid_topic) {
            return Err(ConnectReturnCode::TopicNameInvalid);
        }
        Ok(())
    }
}
