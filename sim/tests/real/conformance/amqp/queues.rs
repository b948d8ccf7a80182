//! Queues: declaring, owning, deleting.

use super::{
    methods::{consume, queue},
    peer::{Peer, text},
};
use crate::conformance::harness::At;
use amq_protocol::{
    protocol::{
        basic::{self, AMQPMethod as Basic},
        queue::{self as queues, AMQPMethod as Queues},
    },
    types::AMQPValue,
};

fn delete(name: &str, if_unused: bool, if_empty: bool) -> Queues {
    Queues::Delete(queues::Delete { queue: name.into(), if_unused, if_empty, nowait: false })
}

pub(super) async fn passive_declare(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &[]).await;
    a.confirms().await;
    a.put("q", "x", &Default::default()).await;
    a.see_queue("q").await;
    a.see_queue("missing").await;
    a.reopen().await;
    a.see_queue("q").await;
}

pub(super) async fn declare_again(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    let name = at.name("q");
    a.has_queue("q", &[("x-message-ttl", AMQPValue::LongInt(10_000)), ("x-expires", AMQPValue::LongInt(60_000))]).await;
    let long = AMQPValue::LongLongInt;
    a.declare("q", &[("x-message-ttl", long(10_000)), ("x-expires", long(60_000))]).await;
    a.see(1).await;
    for arguments in [
        vec![("x-message-ttl", AMQPValue::LongInt(10_001)), ("x-expires", AMQPValue::LongInt(60_000))],
        vec![("x-message-ttl", AMQPValue::LongInt(10_000))],
        vec![
            ("x-message-ttl", AMQPValue::LongInt(10_000)),
            ("x-expires", AMQPValue::LongInt(60_000)),
            ("x-max-length", AMQPValue::LongInt(5)),
        ],
    ] {
        a.declare("q", &arguments).await;
        a.see(1).await;
        a.reopen().await;
    }
    for declare in [
        queues::Declare { durable: true, ..queue(&name) },
        queues::Declare { auto_delete: true, ..queue(&name) },
        queues::Declare { exclusive: true, ..queue(&name) },
    ] {
        a.declare_as(declare).await;
        a.see(1).await;
        a.reopen().await;
    }
    let dead = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("a"))];
    a.has_queue("dead", &dead).await;
    a.declare("dead", &[("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("b"))]).await;
    a.see(1).await;
    a.reopen().await;
    a.declare_as(queue("amq.mine")).await;
    a.see(1).await;
}

pub(super) async fn bad_arguments(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    let int = AMQPValue::LongInt;
    for arguments in [
        vec![("x-message-ttl", int(-1))],
        vec![("x-message-ttl", text("10"))],
        vec![("x-message-ttl", AMQPValue::LongLongInt(1 << 40))],
        vec![("x-expires", int(0))],
        vec![("x-expires", AMQPValue::Boolean(true))],
        vec![("x-max-length", int(-1))],
        vec![("x-max-length", text("a"))],
        vec![("x-dead-letter-exchange", int(1))],
        vec![("x-dead-letter-routing-key", text("k"))],
        vec![("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", int(1))],
        vec![("x-overflow", text("strange"))],
        vec![("x-queue-type", text("strange"))],
        vec![("x-queue-type", int(1))],
        vec![("x-queue-mode", text("strange"))],
        vec![("x-queue-mode", int(1))],
        vec![("x-queue-version", int(3))],
        vec![("x-queue-version", text("2"))],
        vec![("x-max-length-bytes", int(-1))],
        vec![("x-single-active-consumer", text("true"))],
        vec![("x-max-length", int(-1)), ("x-delivery-limit", int(1))],
    ] {
        a.declare("q", &arguments).await;
        a.see(1).await;
        a.reopen().await;
    }
    a.declare("q", &[("x-what-nobody-knows", int(1)), ("x-queue-type", text("classic"))]).await;
    a.see(1).await;
}

pub(super) async fn compared_arguments(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    let int = AMQPValue::LongInt;
    let all = [
        ("x-expires", int(60_000), int(60_001)),
        ("x-message-ttl", int(1_000), int(-1)),
        ("x-dead-letter-exchange", text("e"), int(1)),
        ("x-dead-letter-routing-key", text("k"), text("l")),
        ("x-max-length", int(5), text("a")),
        ("x-max-priority", int(5), int(256)),
        ("x-overflow", text("drop-head"), text("strange")),
        ("x-queue-mode", text("lazy"), text("default")),
        ("x-queue-version", int(1), int(2)),
        ("x-single-active-consumer", AMQPValue::Boolean(false), AMQPValue::Boolean(true)),
        ("x-queue-type", text("classic"), text("quorum")),
    ];
    let current: Vec<_> = all.iter().map(|(name, current, _)| (*name, current.clone())).collect();
    a.has_queue("q", &current).await;
    a.has_queue("plain", &[]).await;
    // Each is told in its turn: once it is as it was, the next one is what differs.
    let mut later: Vec<_> = all.iter().map(|(name, _, later)| (*name, later.clone())).collect();
    for at in 0..later.len() {
        a.declare("q", &later).await;
        a.see(1).await;
        a.reopen().await;
        later[at].1 = current[at].1.clone();
    }
    a.declare("q", &later).await;
    a.see(1).await;
    for (name, _, other) in &all {
        a.declare("plain", &[(name, other.clone())]).await;
        a.see(1).await;
        a.reopen().await;
    }
    at.note("arguments of other types of queues, and none");
    for name in ["x-delivery-limit", "x-max-age", "x-quorum-initial-group-size", "x-queue-leader-locator", "x-other"] {
        a.declare("plain", &[(name, int(1))]).await;
        a.see(1).await;
        a.declare("new", &[(name, int(1))]).await;
        if a.see_close().await {
            a.reopen().await;
        }
    }
}

pub(super) async fn exclusive_queue(at: At) {
    let (mut owner, mut other) = (Peer::connect(&at, "owner").await, Peer::connect(&at, "other").await);
    let name = at.name("q");
    let exclusive = || queues::Declare { exclusive: true, ..queue(&name) };
    for _ in 0..2 {
        owner.declare_as(exclusive()).await;
        owner.see(1).await;
    }
    owner.declare_as(queue(&name)).await;
    owner.see(1).await;
    owner.reopen().await;
    for declare in [exclusive(), queue(&name), queues::Declare { passive: true, ..queue(&name) }] {
        other.declare_as(declare).await;
        other.see(1).await;
        other.reopen().await;
    }
    other.basic(Basic::Consume(consume(&name, "c"))).await;
    other.see(1).await;
    other.reopen().await;
    other.see_get("q").await;
    other.reopen().await;
    other.bind("q", "amq.direct", "k").await;
    other.see(1).await;
    other.reopen().await;
    other.queue_method(Queues::Purge(queues::Purge { queue: name.as_str().into(), nowait: false })).await;
    other.see(1).await;
    other.reopen().await;
    other.queue_method(delete(&name, false, false)).await;
    other.see(1).await;
    other.reopen().await;
    other.confirms().await;
    other.put("q", "anybody may publish", &Default::default()).await;
    owner.see_get("q").await;
    owner.close().await;
    other.see_queue("q").await;
}

pub(super) async fn auto_delete(at: At) {
    let (mut a, mut b) = (Peer::connect(&at, "a").await, Peer::connect(&at, "b").await);
    let name = at.name("q");
    for how in ["cancel", "channel", "connection"] {
        at.note(how);
        a.declare_as(queues::Declare { auto_delete: true, ..queue(&name) }).await;
        a.see(1).await;
        for tag in ["c", "d"] {
            b.consume("q", tag).await;
            b.see(1).await;
        }
        b.cancel("c").await;
        b.see(1).await;
        a.see_queue("q").await;
        match how {
            "cancel" => {
                b.cancel("d").await;
                b.see(1).await;
            }
            "channel" => {
                b.see_queue("missing").await;
                b.reopen().await;
            }
            _ => {
                b.close().await;
                b = Peer::connect(&at, "b").await;
            }
        }
        a.see_queue("q").await;
        a.reopen().await;
    }
}

pub(super) async fn delete_and_purge(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    let name = at.name("q");
    a.has_queue("q", &[]).await;
    a.confirms().await;
    a.put("q", "x", &Default::default()).await;
    a.put("q", "y", &Default::default()).await;
    a.queue_method(delete(&name, false, true)).await;
    a.see(1).await;
    a.reopen().await;
    a.queue_method(Queues::Purge(queues::Purge { queue: name.as_str().into(), nowait: false })).await;
    a.see(1).await;
    a.consume("q", "c").await;
    a.see(1).await;
    a.queue_method(delete(&name, true, false)).await;
    a.see(1).await;
    a.reopen().await;
    a.confirms().await;
    a.put("q", "z", &Default::default()).await;
    for _ in 0..2 {
        a.queue_method(delete(&name, false, false)).await;
        a.see(1).await;
    }
    a.queue_method(Queues::Purge(queues::Purge { queue: name.as_str().into(), nowait: false })).await;
    a.see(1).await;
}

pub(super) async fn last_queue(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.basic(Basic::Consume(consume("", "c"))).await;
    a.see(1).await;
    a.reopen().await;
    a.declare_as(queues::Declare { exclusive: true, ..queue("") }).await;
    a.see(1).await;
    a.basic(Basic::Consume(consume("", "c"))).await;
    a.see(1).await;
    a.basic(Basic::Get(basic::Get { queue: "".into(), no_ack: true })).await;
    a.see(1).await;
}

pub(super) async fn length_limit(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &[("x-max-length", AMQPValue::LongInt(2))]).await;
    a.confirms().await;
    for body in ["0", "1", "2", "3"] {
        a.put("q", body, &Default::default()).await;
    }
    for _ in 0..3 {
        a.see_get("q").await;
    }
}
