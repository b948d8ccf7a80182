//! What the broker refuses, and by which code.

use super::*;
use amq_protocol::protocol::{exchange, tx};

/// What a fresh connection gets that declares `q`, consumes it as `a` and then sends `class`.
fn answer(class: AMQPClass) -> (&'static str, u16) {
    let mut bench = Bench::new();
    let id = bench.connect();
    bench.declare(id, "q", &[]);
    bench.consume(id, "q", "a");
    refusal(&bench.call(id, 1, class))
}

fn declare(declare: queue::Declare) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(declare))
}

#[test]
fn clients_mistakes_close_the_channel() {
    let passive = queue::Declare { queue: "none".into(), passive: true, ..empty() };
    assert_eq!(answer(declare(passive)), ("channel", 404));
    assert_eq!(answer(declare(queue::Declare { queue: "amq.mine".into(), ..empty() })), ("channel", 403));
    let bad_ttl = table(&[("x-message-ttl", AMQPValue::LongInt(-1))]);
    assert_eq!(answer(declare(queue::Declare { queue: "r".into(), arguments: bad_ttl, ..empty() })), ("channel", 406));
    let ack = basic::Ack { delivery_tag: 7, multiple: false };
    assert_eq!(answer(AMQPClass::Basic(Basic::Ack(ack))), ("channel", 406));
    let consume = basic::Consume { queue: "none".into(), ..no_consume() };
    assert_eq!(answer(AMQPClass::Basic(Basic::Consume(consume))), ("channel", 404));
    let exclusive = basic::Consume { queue: "q".into(), exclusive: true, ..no_consume() };
    assert_eq!(answer(AMQPClass::Basic(Basic::Consume(exclusive))), ("channel", 403));
    let publish =
        basic::Publish { exchange: "mine".into(), routing_key: "q".into(), mandatory: false, immediate: false };
    assert_eq!(answer(AMQPClass::Basic(Basic::Publish(publish))), ("channel", 404));
}

#[test]
fn what_is_not_there_or_not_allowed_closes_the_connection() {
    let again = basic::Consume { queue: "q".into(), consumer_tag: "a".into(), ..no_consume() };
    assert_eq!(answer(AMQPClass::Basic(Basic::Consume(again))), ("connection", 530));
    assert_eq!(answer(AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}))), ("connection", 540));
    let exchange = exchange::Declare {
        exchange: "mine".into(),
        kind: "direct".into(),
        passive: false,
        durable: false,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: table(&[("alternate-exchange", AMQPValue::LongInt(1))]),
    };
    assert_eq!(answer(AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange))), ("channel", 406));
    let quorum = table(&[("x-queue-type", text("quorum"))]);
    let quorum = queue::Declare { queue: "r".into(), arguments: quorum, ..empty() };
    assert_eq!(answer(declare(quorum)), ("connection", 540));
    assert_eq!(answer(AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}))), ("connection", 504));
}

#[test]
fn an_expiration_that_is_no_number_closes_the_channel() {
    let mut bench = Bench::new();
    let id = bench.connect();
    bench.declare(id, "q", &[]);
    let soon = BasicProperties::default().with_expiration("soon".into());
    assert_eq!(refusal(&bench.publish_with(id, "q", "x", &soon)), ("channel", 406));
}

#[test]
fn a_channel_can_be_opened_again_after_its_error() {
    let mut bench = Bench::new();
    let id = bench.connect();
    assert_eq!(refusal(&bench.ack(id, 1, false)), ("channel", 406));
    assert_eq!(bench.ack(id, 1, false), [], "ignored until the close is answered");
    assert_eq!(bench.call(id, 1, AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}))), []);
    let opened = bench.call(id, 1, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
    assert!(matches!(&opened[..], [AMQPFrame::Method(1, AMQPClass::Channel(channel::AMQPMethod::OpenOk(_)))]));
}

#[test]
fn another_protocol_gets_ours_and_a_closed_connection() {
    let mut bench = Bench::new();
    let (id, _) = bench.state.connect();
    bench.feed(id, b"GET / HTTP/1.1\r\n");
    assert_eq!(bench.state.take_output(id, Vec::new()), (b"AMQP\0\0\x09\x01".to_vec(), true));
}

#[test]
fn malformed_frames_close_the_connection() {
    let cases: [(&[u8], u16); 5] = [
        (&[1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 99, 206], 501), // no such method
        (&[1, 0, 1, 0, 0, 0, 0, 207], 501),               // wrong end octet
        (&[1, 0, 1, 0, 1, 0, 0], 501),                    // larger than frame_max
        (&[3, 0, 1, 0, 0, 0, 1, b'x', 206], 505),         // a body without a method
        (&[7, 0, 1, 0, 0, 0, 0, 206], 501),               // no such type
    ];
    for (input, code) in cases {
        let mut bench = Bench::new();
        let id = bench.connect();
        bench.feed(id, input);
        assert_eq!(refusal(&bench.output(id)), ("connection", code), "{input:?}");
    }
}

#[test]
fn frames_may_arrive_in_any_pieces() {
    let mut bench = Bench::new();
    let id = bench.connect();
    bench.declare(id, "q", &[]);
    let mut input = Vec::new();
    put_publish(&mut input, "q", "body", &BasicProperties::default());
    let mut pending = Vec::new();
    for byte in input {
        pending.push(byte);
        let Received { used_bytes, .. } = bench.state.receive(id, &pending, usize::MAX);
        pending.drain(..used_bytes);
    }
    assert_eq!(bench.waiting("q"), ["body"]);
}

#[test]
fn a_message_in_another_users_name_closes_the_channel() {
    let mut bench = Bench::new();
    let id = bench.connect();
    bench.declare(id, "q", &[]);
    bench.publish_with(id, "q", "x", &BasicProperties::default().with_user_id("user".into()));
    assert_eq!(bench.depth("q"), Some(1));
    let other = BasicProperties::default().with_user_id("other".into());
    assert_eq!(refusal(&bench.publish_with(id, "q", "x", &other)), ("channel", 406));
}

#[test]
fn who_fails_in_the_handshake_hears_nothing() {
    let mut bench = Bench::new();
    let (id, _) = bench.state.connect();
    bench.feed(id, b"AMQP\0\0\x09\x01");
    bench.output(id);
    let start_ok = connection::StartOk {
        client_properties: FieldTable::default(),
        mechanism: "STRANGE".into(),
        response: "".into(),
        locale: "en_US".into(),
    };
    assert_eq!(bench.call(id, 0, AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok))), []);
    assert!(bench.state.phase(id).is_over());
}
