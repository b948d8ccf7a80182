//! Bindings between exchanges, bindings with arguments, and headers exchanges.

use super::{
    methods::{basic_publish, exchange},
    peer::{Peer, table, text},
};
use crate::conformance::harness::At;
use amq_protocol::{
    protocol::{
        BasicProperties, basic,
        exchange::{self as exchanges, AMQPMethod as Exchanges},
        queue::{self as queues, AMQPMethod as Queues},
    },
    types::{AMQPValue, FieldTable},
};

fn bind(from: &str, to: &str, key: &str) -> Exchanges {
    let (source, destination, routing_key) = (from.into(), to.into(), key.into());
    Exchanges::Bind(exchanges::Bind { destination, source, routing_key, nowait: false, arguments: Default::default() })
}

fn unbind(from: &str, to: &str, key: &str) -> Exchanges {
    let (source, destination, routing_key) = (from.into(), to.into(), key.into());
    let arguments = FieldTable::default();
    Exchanges::Unbind(exchanges::Unbind { destination, source, routing_key, nowait: false, arguments })
}

async fn publish(a: &mut Peer, exchange: &str, key: &str, body: &str) {
    a.publish_to(basic_publish(exchange, key), body.as_bytes(), &BasicProperties::default()).await;
    a.see(1).await;
}

/// Whether each of the exchanges is there.
async fn see_exchanges(a: &mut Peer, at: &At, names: &[&str]) {
    for name in names {
        let declare = exchanges::Declare { passive: true, ..exchange(&at.name(name), "") };
        a.exchange_method(Exchanges::Declare(declare)).await;
        if a.see_close().await {
            a.reopen().await;
        }
    }
}

pub(super) async fn between_exchanges(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.confirms().await;
    let (first, second) = (at.name("topic"), at.name("fanout"));
    for (name, kind) in [(&first, "topic"), (&second, "fanout")] {
        a.exchange_method(Exchanges::Declare(exchange(name, kind))).await;
        a.see(1).await;
    }
    a.has_queue("q", &[]).await;
    a.bind("q", &second, "").await;
    a.see(1).await;
    let binds = [bind(&first, &second, "x.#"), bind(&first, &second, "x.*"), bind(&second, &first, "")];
    for method in binds.into_iter().chain([bind(&first, &first, "#")]) {
        a.exchange_method(method).await;
        a.see(1).await;
    }
    for (exchange, key) in [(&first, "x.y"), (&first, "y"), (&second, "y")] {
        publish(&mut a, exchange, key, key).await;
        a.see_all("q").await;
    }
    for key in ["x.#", "x.*", "other"] {
        a.exchange_method(unbind(&first, &second, key)).await;
        a.see(1).await;
    }
    publish(&mut a, &first, "x.y", "nowhere").await;
    a.see_all("q").await;
    // To an internal exchange that clients can't publish to.
    let inner = at.name("inner");
    let internal = exchanges::Declare { internal: true, ..exchange(&inner, "direct") };
    a.exchange_method(Exchanges::Declare(internal)).await;
    a.see(1).await;
    a.bind("q", &inner, "k").await;
    a.see(1).await;
    a.exchange_method(bind("amq.topic", &inner, "k")).await;
    a.see(1).await;
    publish(&mut a, "amq.topic", "k", "through").await;
    a.see_all("q").await;
    a.exchange_method(unbind("amq.topic", &inner, "k")).await;
    a.see(1).await;
}

pub(super) async fn between_exchanges_errors(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    let there = at.name("e");
    a.exchange_method(Exchanges::Declare(exchange(&there, "direct"))).await;
    a.see(1).await;
    let (none, nothing) = (at.name("none"), at.name("nothing"));
    for (from, to) in [
        (there.as_str(), none.as_str()),
        (&none, &there),
        (&nothing, &none),
        (&there, ""),
        ("", &there),
        ("", ""),
        ("", &none),
        (&none, ""),
        (&there, &there),
    ] {
        at.note(format_args!("from '{from}' to '{to}'"));
        for method in [bind(from, to, "k"), unbind(from, to, "k")] {
            a.exchange_method(method).await;
            if a.see_close().await {
                a.reopen().await;
            }
        }
    }
}

