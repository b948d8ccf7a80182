//! The life of a connection and of its channels as the protocol sees it: handshake, tuning, opening, closing, content
//! frames, and who answers for which method.

use super::{
    channel::Channel,
    codec::{self, Frame},
    refusal::Refusal,
    state::{At, ConnectionId, State},
};
use amq_protocol::{
    protocol::{
        AMQPClass, access, channel,
        connection::{self, AMQPMethod as Method},
        constants::{FRAME_BODY, FRAME_HEADER, FRAME_HEARTBEAT, FRAME_METHOD, FRAME_MIN_SIZE},
    },
    types::{AMQPValue, FieldTable},
};

/// What a client opens a connection with, and what it gets back if it sent something else (section 4.2.2).
const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// How far a connection has come (section 2.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing came yet but a TCP connection.
    Header,
    /// `connection.start` is sent.
    StartOk,
    /// `connection.tune` is sent.
    TuneOk,
    /// Only `connection.open` is missing.
    Open,
    /// In use.
    Running,
    /// `connection.close` is sent: all but the answer is ignored.
    Closing,
    /// Closed by the client, which ends the socket, too, when it has read what is in the outbox.
    Left,
    /// Ended by us: what is in the outbox is the last.
    Ended,
}

impl Phase {
    /// Nothing is read any more.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Left | Self::Ended)
    }
}

