//! AMQP 0-9-1, with lapin.

use crate::harness::{At, Protocol, scenario};
use lapin::{Connection, ConnectionProperties, options::QueueDeclareOptions, types::FieldTable};

pub(crate) const PROTOCOL: Protocol =
    Protocol { real: "RabbitMQ 3.10", scenarios: &[scenario!(passive_declare, "passive declare of a missing queue")] };

async fn connect(at: &At) -> Connection {
    let uri = format!("amqp://guest:guest@127.0.0.1:{}/%2f", at.port);
    Connection::connect(&uri, ConnectionProperties::default()).await.unwrap()
}

async fn passive_declare(at: At) {
    let connection = connect(&at).await;
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(at.name("missing").into(), options, FieldTable::default()).await;
    at.note(declared.unwrap_err());
    at.note(format_args!("channel open: {}", channel.status().connected()));
    at.note(format_args!("connection open: {}", connection.status().connected()));
}
