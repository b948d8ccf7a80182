//! Errors: what closes a channel, what the connection, with which code and text.

use super::{
    methods::{basic_publish, consume, queue},
    peer::{Hello, Peer, text},
};
use crate::conformance::harness::At;
use amq_protocol::protocol::{
    AMQPClass, BasicProperties,
    basic::{self, AMQPMethod as Basic},
    channel::{self, AMQPMethod as Channels},
    connection::{self, AMQPMethod as Connections},
    queue::{self as queues},
    tx::{self, AMQPMethod as Transactions},
};

pub(super) async fn protocol_header(at: At) {
    for header in [b"GET / HT", b"AMQP\x00\x01\x00\x00", b"AMQP\x03\x01\x00\x00"] {
        let mut a = Peer::dial(&at, "a").await;
        a.send_bytes(header).await;
        a.see_end().await;
    }
}

pub(super) async fn handshake(at: At) {
    for hello in [
        Hello { mechanism: "STRANGE", ..Hello::default() },
        Hello { vhost: "missing", ..Hello::default() },
        Hello { frame_bytes_max: 100, ..Hello::default() },
        Hello { frame_bytes_max: 1 << 30, ..Hello::default() },
    ] {
        let mut a = Peer::dial(&at, "a").await;
        a.greet(hello).await;
        a.see_end().await;
    }
}

pub(super) async fn channel_errors(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &[]).await;
    let get = basic::Get { queue: at.name("missing").as_str().into(), no_ack: true };
    for method in [
        Basic::Ack(basic::Ack { delivery_tag: 1, multiple: false }),
        Basic::Ack(basic::Ack { delivery_tag: 1, multiple: true }),
        Basic::Nack(basic::Nack { delivery_tag: 7, multiple: false, requeue: true }),
        Basic::Reject(basic::Reject { delivery_tag: 0, requeue: true }),
        Basic::Consume(consume(&at.name("missing"), "c")),
        Basic::Get(get),
    ] {
        a.basic(method).await;
        a.see(1).await;
        a.reopen().await;
    }
    // Acknowledging nothing with tag 0 and `multiple`, and what comes between a close and its answer.
    a.ack(0, true).await;
    a.ack(1, false).await;
    a.see(1).await;
    a.publish("q", "ignored").await;
    a.see_silence().await;
    a.reopen().await;
    a.see_queue("q").await;
    let close = channel::Close { reply_code: 200, reply_text: "".into(), class_id: 0, method_id: 0 };
    a.send(1, AMQPClass::Channel(Channels::Close(close))).await;
    a.see(1).await;
    a.open_channel(2).await;
    a.send(2, AMQPClass::Channel(Channels::Flow(channel::Flow { active: true }))).await;
    a.see(1).await;
}

pub(super) async fn connection_errors(at: At) {
    let name = at.name("q");
    let open = AMQPClass::Channel(Channels::Open(channel::Open {}));
    let qos = || AMQPClass::Basic(Basic::Qos(basic::Qos { prefetch_count: 1, global: false }));
    let start_ok = connection::StartOk {
        client_properties: Default::default(),
        mechanism: "PLAIN".into(),
        response: "".into(),
        locale: "en_US".into(),
    };
    let consume_ok = basic::ConsumeOk { consumer_tag: "c".into() };
    for (what, channel, class) in [
        ("a channel opened twice", 1, open.clone()),
        ("a channel that isn't open", 2, qos()),
        ("a channel too many", 2, open.clone()),
        ("a channel with a high number", 101, open.clone()),
        ("a channel's method on channel 0", 0, qos()),
        ("a connection's method on channel 1", 1, AMQPClass::Connection(Connections::OpenOk(connection::OpenOk {}))),
        ("a method out of its time", 0, AMQPClass::Connection(Connections::StartOk(start_ok))),
        ("a server's method", 1, AMQPClass::Basic(Basic::ConsumeOk(consume_ok))),
        ("a consumer tag used twice", 1, AMQPClass::Basic(Basic::Consume(consume(&name, "c")))),
        (
            "a publish with immediate",
            1,
            AMQPClass::Basic(Basic::Publish(basic::Publish { immediate: true, ..basic_publish("", &name) })),
        ),
    ] {
        at.note(what);
        let channel_max = if what == "a channel too many" { 1 } else { 100 };
        let mut a = Peer::connect_with(&at, "a", Hello { channel_max, ..Hello::default() }).await;
        a.has_queue("q", &[]).await;
        a.consume("q", "c").await;
        a.see(1).await;
        a.send(channel, class).await;
        if what == "a channel with a high number" {
            a.see(1).await;
            continue;
        }
        if what.contains("immediate") {
            // The header and the body that the method announces.
            a.send_bytes(&[2, 0, 1, 0, 0, 0, 14, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 206]).await;
        }
        a.see_end().await;
    }
}

