//! The emulated brokers against clients that send anything: no panic, memory within limits, the protocol's own error,
//! and service as before for the next client. What is random here is short; `fuzz/` goes on without end.

mod feed;
mod memory;
mod wire;

use feed::{Protocol, feed};
use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof},
    proptest,
    sample::{Index, select},
};
use std::{cell::Cell, panic, sync::Once};

/// Most that a connection may take beside what its client sent: some reads' worth of buffers, of queues and of answers.
const CONNECTION_BYTES_MAX: usize = 4 << 20;

thread_local!(static PANICS: Cell<u32> = const { Cell::new(0) });

/// [`feed`] in which no task may panic, and that may not take much memory.
fn feed_safely(protocol: Protocol, input: &[u8], write_bytes: usize) -> Vec<u8> {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            report(panic);
        }));
    });
    let before = PANICS.get();
    let (said, peak_bytes) = memory::peak_bytes_of(|| feed(protocol, input, write_bytes));
    assert_eq!(PANICS.get(), before, "a task of the broker panicked; see above");
    assert!(peak_bytes < CONNECTION_BYTES_MAX, "{} bytes of input took {peak_bytes} bytes of memory", input.len());
    said
}

/// One way to spoil bytes.
#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        let (at, byte) = (any::<Index>(), prop_oneof![any::<u8>(), Just(0), Just(0x7F), Just(0xFF)]);
        prop_oneof![
            4 => (at.clone(), byte).prop_map(|(at, byte)| Self::Set(at, byte)),
            1 => (at.clone(), vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            1 => (at.clone(), 1..16_usize).prop_map(|(at, count)| Self::Remove(at, count)),
            1 => (at, 1..64_usize).prop_map(|(at, count)| Self::Repeat(at, count)),
        ]
    }

    fn done_to(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let part = |at: &Index, count: usize| {
            let from = at.index(bytes.len());
            from..bytes.len().min(from + count)
        };
        match self {
            Self::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Self::Insert(at, new) => drop(bytes.splice(part(at, 0), new.iter().copied())),
            Self::Remove(at, count) => drop(bytes.drain(part(at, *count))),
            Self::Repeat(at, count) => {
                let part = part(at, *count);
                let copy = bytes[part.clone()].to_vec();
                drop(bytes.splice(part.start..part.start, copy));
            }
        }
    }
}

