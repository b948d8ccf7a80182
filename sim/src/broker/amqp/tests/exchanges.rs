//! Declaring exchanges, binding queues to them, publishing to them.

use super::*;
use amq_protocol::protocol::exchange::{self, AMQPMethod as Exchanges};

fn exchange(name: &str, kind: &str) -> exchange::Declare {
    exchange::Declare {
        exchange: name.into(),
        kind: kind.into(),
        passive: false,
        durable: false,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: FieldTable::default(),
    }
}

impl Bench {
    fn exchange(&mut self, id: ConnectionId, declare: exchange::Declare) -> Vec<AMQPFrame> {
        self.call(id, 1, AMQPClass::Exchange(Exchanges::Declare(declare)))
    }

    fn delete_exchange(&mut self, id: ConnectionId, name: &str, if_unused: bool) -> Vec<AMQPFrame> {
        let delete = exchange::Delete { exchange: name.into(), if_unused, nowait: false };
        self.call(id, 1, AMQPClass::Exchange(Exchanges::Delete(delete)))
    }

    fn bind(&mut self, id: ConnectionId, queue: &str, exchange: &str, key: &str) -> Vec<AMQPFrame> {
        let arguments = FieldTable::default();
        let (queue, exchange, routing_key) = (queue.into(), exchange.into(), key.into());
        let bind = queue::Bind { queue, exchange, routing_key, nowait: false, arguments };
        self.call(id, 1, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)))
    }

    fn unbind(&mut self, id: ConnectionId, queue: &str, exchange: &str, key: &str) -> Vec<AMQPFrame> {
        let arguments = FieldTable::default();
        let (queue, exchange, routing_key) = (queue.into(), exchange.into(), key.into());
        let unbind = queue::Unbind { queue, exchange, routing_key, arguments };
        self.call(id, 1, AMQPClass::Queue(queue::AMQPMethod::Unbind(unbind)))
    }

    fn publish_to(&mut self, id: ConnectionId, exchange: &str, key: &str, body: &str) -> Vec<AMQPFrame> {
        let mut input = Vec::new();
        put_publish_to(&mut input, exchange, key, body, &BasicProperties::default());
        self.feed(id, &input);
        self.output(id)
    }

    /// A connection with queues of these names.
    fn with_queues(names: &[&str]) -> (Self, ConnectionId) {
        let mut bench = Self::new();
        let id = bench.connect();
        for name in names {
            bench.declare(id, name, &[]);
        }
        (bench, id)
    }
}

#[test]
fn each_kind_of_exchange_reaches_the_queues_that_it_should() {
    let (mut bench, id) = Bench::with_queues(&["a", "b"]);
    for kind in ["direct", "fanout", "topic"] {
        bench.exchange(id, exchange(kind, kind));
        bench.bind(id, "a", kind, "x.y");
        bench.bind(id, "b", kind, "x.*");
        bench.publish_to(id, kind, "x.y", kind);
    }
    assert_eq!(bench.waiting("a"), ["direct", "fanout", "topic"]);
    assert_eq!(bench.waiting("b"), ["fanout", "topic"]);
}

#[test]
fn a_delivery_names_its_exchange_and_key_and_what_reaches_no_queue_returns() {
    let (mut bench, id) = Bench::with_queues(&["q"]);
    bench.bind(id, "q", "amq.topic", "*.red");
    bench.consume(id, "q", "c");
    let frames = bench.publish_to(id, "amq.topic", "very.red", "x");
    let AMQPFrame::Method(1, AMQPClass::Basic(Basic::Deliver(deliver))) = &frames[0] else { panic!("{frames:?}") };
    assert_eq!((deliver.exchange.as_str(), deliver.routing_key.as_str()), ("amq.topic", "very.red"));
    let frames = bench.publish_to(id, "amq.topic", "very.blue", "x");
    let AMQPFrame::Method(1, AMQPClass::Basic(Basic::Return(back))) = &frames[0] else { panic!("{frames:?}") };
    assert_eq!((back.exchange.as_str(), back.reply_code), ("amq.topic", 312));
}