pub(super) async fn broken_frames(at: At) {
    let cases: [(&str, &[u8]); 9] = [
        ("no such method", &[1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 99, 206]),
        ("no such class", &[1, 0, 1, 0, 0, 0, 4, 0, 99, 0, 10, 206]),
        ("a method cut short", &[1, 0, 1, 0, 0, 0, 5, 0, 60, 0, 10, 0, 206]),
        ("a wrong end octet", &[1, 0, 1, 0, 0, 0, 4, 0, 20, 0, 10, 207]),
        ("larger than frame_max", &[1, 0, 1, 0, 1, 0, 0]),
        ("a body without a method", &[3, 0, 1, 0, 0, 0, 1, b'x', 206]),
        ("a header without a method", &[2, 0, 1, 0, 0, 0, 14, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 206]),
        ("no such type", &[7, 0, 1, 0, 0, 0, 0, 206]),
        ("a heartbeat on a channel", &[8, 0, 1, 0, 0, 0, 0, 206]),
    ];
    for (what, bytes) in cases {
        at.note(what);
        let mut a = Peer::connect(&at, "a").await;
        a.send_bytes(bytes).await;
        a.see_end().await;
    }
    at.note("a method in the middle of a message");
    let mut a = Peer::connect(&at, "a").await;
    a.basic(Basic::Publish(basic_publish("", "q"))).await;
    a.basic(Basic::Qos(basic::Qos { prefetch_count: 1, global: false })).await;
    a.see_end().await;
}

pub(super) async fn refused(at: At) {
    let with = |name: &str, value| {
        let arguments = super::peer::table(&[(name, value)]);
        AMQPClass::Queue(queues::AMQPMethod::Declare(queues::Declare {
            durable: true,
            arguments,
            ..queue(&at.name(name))
        }))
    };
    let number = amq_protocol::types::AMQPValue::LongInt;
    for (what, class) in [
        ("transactions", AMQPClass::Tx(Transactions::Select(tx::Select {}))),
        ("a limit in bytes", with("x-max-length-bytes", number(5))),
        ("refusing what is too much", with("x-overflow", text("reject-publish"))),
        ("a single active consumer", with("x-single-active-consumer", amq_protocol::types::AMQPValue::Boolean(true))),
        ("quorum queues", with("x-queue-type", text("quorum"))),
    ] {
        at.note(what);
        let mut a = Peer::connect(&at, "a").await;
        a.send(1, class).await;
        a.see(1).await;
    }
}

/// What a client may say to be let in, how small its frames may be, and a new secret later.
pub(super) async fn logins(at: At) {
    // LOGIN and PASSWORD in a table; then without the password, in another order with something else, and none.
    for response in [
        "\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05guest",
        "\x08PASSWORDS\0\0\0\x05guest\x05otherS\0\0\0\0\x05LOGINS\0\0\0\x05guest",
        "strange",
        "",
    ] {
        at.note(format_args!("AMQPLAIN, {} bytes", response.len()));
        let mut a = Peer::dial(&at, "a").await;
        a.greet(Hello { mechanism: "AMQPLAIN", response, ..Hello::default() }).await;
        if response.len() < 10 {
            a.see_end().await;
        } else {
            a.see(1).await;
        }
    }
    for frame_bytes_max in [0, 4_095] {
        at.note(format_args!("frames of {frame_bytes_max}"));
        let mut a = Peer::dial(&at, "a").await;
        a.greet(Hello { frame_bytes_max, ..Hello::default() }).await;
        a.see_end().await;
    }
    for frame_bytes_max in [4_096, 8_191] {
        at.note(format_args!("frames of {frame_bytes_max}"));
        let mut a = Peer::connect_with(&at, "a", Hello { frame_bytes_max, ..Hello::default() }).await;
        let (queue, body) = (format!("q{frame_bytes_max}"), vec![b'x'; 4_000]);
        a.has_queue(&queue, &[]).await;
        a.publish_to(basic_publish("", &at.name(&queue)), &body, &BasicProperties::default()).await;
        a.publish_to(basic_publish("", &at.name(&queue)), &body, &BasicProperties::default()).await;
        a.see_get(&queue).await;
    }
    let mut a = Peer::connect(&at, "a").await;
    let update = connection::UpdateSecret { new_secret: "guest".into(), reason: "old".into() };
    a.send(0, AMQPClass::Connection(Connections::UpdateSecret(update))).await;
    a.see(1).await;
    at.note("a prefetch of ten bytes");
    a.send_bytes(&[1, 0, 1, 0, 0, 0, 11, 0, 60, 0, 10, 0, 0, 0, 10, 0, 1, 0, 206]).await;
    a.see_end().await;
}
