//! What reading costs: a stream's bytes reach the application frame by frame, each when its CPU time is over.
//!
//! A frame is the protocol's: an AMQP frame, an MQTT packet, and for Redis and HTTP whatever one read returns.

use crate::{cpu::Job, engine::with, host::Class};
use std::task::{Context, Poll, ready};

/// AMQP's protocol header, the only thing on such a connection that is no frame.
const AMQP_HEADER: &[u8] = b"AMQP";
const AMQP_HEADER_BYTES: usize = 8;
/// Type, channel and size before an AMQP frame's payload, and the end octet after it.
const AMQP_FRAME_HEAD_BYTES: usize = 7;
const AMQP_FRAME_END_BYTES: usize = 1;
/// MQTT's remaining length has at most four bytes (MQTT 5, section 1.5.5).
const MQTT_LENGTH_BYTES_MAX: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Amqp,
    Mqtt,
    PerRead,
}

impl Protocol {
    /// What is spoken between two hosts: that of the broker among them.
    fn between(a: Class, b: Class) -> Self {
        match (a.min(b), a.max(b)) {
            (Class::Amqp, _) => Self::Amqp,
            (_, Class::Mqtt) | (Class::Mqtt, _) => Self::Mqtt,
            _ => Self::PerRead,
        }
    }

    /// The length of the frame that `bytes` begin with; `None` while its head is incomplete.
    fn frame_bytes(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::PerRead => Some(bytes.len()),
            Self::Amqp if bytes.starts_with(AMQP_HEADER) => Some(AMQP_HEADER_BYTES),
            Self::Amqp => {
                let size = bytes.get(3..AMQP_FRAME_HEAD_BYTES)?.try_into().expect("four bytes");
                Some(AMQP_FRAME_HEAD_BYTES + u32::from_be_bytes(size) as usize + AMQP_FRAME_END_BYTES)
            }
            Self::Mqtt => {
                let mut len = 0;
                for (i, byte) in bytes.iter().skip(1).take(MQTT_LENGTH_BYTES_MAX).enumerate() {
                    len |= usize::from(byte & 0x7F) << (7 * i);
                    if byte & 0x80 == 0 {
                        return Some(2 + i + len);
                    }
                }
                // A fifth byte is malformed; let the application see it and say so.
                (bytes.len() > MQTT_LENGTH_BYTES_MAX).then_some(bytes.len())
            }
        }
    }
}

/// The frame at the head of a stream's read-ahead buffer.
#[derive(Debug)]
pub(crate) struct Meter {
    host: u16,
    protocol: Protocol,
    /// Bytes of it that may go to the application.
    paid: usize,
    /// The application's thread reads it.
    reading: Option<Job>,
}

impl Meter {
    /// `None` if receiving costs nothing on `host`.
    pub(crate) fn new(host: u16, peer: u16) -> Option<Box<Self>> {
        with(|engine| {
            let [here, there] = [host, peer].map(|host| engine.hosts[host].plan);
            let protocol = Protocol::between(here.class, there.class);
            here.cpu.receiving_costs().then(|| Box::new(Self { host, protocol, paid: 0, reading: None }))
        })
    }

    /// How many bytes of `ahead` the application may have now; `None`: the head of the next frame is incomplete.
    pub(crate) fn release(&mut self, ahead: &[u8], cx: &mut Context<'_>) -> Poll<Option<usize>> {
        if self.paid == 0 {
            let Some(frame_bytes) = self.protocol.frame_bytes(ahead) else { return Poll::Ready(None) };
            let host = self.host;
            let job = *self.reading.get_or_insert_with(|| with(|engine| engine.read_frame(host, frame_bytes)));
            ready!(with(|engine| engine.poll_job(host, job, cx)));
            (self.paid, self.reading) = (frame_bytes, None);
        }
        Poll::Ready(Some(self.paid.min(ahead.len())))
    }

    /// The application took so much.
    pub(crate) fn took(&mut self, len_bytes: usize) {
        self.paid -= len_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_as_soon_as_their_heads_are_complete() {
        assert_eq!(Protocol::Amqp.frame_bytes(b"AMQP\x00\x00\x09\x01"), Some(8));
        assert_eq!(Protocol::Amqp.frame_bytes(&[1, 0, 1, 0, 0, 0]), None);
        assert_eq!(Protocol::Amqp.frame_bytes(&[1, 0, 1, 0, 0, 1, 4]), Some(7 + 260 + 1));
        assert_eq!(Protocol::Mqtt.frame_bytes(&[0x30]), None);
        assert_eq!(Protocol::Mqtt.frame_bytes(&[0x30, 0x80]), None);
        assert_eq!(Protocol::Mqtt.frame_bytes(&[0x30, 0x80, 0x01]), Some(3 + 128));
        assert_eq!(Protocol::Mqtt.frame_bytes(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF]), Some(5));
        assert_eq!(Protocol::PerRead.frame_bytes(b"+OK\r\n"), Some(5));
    }

    #[test]
    fn the_broker_of_a_connection_decides_its_protocol() {
        assert_eq!(Protocol::between(Class::Service, Class::Amqp), Protocol::Amqp);
        assert_eq!(Protocol::between(Class::Mqtt, Class::Gateway), Protocol::Mqtt);
        assert_eq!(Protocol::between(Class::Service, Class::Mqtt), Protocol::Mqtt);
        assert_eq!(Protocol::between(Class::Redis, Class::Service), Protocol::PerRead);
        assert_eq!(Protocol::between(Class::Service, Class::Service), Protocol::PerRead);
    }
}