#[test]
fn exchanges_lead_to_exchanges_and_a_restart_keeps_what_is_durable_at_both_ends() {
    let (mut bench, id) = Bench::with_queues(&["q"]);
    for (name, durable) in [("first", true), ("second", true), ("transient", false)] {
        bench.exchange(id, exchange::Declare { durable, ..exchange(name, "topic") });
    }
    bench.bind(id, "q", "second", "a.#");
    for (source, destination) in [("first", "second"), ("second", "first"), ("first", "transient")] {
        let (source, destination, routing_key) = (source.into(), destination.into(), "#".into());
        let arguments = FieldTable::default();
        let bind = exchange::Bind { destination, source, routing_key, nowait: false, arguments };
        bench.call(id, 1, AMQPClass::Exchange(Exchanges::Bind(bind)));
    }
    bench.publish_to(id, "first", "a.b", "x");
    bench.publish_to(id, "first", "b", "nowhere");
    assert_eq!(bench.waiting("q"), ["x"]);
    assert_eq!(bench.state.exchanges["first"].binding_count(), 2);
    bench.state.restart();
    assert_eq!(bench.state.exchanges["first"].binding_count(), 1);
    let id = bench.connect();
    bench.publish_to(id, "first", "a", "y");
    assert_eq!(bench.waiting("q"), ["y"]);
}

#[test]
fn an_unbound_queue_gets_nothing_more() {
    let (mut bench, id) = Bench::with_queues(&["q"]);
    bench.bind(id, "q", "amq.fanout", "");
    bench.bind(id, "q", "amq.fanout", "other");
    bench.unbind(id, "q", "amq.fanout", "");
    bench.publish_to(id, "amq.fanout", "", "first");
    bench.unbind(id, "q", "amq.fanout", "other");
    bench.unbind(id, "q", "amq.fanout", "never bound");
    bench.publish_to(id, "amq.fanout", "", "second");
    assert_eq!(bench.waiting("q"), ["first"]);
}

