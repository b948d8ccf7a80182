//! The methods of class connection: handshake, tuning, opening, closing (AMQP 0-9-1 section 1.4 of the reference).

use super::{
    constants::FRAME_BYTES_MIN,
    ids::{ChannelId, ConnectionId},
    phase::Phase,
    refusal::Refusal,
    state::State,
    table_depth,
};
use amq_protocol::{
    protocol::{
        AMQPClass,
        connection::{self, AMQPMethod as Method},
    },
    types::{AMQPValue, FieldTable, parsing::parse_field_table},
};

/// What a client opens a connection with, and what it gets back if it sent something else (section 4.2.2).
const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";
/// What clients are told that this broker can.
const CAPABILITIES: [&str; 8] = [
    "publisher_confirms",
    "basic.nack",
    "consumer_cancel_notify",
    "per_consumer_qos",
    "exchange_exchange_bindings",
    "consumer_priorities",
    "authentication_failure_close",
    "direct_reply_to",
];

impl State {
    pub(super) fn protocol_header(&mut self, id: ConnectionId, header: &[u8; 8]) {
        if header != PROTOCOL_HEADER {
            tracing::warn!(connection = id.0, ?header, "peer doesn't speak AMQP 0-9-1");
            self.append(id, |out| out.extend_from_slice(PROTOCOL_HEADER));
            self.set_phase(id, Phase::Ended);
            return;
        }
        let mut capabilities = FieldTable::default();
        for name in CAPABILITIES {
            capabilities.insert(name.into(), AMQPValue::Boolean(true));
        }
        let mut server_properties = FieldTable::default();
        server_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
        server_properties.insert("product".into(), AMQPValue::LongString("emulated RabbitMQ".into()));
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties,
            mechanisms: "PLAIN AMQPLAIN".into(),
            locales: "en_US".into(),
        };
        self.set_phase(id, Phase::StartOk);
        self.send(ChannelId { connection: id, channel: 0 }, AMQPClass::Connection(Method::Start(start)));
    }

    pub(super) fn connection_method(&mut self, at: ChannelId, phase: Phase, class: AMQPClass) -> Result<(), Refusal> {
        let AMQPClass::Connection(method) = class else {
            return Err(unexpected_method(phase));
        };
        match (method, phase) {
            (Method::Close(close), _) => {
                tracing::debug!(connection = at.connection.0, code = close.reply_code, "closed by the client");
                self.close_channels(at.connection);
                self.delete_exclusive_queues(at.connection);
                self.send(at, AMQPClass::Connection(Method::CloseOk(connection::CloseOk {})));
                self.set_phase(at.connection, Phase::Left);
            }
            (Method::CloseOk(_), Phase::Closing) => self.set_phase(at.connection, Phase::Ended),
            (_, Phase::Closing) => {}
            (Method::StartOk(start_ok), Phase::StartOk) => return self.start_ok(at, &start_ok),
            (Method::TuneOk(tune_ok), Phase::TuneOk) => return self.tune_ok(at, &tune_ok),
            (Method::Open(open), Phase::Open) => {
                if open.virtual_host.as_str() != "/" {
                    return Err(Refusal::not_allowed(format!("vhost {} not found", open.virtual_host)));
                }
                self.set_phase(at.connection, Phase::Running);
                self.send(at, AMQPClass::Connection(Method::OpenOk(connection::OpenOk {})));
            }
            // Any secret is let in, a later one too.
            (Method::UpdateSecret(_), Phase::Running) => {
                self.send(at, AMQPClass::Connection(Method::UpdateSecretOk(connection::UpdateSecretOk {})));
            }
            (_, phase) => {
                return Err(unexpected_method(phase));
            }
        }
        Ok(())
    }

    /// Logs anyone in whose response is well-formed.
    fn start_ok(&mut self, at: ChannelId, start_ok: &connection::StartOk) -> Result<(), Refusal> {
        let response = start_ok.response.as_bytes();
        let user = match start_ok.mechanism.as_str() {
            "PLAIN" => user_of_plain(response),
            "AMQPLAIN" => user_of_amqplain(response),
            other => return Err(Refusal::command_invalid(format!("unknown authentication mechanism '{other}'"))),
        };
        let invalid = || Refusal::command_invalid(format!("an invalid response for {}", start_ok.mechanism));
        let user = user.ok_or_else(invalid)?;
        let capabilities = start_ok.client_properties.inner().get("capabilities");
        let is_capable = |of: &str| match capabilities {
            Some(AMQPValue::FieldTable(table)) => table.inner().get(of) == Some(&AMQPValue::Boolean(true)),
            _ => false,
        };
        if let Some(connection) = self.connections.get_mut(&at.connection) {
            connection.cancel_notify = is_capable("consumer_cancel_notify");
            connection.blocked_notify = is_capable("connection.blocked");
            connection.user = user;
        }
        let tune = connection::Tune {
            channel_max: self.config.channel_max,
            frame_max: self.config.frame_bytes_max,
            heartbeat: self.config.heartbeat_s,
        };
        self.set_phase(at.connection, Phase::TuneOk);
        self.send(at, AMQPClass::Connection(Method::Tune(tune)));
        Ok(())
    }

    /// The client has the last word within the server's limits (RabbitMQ: `validate_negotiated_integer_value`).
    fn tune_ok(&mut self, at: ChannelId, tune_ok: &connection::TuneOk) -> Result<(), Refusal> {
        let (frame_max, channel_max) = (self.config.frame_bytes_max, self.config.channel_max);
        if !(FRAME_BYTES_MIN..=frame_max).contains(&tune_ok.frame_max) {
            let reason =
                format!("negotiated frame_max = {} is not in {FRAME_BYTES_MIN}..={frame_max}", tune_ok.frame_max);
            return Err(Refusal::not_allowed(reason));
        }
        if !(1..=channel_max).contains(&tune_ok.channel_max) {
            let reason = format!("negotiated channel_max = {} is not in 1..={channel_max}", tune_ok.channel_max);
            return Err(Refusal::not_allowed(reason));
        }
        if let Some(connection) = self.connections.get_mut(&at.connection) {
            connection.frame_bytes_max = tune_ok.frame_max;
            connection.channel_max = tune_ok.channel_max;
            connection.heartbeat_s = tune_ok.heartbeat;
        }
        self.set_phase(at.connection, Phase::Open); // the writer takes note of the heartbeat
        Ok(())
    }
}

/// The user in a PLAIN response (RFC 4616).
fn user_of_plain(response: &[u8]) -> Option<Box<str>> {
    let login: Vec<&[u8]> = response.split(|octet| *octet == 0).collect();
    let &[_, user, _] = &login[..] else { return None };
    Some(String::from_utf8_lossy(user).into())
}

/// The user in an AMQPLAIN response: a field table without its length, which has `LOGIN` and `PASSWORD`.
fn user_of_amqplain(response: &[u8]) -> Option<Box<str>> {
    let mut table = u32::try_from(response.len()).ok()?.to_be_bytes().to_vec();
    table.extend_from_slice(response);
    table_depth::check_table(response).ok()?;
    let Ok(([], fields)) = parse_field_table(&table[..]) else { return None };
    match (fields.inner().get("LOGIN"), fields.inner().get("PASSWORD")) {
        (Some(AMQPValue::LongString(user)), Some(AMQPValue::LongString(_))) => Some(user.to_string().into()),
        _ => None,
    }
}

fn unexpected_method(phase: Phase) -> Refusal {
    let state = format!("{phase:?}").to_lowercase();
    Refusal::channel_error(format!("unexpected method in connection state {state}"))
}
