//! Further routing keys in a message's headers.

use super::methods::basic_publish;
use super::peer::{Peer, table, text};
use crate::conformance::harness::At;
use amq_protocol::{
    protocol::{
        BasicProperties,
        basic::{self, AMQPMethod as Basic},
        exchange::AMQPMethod as Exchanges,
    },
    types::AMQPValue,
};

fn list(values: Vec<AMQPValue>) -> AMQPValue {
    AMQPValue::FieldArray(values.into())
}

fn with(headers: &[(&str, AMQPValue)]) -> BasicProperties {
    BasicProperties::default().with_headers(table(headers))
}

pub(super) async fn keys(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.confirms().await;
    for name in ["a", "b", "c"] {
        a.has_queue(name, &[]).await;
    }
    let key = |name: &str| text(&at.name(name));
    let number = || AMQPValue::LongInt(1);
    for (to, headers) in [
        ("a", vec![("CC", list(vec![key("b")])), ("BCC", list(vec![key("c")])), ("other", number())]),
        ("a", vec![("CC", list(vec![key("b"), key("b"), key("a")]))]),
        ("none", vec![("BCC", list(vec![key("c")]))]),
        ("none", vec![("CC", list(vec![]))]),
        ("a", vec![("CC", list(vec![number(), key("b"), AMQPValue::Void])), ("BCC", list(vec![number()]))]),
        ("a", vec![("cc", key("b"))]),
    ] {
        a.put(to, "x", &with(&headers)).await;
        for queue in ["a", "b", "c"] {
            a.see_all(queue).await;
        }
    }
    at.note("through a topic exchange");
    let name = at.name("topic");
    a.exchange_method(Exchanges::Declare(super::methods::exchange(&name, "topic"))).await;
    a.see(1).await;
    for pattern in ["x.*", "y.#"] {
        a.bind("a", &name, pattern).await;
        a.see(1).await;
    }
    let copies = with(&[("CC", list(vec![text("x.1"), text("y.2")]))]);
    a.publish_to(basic_publish(&name, "z"), b"x", &copies).await;
    a.see(1).await;
    a.see_all("a").await;
    at.note("returned");
    let mandatory = basic::Publish { mandatory: true, ..basic_publish("", &at.name("none")) };
    let copies = with(&[("CC", list(vec![key("nobody")])), ("BCC", list(vec![key("no one")]))]);
    a.publish_to(mandatory.clone(), b"x", &copies).await;
    a.see(2).await;
    a.publish_to(mandatory, b"x", &with(&[("BCC", list(vec![key("c")]))])).await;
    a.see(1).await;
    a.see_all("c").await;
}

pub(super) async fn errors(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.has_queue("q", &[]).await;
    for value in [text("q"), AMQPValue::LongInt(1), AMQPValue::Void, AMQPValue::FieldTable(Default::default())] {
        for name in ["CC", "BCC"] {
            a.publish_with("q", "x", &with(&[(name, value.clone())])).await;
            a.see(1).await;
            a.reopen().await;
        }
    }
    a.see_queue("q").await;
}

pub(super) async fn dead_letters(at: At) {
    let mut a = Peer::connect(&at, "a").await;
    a.confirms().await;
    let exchange = at.name("dead");
    a.exchange_method(Exchanges::Declare(super::methods::exchange(&exchange, "topic"))).await;
    a.see(1).await;
    for (queue, pattern) in [("all", "#"), ("hidden", "hidden")] {
        a.has_queue(queue, &[]).await;
        a.bind(queue, &exchange, pattern).await;
        a.see(1).await;
    }
    let (to_dead, key) = (("x-dead-letter-exchange", text(&exchange)), ("x-dead-letter-routing-key", text("new")));
    a.has_queue("keeps", std::slice::from_ref(&to_dead)).await;
    a.has_queue("changes", &[to_dead, key]).await;
    for queue in ["keeps", "changes"] {
        at.note(queue);
        let headers = [("CC", list(vec![text("seen")])), ("BCC", list(vec![text("hidden")]))];
        a.put(queue, "x", &with(&headers)).await;
        let name = at.name(queue);
        a.basic(Basic::Get(basic::Get { queue: name.as_str().into(), no_ack: false })).await;
        a.see(1).await;
        a.nack(0, true, false).await;
        a.see_silence().await;
        a.see_all("all").await;
        a.see_all("hidden").await;
    }
}
