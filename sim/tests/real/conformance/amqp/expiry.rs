//! What time does: messages, queues and connections that expire.

use super::peer::{Hello, Peer};
use crate::conformance::harness::At;
use amq_protocol::{
    protocol::{
        BasicProperties,
        basic::{self, AMQPMethod as Basic},
    },
    types::AMQPValue,
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn ttl(ms: &str) -> BasicProperties {
    BasicProperties::default().with_expiration(ms.into())
}

async fn pass_ms(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}

pub(super) async fn message_ttl(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &[]).await;
    a.confirms().await;
    a.put("q", "long", &ttl("1500")).await;
    a.put("q", "short", &ttl("1")).await;
    pass_ms(500).await;
    a.see_queue("q").await; // the short one waits behind the long one
    pass_ms(1_500).await;
    a.see_queue("q").await;
    a.put("q", "short", &ttl("1")).await;
    a.put("q", "none", &Default::default()).await;
    pass_ms(300).await;
    a.see_get("q").await;
}

pub(super) async fn queue_ttl(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &[("x-message-ttl", AMQPValue::LongInt(1_000))]).await;
    a.confirms().await;
    a.put("q", "the message's own", &ttl("100")).await;
    pass_ms(400).await;
    a.see_queue("q").await;
    a.put("q", "the queue's", &ttl("60000")).await;
    pass_ms(300).await;
    a.see_queue("q").await;
    pass_ms(1_200).await;
    a.see_queue("q").await;
}

pub(super) async fn ttl_of_zero(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &[]).await;
    a.confirms().await;
    a.put("q", "never", &ttl("0")).await;
    pass_ms(100).await;
    a.see_queue("q").await;
    let mut b = Peer::connect(&at, "b").await;
    b.consume("q", "c").await;
    b.see(1).await;
    a.put("q", "now", &ttl("0")).await;
    b.see(1).await;
}

pub(super) async fn bad_expiration(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &[]).await;
    for expiration in ["soon", "-1", "1.5", "", " 1", "+1", "4294967296", "315360000000", "315360000001"] {
        at.note(format_args!("'{expiration}'"));
        a.confirms().await;
        a.publish_with("q", "x", &ttl(expiration)).await;
        if a.see_close().await {
            a.reopen().await;
        }
    }
}

pub(super) async fn unused_queue(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    let expires = [("x-expires", AMQPValue::LongInt(1_000))];
    for name in ["consumed", "got", "declared", "published"] {
        a.has_queue(name, &expires).await;
    }
    a.consume("consumed", "c").await;
    a.see(1).await;
    pass_ms(700).await;
    a.see_get("got").await;
    a.has_queue("declared", &expires).await;
    a.publish("published", "x").await;
    pass_ms(700).await;
    // Asking is use, too: each is asked for once.
    a.see_queue("consumed").await;
    a.see_queue("got").await;
    a.see_queue("declared").await;
    a.see_queue("published").await;
    a.reopen().await;
    pass_ms(1_600).await;
    a.see_queue("declared").await;
    a.reopen().await;
    // Its consumer ended with the channel.
    a.see_queue("consumed").await;
}

pub(super) async fn missed_heartbeats(at: At) {
    let mut a = Peer::connect_with(&at, "a", Hello { heartbeat_s: 1, ..Hello::default() }).await;
    a.has_queue("q", &[]).await;
    a.basic(Basic::Consume(super::methods::consume(&at.name("q"), "c"))).await;
    a.see(1).await;
    let start = Instant::now();
    a.see_end().await;
    let silent_ms = start.elapsed().as_millis();
    let verdict = if (1_500..5_000).contains(&silent_ms) { "after two to four heartbeats" } else { "at another time" };
    at.note(verdict);
    let mut b = Peer::connect(&at, "b").await;
    b.see_queue("q").await;
    let mut c = Peer::connect_with(&at, "c", Hello { heartbeat_s: 1, ..Hello::default() }).await;
    for _ in 0..4 {
        pass_ms(1_000).await;
        c.send_bytes(&[8, 0, 0, 0, 0, 0, 0, 206]).await;
    }
    c.basic(Basic::Get(basic::Get { queue: at.name("q").as_str().into(), no_ack: true })).await;
    c.see(1).await;
}