impl State {
    /// Takes what a connection has sent and handles all complete frames in it. How many bytes that were, and how
    /// far the connection has come.
    pub(super) fn receive(&mut self, id: ConnectionId, input: &[u8]) -> (usize, Phase) {
        let mut used = 0;
        while let Some(connection) = self.connections.get(&id) {
            let (phase, frame_bytes_max) = (connection.phase, connection.frame_bytes_max);
            let rest = &input[used..];
            match phase {
                Phase::Left | Phase::Ended => break,
                Phase::Header => match rest.first_chunk() {
                    None => break,
                    Some(header) => {
                        used += header.len();
                        self.protocol_header(id, header);
                    }
                },
                _ => match codec::cut(rest, frame_bytes_max) {
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        used += frame.bytes();
                        self.frame(id, phase, frame);
                    }
                    Err(refusal) => {
                        // Where the next frame starts is anybody's guess.
                        self.refuse(At { connection: id, channel: 0 }, &refusal, (0, 0));
                        self.set_phase(id, Phase::Ended);
                    }
                },
            }
        }
        self.settle_deaths();
        let to_confirm = self.connections.get(&id).map(|c| c.to_confirm.clone()).unwrap_or_default();
        for channel in to_confirm {
            self.send_confirm(At { connection: id, channel });
        }
        (used, self.phase(id))
    }

    fn set_phase(&mut self, id: ConnectionId, phase: Phase) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.phase = phase;
            connection.signals.output.notify_one();
        }
    }

    fn protocol_header(&mut self, id: ConnectionId, header: &[u8; 8]) {
        if header != PROTOCOL_HEADER {
            tracing::warn!(connection = id.0, ?header, "peer doesn't speak AMQP 0-9-1");
            self.append(id, |out| out.extend_from_slice(PROTOCOL_HEADER));
            self.set_phase(id, Phase::Ended);
            return;
        }
        let mut capabilities = FieldTable::default();
        for name in ["publisher_confirms", "basic.nack", "consumer_cancel_notify", "per_consumer_qos"] {
            capabilities.insert(name.into(), AMQPValue::Boolean(true));
        }
        let mut server_properties = FieldTable::default();
        server_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
        server_properties.insert("product".into(), AMQPValue::LongString("emulated RabbitMQ".into()));
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties,
            mechanisms: "PLAIN".into(),
            locales: "en_US".into(),
        };
        self.set_phase(id, Phase::StartOk);
        self.send(At { connection: id, channel: 0 }, AMQPClass::Connection(Method::Start(start)));
    }

    fn frame(&mut self, id: ConnectionId, phase: Phase, frame: Frame<'_>) {
        let at = At { connection: id, channel: frame.channel };
        if phase == Phase::Closing && frame.kind != FRAME_METHOD {
            return;
        }
        let mut ids = (0, 0);
        let outcome = match frame.kind {
            FRAME_METHOD => codec::parse_method(frame.payload).and_then(|class| {
                ids = (class.get_amqp_class_id(), class.get_amqp_method_id());
                if at.channel == 0 {
                    self.connection_method(at, phase, class)
                } else {
                    self.channel_method(at, phase, class)
                }
            }),
            FRAME_HEARTBEAT if at.channel == 0 => Ok(()), // its arrival was all it had to say
            FRAME_HEADER | FRAME_BODY if phase == Phase::Running && at.channel != 0 => self.content(at, frame),
            FRAME_HEARTBEAT | FRAME_HEADER | FRAME_BODY => {
                let octets = codec::octets(frame.payload);
                Err(Refusal::unexpected_frame(format!("type {}, all octets = {octets}", frame.kind)))
            }
            other => Err(codec::bad_frame(other, frame.payload, ": unknown_frame")),
        };
        if let Err(refusal) = outcome {
            self.refuse(at, &refusal, ids);
        }
    }

    /// Closes the channel or the connection with the protocol's error.
    fn refuse(&mut self, at: At, refusal: &Refusal, current: (u16, u16)) {
        let Some(connection) = self.connections.get(&at.connection) else { return };
        if connection.phase == Phase::Closing {
            return;
        }
        tracing::warn!(connection = at.connection.0, channel = at.channel, code = refusal.code, "{}", refusal.text);
        if matches!(connection.phase, Phase::StartOk | Phase::TuneOk) && refusal.code != 403 {
            // Whoever fails in the handshake hears nothing, unless it is for his login.
            self.set_phase(at.connection, Phase::Ended);
            return;
        }
        let (reply_code, reply_text) = (refusal.code, refusal.reply_text());
        let (class_id, method_id) = refusal.about.unwrap_or(current);
        if refusal.is_soft() && at.channel != 0 && connection.channels.contains_key(&at.channel) {
            self.close_channel(at);
            let close = channel::Close { reply_code, reply_text, class_id, method_id };
            self.send(at, AMQPClass::Channel(channel::AMQPMethod::Close(close)));
        } else {
            self.close_channels(at.connection);
            let close = connection::Close { reply_code, reply_text, class_id, method_id };
            self.send(At { channel: 0, ..at }, AMQPClass::Connection(Method::Close(close)));
            self.set_phase(at.connection, Phase::Closing);
        }
    }

    fn connection_method(&mut self, at: At, phase: Phase, class: AMQPClass) -> Result<(), Refusal> {
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
            (Method::UpdateSecret(_), Phase::Running) => {
                return Err(Refusal::not_implemented("connection.update-secret".into()));
            }
            (_, phase) => {
                return Err(unexpected_method(phase));
            }
        }
        Ok(())
    }

    /// Logs anyone in whose PLAIN response (RFC 4616) is well-formed.
    fn start_ok(&mut self, at: At, start_ok: &connection::StartOk) -> Result<(), Refusal> {
        if start_ok.mechanism.as_str() != "PLAIN" {
            let reason = format!("unknown authentication mechanism '{}'", start_ok.mechanism);
            return Err(Refusal::command_invalid(reason));
        }
        let login: Vec<&[u8]> = start_ok.response.as_bytes().split(|octet| *octet == 0).collect();
        let &[_, user, _] = &login[..] else {
            return Err(Refusal::access_refused("Login was refused using authentication mechanism PLAIN".into()));
        };
        let user = String::from_utf8_lossy(user).into();
        let capabilities = start_ok.client_properties.inner().get("capabilities");
        let cancel_notify = match capabilities {
            Some(AMQPValue::FieldTable(table)) => {
                table.inner().get("consumer_cancel_notify") == Some(&AMQPValue::Boolean(true))
            }
            _ => false,
        };
        if let Some(connection) = self.connections.get_mut(&at.connection) {
            connection.cancel_notify = cancel_notify;
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
    fn tune_ok(&mut self, at: At, tune_ok: &connection::TuneOk) -> Result<(), Refusal> {
        let (frame_max, channel_max) = (self.config.frame_bytes_max, self.config.channel_max);
        if !(FRAME_MIN_SIZE..=frame_max).contains(&tune_ok.frame_max) {
            let reason =
                format!("negotiated frame_max = {} is not in {FRAME_MIN_SIZE}..={frame_max}", tune_ok.frame_max);
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

    fn channel_method(&mut self, at: At, phase: Phase, class: AMQPClass) -> Result<(), Refusal> {
        use channel::AMQPMethod as Channels;
        match phase {
            Phase::Closing => return Ok(()),
            Phase::Running => {}
            _ => return Err(Refusal::unexpected_frame("a channel's method before connection.open".into())),
        }
        let Some(connection) = self.connections.get_mut(&at.connection) else { return Ok(()) };
        let (open, channel_max) = (connection.channels.len(), connection.channel_max);
        match (connection.channels.get_mut(&at.channel), &class) {
            (None, AMQPClass::Channel(Channels::Open(_))) if open < channel_max.into() => {
                connection.channels.insert(at.channel, Some(Channel::default()));
                self.send(at, AMQPClass::Channel(Channels::OpenOk(channel::OpenOk {})));
                return Ok(());
            }
            (None, AMQPClass::Channel(Channels::Open(_))) => {
                let reason = format!(
                    "number of channels opened ({open}) has reached the negotiated channel_max ({channel_max})"
                );
                return Err(Refusal { about: Some((0, 0)), ..Refusal::not_allowed(reason) });
            }
            (None, _) => return Err(Refusal::channel_error("expected 'channel.open'".into())),
            (Some(None), AMQPClass::Channel(Channels::CloseOk(_))) => {
                connection.channels.remove(&at.channel);
                return Ok(());
            }
            (Some(None), AMQPClass::Channel(Channels::Close(_))) => {
                self.send(at, AMQPClass::Channel(Channels::CloseOk(channel::CloseOk {})));
                return Ok(());
            }
            (Some(None), _) => return Ok(()), // sent before the client saw the channel close
            (Some(Some(channel)), _) => channel.expect_method()?,
        }
        match class {
            AMQPClass::Channel(method) => self.open_channel_method(at, method),
            AMQPClass::Queue(method) => self.queue_method(at, method),
            AMQPClass::Basic(method) => self.basic_method(at, method),
            AMQPClass::Confirm(method) => self.confirm_method(at, &method),
            AMQPClass::Exchange(method) => self.exchange_method(at, &method),
            AMQPClass::Access(access::AMQPMethod::Request(_)) => {
                self.send(at, AMQPClass::Access(access::AMQPMethod::RequestOk(access::RequestOk {})));
                Ok(())
            }
            AMQPClass::Tx(_) => Err(Refusal::not_implemented("transactions; use publisher confirms".into())),
            AMQPClass::Access(_) | AMQPClass::Connection(_) => Err(Refusal::unimplemented_method()),
        }
    }

    fn open_channel_method(&mut self, at: At, method: channel::AMQPMethod) -> Result<(), Refusal> {
        use channel::AMQPMethod as Channels;
        match method {
            Channels::Open(_) => Err(Refusal::channel_error("second 'channel.open' seen".into())),
            Channels::Close(_) => {
                self.close_channel(at);
                if let Some(connection) = self.connections.get_mut(&at.connection) {
                    connection.channels.remove(&at.channel);
                }
                self.send(at, AMQPClass::Channel(Channels::CloseOk(channel::CloseOk {})));
                Ok(())
            }
            Channels::Flow(flow) if flow.active => {
                self.send(at, AMQPClass::Channel(Channels::FlowOk(channel::FlowOk { active: true })));
                Ok(())
            }
            Channels::Flow(_) => Err(Refusal::not_implemented("active=false".into())),
            _ => Err(Refusal::unimplemented_method()),
        }
    }

    fn content(&mut self, at: At, frame: Frame<'_>) -> Result<(), Refusal> {
        let body_bytes_max = self.config.body_bytes_max;
        let Some(connection) = self.connections.get_mut(&at.connection) else { return Ok(()) };
        let channel = match connection.channels.get_mut(&at.channel) {
            None => return Err(Refusal::channel_error("expected 'channel.open'".into())),
            Some(None) => return Ok(()),
            Some(Some(channel)) => channel,
        };
        let complete = match frame.kind {
            FRAME_HEADER => channel.content_header(frame.payload, body_bytes_max)?,
            _ => channel.content_body(frame.payload)?,
        };
        complete.map_or(Ok(()), |(publish, message)| self.publish(at, publish, message).map_err(Refusal::of_publish))
    }
}

fn unexpected_method(phase: Phase) -> Refusal {
    let state = format!("{phase:?}").to_lowercase();
    Refusal::channel_error(format!("unexpected method in connection state {state}"))
}