#[test]
fn without_names_the_last_queue_is_bound_by_its_own() {
    let (mut bench, id) = Bench::with_queues(&["q"]);
    bench.bind(id, "", "amq.direct", "");
    bench.publish_to(id, "amq.direct", "q", "x");
    assert_eq!(bench.waiting("q"), ["x"]);
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding_and_not_before_the_first() {
    let (mut bench, id) = Bench::with_queues(&["a", "b"]);
    bench.exchange(id, exchange::Declare { auto_delete: true, ..exchange("e", "direct") });
    bench.unbind(id, "a", "e", "none");
    for queue in ["a", "b"] {
        bench.bind(id, queue, "e", "k");
    }
    bench.unbind(id, "a", "e", "k");
    assert!(bench.state.exchanges.contains_key("e"));
    let delete = queue::Delete { queue: "b".into(), if_unused: false, if_empty: false, nowait: false };
    bench.call(id, 1, AMQPClass::Queue(queue::AMQPMethod::Delete(delete)));
    assert_eq!(refusal(&bench.publish_to(id, "e", "k", "x")), ("channel", 404));
}

#[test]
fn what_must_not_be_done_to_exchanges_is_refused() {
    type Do = fn(&mut Bench, ConnectionId) -> Vec<AMQPFrame>;
    let cases: [(Do, (&str, u16)); 10] = [
        (|b, id| b.exchange(id, exchange("amq.mine", "direct")), ("channel", 403)),
        (|b, id| b.exchange(id, exchange("", "direct")), ("channel", 403)),
        (|b, id| b.exchange(id, exchange("e", "direct")), ("channel", 406)),
        (|b, id| b.exchange(id, exchange("new", "strange")), ("connection", 503)),
        (|b, id| b.exchange(id, exchange::Declare { passive: true, ..exchange("none", "") }), ("channel", 404)),
        (|b, id| b.delete_exchange(id, "e", true), ("channel", 406)),
        (|b, id| b.delete_exchange(id, "amq.topic", false), ("channel", 403)),
        (|b, id| b.bind(id, "q", "", "k"), ("channel", 403)),
        (|b, id| b.bind(id, "none", "e", "k"), ("channel", 404)),
        (|b, id| b.publish_to(id, "inner", "k", "x"), ("channel", 403)),
    ];
    for (i, (act, expected)) in cases.into_iter().enumerate() {
        let (mut bench, id) = Bench::with_queues(&["q"]);
        bench.exchange(id, exchange("e", "topic"));
        bench.exchange(id, exchange::Declare { internal: true, ..exchange("inner", "fanout") });
        bench.bind(id, "q", "e", "k");
        assert_eq!(refusal(&act(&mut bench, id)), expected, "case {i}");
    }
}

#[test]
fn a_deleted_exchange_is_gone_and_deleting_it_again_is_no_error() {
    let (mut bench, id) = Bench::with_queues(&["q"]);
    bench.exchange(id, exchange("e", "fanout"));
    bench.bind(id, "q", "e", "");
    for _ in 0..2 {
        let frames = bench.delete_exchange(id, "e", false);
        assert_eq!(frames, [AMQPFrame::Method(1, AMQPClass::Exchange(Exchanges::DeleteOk(exchange::DeleteOk {})))]);
    }
    assert_eq!(refusal(&bench.publish_to(id, "e", "", "x")), ("channel", 404));
}

#[test]
fn dead_letters_go_through_the_exchange_of_their_queue() {
    let (mut bench, id) = Bench::with_queues(&["all", "some"]);
    bench.exchange(id, exchange::Declare { internal: true, ..exchange("dlx", "topic") });
    bench.bind(id, "all", "dlx", "#");
    bench.bind(id, "some", "dlx", "other.#");
    bench.declare(id, "q", &[("x-dead-letter-exchange", text("dlx"))]);
    bench.bind(id, "q", "amq.topic", "key.*");
    bench.consume(id, "q", "c");
    bench.publish_to(id, "amq.topic", "key.1", "x");
    bench.nack(id, 1, false, false);
    assert_eq!((bench.waiting("all"), bench.waiting("some")), (vec!["x".into()], vec![]));
    let letter = &bench.state.queues[&bench.state.names["all"]].messages.messages()[0];
    assert_eq!((letter.exchange(), letter.routing_key()), ("dlx", "key.1"));
    assert_eq!(letter.text_header("x-first-death-exchange").as_deref(), Some("amq.topic"));
    bench.delete_exchange(id, "dlx", false);
    bench.publish_to(id, "amq.topic", "key.2", "y");
    assert_eq!(bench.nack(id, 2, false, false), [], "dropped: a missing exchange is nobody's error");
    assert_eq!(bench.depth("q"), Some(0));
}

#[test]
fn a_restart_keeps_durable_exchanges_with_the_bindings_of_durable_queues() {
    let (mut bench, id) = Bench::with_queues(&["kept"]);
    bench.declare_as(id, queue::Declare { queue: "lost".into(), ..empty() });
    bench.exchange(id, exchange::Declare { durable: true, ..exchange("durable", "fanout") });
    bench.exchange(id, exchange("transient", "fanout"));
    for queue in ["kept", "lost"] {
        bench.bind(id, queue, "durable", "");
    }
    bench.state.restart();
    let id = bench.connect();
    bench.publish_to(id, "durable", "", "x");
    assert_eq!((bench.waiting("kept"), bench.depth("lost")), (vec!["x".into()], None));
    assert_eq!(refusal(&bench.publish_to(id, "transient", "", "x")), ("channel", 404));
}
