//! Queues whose begin and end cost something, on an in-memory socket and a paused clock.

use super::{sockets::connect, *};
use crate::broker::amqp::{Broker, MetadataCost};
use futures_util::future::BoxFuture;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::{Instant, sleep, timeout},
};

/// Each change takes a second.
#[derive(Debug)]
struct Second;

impl MetadataCost for Second {
    fn change(&self) -> BoxFuture<'_, ()> {
        Box::pin(sleep(Duration::from_secs(1)))
    }
}

fn slow_broker() -> Broker {
    Broker::new(Config::default()).with_metadata_cost(Some(Arc::new(Second)))
}

/// A client with channel 1 open.
async fn client(broker: &Broker) -> DuplexStream {
    let mut client = connect(broker, 0).await;
    send(&mut client, [AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}))]).await;
    assert_eq!(answers(&mut client).await, [(0, 20, 11)]);
    client
}

/// Sends methods on channel 1, all in one write.
async fn send(client: &mut DuplexStream, methods: impl IntoIterator<Item = AMQPClass>) {
    let mut bytes = Vec::new();
    methods.into_iter().for_each(|method| put_method(&mut bytes, 1, method));
    client.write_all(&bytes).await.unwrap();
}

/// The methods that the broker answers until it falls silent: after how many seconds, their classes and their ids.
async fn answers(client: &mut DuplexStream) -> Vec<(u64, u16, u16)> {
    let start = Instant::now();
    let mut methods = Vec::new();
    let mut bytes = Vec::new();
    while let Ok(Ok(1..)) = timeout(Duration::from_secs(10), client.read_buf(&mut bytes)).await {
        while let Ok((rest, AMQPFrame::Method(_, method))) = parse_frame(&bytes[..]) {
            let at_s = start.elapsed().as_secs();
            methods.push((at_s, method.get_amqp_class_id(), method.get_amqp_method_id()));
            bytes = rest.to_vec();
        }
    }
    methods
}

fn declare(passive: bool) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare { queue: "q".into(), passive, ..empty() }))
}

fn qos() -> AMQPClass {
    AMQPClass::Basic(Basic::Qos(basic::Qos { prefetch_count: 1, global: false }))
}

fn delete() -> AMQPClass {
    let delete = queue::Delete { queue: "q".into(), if_unused: false, if_empty: false, nowait: false };
    AMQPClass::Queue(queue::AMQPMethod::Delete(delete))
}

const DECLARE_OK: (u16, u16) = (50, 11);
const DELETE_OK: (u16, u16) = (50, 41);
const QOS_OK: (u16, u16) = (60, 11);

#[tokio::test(start_paused = true)]
async fn each_declare_and_each_delete_waits_and_so_does_what_comes_behind_it() {
    let mut client = client(&slow_broker()).await;
    send(&mut client, [qos(), declare(false), qos(), declare(false), declare(true), delete(), delete(), qos()]).await;
    let expected = [
        (0, QOS_OK),
        (1, DECLARE_OK),
        (1, QOS_OK),
        (2, DECLARE_OK),
        (3, DECLARE_OK),
        (4, DELETE_OK),
        (5, DELETE_OK),
        (5, QOS_OK),
    ];
    assert_eq!(answers(&mut client).await, expected.map(|(at_s, (class, method))| (at_s, class, method)));
}

#[tokio::test(start_paused = true)]
async fn other_connections_go_on_meanwhile() {
    let broker = slow_broker();
    let (mut one, mut other) = (client(&broker).await, client(&broker).await);
    send(&mut one, [declare(false)]).await;
    send(&mut other, [qos()]).await;
    assert_eq!(answers(&mut other).await, [(0, 60, 11)]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_without_a_cost_makes_nobody_wait() {
    let mut client = client(&Broker::new(Config::default())).await;
    send(&mut client, [declare(false), delete()]).await;
    assert_eq!(answers(&mut client).await, [(0, 50, 11), (0, 50, 41)]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_has_not_begun_before_it_is_paid_for() {
    let broker = slow_broker();
    let mut client = client(&broker).await;
    send(&mut client, [declare(false)]).await;
    sleep(Duration::from_millis(999)).await;
    assert_eq!(broker.queue_names(), [""; 0]);
    sleep(Duration::from_millis(2)).await;
    assert_eq!(broker.queue_names(), ["q"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_dropped_while_it_waits_ends_at_once() {
    let broker = slow_broker();
    let mut client = client(&broker).await;
    send(&mut client, [declare(false)]).await;
    sleep(Duration::from_millis(1)).await;
    broker.restart();
    let start = Instant::now();
    assert_eq!(client.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    assert_eq!((start.elapsed().as_millis(), broker.queue_names().len()), (0, 0));
}
