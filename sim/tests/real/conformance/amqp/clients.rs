//! What lapin makes of it: the client that the backbone has.

use crate::conformance::harness::At;
use backbone::env::Env;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, options::*, types::FieldTable,
};

async fn connect(at: &At) -> (Connection, Channel) {
    let uri = format!("amqp://guest:guest@127.0.0.1:{}/%2f", at.port);
    let (uri, properties) = (uri.parse().unwrap(), ConnectionProperties::default());
    let connection = backbone::amqp::connect(&Env::tokio(), uri, None, properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn queue(channel: &Channel, name: &str) {
    channel.queue_declare(name.into(), QueueDeclareOptions::default(), FieldTable::default()).await.unwrap();
}

async fn consume(channel: &Channel, name: &str) -> Consumer {
    channel.basic_consume(name.into(), "c".into(), BasicConsumeOptions::default(), FieldTable::default()).await.unwrap()
}

async fn publish(channel: &Channel, key: &str, body: &str) -> Confirmation {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let properties = BasicProperties::default();
    channel.basic_publish("".into(), key.into(), options, body.as_bytes(), properties).await.unwrap().await.unwrap()
}

pub(super) async fn confirmed_return(at: At) {
    let (_connection, channel) = connect(&at).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    queue(&channel, &at.name("q")).await;
    for key in ["q", "missing"] {
        match publish(&channel, &at.name(key), key).await {
            Confirmation::Ack(Some(back)) => {
                at.note(format_args!("{key}: returned {} {}", back.reply_code, back.reply_text))
            }
            other => at.note(format_args!("{key}: {other:?}")),
        }
    }
}

pub(super) async fn refused_declare(at: At) {
    let (connection, channel) = connect(&at).await;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(at.name("missing").into(), options, FieldTable::default()).await;
    at.note(declared.unwrap_err());
    at.note(format_args!("channel open: {}", channel.status().connected()));
    at.note(format_args!("connection open: {}", connection.status().connected()));
}

pub(super) async fn ended_consumer(at: At) {
    let (connection, channel) = connect(&at).await;
    let name = at.name("q");
    queue(&channel, &name).await;
    let mut consumer = consume(&channel, &name).await;
    let other = connection.create_channel().await.unwrap();
    other.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let next = consumer.next().await;
    at.note(format_args!("consumer has ended: {}", next.is_none()));
    at.note(format_args!("channel open: {}", channel.status().connected()));
}

pub(super) async fn work(at: At) {
    let (connection, channel) = connect(&at).await;
    let name = at.name("q");
    queue(&channel, &name).await;
    channel.basic_qos(2, BasicQosOptions::default()).await.unwrap();
    let mut consumer = consume(&channel, &name).await;
    let publisher = connection.create_channel().await.unwrap();
    publisher.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    for n in 0..5 {
        at.note(format_args!("{:?}", publish(&publisher, &name, &n.to_string()).await));
    }
    for n in 0..5 {
        let delivery = consumer.next().await.unwrap().unwrap();
        let body = String::from_utf8(delivery.data.clone()).unwrap();
        at.note(format_args!("{n}: {} {body} redelivered={}", delivery.delivery_tag, delivery.redelivered));
        delivery.ack(BasicAckOptions::default()).await.unwrap();
    }
    at.note(format_args!("closed: {:?}", connection.close(200, "bye".into()).await.is_ok()));
}
