//! Prefetch, rotation, acknowledgement, requeueing, confirms, returns, expiry and dead-lettering.

use super::*;
use amq_protocol::types::FieldArray;

fn queue_with(bodies: &[&str]) -> (Bench, ConnectionId) {
    let mut bench = Bench::new();
    let id = bench.connect();
    bench.declare(id, "q", &[]);
    for body in bodies {
        bench.publish(id, "q", body);
    }
    (bench, id)
}

#[test]
fn consumers_with_room_are_served_in_turn() {
    let (mut bench, id) = queue_with(&[]);
    bench.qos(id, 2, false);
    bench.consume(id, "q", "a");
    bench.consume(id, "q", "b");
    let mut consumers = Vec::new();
    for n in 0..6 {
        let delivered = deliveries(bench.publish(id, "q", &n.to_string()));
        consumers.extend(delivered.into_iter().map(|d| d.consumer));
    }
    assert_eq!(consumers, ["a", "b", "a", "b"]);
    let next = deliveries(bench.ack(id, 2, false));
    assert_eq!(next.iter().map(|d| (d.consumer.as_str(), d.body.as_str())).collect::<Vec<_>>(), [("b", "4")]);
}

#[test]
fn prefetch_with_global_is_shared_by_the_channel() {
    let (mut bench, id) = queue_with(&["0", "1", "2", "3", "4"]);
    bench.qos(id, 3, true);
    assert_eq!(deliveries(bench.consume(id, "q", "a").split_off(1)).len(), 3);
    assert_eq!(bench.consume(id, "q", "b").len(), 1, "only the consume-ok");
    assert_eq!(deliveries(bench.ack(id, 2, true)).len(), 2);
    bench.qos(id, 0, true);
    assert_eq!(bench.depth("q"), Some(3));
}

#[test]
fn consumers_that_a_shared_prefetch_has_blocked_go_on_in_turn() {
    let (mut bench, id) = queue_with(&["0", "1", "2", "3", "4"]);
    bench.qos(id, 2, true);
    bench.consume(id, "q", "one");
    bench.consume(id, "q", "two");
    let consumers = |deliveries: Vec<Delivered>| deliveries.into_iter().map(|d| d.consumer).collect::<Vec<_>>();
    assert_eq!(consumers(deliveries(bench.ack(id, 1, false))), ["one"]);
    let frames = bench.basic(id, Basic::Qos(basic::Qos { prefetch_count: 4, global: true }));
    assert_eq!(consumers(deliveries(frames[1..].to_vec())), ["two", "one"]);
}

#[test]
fn a_new_prefetch_is_for_new_consumers_only() {
    let (mut bench, id) = queue_with(&["0", "1", "2", "3"]);
    bench.qos(id, 1, false);
    assert_eq!(deliveries(bench.consume(id, "q", "a").split_off(1)).len(), 1);
    let mut replies = Vec::new();
    for tag in ["b", "c"] {
        bench.qos(id, 2, false);
        replies.extend(deliveries(bench.consume(id, "q", tag).split_off(1)));
    }
    assert_eq!(replies.iter().filter(|d| d.consumer == "b").count(), 2);
    assert_eq!(replies.iter().filter(|d| d.consumer == "c").count(), 1);
}

#[test]
fn a_lost_connection_requeues_in_order() {
    let (mut bench, id) = queue_with(&["0", "1", "2", "3"]);
    let other = bench.connect();
    bench.qos(other, 3, false);
    assert_eq!(deliveries(bench.consume(other, "q", "a").split_off(1)).len(), 3);
    assert_eq!(bench.ack(other, 2, false).len(), 3, "the last message is delivered");
    bench.state.disconnect(other);
    assert_eq!(bench.waiting("q"), ["0", "2", "3"]);
    let delivered = deliveries(bench.consume(id, "q", "b").split_off(1));
    let seen: Vec<_> = delivered.iter().map(|d| (d.body.as_str(), d.redelivered)).collect();
    assert_eq!(seen, [("0", true), ("2", true), ("3", true)]);
}

#[test]
fn a_closed_channel_requeues_and_ends_its_consumers() {
    let (mut bench, id) = queue_with(&["0", "1"]);
    bench.consume(id, "q", "a");
    let close = channel::Close { reply_code: 200, reply_text: "".into(), class_id: 0, method_id: 0 };
    bench.call(id, 1, AMQPClass::Channel(channel::AMQPMethod::Close(close)));
    assert_eq!((bench.waiting("q"), bench.state.consumers.len()), (vec!["0".into(), "1".into()], 0));
}

