//! The broker as real clients see it: lapin over loopback TCP.

use super::super::{Broker, Config};
use backbone::env::{Env, TaskGuard};
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    message::Delivery,
    options::*,
    types::{AMQPValue, FieldTable},
};
use std::time::Duration;

/// A broker on a free port, until it is dropped.
struct Served {
    broker: Broker,
    port: u16,
    _task: TaskGuard,
}

async fn serve(config: Config) -> Served {
    let listener = Env::tokio().listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let port = listener.addr().port();
    let broker = Broker::new(config);
    let serving = broker.clone();
    let task = Env::tokio().spawn("broker", async move { match serving.serve(Env::tokio(), listener).await {} });
    Served { broker, port, _task: task.into() }
}

impl Served {
    async fn connect(&self) -> Connection {
        let uri = format!("amqp://u:p@127.0.0.1:{}/%2f", self.port);
        let mut tries = 0;
        loop {
            let properties = ConnectionProperties::default();
            match backbone::amqp::connect(&Env::tokio(), uri.parse().unwrap(), None, properties).await {
                Ok(connection) => return connection,
                Err(error) if tries > 100 => panic!("{error}"),
                Err(_) => tries += 1,
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn declare(channel: &Channel, name: &str, arguments: &[(&str, AMQPValue)]) -> lapin::Queue {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert((*key).into(), value.clone());
    }
    channel
        .queue_declare(name.into(), QueueDeclareOptions { durable: true, ..Default::default() }, table)
        .await
        .unwrap()
}

async fn publish(channel: &Channel, queue: &str, body: &[u8], properties: BasicProperties) -> Confirmation {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    channel.basic_publish("".into(), queue.into(), options, body, properties).await.unwrap().await.unwrap()
}

async fn consume(channel: &Channel, queue: &str) -> lapin::Consumer {
    channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default()).await.unwrap()
}

async fn next(consumer: &mut lapin::Consumer) -> Delivery {
    let next = tokio::time::timeout(Duration::from_secs(5), consumer.next()).await;
    next.expect("a delivery within 5 s").expect("a live consumer").unwrap()
}

#[tokio::test]
async fn a_message_is_confirmed_delivered_and_acknowledged() {
    let served = serve(Config::default()).await;
    let connection = served.connect().await;
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    declare(&channel, "q", &[]).await;
    let properties = BasicProperties::default().with_correlation_id("c".into());
    let confirmation = publish(&channel, "q", &[7; 300_000], properties.clone()).await;
    assert_eq!(confirmation, Confirmation::Ack(None));
    let mut consumer = consume(&channel, "q").await;
    let delivery = next(&mut consumer).await;
    assert_eq!((delivery.data.as_slice(), &delivery.properties), (&[7; 300_000][..], &properties));
    assert_eq!((delivery.routing_key.as_str(), delivery.redelivered), ("q", false));
    assert_eq!(served.broker.queue_depth("q"), Some(1));
    delivery.ack(BasicAckOptions::default()).await.unwrap();
    channel.queue_delete("q".into(), QueueDeleteOptions::default()).await.unwrap();
    assert_eq!(served.broker.queue_depth("q"), None);
    connection.close(200, "bye".into()).await.unwrap();
}

#[tokio::test]
async fn an_unroutable_message_comes_back_with_its_confirm() {
    let served = serve(Config::default()).await;
    let connection = served.connect().await;
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let confirmation = publish(&channel, "nowhere", b"body", BasicProperties::default()).await;
    let Confirmation::Ack(Some(back)) = confirmation else { panic!("{confirmation:?}") };
    assert_eq!((back.reply_code, back.delivery.data.as_slice()), (312, &b"body"[..]));
}

#[tokio::test]
async fn an_expired_message_arrives_in_its_dead_letter_queue_unasked() {
    let served = serve(Config::default()).await;
    let connection = served.connect().await;
    let channel = connection.create_channel().await.unwrap();
    declare(&channel, "dead", &[]).await;
    let to_dead = ["x-dead-letter-exchange", "x-dead-letter-routing-key"].into_iter().zip(["", "dead"]);
    let to_dead: Vec<_> = to_dead.map(|(key, value)| (key, AMQPValue::LongString(value.into()))).collect();
    declare(&channel, "delay", &to_dead).await;
    let mut consumer = consume(&channel, "dead").await;
    publish(&channel, "delay", b"late", BasicProperties::default().with_expiration("1".into())).await;
    let delivery = next(&mut consumer).await;
    let headers = delivery.properties.headers().clone().unwrap();
    assert_eq!(headers.inner()["x-first-death-reason"], AMQPValue::LongString("expired".into()));
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_its_messages_to_the_others() {
    let served = serve(Config::default()).await;
    let (first, second) = (served.connect().await, served.connect().await);
    let (one, two) = (first.create_channel().await.unwrap(), second.create_channel().await.unwrap());
    declare(&one, "q", &[]).await;
    let mut consumer = consume(&one, "q").await;
    publish(&two, "q", b"task", BasicProperties::default()).await;
    assert!(!next(&mut consumer).await.redelivered);
    let mut other = consume(&two, "q").await;
    first.close(200, "gone".into()).await.unwrap();
    let delivery = next(&mut other).await;
    assert_eq!((delivery.data.as_slice(), delivery.redelivered), (&b"task"[..], true));
}

#[tokio::test]
async fn a_refused_declare_closes_the_channel_with_the_brokers_reason() {
    let served = serve(Config::default()).await;
    let connection = served.connect().await;
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let error = channel.queue_declare("none".into(), options, FieldTable::default()).await.unwrap_err();
    assert!(error.to_string().contains("no queue 'none' in vhost '/'"), "{error}");
    assert!(connection.create_channel().await.is_ok());
}
