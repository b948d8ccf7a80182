//! Declaring, deleting, exclusive access, expiry of queues, restart.

use super::*;

fn name_of(frames: &[AMQPFrame]) -> String {
    match frames {
        [AMQPFrame::Method(1, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)))] => ok.queue.to_string(),
        other => panic!("{other:?}"),
    }
}

fn delete(name: &str, if_unused: bool, if_empty: bool) -> AMQPClass {
    let delete = queue::Delete { queue: name.into(), if_unused, if_empty, nowait: false };
    AMQPClass::Queue(queue::AMQPMethod::Delete(delete))
}

#[test]
fn a_server_named_queue_is_what_an_empty_name_means_then() {
    let mut bench = Bench::new();
    let id = bench.connect();
    let name = name_of(&bench.declare_as(id, empty()));
    assert_eq!(name, "amq.gen-1");
    bench.consume(id, "", "a");
    assert_eq!(deliveries(bench.publish(id, &name, "x")).len(), 1);
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    let mut bench = Bench::new();
    let id = bench.connect();
    bench.declare_as(id, queue::Declare { queue: "q".into(), auto_delete: true, ..empty() });
    bench.consume(id, "q", "a");
    bench.consume(id, "q", "b");
    for (tag, depth) in [("a", Some(0)), ("b", None)] {
        bench.basic(id, Basic::Cancel(basic::Cancel { consumer_tag: tag.into(), nowait: false }));
        assert_eq!(bench.depth("q"), depth);
    }
}

#[test]
fn an_exclusive_queue_is_its_connections_own_and_goes_with_it() {
    let mut bench = Bench::new();
    let (owner, other) = (bench.connect(), bench.connect());
    let exclusive = || queue::Declare { queue: "q".into(), exclusive: true, ..empty() };
    bench.declare_as(owner, exclusive());
    assert_eq!(name_of(&bench.declare_as(owner, exclusive())), "q");
    assert_eq!(refusal(&bench.consume(other, "q", "a")), ("channel", 405));
    bench.state.disconnect(owner);
    assert_eq!(bench.depth("q"), None);
}

#[test]
fn declaring_again_must_be_the_same() {
    let mut bench = Bench::new();
    let id = bench.connect();
    let ttl = |ms| [("x-message-ttl", AMQPValue::LongInt(ms))];
    bench.declare(id, "q", &ttl(10));
    bench.declare(id, "q", &[("x-message-ttl", AMQPValue::LongLongInt(10))]);
    for declare in [
        queue::Declare { queue: "q".into(), arguments: table(&ttl(10)), ..empty() },
        queue::Declare { queue: "q".into(), durable: true, arguments: table(&ttl(11)), ..empty() },
    ] {
        let other = bench.connect();
        assert_eq!(refusal(&bench.declare_as(other, declare)), ("channel", 406));
    }
}

#[test]
fn deleting_respects_its_conditions_and_tells_consumers() {
    let mut bench = Bench::new();
    let id = bench.connect();
    bench.declare(id, "q", &[]);
    bench.publish(id, "q", "x");
    let [second, third] = [bench.connect(), bench.connect()];
    assert_eq!(refusal(&bench.call(second, 1, delete("q", false, true))), ("channel", 406));
    bench.consume(id, "q", "a");
    assert_eq!(refusal(&bench.call(third, 1, delete("q", true, false))), ("channel", 406));
    let frames = bench.call(id, 1, delete("q", false, false));
    let [AMQPFrame::Method(1, AMQPClass::Basic(Basic::Cancel(cancel))), _] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(cancel.consumer_tag.as_str(), "a");
    assert_eq!(bench.ack(id, 1, false), [], "its delivery can still be acknowledged, to no effect");
    let frames = bench.call(id, 1, delete("q", false, false));
    assert!(matches!(&frames[..], [AMQPFrame::Method(1, AMQPClass::Queue(queue::AMQPMethod::DeleteOk(_)))]));
}

#[test]
fn purging_leaves_what_is_delivered() {
    let mut bench = Bench::new();
    let id = bench.connect();
    bench.declare(id, "q", &[]);
    bench.qos(id, 1, false);
    bench.consume(id, "q", "a");
    for body in ["0", "1", "2"] {
        bench.publish(id, "q", body);
    }
    let purge = queue::Purge { queue: "q".into(), nowait: false };
    let frames = bench.call(id, 1, AMQPClass::Queue(queue::AMQPMethod::Purge(purge)));
    let ok = queue::PurgeOk { message_count: 2 };
    assert_eq!(frames, [AMQPFrame::Method(1, AMQPClass::Queue(queue::AMQPMethod::PurgeOk(ok)))]);
    assert_eq!(bench.depth("q"), Some(1));
}

#[test]
fn an_unused_queue_expires() {
    let mut bench = Bench::new();
    let id = bench.connect();
    bench.declare(id, "q", &[("x-expires", AMQPValue::LongInt(1_000))]);
    bench.consume(id, "q", "a");
    bench.pass_ms(5_000);
    assert_eq!(bench.depth("q"), Some(0));
    bench.basic(id, Basic::Cancel(basic::Cancel { consumer_tag: "a".into(), nowait: false }));
    bench.pass_ms(999);
    assert_eq!(bench.depth("q"), Some(0));
    bench.pass_ms(1);
    assert_eq!(bench.depth("q"), None);
}

#[test]
fn a_restart_keeps_durable_queues_and_persistent_messages() {
    let mut bench = Bench::new();
    let id = bench.connect();
    bench.declare(id, "q", &[]);
    bench.declare_as(id, queue::Declare { queue: "transient".into(), ..empty() });
    let persistent = BasicProperties::default().with_delivery_mode(2);
    for body in ["0", "1", "2"] {
        bench.publish_with(id, "q", body, &persistent);
    }
    bench.publish(id, "q", "lost");
    bench.qos(id, 2, false);
    bench.consume(id, "q", "a");
    bench.ack(id, 1, false);
    bench.state.restart();
    assert_eq!((bench.state.connections.len(), bench.depth("transient")), (0, None));
    let id = bench.connect();
    let again = deliveries(bench.consume(id, "q", "a").split_off(1));
    let seen: Vec<_> = again.iter().map(|d| (d.body.as_str(), d.redelivered)).collect();
    assert_eq!(seen, [("1", true), ("2", true)]);
}
