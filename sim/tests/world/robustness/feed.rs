//! A client that sends whatever it is given, and looks at the form of what comes back. Shared with the fuzz targets in
//! `fuzz/`.

use backbone::env::Env;
use sim::broker::{amqp, mqtt, redis};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    runtime::Builder,
    time::timeout,
};

/// In virtual time. Longer than any broker waits for a silent client, which is 90 s, the keep alive aside.
const QUIET: Duration = Duration::from_secs(100);
/// In virtual time. For a broker to take what it is sent.
const TAKEN_WITHIN: Duration = Duration::from_secs(3_600);
const PIPE_BYTES: usize = 16 * 1024;

/// Whose connection code is fed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    /// AMQP 0-9-1.
    Amqp,
    /// MQTT 5, 3.1.1 and 3.1.
    Mqtt,
    /// RESP.
    Redis,
}

enum Broker {
    Amqp(amqp::Broker),
    Mqtt(mqtt::Broker),
    Redis(redis::Broker),
}

/// Sends `input` to a new broker, `write_bytes` at a time, and gives what the broker answers until it closes the
/// connection or falls silent.
///
/// # Panics
/// If the answer is not made of whole frames, packets or replies, if the broker stops reading without closing, or if it
/// does not serve the next client.
pub(crate) fn feed(protocol: Protocol, input: &[u8], write_bytes: usize) -> Vec<u8> {
    let runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime can be made");
    runtime.block_on(async {
        let broker = match protocol {
            Protocol::Amqp => Broker::Amqp(amqp::Broker::new(amqp::Config::default())),
            Protocol::Mqtt => Broker::Mqtt(mqtt::Broker::new(mqtt::Config::default())),
            Protocol::Redis => Broker::Redis(redis::Broker::new()),
        };
        let said = broker.converse(input, write_bytes).await;
        check(protocol, &said);
        let (greeting, welcome): (&[u8], &[u8]) = match protocol {
            Protocol::Amqp => (b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00"),
            Protocol::Mqtt => (b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01p", b"\x20"),
            Protocol::Redis => (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
        };
        let welcomed = broker.converse(greeting, greeting.len()).await;
        assert!(welcomed.starts_with(welcome), "the next client is not served but told {welcomed:?}");
        said
    })
}

impl Broker {
    async fn converse(&self, input: &[u8], write_bytes: usize) -> Vec<u8> {
        let (mut reader, mut writer) = tokio::io::split(self.connect());
        let write = async {
            for part in input.chunks(write_bytes) {
                if writer.write_all(part).await.is_err() {
                    return; // closed by the broker
                }
            }
        };
        let mut said = Vec::new();
        let read = async { while let Ok(Ok(1..)) = timeout(QUIET, reader.read_buf(&mut said)).await {} };
        let (written, ()) = tokio::join!(timeout(TAKEN_WITHIN, write), read);
        assert!(written.is_ok(), "the broker neither reads nor closes");
        said
    }

    fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(PIPE_BYTES);
        match self {
            Self::Amqp(broker) => broker.attach(&Env::tokio(), Box::new(server)),
            Self::Mqtt(broker) => broker.attach(&Env::tokio(), Box::new(server)),
            Self::Redis(broker) => broker.attach(&Env::tokio(), Box::new(server)),
        }
        client
    }
}

/// Takes one message after another off what a broker said.
fn check(protocol: Protocol, said: &[u8]) {
    let mut rest = match protocol {
        // Whoever doesn't speak its version is told which it is.
        Protocol::Amqp => said.strip_prefix(b"AMQP\x00\x00\x09\x01").unwrap_or(said),
        Protocol::Mqtt | Protocol::Redis => said,
    };
    while !rest.is_empty() {
        let after = match protocol {
            Protocol::Amqp => after_frame(rest),
            // The CONNACK of older versions is of two bytes; what they can't be sent is what 5 has in addition.
            Protocol::Mqtt => after_packet(rest, if said.starts_with(&[0x20, 2]) { 13 } else { 15 }),
            Protocol::Redis => after_reply(rest),
        };
        rest = after.unwrap_or_else(|| panic!("{:?} is no message", rest.escape_ascii().to_string()));
    }
}

fn after_frame(said: &[u8]) -> Option<&[u8]> {
    let (header, rest) = said.split_first_chunk::<7>()?;
    let size = u32::from_be_bytes(*header.last_chunk()?);
    let (_payload, rest) = rest.split_at_checked(size as usize)?;
    let (end, rest) = rest.split_first()?;
    (matches!(header[0], 1 | 2 | 3 | 8) && *end == 0xCE).then_some(rest)
}

fn after_packet(said: &[u8], last_type: u8) -> Option<&[u8]> {
    let (first, mut rest) = said.split_first()?;
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let (byte, after) = rest.split_first()?;
        rest = after;
        length |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    // What a server may send: CONNACK, PUBLISH to PUBCOMP, SUBACK, UNSUBACK, PINGRESP, DISCONNECT, AUTH.
    (matches!(first >> 4, 2..=7 | 9 | 11 | 13..=15) && first >> 4 <= last_type)
        .then(|| rest.split_at_checked(length))
        .flatten()
        .map(|(_, rest)| rest)
}

fn after_reply(said: &[u8]) -> Option<&[u8]> {
    let end = said.windows(2).position(|two| two == b"\r\n")?;
    let (line, mut rest) = (&said[1..end], &said[end + 2..]);
    let number = || std::str::from_utf8(line).ok()?.parse::<i64>().ok();
    match said[0] {
        b'+' | b'-' => {}
        b':' => drop(number()?),
        b'_' if line.is_empty() => {}
        b'$' => {
            if let Ok(bytes) = usize::try_from(number()?) {
                rest = rest.get(bytes..)?.strip_prefix(b"\r\n")?;
            }
        }
        kind @ (b'*' | b'%') => {
            for _ in 0..number()? * if kind == b'%' { 2 } else { 1 } {
                rest = after_reply(rest)?;
            }
        }
        _ => return None,
    }
    Some(rest)
}
