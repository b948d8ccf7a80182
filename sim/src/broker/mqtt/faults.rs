//! What goes wrong at an MQTT broker that lives on: clients that are sent away, strangers with their ids, messages that
//! come twice or stay.

use super::{broker::Broker, keys::SessionKey, server::Server, topics};
use rumqttc::mqttbytes::v5::DisconnectReasonCode;
use tokio::time::Instant;

/// What lasts, counted: faults may overlap.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Messages that are to be acknowledged are sent twice.
    repeats: u32,
    repeated: u64,
    /// Filters of topics whose messages are retained, whatever their publishers want.
    retaining: Vec<String>,
    retained: u64,
}

impl Faults {
    /// Whether the message at hand is sent twice; counts it.
    pub(super) fn repeats(&mut self) -> bool {
        self.repeated += u64::from(self.repeats > 0);
        self.repeats > 0
    }

    /// Whether a message on `topic` is retained against its publisher's will; counts it.
    pub(super) fn retains(&mut self, topic: &str) -> bool {
        let retains = self.retaining.iter().any(|filter| topics::matches(filter, topic));
        self.retained += u64::from(retains);
        retains
    }
}

/// Who is meant: a client by its id, or all.
type Who<'a> = Option<&'a str>;

impl Broker {
    /// Sends clients away, as an operator can; their sessions wait for them, if they are to outlive a connection.
    /// Returns how many.
    pub fn kick(&self, who: Who<'_>) -> usize {
        self.end_connections(who, DisconnectReasonCode::AdministrativeAction, false)
    }

    /// A stranger connects with a client's id, starts a session of its own, and goes. Returns how many clients it hit.
    pub fn take_over(&self, who: Who<'_>) -> usize {
        self.end_connections(who, DisconnectReasonCode::SessionTakenOver, true)
    }

    fn end_connections(&self, who: Who<'_>, reason: DisconnectReasonCode, forget: bool) -> usize {
        let mut server = self.server();
        let now = Instant::now();
        server.advance(now);
        let connected = server.sessions.iter().filter(|(_, session)| {
            session.connection.is_some() && who.is_none_or(|client_id| session.client_id == client_id)
        });
        let keys: Vec<SessionKey> = connected.map(|(key, _)| *key).collect();
        for key in &keys {
            server.send_away(*key, reason, forget, now);
        }
        keys.len()
    }

    /// From now on each message of QoS 1 is sent twice.
    pub fn begin_repeating(&self) {
        self.server().faults.repeats += 1;
    }

    /// Ends one [`Broker::begin_repeating`]. Returns how many were repeated since the first.
    pub fn end_repeating(&self) -> u64 {
        let faults = &mut self.server().faults;
        faults.repeats -= 1;
        if faults.repeats == 0 { std::mem::take(&mut faults.repeated) } else { faults.repeated }
    }

    /// From now on messages on topics that match `filter` are retained, as if their publishers had wanted that.
    pub fn begin_retaining(&self, filter: &str) {
        self.server().faults.retaining.push(filter.to_owned());
    }

    /// Ends one [`Broker::begin_retaining`]; somebody has cleaned up, so what is retained on such topics goes. Returns
    /// how many messages were since the first.
    pub fn end_retaining(&self, filter: &str) -> u64 {
        let mut server = self.server();
        let place = server.faults.retaining.iter().position(|other| other == filter);
        place.map(|place| server.faults.retaining.remove(place));
        if server.faults.retaining.is_empty() {
            server.retained.retain(|topic, _| !topics::matches(filter, topic));
            return std::mem::take(&mut server.faults.retained);
        }
        server.faults.retained
    }
}

impl Server {
    fn send_away(&mut self, key: SessionKey, reason: DisconnectReasonCode, forget: bool, now: Instant) {
        let Some(connection) = self.sessions.get(&key).and_then(|session| session.connection.as_ref()) else { return };
        connection.write_buffer.disconnect(reason);
        self.leave(key, true, now);
        if forget {
            self.remove(key, now);
        }
    }
}
