//! The broker's state and the life of sessions in it: connect, resume, take over, lose, expire. What packets do to it is in
//! `handle`. "Now" is an argument; whatever is due by then happens before anything else, so sessions end exactly in time
//! although no timer runs.

use super::{
    Config, Stats,
    held::Held,
    message::{Message, publish_of_will},
    outbox::Outbox,
    session::{Session, SessionKey},
    topics::{Filter, Options, Topics, is_valid_topic},
    v3::Version,
};
use bytes::Bytes;
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
use tokio::{sync::Notify, time::Instant};

/// A Session Expiry Interval that means: never (MQTT 5, section 3.1.2.11.2).
const NEVER: u32 = u32::MAX;

/// Highest number that a client may give a topic (Mosquitto's `max_topic_alias`).
pub(super) const TOPIC_ALIAS_MAX: u16 = 10;

/// Everything the broker knows.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) config: Config,
    pub(super) topics: Topics,
    pub(super) retained: BTreeMap<String, Arc<Message>>,
    pub(super) stats: Stats,
    pub(super) clients: BTreeMap<SessionKey, Client>,
    by_id: BTreeMap<String, SessionKey>,
    /// Ends of the sessions whose clients are away.
    expiries: BTreeSet<(Instant, SessionKey)>,
    /// When the wills of clients that are away are due, if they are delayed.
    wills: BTreeSet<(Instant, SessionKey)>,
    /// The first of `wills` may be another one.
    pub(super) rescheduled: Arc<Notify>,
    sessions_made: u64,
    connections_made: u64,
    pub(super) messages_routed: u64,
    /// Receivers of the publish at hand; kept for its capacity.
    pub(super) receivers: Vec<(SessionKey, Options)>,
}

/// A session with its client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: String,
    /// What it speaks, or spoke when it was here last.
    pub(super) version: Version,
    pub(super) session: Session,
    pub(super) held: Held,
    /// Number of the routed message that it has got last.
    pub(super) last_message: u64,
    /// Filters as the client wrote them.
    pub(super) subscriptions: BTreeSet<String>,
    /// `None` while the client is away.
    pub(super) connection: Option<Connected>,
    /// Session Expiry Interval.
    pub(super) expiry_s: u32,
    /// When the session ends, if the client stays away.
    expires_at: Option<Instant>,
    /// What is published then, if the client stays away and its session lives.
    delayed_will: Option<(Instant, Publish)>,
}

/// A client's open connection.
#[derive(Debug)]
pub(super) struct Connected {
    number: u64,
    pub(super) outbox: Arc<Outbox>,
    /// The topics that the client has given numbers.
    pub(super) aliases: BTreeMap<u16, Bytes>,
    will: Option<Will>,
}

#[derive(Debug)]
struct Will {
    publish: Publish,
    delay_s: u32,
}

/// Names a connection towards the server. It becomes void when another connection takes the session over.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionKey {
    pub(super) session: SessionKey,
    number: u64,
}

