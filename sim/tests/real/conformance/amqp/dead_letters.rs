//! Dead letters: when there are any, where they go, and what `x-death` says.

use super::{
    methods::{basic_publish, exchange},
    peer::{Peer, text},
};
use crate::conformance::harness::At;
use amq_protocol::{
    protocol::{
        BasicProperties,
        exchange::{self as exchanges, AMQPMethod as Exchanges},
    },
    types::AMQPValue,
};
use std::time::Duration;
use tokio::time::sleep;

/// Arguments that send dead letters to the queue `to`.
fn dead_to(at: &At, to: &str) -> Vec<(&'static str, AMQPValue)> {
    vec![("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(&at.name(to)))]
}

/// A client with a queue `dead` that it consumes, and a queue `q` that has it for its dead letters.
async fn mourner(at: &At, more: &[(&'static str, AMQPValue)]) -> Peer {
    let mut a = Peer::connect(at, "a").await;
    a.has_queue("dead", &[]).await;
    let mut arguments = dead_to(at, "dead");
    arguments.extend(more.iter().cloned());
    a.has_queue("q", &arguments).await;
    a.consume("dead", "dead").await;
    a.see(1).await;
    a
}

pub(super) async fn rejected(at: At) {
    let mut a = mourner(&at, &[]).await;
    let properties = BasicProperties::default().with_message_id("m".into()).with_delivery_mode(2);
    a.publish_with("q", "x", &properties).await;
    a.consume("q", "c").await;
    a.see(2).await;
    a.nack(1, false, false).await;
    a.see(1).await;
    // Dead a second time in a queue of another name, and a third time in the first.
    a.publish_with("q", "y", &properties).await;
    a.see(1).await;
    a.nack(0, true, false).await;
    a.see(1).await;
}

pub(super) async fn expired(at: At) {
    let mut a = mourner(&at, &[]).await;
    a.publish_with("q", "x", &BasicProperties::default().with_expiration("50".into())).await;
    a.see(1).await;
    a.publish_to(
        basic_publish("", &at.name("q")),
        b"with headers of its own",
        &BasicProperties::default()
            .with_expiration("50".into())
            .with_headers(super::peer::table(&[("mine", text("stays"))])),
    )
    .await;
    a.see(1).await;
}

pub(super) async fn too_many(at: At) {
    let mut a = mourner(&at, &[("x-max-length", AMQPValue::LongInt(1))]).await;
    a.publish("q", "first").await;
    a.publish("q", "second").await;
    a.see(1).await;
}

pub(super) async fn through_an_exchange(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    let dlx = at.name("dlx");
    a.exchange_method(Exchanges::Declare(exchanges::Declare { internal: true, ..exchange(&dlx, "topic") })).await;
    a.see(1).await;
    for (queue, key) in [("all", "#"), ("some", "*.news")] {
        a.has_queue(queue, &[]).await;
        a.bind(queue, &dlx, key).await;
        a.see(1).await;
    }
    a.has_queue("q", &[("x-dead-letter-exchange", text(&dlx)), ("x-message-ttl", AMQPValue::LongInt(100))]).await;
    a.bind("q", "amq.topic", &at.name("#")).await;
    a.see(1).await;
    a.bind("q", "amq.topic", "conformance.*").await;
    a.see(1).await;
    a.publish_to(basic_publish("amq.topic", "conformance.news"), b"x", &BasicProperties::default()).await;
    a.publish_to(basic_publish("amq.topic", "conformance.olds"), b"y", &BasicProperties::default()).await;
    sleep(Duration::from_millis(500)).await;
    for queue in ["all", "all", "some", "some", "q"] {
        a.see_get(queue).await;
    }
}

pub(super) async fn around(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    let ttl = |mut arguments: Vec<(&'static str, AMQPValue)>| {
        arguments.push(("x-message-ttl", AMQPValue::LongInt(100)));
        arguments
    };
    a.has_queue("ring", &ttl(dead_to(&at, "ring"))).await;
    a.confirms().await;
    a.put("ring", "x", &Default::default()).await;
    sleep(Duration::from_millis(500)).await;
    a.see_queue("ring").await;
    a.has_queue("work", &dead_to(&at, "delay")).await;
    a.has_queue("delay", &ttl(dead_to(&at, "work"))).await;
    let mut worker = Peer::connect(&at, "worker").await;
    worker.consume("work", "c").await;
    worker.see(1).await;
    a.put("work", "y", &Default::default()).await;
    for tag in 1..=3 {
        worker.see(1).await;
        worker.nack(tag, false, false).await;
    }
    worker.see(1).await;
}

pub(super) async fn nowhere(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &dead_to(&at, "missing")).await;
    a.has_queue("r", &[("x-dead-letter-exchange", text(&at.name("missing")))]).await;
    a.consume("q", "q").await;
    a.see(1).await;
    a.publish("q", "x").await;
    a.see(1).await;
    a.nack(1, false, false).await;
    a.consume("r", "r").await;
    a.see(1).await;
    a.publish("r", "y").await;
    a.see(1).await;
    a.nack(2, false, false).await;
    a.see_silence().await;
    a.see_queue("q").await;
    a.see_queue("r").await;
}
