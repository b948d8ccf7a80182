//! With the client library that the backbone has.

use crate::conformance::harness::At;
use backbone::env::Env;
use rumqttc::{
    AckMode, AsyncClient, Event, EventLoop, MqttOptions, PublishOptions,
    mqttbytes::{QoS, v5::Packet},
};

fn client(at: &At, id: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(at.name(id), ("127.0.0.1", at.port));
    let port = at.port;
    options.set_socket_connector(move |_, _| async move { Env::tokio().connect("127.0.0.1", port).await });
    options.set_keep_alive(30).set_receive_maximum(Some(20)).set_clean_start(true).set_ack_mode(AckMode::Manual);
    AsyncClient::builder(options).capacity(100).build()
}

pub(crate) async fn rumqttc(at: At) {
    let (subscriber, mut events) = client(&at, "s");
    let (publisher, mut publisher_events) = client(&at, "p");
    Env::tokio().spawn("publisher", async move { while publisher_events.poll().await.is_ok() {} });
    subscriber.subscribe(at.name("t/+"), QoS::AtLeastOnce).await.unwrap();
    let mut left = 30;
    while left > 0 {
        match events.poll().await.unwrap() {
            Event::Incoming(Packet::ConnAck(ack)) => {
                at.note(format_args!("{:?}, session present: {}", ack.code, ack.session_present));
            }
            Event::Incoming(Packet::SubAck(ack)) => {
                at.note(format_args!("{:?}", ack.return_codes));
                for n in 0..left {
                    publisher.publish(at.name("t/1"), n.to_string(), PublishOptions::at_least_once()).await.unwrap();
                }
            }
            Event::Incoming(Packet::Publish(publish)) => {
                at.note(format_args!("{:?} DUP: {}", publish.payload, publish.dup));
                subscriber.try_ack(&publish).unwrap();
                left -= 1;
            }
            _ => {}
        }
    }
}