#[test]
fn nack_requeues_to_the_original_position() {
    let (mut bench, id) = queue_with(&["0", "1", "2"]);
    bench.qos(id, 2, false);
    bench.consume(id, "q", "a");
    let again = deliveries(bench.nack(id, 2, false, true));
    assert_eq!((again[0].body.as_str(), again[0].redelivered, again[0].tag), ("1", true, 3));
    let again = deliveries(bench.nack(id, 0, true, true));
    assert_eq!(again.iter().map(|d| d.body.as_str()).collect::<Vec<_>>(), ["0", "1"]);
}

#[test]
fn automatic_acknowledgement_leaves_nothing_behind_and_knows_no_prefetch() {
    let (mut bench, id) = queue_with(&["0", "1", "2"]);
    bench.qos(id, 1, false);
    let consume = basic::Consume { queue: "q".into(), no_ack: true, ..no_consume() };
    assert_eq!(deliveries(bench.basic(id, Basic::Consume(consume)).split_off(1)).len(), 3);
    assert_eq!(bench.depth("q"), Some(0));
}

#[test]
fn get_takes_one_message_or_says_that_there_is_none() {
    let (mut bench, id) = queue_with(&["0"]);
    let get = || Basic::Get(basic::Get { queue: "q".into(), no_ack: false });
    let frames = bench.basic(id, get());
    let AMQPFrame::Method(1, AMQPClass::Basic(Basic::GetOk(ok))) = &frames[0] else { panic!("{frames:?}") };
    assert_eq!((ok.delivery_tag, ok.redelivered, ok.message_count, ok.routing_key.as_str()), (1, false, 0, "q"));
    assert_eq!(frames[2], AMQPFrame::Body(1, b"0".to_vec()));
    let frames = bench.basic(id, get());
    assert!(matches!(frames[..], [AMQPFrame::Method(1, AMQPClass::Basic(Basic::GetEmpty(_)))]));
    bench.ack(id, 1, false);
    assert_eq!(bench.depth("q"), Some(0));
}

#[test]
fn several_confirms_due_at_once_are_one() {
    let (mut bench, id) = queue_with(&[]);
    bench.confirms(id);
    let mut input = Vec::new();
    for body in ["0", "1", "2"] {
        put_publish(&mut input, "q", body, &BasicProperties::default());
    }
    bench.feed(id, &input);
    let ack = |delivery_tag, multiple| {
        AMQPFrame::Method(1, AMQPClass::Basic(Basic::Ack(basic::Ack { delivery_tag, multiple })))
    };
    assert_eq!(bench.output(id), [ack(3, true)]);
    assert_eq!(bench.publish(id, "q", "3"), [ack(4, false)]);
}

#[test]
fn an_unroutable_mandatory_message_returns_before_its_confirm() {
    let (mut bench, id) = queue_with(&[]);
    bench.confirms(id);
    let frames = bench.publish(id, "nowhere", "body");
    let AMQPFrame::Method(1, AMQPClass::Basic(Basic::Return(back))) = &frames[0] else { panic!("{frames:?}") };
    assert_eq!((back.reply_code, back.routing_key.as_str()), (312, "nowhere"));
    assert_eq!(frames[2], AMQPFrame::Body(1, b"body".to_vec()));
    assert!(matches!(frames[3], AMQPFrame::Method(1, AMQPClass::Basic(Basic::Ack(_)))));
}

#[test]
fn large_bodies_travel_in_frames_of_the_negotiated_size() {
    let (mut bench, id) = queue_with(&[]);
    let body = "x".repeat(20_000);
    bench.consume(id, "q", "a");
    let frames = bench.publish(id, "q", &body);
    assert_eq!(frames.len(), 2 + 3);
    assert_eq!(deliveries(frames)[0].body, body);
    bench.publish(id, "q", "");
    assert_eq!(bench.depth("q"), Some(2));
}

#[test]
fn a_message_expires_at_the_head_only_and_by_itself() {
    let (mut bench, id) = queue_with(&[]);
    let ttl = |ms: &str| BasicProperties::default().with_expiration(ms.into());
    bench.publish_with(id, "q", "long", &ttl("100"));
    bench.publish_with(id, "q", "short", &ttl("10"));
    bench.pass_ms(99);
    assert_eq!(bench.waiting("q"), ["long", "short"]);
    bench.pass_ms(1);
    assert_eq!(bench.depth("q"), Some(0));
    assert_eq!(bench.state.next_expiry_us(), None, "nothing left to wait for");
}

#[test]
fn a_ttl_of_zero_means_now_or_never() {
    let (mut bench, id) = queue_with(&[]);
    let ttl = BasicProperties::default().with_expiration("0".into());
    bench.publish_with(id, "q", "nobody", &ttl);
    assert_eq!(bench.depth("q"), Some(0));
    bench.consume(id, "q", "a");
    assert_eq!(deliveries(bench.publish_with(id, "q", "somebody", &ttl))[0].body, "somebody");
}

