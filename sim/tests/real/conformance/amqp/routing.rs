//! Where messages go: exchanges, returns, large bodies, direct replies.

use super::{
    methods::{basic_publish, consume, exchange},
    peer::Peer,
};
use crate::conformance::harness::At;
use amq_protocol::{
    frame::AMQPFrame,
    protocol::{
        AMQPClass, BasicProperties,
        basic::{self, AMQPMethod as Basic},
        exchange::{self as exchanges, AMQPMethod as Exchanges},
        queue::{self as queues, AMQPMethod as Queues},
    },
    types::FieldTable,
};

const PSEUDO_QUEUE: &str = "amq.rabbitmq.reply-to";

pub(super) async fn mandatory(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.confirms().await;
    let mandatory = basic::Publish { mandatory: true, ..basic_publish("", &at.name("missing")) };
    let properties = BasicProperties::default().with_correlation_id("c".into());
    a.publish_to(mandatory.clone(), b"x", &properties).await;
    a.see(2).await;
    a.publish_to(basic_publish("", &at.name("missing")), b"dropped", &properties).await;
    a.see(1).await;
    a.publish_to(basic::Publish { exchange: "amq.fanout".into(), ..mandatory }, b"y", &properties).await;
    a.see(2).await;
}

pub(super) async fn kinds(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.confirms().await;
    let cases = [
        ("direct", vec!["a", "b", ""], vec!["a", "b", "", "c"]),
        ("fanout", vec!["a", "b"], vec!["a", ""]),
        (
            "topic",
            vec!["#", "*", "", "a.#", "*.b", "#.b", "a.*.c", "#.#", "*.#", "a..b"],
            vec!["", "a", "a.b", "b", "a.b.c", "a.", ".", "a..b", "a.x.y.b"],
        ),
    ];
    for (kind, patterns, keys) in cases {
        let name = at.name(kind);
        a.exchange_method(Exchanges::Declare(exchange(&name, kind))).await;
        a.see(1).await;
        for pattern in &patterns {
            let queue = format!("{kind} '{pattern}'");
            a.has_queue(&queue, &[]).await;
            a.bind(&queue, &name, pattern).await;
            a.see(1).await;
        }
        for key in keys {
            a.publish_to(basic_publish(&name, key), key.as_bytes(), &BasicProperties::default()).await;
            a.see(1).await;
            for pattern in &patterns {
                a.see_get(&format!("{kind} '{pattern}'")).await;
            }
        }
    }
}

pub(super) async fn exchange_errors(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &[]).await;
    let (name, inner) = (at.name("e"), at.name("inner"));
    a.exchange_method(Exchanges::Declare(exchange(&name, "direct"))).await;
    a.see(1).await;
    a.exchange_method(Exchanges::Declare(exchanges::Declare { internal: true, ..exchange(&inner, "fanout") })).await;
    a.see(1).await;
    let passive = |name: &str| Exchanges::Declare(exchanges::Declare { passive: true, ..exchange(name, "") });
    let delete = |name: &str, if_unused| {
        Exchanges::Delete(exchanges::Delete { exchange: name.into(), if_unused, nowait: false })
    };
    a.bind("q", &name, "k").await;
    a.see(1).await;
    for (what, method) in [
        ("passive, there", passive(&name)),
        ("passive, missing", passive(&at.name("missing"))),
        ("passive, default", passive("")),
        ("declare amq.mine", Exchanges::Declare(exchange("amq.mine", "direct"))),
        (
            "declare amq.direct",
            Exchanges::Declare(exchanges::Declare { durable: true, ..exchange("amq.direct", "direct") }),
        ),
        ("declare the default", Exchanges::Declare(exchange("", "direct"))),
        ("delete in use", delete(&name, true)),
        ("delete amq.direct", delete("amq.direct", false)),
        ("delete the default", delete("", false)),
        ("delete missing", delete(&at.name("missing"), false)),
    ] {
        at.note(what);
        a.exchange_method(method).await;
        if a.see_close().await {
            a.reopen().await;
        }
    }
    for (what, exchange) in [("publish to a missing one", at.name("missing")), ("publish to an internal one", inner)] {
        at.note(what);
        a.publish_to(basic_publish(&exchange, "k"), b"x", &BasicProperties::default()).await;
        a.see(1).await;
        a.reopen().await;
    }
    a.exchange_method(delete(&name, false)).await;
    a.see(1).await;
    a.exchange_method(Exchanges::Declare(exchange(&at.name("strange"), "strange"))).await;
    a.see_end().await;
}

