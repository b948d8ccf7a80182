//! Consumers: prefetch, order, redelivery, and how they end.

use super::{
    methods::consume,
    peer::{Hello, Peer},
};
use crate::conformance::harness::At;
use amq_protocol::protocol::{
    basic::{self, AMQPMethod as Basic},
    queue::{self as queues, AMQPMethod as Queues},
};

/// A queue with messages `0` to `count - 1`.
async fn filled(at: &At, count: u32) -> Peer {
    let mut publisher = Peer::connect(at, "publisher").await;
    publisher.has_queue("q", &[]).await;
    publisher.confirms().await;
    for n in 0..count {
        publisher.put("q", &n.to_string(), &Default::default()).await;
    }
    publisher
}

pub(super) async fn prefetch_per_consumer(at: At) {
    let mut publisher = filled(&at, 0).await;
    let mut a = Peer::connect(&at, "a").await;
    for (tag, prefetch) in [("one", 1), ("two", 2)] {
        a.qos(prefetch, false).await;
        a.consume("q", tag).await;
        a.see(1).await;
    }
    for n in 0..3 {
        publisher.put("q", &n.to_string(), &Default::default()).await;
        a.see(1).await;
    }
    publisher.put("q", "3", &Default::default()).await;
    publisher.put("q", "4", &Default::default()).await;
    a.see_silence().await;
    a.ack(2, false).await;
    a.see(1).await;
    a.ack(1, false).await;
    a.see(1).await;
    a.ack(0, true).await;
    a.see_queue("q").await;
}

pub(super) async fn prefetch_per_channel(at: At) {
    let _publisher = filled(&at, 6).await;
    let mut a = Peer::connect(&at, "a").await;
    a.qos(2, true).await;
    a.consume("q", "one").await;
    a.see(3).await;
    a.consume("q", "two").await;
    a.see(1).await;
    a.see_silence().await;
    a.ack(1, false).await;
    a.see(1).await;
    a.see_silence().await;
    a.qos(4, true).await;
    a.see_in_any_order(2).await;
    a.see_silence().await;
}

pub(super) async fn order_after_nack(at: At) {
    let _publisher = filled(&at, 4).await;
    let mut a = Peer::connect(&at, "a").await;
    a.qos(3, false).await;
    a.consume("q", "c").await;
    a.see(4).await;
    a.nack(2, false, true).await;
    a.see(1).await;
    a.basic(Basic::Reject(basic::Reject { delivery_tag: 1, requeue: true })).await;
    a.see(1).await;
    a.nack(3, false, false).await;
    a.see(1).await;
    a.nack(0, true, true).await;
    a.see(3).await;
    a.basic(Basic::Recover(basic::Recover { requeue: true })).await;
    a.see_in_any_order(4).await;
}

pub(super) async fn order_after_a_lost_connection(at: At) {
    let mut publisher = filled(&at, 4).await;
    let mut a = Peer::connect(&at, "a").await;
    a.qos(3, false).await;
    a.consume("q", "c").await;
    a.see(4).await;
    a.ack(2, false).await;
    a.see(1).await;
    a.vanish();
    publisher.consume("q", "d").await;
    publisher.see(4).await;
}

pub(super) async fn get(at: At) {
    let mut publisher = filled(&at, 2).await;
    let name = at.name("q");
    let get = |no_ack| Basic::Get(basic::Get { queue: name.as_str().into(), no_ack });
    publisher.basic(get(false)).await;
    publisher.see(1).await;
    publisher.basic(get(true)).await;
    publisher.see(1).await;
    publisher.basic(get(true)).await;
    publisher.see(1).await;
    publisher.nack(1, false, true).await;
    publisher.basic(get(false)).await;
    publisher.see(1).await;
}

pub(super) async fn cancelled_by_deletion(at: At) {
    let mut publisher = filled(&at, 1).await;
    let mut told = Peer::connect(&at, "told").await;
    let hello = Hello { cancel_notify: false, ..Hello::default() };
    let mut untold = Peer::connect_with(&at, "untold", hello).await;
    for peer in [&mut told, &mut untold] {
        peer.qos(1, false).await;
        peer.consume("q", "c").await;
    }
    told.see(2).await;
    untold.see(1).await;
    let delete =
        queues::Delete { queue: at.name("q").as_str().into(), if_unused: false, if_empty: false, nowait: false };
    publisher.queue_method(Queues::Delete(delete)).await;
    publisher.see(1).await;
    told.see(1).await;
    untold.see_silence().await;
    told.ack(1, false).await;
    told.see_silence().await;
    told.cancel("c").await;
    told.see(1).await;
}

pub(super) async fn exclusive_consumer(at: At) {
    let _publisher = filled(&at, 0).await;
    let (mut a, mut b) = (Peer::connect(&at, "a").await, Peer::connect(&at, "b").await);
    let name = at.name("q");
    let exclusive = |tag| basic::Consume { exclusive: true, ..consume(&name, tag) };
    a.basic(Basic::Consume(exclusive("c"))).await;
    a.see(1).await;
    b.consume("q", "d").await;
    b.see(1).await;
    b.reopen().await;
    a.cancel("c").await;
    a.see(1).await;
    b.consume("q", "d").await;
    b.see(1).await;
    a.basic(Basic::Consume(exclusive("c"))).await;
    a.see(1).await;
}

pub(super) async fn late_acknowledgement(at: At) {
    let _publisher = filled(&at, 3).await;
    let mut a = Peer::connect(&at, "a").await;
    a.qos(2, false).await;
    a.consume("q", "c").await;
    a.see(3).await;
    a.cancel("c").await;
    a.see(1).await;
    a.ack(1, false).await;
    a.nack(2, false, true).await;
    a.consume("q", "d").await;
    a.see(3).await;
    a.cancel("nobody").await;
    a.see(1).await;
    a.ack(2, false).await;
    a.see(1).await;
}