#[test]
fn an_expired_message_becomes_a_dead_letter_without_its_ttl() {
    let (mut bench, id) = queue_with(&[]);
    let to_q = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("q"))];
    bench.declare(id, "delay", &to_q);
    let sent =
        BasicProperties::default().with_expiration("10".into()).with_message_id("m".into()).with_delivery_mode(2);
    bench.publish_with(id, "delay", "body", &sent);
    bench.pass_ms(2_000);
    bench.consume(id, "q", "a");
    bench.nack(id, 1, false, true);
    let message = &bench.state.queues[&bench.state.names["q"]].messages.messages()[0];
    assert_eq!((message.ttl_ms(), message.routing_key(), message.is_persistent()), (None, "q", true));
    assert_eq!(message.properties().message_id(), &Some("m".into()));
    let headers = message.headers();
    assert_eq!(headers.inner()["x-first-death-reason"], text("expired"));
    assert_eq!(headers.inner()["x-first-death-queue"], text("delay"));
    let event = table(&[
        ("count", AMQPValue::LongLongInt(1)),
        ("exchange", text("")),
        ("original-expiration", text("10")),
        ("queue", text("delay")),
        ("reason", text("expired")),
        ("routing-keys", AMQPValue::FieldArray(FieldArray::from(vec![text("delay")]))),
        ("time", AMQPValue::Timestamp(2)),
    ]);
    assert_eq!(headers.inner()["x-death"], AMQPValue::FieldArray(vec![AMQPValue::FieldTable(event)].into()));
}

#[test]
fn a_retry_cycle_counts_its_rounds() {
    let mut bench = Bench::new();
    let id = bench.connect();
    let to = |key: &str| [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(key))];
    bench.declare(id, "work", &to("delay"));
    let mut delay = to("work").to_vec();
    delay.push(("x-message-ttl", AMQPValue::LongInt(1_000)));
    bench.declare(id, "delay", &delay);
    bench.publish(id, "work", "task");
    bench.consume(id, "work", "a");
    for tag in 1..=3 {
        bench.nack(id, tag, false, false);
        assert_eq!(bench.waiting("delay"), ["task"]);
        bench.pass_ms(1_000);
    }
    let delivered = bench.deliveries(id);
    let headers = delivered[0].properties.headers().clone().unwrap();
    let AMQPValue::FieldArray(deaths) = &headers.inner()["x-death"] else { panic!("{headers:?}") };
    let counts = deaths.as_slice().iter().map(|death| match death {
        AMQPValue::FieldTable(event) => (event.inner()["queue"].clone(), event.inner()["count"].clone()),
        other => panic!("{other:?}"),
    });
    let counts = counts.collect::<Vec<_>>();
    let three = AMQPValue::LongLongInt(3);
    assert_eq!(counts, [(text("delay"), three.clone()), (text("work"), three)]);
}

#[test]
fn a_message_that_would_circle_by_itself_is_dropped() {
    let mut bench = Bench::new();
    let id = bench.connect();
    let own = [("x-dead-letter-exchange", text("")), ("x-message-ttl", AMQPValue::LongInt(10))];
    bench.declare(id, "ring", &own);
    bench.publish(id, "ring", "body");
    bench.pass_ms(10);
    assert_eq!(bench.depth("ring"), Some(0));
}

#[test]
fn a_full_queue_lets_its_oldest_message_die() {
    let (mut bench, id) = queue_with(&[]);
    let arguments = [
        ("x-max-length", AMQPValue::LongInt(2)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("q")),
    ];
    bench.declare(id, "small", &arguments);
    for body in ["0", "1", "2"] {
        bench.publish(id, "small", body);
    }
    assert_eq!((bench.waiting("small"), bench.waiting("q")), (vec!["1".into(), "2".into()], vec!["0".into()]));
    let headers = bench.state.queues[&bench.state.names["q"]].messages.messages()[0].headers();
    assert_eq!(headers.inner()["x-first-death-reason"], text("maxlen"));
}

#[test]
fn a_slow_reader_gets_no_more_than_its_write_buffer_holds() {
    let (mut bench, id) = queue_with(&[]);
    let body = "x".repeat(50_000);
    for _ in 0..20 {
        bench.publish(id, "q", &body);
    }
    let slow = bench.connect();
    let mut input = Vec::new();
    let consume = basic::Consume { queue: "q".into(), nowait: true, ..no_consume() };
    put_method(&mut input, 1, AMQPClass::Basic(Basic::Consume(consume)));
    bench.feed(slow, &input);
    assert_eq!(bench.ready_count("q"), 14, "six times 50,000 bytes is more than 256 KiB");
    assert_eq!(bench.deliveries(slow).len(), 6);
    assert_eq!(bench.ready_count("q"), 8, "written output makes room");
    let rest = [bench.deliveries(slow).len(), bench.deliveries(slow).len(), bench.deliveries(slow).len()];
    assert_eq!(rest, [6, 6, 2]);
}