pub(super) async fn ends_of_exchanges(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    let delete = |name: &str, if_unused| {
        Exchanges::Delete(exchanges::Delete { exchange: at.name(name).as_str().into(), if_unused, nowait: false })
    };
    for (first, second, auto_delete) in [("a", "b", [true, true]), ("c", "d", [true, false]), ("e", "f", [true, true])]
    {
        for (name, auto_delete) in [first, second].into_iter().zip(auto_delete) {
            let declare = exchanges::Declare { auto_delete, ..exchange(&at.name(name), "fanout") };
            a.exchange_method(Exchanges::Declare(declare)).await;
            a.see(1).await;
        }
        a.exchange_method(bind(&at.name(first), &at.name(second), "")).await;
        a.see(1).await;
    }
    at.note("the queue at the end of a chain");
    a.has_queue("q", &[]).await;
    a.bind("q", &at.name("b"), "").await;
    a.see(1).await;
    let queue = at.name("q");
    let gone = queues::Delete { queue: queue.as_str().into(), if_unused: false, if_empty: false, nowait: false };
    a.queue_method(Queues::Delete(gone)).await;
    a.see(1).await;
    see_exchanges(&mut a, &at, &["a", "b"]).await;
    at.note("a destination that is deleted");
    a.exchange_method(delete("d", true)).await;
    a.see(1).await;
    see_exchanges(&mut a, &at, &["c", "d"]).await;
    at.note("the last binding");
    a.exchange_method(unbind(&at.name("e"), &at.name("f"), "")).await;
    a.see(1).await;
    see_exchanges(&mut a, &at, &["e", "f"]).await;
    at.note("a source in use");
    a.exchange_method(bind(&at.name("f"), "amq.fanout", "")).await;
    a.see(1).await;
    a.exchange_method(delete("f", true)).await;
    a.see(1).await;
    a.reopen().await;
    a.exchange_method(delete("f", false)).await;
    a.see(1).await;
}

/// Headers that a message or a binding has; `None`: not even the table.
fn headers_of_messages() -> Vec<Option<Vec<(&'static str, AMQPValue)>>> {
    let int = AMQPValue::LongInt;
    vec![
        None,
        Some(vec![]),
        Some(vec![("a", int(1))]),
        Some(vec![("a", AMQPValue::ShortShortInt(1))]),
        Some(vec![("a", AMQPValue::LongLongInt(1))]),
        Some(vec![("a", text("1"))]),
        Some(vec![("a", int(2)), ("b", int(2))]),
        Some(vec![("a", int(1)), ("b", int(2)), ("c", int(3))]),
        Some(vec![("a", AMQPValue::Boolean(true))]),
        Some(vec![("a", AMQPValue::Void)]),
        Some(vec![("a", AMQPValue::Double(1.0))]),
        Some(vec![("x-a", int(1))]),
        Some(vec![("a", int(1)), ("x-a", int(1))]),
    ]
}

pub(super) async fn headers(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.confirms().await;
    let int = AMQPValue::LongInt;
    let bindings = [
        vec![],
        vec![("x-match", text("all"))],
        vec![("x-match", text("any"))],
        vec![("a", int(1))],
        vec![("x-match", text("all")), ("a", int(1)), ("b", int(2))],
        vec![("x-match", text("any")), ("a", int(1)), ("b", int(2))],
        vec![("x-match", text("all")), ("x-a", int(1))],
        vec![("x-match", text("any")), ("x-a", int(1))],
        vec![("x-match", text("all-with-x")), ("a", int(1)), ("x-a", int(1))],
        vec![("x-match", text("any-with-x")), ("x-a", int(1))],
        vec![("x-match", text("any-with-x"))],
        vec![("a", AMQPValue::Void)],
        vec![("x-match", text("any")), ("a", AMQPValue::Void), ("b", int(3))],
        vec![("a", AMQPValue::LongLongInt(1))],
        vec![("a", text("1"))],
        vec![("a", AMQPValue::Boolean(true))],
        vec![("a", AMQPValue::Double(1.0))],
    ];
    let name = at.name("headers");
    a.exchange_method(Exchanges::Declare(exchange(&name, "headers"))).await;
    a.see(1).await;
    for (number, arguments) in bindings.iter().enumerate() {
        let queue = format!("q{number}");
        a.has_queue(&queue, &[]).await;
        bind_with(&mut a, &at, &queue, &name, arguments).await;
        a.see(1).await;
    }
    for (number, headers) in headers_of_messages().into_iter().enumerate() {
        let properties = match headers {
            None => BasicProperties::default(),
            Some(headers) => BasicProperties::default().with_headers(table(&headers)),
        };
        a.publish_to(basic_publish(&name, "any"), format!("{number}").as_bytes(), &properties).await;
        a.see(1).await;
    }
    for number in 0..bindings.len() {
        a.see_all(&format!("q{number}")).await;
    }
    for own in ["amq.headers", "amq.match"] {
        let arguments = [("name", text(&at.name(own)))];
        a.has_queue(own, &[]).await;
        bind_with(&mut a, &at, own, own, &arguments).await;
        a.see(1).await;
        let properties = BasicProperties::default().with_headers(table(&arguments));
        a.publish_to(basic_publish(own, ""), b"x", &properties).await;
        a.see(1).await;
        a.see_all(own).await;
    }
    let passive = exchanges::Declare { passive: true, ..exchange("amq.rabbitmq.trace", "") };
    a.exchange_method(Exchanges::Declare(passive)).await;
    a.see(1).await;
    publish(&mut a, "amq.rabbitmq.trace", "k", "x").await;
}