/// A beginning, then any of `messages`; most of them damaged.
fn session(beginning: Vec<u8>, messages: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (vec(select(messages), 0..40), vec(Damage::any(), 0..4)).prop_map(move |(messages, damage)| {
        let mut bytes = [beginning.clone(), messages.concat()].concat();
        damage.iter().for_each(|damage| damage.done_to(&mut bytes));
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn rabbitmq_bears_any_bytes(input in vec(any::<u8>(), 0..2_000)) {
        feed_safely(Protocol::Amqp, &input, 100);
        feed_safely(Protocol::Amqp, &[wire::amqp_handshake(), input].concat(), 1_000);
    }

    #[test]
    fn mosquitto_bears_any_bytes(input in vec(any::<u8>(), 0..2_000)) {
        feed_safely(Protocol::Mqtt, &input, 100);
        feed_safely(Protocol::Mqtt, &[&wire::mqtt_connect()[..], &input].concat(), 1_000);
        feed_safely(Protocol::Mqtt, &[wire::mqtt_3_connect(), input].concat(), 1_000);
    }

    #[test]
    fn redis_bears_any_bytes(input in vec(any::<u8>(), 0..2_000)) {
        feed_safely(Protocol::Redis, &input, 100);
    }

    #[test]
    fn rabbitmq_bears_damaged_sessions(
        input in session(wire::amqp_handshake(), wire::amqp_frames()), write_bytes in 1..500_usize
    ) {
        feed_safely(Protocol::Amqp, &input, write_bytes);
    }

    #[test]
    fn mosquitto_bears_damaged_sessions(
        input in session(wire::mqtt_connect(), wire::mqtt_packets()), write_bytes in 1..500_usize
    ) {
        feed_safely(Protocol::Mqtt, &input, write_bytes);
    }

    #[test]
    fn mosquitto_bears_damaged_sessions_of_older_clients(
        input in session(wire::mqtt_3_connect(), wire::mqtt_3_packets()), write_bytes in 1..500_usize
    ) {
        feed_safely(Protocol::Mqtt, &input, write_bytes);
    }

    #[test]
    fn redis_bears_damaged_sessions(
        input in session(Vec::new(), wire::redis_commands()), write_bytes in 1..500_usize
    ) {
        feed_safely(Protocol::Redis, &input, write_bytes);
    }
}

/// Whether `said` has the text of an error in it.
#[track_caller]
fn says(said: &[u8], error: &str) {
    let said = said.escape_ascii().to_string();
    assert!(said.contains(error), "{error:?} is not in {said}");
}

#[test]
fn undamaged_messages_are_well_formed() {
    let said = feed_safely(Protocol::Amqp, &wire::amqp_handshake(), 1_000);
    assert!(said.ends_with(&wire::frame(1, 1, &[0, 20, 0, 11, 0, 0, 0, 0])), "{}", said.escape_ascii());
    for frame in wire::amqp_frames() {
        let said = feed_safely(Protocol::Amqp, &[wire::amqp_handshake(), frame.clone()].concat(), 1_000);
        let said = said.escape_ascii().to_string();
        assert!(!said.contains("FRAME_ERROR"), "{}: {said}", frame.escape_ascii());
    }
    let greeted = feed_safely(Protocol::Mqtt, &wire::mqtt_connect(), 1_000);
    assert_eq!((greeted[0], greeted[3]), (0x20, 0), "{}", greeted.escape_ascii());
    for packet in wire::mqtt_packets() {
        let said = feed_safely(Protocol::Mqtt, &[wire::mqtt_connect(), packet.clone()].concat(), 1_000);
        let malformed = said.windows(3).any(|bytes| bytes == [0xe0, 2, 0x81]);
        assert!(!malformed, "{}", packet.escape_ascii());
    }
    let greeted = feed_safely(Protocol::Mqtt, &wire::mqtt_3_connect(), 1_000);
    assert_eq!(greeted, [0x20, 2, 0, 0]);
    for packet in wire::mqtt_3_packets() {
        let ping = b"\xc0\0".to_vec();
        let said = feed_safely(Protocol::Mqtt, &[wire::mqtt_3_connect(), packet.clone(), ping].concat(), 1_000);
        let ends = matches!(packet[0], 0x10 | 0xe0);
        assert_eq!(said.ends_with(b"\xd0\0"), !ends, "{}", packet.escape_ascii());
    }
    for command in wire::redis_commands() {
        let said = feed_safely(Protocol::Redis, &command, 1_000).escape_ascii().to_string();
        assert!(!said.contains("Protocol error"), "{said}");
    }
}

#[test]
fn rabbitmq_refuses_announced_sizes_without_setting_the_memory_aside() {
    let publish = wire::amqp_frames().into_iter().find(|frame| frame.get(7..11) == Some(&[0, 60, 0, 40])).unwrap();
    let mut frame_of_4_gb = wire::frame(3, 1, b"");
    frame_of_4_gb[3..7].copy_from_slice(&u32::MAX.to_be_bytes());
    // Start-ok, its table of properties announced with 4 GB.
    let table = [&b"AMQP\x00\x00\x09\x01"[..], &wire::frame(1, 0, b"\x00\x0a\x00\x0b\xff\xff\xff\xffabc")].concat();
    let declare = wire::frame(1, 1, b"\x00\x32\x00\x0a\x00\x00\x01q\x00\xff\xff\xff\xff");
    let (start, publish_end) = (wire::amqp_handshake(), publish.len().min(7 + 4 + 2 + 1 + 2 + 1 + 1));
    for (input, error) in [
        ([start.clone(), frame_of_4_gb].concat(), "FRAME_ERROR"),
        (
            [start.clone(), publish[..publish_end].to_vec(), wire::content_header(u64::MAX)].concat(),
            "PRECONDITION_FAILED",
        ),
        ([start.clone(), declare].concat(), "FRAME_ERROR"),
        (table, "PLAIN"), // in its start; who fails to log in is only disconnected
    ] {
        says(&feed_safely(Protocol::Amqp, &input, input.len()), error);
    }
}

#[test]
fn rabbitmq_sets_little_aside_for_each_channel() {
    let publish = |channel: u16| {
        let method = wire::frame(1, channel, b"\x00\x3c\x00\x28\x00\x00\x00\x01q\x00");
        let mut header = wire::frame(2, channel, b"\x00\x3c\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\x00\x00");
        header[1..3].copy_from_slice(&channel.to_be_bytes());
        [wire::frame(1, channel, b"\x00\x14\x00\x0a\x00"), method, header].concat()
    };
    let channels: Vec<u8> = (2..1_000).flat_map(publish).collect();
    let said = feed_safely(Protocol::Amqp, &[wire::amqp_handshake(), channels].concat(), 1_000);
    assert!(!said.escape_ascii().to_string().contains("ERROR"));
}

#[test]
fn mosquitto_refuses_announced_sizes_without_setting_the_memory_aside() {
    const PACKET_TOO_LARGE: u8 = 0x95;
    let said = feed_safely(Protocol::Mqtt, b"\x10\xff\xff\xff\x7f", 5);
    assert_eq!(said[0..4], [0x20, 3, 0, PACKET_TOO_LARGE]);
    let said = feed_safely(Protocol::Mqtt, &[wire::mqtt_connect(), b"\x30\xff\xff\xff\x7f".to_vec()].concat(), 1_000);
    assert_eq!(said[said.len() - 4..], [0xe0, 2, PACKET_TOO_LARGE, 0]);
    let said = feed_safely(Protocol::Mqtt, &[wire::mqtt_3_connect(), b"\x30\xff\xff\xff\x7f".to_vec()].concat(), 1_000);
    assert_eq!(said, [0x20, 2, 0, 0]);
}

#[test]
fn redis_refuses_announced_sizes_without_setting_the_memory_aside() {
    for (input, error) in [
        ("*1000000000\r\n", "invalid multibulk length"),
        ("*1\r\n$1000000000\r\n", "invalid bulk length"),
        (&"x".repeat(70_000), "too big inline request"),
    ] {
        says(&feed_safely(Protocol::Redis, input.as_bytes(), 1_000), error);
    }
}

#[test]
fn redis_gathers_no_more_than_some_replies() {
    let value = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n{}\r\n", "x".repeat(100_000));
    let gets = wire::command("GET k").repeat(200);
    let broker_bytes = memory::peak_bytes_of(|| feed(Protocol::Redis, &[value.into_bytes(), gets].concat(), 100_000));
    let (said, peak_bytes) = broker_bytes;
    assert!(said.len() > 20_000_000);
    // Our own buffer doubles as it grows.
    assert!(peak_bytes < 2 * said.capacity() + CONNECTION_BYTES_MAX, "{peak_bytes}");
}
