//! Which message goes first, and which consumer.

use super::{
    methods::{basic_publish, consume, queue},
    peer::{Peer, table, text},
};
use crate::conformance::harness::At;
use amq_protocol::{
    protocol::{
        BasicProperties,
        basic::{self, AMQPMethod as Basic},
    },
    types::AMQPValue,
};

fn urgency(priority: u8) -> BasicProperties {
    BasicProperties::default().with_priority(priority)
}

pub(super) async fn order(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.confirms().await;
    for (name, most) in [("three", Some(3)), ("zero", Some(0)), ("all", Some(255)), ("none", None)] {
        let arguments: Vec<_> = most.map(|most| ("x-max-priority", AMQPValue::LongInt(most))).into_iter().collect();
        a.has_queue(name, &arguments).await;
        a.put(name, "without", &BasicProperties::default()).await;
        for (count, priority) in [1, 3, 9, 0, 2, 255, 1].into_iter().enumerate() {
            a.put(name, &format!("{count}"), &urgency(priority)).await;
        }
        a.see_queue(name).await;
        a.see_all(name).await;
    }
    at.note("back to their places");
    for (body, priority) in [("a", 0), ("b", 1), ("c", 1), ("d", 3)] {
        a.put("three", body, &urgency(priority)).await;
    }
    for _ in 0..4 {
        let queue = at.name("three");
        a.basic(Basic::Get(basic::Get { queue: queue.as_str().into(), no_ack: false })).await;
        a.see(1).await;
    }
    a.put("three", "e", &urgency(1)).await;
    a.nack(0, true, true).await;
    a.see_all("three").await;
    a.put("three", "f", &urgency(2)).await;
    a.queue_method(amq_protocol::protocol::queue::AMQPMethod::Purge(amq_protocol::protocol::queue::Purge {
        queue: at.name("three").as_str().into(),
        nowait: false,
    }))
    .await;
    a.see(1).await;
}

pub(super) async fn expiry_and_limit(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.confirms().await;
    let dead = at.name("dead");
    let to_dead = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(&dead))];
    let with = |name: &'static str, number| {
        let mut arguments = to_dead.to_vec();
        arguments.extend([("x-max-priority", AMQPValue::LongInt(3)), (name, AMQPValue::LongInt(number))]);
        arguments
    };
    a.has_queue("dead", &[]).await;
    a.has_queue("q", &with("x-message-ttl", 60_000)).await;
    // They expire within the silence, and not before all of them are there, even on a busy machine.
    a.put("q", "low", &urgency(0).with_expiration("300".into())).await;
    a.put("q", "high", &urgency(3)).await;
    a.put("q", "middle", &urgency(2).with_expiration("300".into())).await;
    a.see_silence().await;
    a.see_queue("q").await;
    a.see_get("q").await;
    a.see_silence().await;
    a.see_queue("q").await;
    a.see_queue("dead").await;
    a.queue_method(amq_protocol::protocol::queue::AMQPMethod::Purge(amq_protocol::protocol::queue::Purge {
        queue: dead.as_str().into(),
        nowait: false,
    }))
    .await;
    a.see(1).await;
    a.has_queue("short", &with("x-max-length", 2)).await;
    for (body, priority) in [("a", 0), ("b", 3), ("c", 1), ("d", 0), ("e", 2)] {
        a.put("short", body, &urgency(priority)).await;
    }
    a.see_silence().await;
    a.see_all("short").await;
    a.see_queue("dead").await;
}

pub(super) async fn consumers(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.confirms().await;
    a.has_queue("q", &[]).await;
    let name = at.name("q");
    let with = |tag: &str, priority: i64| basic::Consume {
        arguments: table(&[("x-priority", AMQPValue::LongLongInt(priority))]),
        ..consume(&name, tag)
    };
    a.qos(1, false).await;
    a.basic(Basic::Consume(with("low", -5))).await;
    a.see(1).await;
    a.consume("q", "plain").await;
    a.see(1).await;
    a.qos(2, false).await;
    for tag in ["high", "as high"] {
        a.basic(Basic::Consume(with(tag, 10))).await;
        a.see(1).await;
    }
    // Six have room, in the order of their priorities and in turn; the seventh message waits.
    for body in ["1", "2", "3", "4", "5", "6", "7"] {
        a.publish_to(basic_publish("", &name), body.as_bytes(), &BasicProperties::default()).await;
        if body < "7" {
            a.see_in_any_order(2).await;
        } else {
            a.see(1).await;
        }
    }
    a.ack(5, false).await;
    a.see(1).await;
    a.see_queue("q").await;
}

pub(super) async fn errors(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &[]).await;
    for value in [AMQPValue::LongInt(256), AMQPValue::LongInt(-1), text("5"), AMQPValue::Boolean(true)] {
        a.declare("new", &[("x-max-priority", value.clone())]).await;
        a.see(1).await;
        a.reopen().await;
        let consume = basic::Consume { arguments: table(&[("x-priority", value)]), ..consume(&at.name("q"), "c") };
        a.basic(Basic::Consume(consume)).await;
        if a.see_close().await {
            a.reopen().await;
        } else {
            a.cancel("c").await;
            a.see(1).await;
        }
    }
    a.declare_as(queue(&at.name("new"))).await;
    a.see(1).await;
}
