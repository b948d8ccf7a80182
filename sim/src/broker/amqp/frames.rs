//! What comes in: the protocol header, then frame by frame, and who answers for each; and what a refusal leads to.

use super::{
    codec::{self, Frame},
    constants::{QUEUE_CLASS, QUEUE_DECLARE, QUEUE_DELETE},
    ids::{ChannelId, ConnectionId},
    phase::Phase,
    refusal::Refusal,
    state::State,
};
use amq_protocol::protocol::{
    AMQPClass, channel, connection,
    constants::{FRAME_BODY, FRAME_HEADER, FRAME_HEARTBEAT, FRAME_METHOD},
};

/// What [`State::receive`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// So many bytes of the input were handled.
    pub(super) used_bytes: usize,
    /// How far the connection has come.
    pub(super) phase: Phase,
    /// What follows in the input changes metadata, and has to be paid for.
    pub(super) change_is_next: bool,
}

impl State {
    /// Takes what a connection has sent and handles all complete frames in it, of those that change metadata the first
    /// `paid_changes`.
    pub(super) fn receive(&mut self, id: ConnectionId, input: &[u8], mut paid_changes: usize) -> Received {
        let mut used_bytes = 0;
        let mut change_is_next = false;
        while let Some(connection) = self.connections.get(&id) {
            let (phase, frame_bytes_max) = (connection.phase, connection.frame_bytes_max);
            let rest = &input[used_bytes..];
            match phase {
                Phase::Left | Phase::Ended => break,
                Phase::Header => match rest.first_chunk() {
                    None => break,
                    Some(header) => {
                        used_bytes += header.len();
                        self.protocol_header(id, header);
                    }
                },
                _ => match codec::cut(rest, frame_bytes_max) {
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        if changes_metadata(frame) {
                            change_is_next = paid_changes == 0;
                            if change_is_next {
                                break;
                            }
                            paid_changes -= 1;
                        }
                        used_bytes += frame.bytes();
                        self.frame(id, phase, frame);
                    }
                    Err(refusal) => {
                        // Where the next frame starts is anybody's guess.
                        self.refuse(ChannelId { connection: id, channel: 0 }, &refusal, (0, 0));
                        self.set_phase(id, Phase::Ended);
                    }
                },
            }
        }
        self.settle_deaths();
        let to_confirm = self.connections.get(&id).map(|c| c.to_confirm.clone()).unwrap_or_default();
        for channel in to_confirm {
            self.send_confirm(ChannelId { connection: id, channel });
        }
        Received { used_bytes, phase: self.phase(id), change_is_next }
    }

    fn frame(&mut self, id: ConnectionId, phase: Phase, frame: Frame<'_>) {
        let at = ChannelId { connection: id, channel: frame.channel };
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
    pub(super) fn refuse(&mut self, at: ChannelId, refusal: &Refusal, current: (u16, u16)) {
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
            self.send(ChannelId { channel: 0, ..at }, AMQPClass::Connection(connection::AMQPMethod::Close(close)));
            self.set_phase(at.connection, Phase::Closing);
        }
    }

    /// A content header or a part of a body.
    fn content(&mut self, at: ChannelId, frame: Frame<'_>) -> Result<(), Refusal> {
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

/// Whether a frame begins or ends a queue. One that in the end does not, as the queue is there or is not, counts all
/// the same: RabbitMQ has to look.
fn changes_metadata(frame: Frame<'_>) -> bool {
    matches!(frame.method_ids(), Some((QUEUE_CLASS, QUEUE_DECLARE | QUEUE_DELETE)))
}