async fn bind_with(a: &mut Peer, at: &At, queue: &str, exchange: &str, arguments: &[(&str, AMQPValue)]) {
    let (queue, exchange) = (at.name(queue).as_str().into(), exchange.into());
    let (routing_key, arguments) = ("k".into(), table(arguments));
    a.queue_method(Queues::Bind(queues::Bind { queue, exchange, routing_key, nowait: false, arguments })).await;
}

async fn unbind_with(a: &mut Peer, at: &At, queue: &str, exchange: &str, arguments: &[(&str, AMQPValue)]) {
    let (queue, exchange) = (at.name(queue).as_str().into(), exchange.into());
    let (routing_key, arguments) = ("k".into(), table(arguments));
    a.queue_method(Queues::Unbind(queues::Unbind { queue, exchange, routing_key, arguments })).await;
}

pub(super) async fn headers_errors(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    let name = at.name("headers");
    a.exchange_method(Exchanges::Declare(exchange(&name, "headers"))).await;
    a.see(1).await;
    a.has_queue("q", &[]).await;
    for value in [text("strange"), text(""), AMQPValue::LongInt(5), AMQPValue::Boolean(true)] {
        bind_with(&mut a, &at, "q", &name, &[("x-match", value.clone())]).await;
        a.see(1).await;
        a.reopen().await;
        unbind_with(&mut a, &at, "q", &name, &[("x-match", value)]).await;
        a.see(1).await;
    }
}

pub(super) async fn arguments(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.confirms().await;
    let name = at.name("e");
    a.exchange_method(Exchanges::Declare(exchange(&name, "direct"))).await;
    a.see(1).await;
    a.has_queue("q", &[]).await;
    let with = |number| [("z", AMQPValue::LongInt(number)), ("a", text("b"))];
    let swapped = [("a", text("b")), ("z", AMQPValue::LongInt(1))];
    bind_with(&mut a, &at, "q", &name, &with(1)).await;
    a.see(1).await;
    bind_with(&mut a, &at, "q", &name, &[]).await;
    a.see(1).await;
    for arguments in [vec![], with(2).to_vec(), swapped.to_vec()] {
        unbind_with(&mut a, &at, "q", &name, &arguments).await;
        a.see(1).await;
        publish(&mut a, &name, "k", "x").await;
        a.see_all("q").await;
    }
}

pub(super) async fn alternate(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.confirms().await;
    let (first, second, last) = (at.name("first"), at.name("second"), at.name("last"));
    let with = |name: &str, kind: &str, to: AMQPValue| exchanges::Declare {
        arguments: table(&[("alternate-exchange", to)]),
        ..exchange(name, kind)
    };
    // In a circle, but for what one of their queues takes.
    for declare in [
        with(&first, "direct", text(&second)),
        with(&second, "topic", text(&last)),
        with(&last, "direct", text(&first)),
    ] {
        a.exchange_method(Exchanges::Declare(declare)).await;
        a.see(1).await;
    }
    for (queue, name, key) in [("one", &first, "a"), ("two", &second, "b.#"), ("three", &last, "c")] {
        a.has_queue(queue, &[]).await;
        a.bind(queue, name, key).await;
        a.see(1).await;
    }
    for key in ["a", "b", "c", "d"] {
        let mandatory = basic::Publish { mandatory: true, ..basic_publish(&first, key) };
        a.publish_to(mandatory, key.as_bytes(), &BasicProperties::default()).await;
        a.see(if key == "d" { 2 } else { 1 }).await;
    }
    for queue in ["one", "two", "three"] {
        a.see_all(queue).await;
    }
    at.note("declared again");
    for declare in [
        with(&first, "direct", text(&second)),
        with(&first, "direct", text(&last)),
        exchange(&first, "direct"),
        exchanges::Declare { durable: true, ..with("amq.fanout", "fanout", text(&last)) },
        with(&at.name("new"), "direct", AMQPValue::LongInt(1)),
    ] {
        a.exchange_method(Exchanges::Declare(declare)).await;
        if a.see_close().await {
            a.reopen().await;
        }
    }
}