pub(super) async fn binding_errors(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &[]).await;
    let name = at.name("e");
    a.exchange_method(Exchanges::Declare(exchange(&name, "direct"))).await;
    a.see(1).await;
    for (what, queue, exchange) in [
        ("bind to the default", "q", String::new()),
        ("bind to a missing one", "q", at.name("missing")),
        ("bind a missing queue", "missing", name.clone()),
        ("bind both missing", "missing", at.name("missing")),
    ] {
        at.note(what);
        a.bind(queue, &exchange, "k").await;
        a.see(1).await;
        a.reopen().await;
    }
    for (what, queue, exchange) in [
        ("unbind what isn't bound", "q", name.as_str()),
        ("unbind from a missing exchange", "q", "missing"),
        ("unbind a missing queue", "missing", name.as_str()),
    ] {
        at.note(what);
        let queue = at.name(queue);
        let unbind = queues::Unbind {
            queue: queue.as_str().into(),
            exchange: exchange.into(),
            routing_key: "other".into(),
            arguments: FieldTable::default(),
        };
        a.queue_method(Queues::Unbind(unbind)).await;
        if a.see_close().await {
            a.reopen().await;
        }
    }
}

pub(super) async fn declare_exchange_again(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    let name = at.name("e");
    let plain = || exchange(&name, "direct");
    for declare in [
        plain(),
        plain(),
        exchange(&name, "fanout"),
        exchanges::Declare { durable: true, ..plain() },
        exchanges::Declare { auto_delete: true, ..plain() },
        exchanges::Declare { internal: true, ..plain() },
    ] {
        a.exchange_method(Exchanges::Declare(declare)).await;
        if a.see_close().await {
            a.reopen().await;
        }
    }
}

pub(super) async fn auto_delete_exchange(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    let name = at.name("e");
    a.exchange_method(Exchanges::Declare(exchanges::Declare { auto_delete: true, ..exchange(&name, "direct") })).await;
    a.see(1).await;
    a.has_queue("q", &[]).await;
    a.bind("q", &name, "k").await;
    a.see(1).await;
    let delete =
        queues::Delete { queue: at.name("q").as_str().into(), if_unused: false, if_empty: false, nowait: false };
    a.queue_method(Queues::Delete(delete)).await;
    a.see(1).await;
    a.exchange_method(Exchanges::Declare(exchanges::Declare { passive: true, ..exchange(&name, "") })).await;
    a.see(1).await;
}

pub(super) async fn large_bodies(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &[]).await;
    a.consume("q", "c").await;
    a.see(1).await;
    for bytes in [0, 1, 8_184, 8_185, 16_368, 300_000] {
        a.publish("q", &"x".repeat(bytes)).await;
        a.see(1).await;
    }
}

/// Consumes direct replies on channel 1.
async fn listen(peer: &mut Peer) {
    peer.basic(Basic::Consume(basic::Consume { no_ack: true, ..consume(PSEUDO_QUEUE, "r") })).await;
    peer.see(1).await;
}

pub(super) async fn direct_reply(at: At) {
    let (mut asks, mut answers) = (Peer::connect(&at, "asks").await, Peer::connect(&at, "answers").await);
    answers.has_queue("q", &[]).await;
    answers.basic(Basic::Consume(basic::Consume { no_ack: true, ..consume(&at.name("q"), "c") })).await;
    answers.see(1).await;
    listen(&mut asks).await;
    let properties = BasicProperties::default().with_reply_to(PSEUDO_QUEUE.into()).with_correlation_id("1".into());
    asks.publish_with("q", "question", &properties).await;
    let Some(AMQPFrame::Method(1, AMQPClass::Basic(Basic::Deliver(_)))) = answers.next().await else { panic!() };
    let Some(AMQPFrame::Header(1, header)) = answers.next().await else { panic!() };
    answers.next().await;
    let to = header.properties.reply_to().clone().unwrap().to_string();
    at.note(format_args!("a name of its own: {}", to.starts_with("amq.rabbitmq.reply-to.")));
    let correlated = BasicProperties::default().with_correlation_id("1".into());
    answers.confirms().await;
    for answer in ["answer", "another"] {
        let reply = basic::Publish { mandatory: true, ..basic_publish("", &to) };
        answers.publish_to(reply, answer.as_bytes(), &correlated).await;
        answers.see(2).await;
        asks.see(1).await;
    }
    asks.close().await;
    let reply = basic::Publish { mandatory: true, ..basic_publish("", &to) };
    answers.publish_to(reply, b"too late", &correlated).await;
    answers.see(2).await;
    answers.declare_as(queues::Declare { passive: true, ..super::methods::queue(&to) }).await;
    answers.see(1).await;
}

pub(super) async fn direct_reply_errors(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &[]).await;
    let wants_reply = BasicProperties::default().with_reply_to(PSEUDO_QUEUE.into());
    a.publish_with("q", "nobody listens", &wants_reply).await;
    a.see(1).await;
    a.reopen().await;
    a.basic(Basic::Consume(consume(PSEUDO_QUEUE, "r"))).await;
    a.see(1).await;
    a.reopen().await;
    listen(&mut a).await;
    listen(&mut a).await;
    a.reopen().await;
    listen(&mut a).await;
    a.cancel("r").await;
    a.see(1).await;
    a.publish_with("q", "cancelled", &wants_reply).await;
    a.see(1).await;
}

pub(super) async fn user_id(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &[]).await;
    a.confirms().await;
    for user in ["guest", "other"] {
        a.publish_with("q", "x", &BasicProperties::default().with_user_id(user.into())).await;
        a.see(1).await;
    }
}