impl Server {
    pub(super) fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

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
        let (at, will) = self.clients.get_mut(&key)?.delayed_will.take()?;
        self.wills.remove(&(at, key));
        Some(will)
    }

    /// Opens or resumes the session of `connect`, whose client id is not empty; `assigned` tells the client that the broker
    /// chose it. The CONNACK is in the outbox afterwards, in any case; on an error nothing else has happened.
    ///
    /// # Errors
    /// The code that was sent.
    pub(super) fn connect(
        &mut self,
        connect: Connect,
        will: Option<LastWill>,
        assigned: bool,
        outbox: Arc<Outbox>,
        now: Instant,
    ) -> Result<ConnectionKey, ConnectReturnCode> {
        self.advance(now);
        if let Err(code) = self.check(&connect, will.as_ref()) {
            outbox.push(&Packet::ConnAck(ConnAck { session_present: false, code, properties: None }));
            return Err(code);
        }
        let old = self.by_id.get(&connect.client_id).copied();
        if let Some(key) = old {
            self.take_over(key, now);
        }
        if connect.clean_start
            && let Some(key) = old
        {
            self.remove(key, now);
        }
        let present = self.by_id.get(&connect.client_id).copied();
        if let Some(key) = present {
            // The client is back in time.
            self.take_delayed_will(key);
        }
        let key = present.unwrap_or_else(|| self.new_session(&connect.client_id));
        let id = assigned.then(|| connect.client_id.clone());
        let properties = Some(self.connack_properties(id, connect.keep_alive));
        let code = ConnectReturnCode::Success;
        outbox.push(&Packet::ConnAck(ConnAck { session_present: present.is_some(), code, properties }));

        // As in Mosquitto, what a client asks for goes before the broker's own limit, even if it is more.
        let receive_maximum = connect.properties.as_ref().and_then(|p| p.receive_maximum).and_then(NonZeroU16::new);
        let window = receive_maximum.unwrap_or(self.config.max_inflight);
        self.connections_made += 1;
        let number = self.connections_made;
        let client = self.clients.get_mut(&key).expect("was just found or made");
        client.version = outbox.version();
        client.expiry_s = connect.properties.and_then(|p| p.session_expiry_interval).unwrap_or(0);
        if let Some(at) = client.expires_at.take() {
            self.expiries.remove(&(at, key));
        }
        let will = will.map(|will| Will {
            delay_s: will.properties.as_ref().and_then(|p| p.delay_interval).unwrap_or(0),
            publish: publish_of_will(will),
        });
        client.connection = Some(Connected { number, outbox, aliases: BTreeMap::new(), will });
        client.session.resume(window);
        client.held.resume(self.config.max_inflight);
        self.pump(key, now);
        Ok(ConnectionKey { session: key, number })
    }

    /// The connection is gone. `publish_will`: not by a proper DISCONNECT.
    pub(super) fn disconnected(&mut self, connection: ConnectionKey, publish_will: bool, now: Instant) {
        self.advance(now);
        if self.client(connection).is_some() {
            self.leave(connection.session, publish_will, now);
        }
    }

    /// The client behind `connection`, unless another connection has taken its session over, or the session is gone.
    pub(super) fn client(&mut self, connection: ConnectionKey) -> Option<&mut Client> {
        let client = self.clients.get_mut(&connection.session)?;
        client.connection.as_ref().is_some_and(|c| c.number == connection.number).then_some(client)
    }

    /// Loses all connections, and all sessions and retained messages too unless they are kept on disk.
    pub(super) fn restart(&mut self, now: Instant) {
        for client in self.clients.values_mut() {
            if let Some(connection) = &mut client.connection {
                connection.outbox.abort();
                connection.will = None;
            }
            client.delayed_will = None;
        }
        self.wills.clear();
        let keys: Vec<SessionKey> = self.clients.keys().copied().collect();
        for key in keys {
            if !self.config.persistent_sessions {
                self.remove(key, now);
            } else if self.clients[&key].connection.is_some() {
                self.leave(key, false, now);
            }
        }
        if !self.config.persistent_sessions {
            self.retained.clear();
        }
    }

    /// Ends the connection of a session, if it has one, in favour of a new one.
    fn take_over(&mut self, key: SessionKey, now: Instant) {
        let client = &self.clients[&key];
        let Some(connection) = &client.connection else { return };
        tracing::warn!(client = client.id, "mqtt: another connection takes the session over");
        connection.outbox.disconnect(DisconnectReasonCode::SessionTakenOver);
        self.leave(key, true, now);
    }

    /// Marks a connected client as away: its session waits, or ends if it has no expiry interval.
    fn leave(&mut self, key: SessionKey, publish_will: bool, now: Instant) {
        let client = self.clients.get_mut(&key).expect("callers have looked it up");
        let connection = client.connection.take().expect("callers have checked it");
        client.session.suspend();
        let expiry_s = client.expiry_s;
        if expiry_s != 0 && expiry_s != NEVER {
            let at = now + Duration::from_secs(expiry_s.into());
            client.expires_at = Some(at);
            self.expiries.insert((at, key));
        }
        connection.outbox.close();
        if publish_will && let Some(will) = connection.will {
            // The end of the session cuts the delay short.
            let at = now + Duration::from_secs(will.delay_s.min(expiry_s).into());
            client.delayed_will = Some((at, will.publish));
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
        let client = Client {
            id: id.to_owned(),
            version: Version::V5,
            session: Session::new(self.config.quota, self.config.queued_messages_max),
            held: Held::new(self.config.queued_messages_max),
            last_message: 0,
            subscriptions: BTreeSet::new(),
            connection: None,
            expiry_s: 0,
            expires_at: None,
            delayed_will: None,
        };
        self.clients.insert(key, client);
        self.by_id.insert(id.to_owned(), key);
        key
    }

    /// Ends a session. Its messages end with it, those of shared subscriptions, too, as with Mosquitto.
    fn remove(&mut self, key: SessionKey, now: Instant) {
        let will = self.take_delayed_will(key);
        let Some(client) = self.clients.remove(&key) else { return };
        self.by_id.remove(&client.id);
        for text in &client.subscriptions {
            let filter = Filter::parse(text).expect("was checked when it was subscribed to");
            self.topics.unsubscribe(&filter, key);
        }
        if let Some(at) = client.expires_at {
            self.expiries.remove(&(at, key));
        }
        self.stats.messages_abandoned += (client.session.queued() + client.session.in_flight()) as u64;
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
