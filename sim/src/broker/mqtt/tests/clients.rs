//! The client library that the services use, against the broker.

use super::*;
use rumqttc::{AckMode, AsyncClient, Event, EventLoop, MqttOptions, PublishOptions};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

fn client(broker: &Broker, id: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(id, ("broker", 1883));
    let broker = broker.clone();
    options.set_socket_connector(move |_, _| {
        let stream = open(&broker, 1 << 16);
        async move { Ok(stream) }
    });
    options.set_keep_alive(30).set_outgoing_inflight_upper_limit(64).set_receive_maximum(Some(20));
    options.set_clean_start(false).set_session_expiry_interval(Some(60)).set_ack_mode(AckMode::Manual);
    AsyncClient::builder(options).capacity(1000).build()
}

/// Subscribes as soon as connected, and hands every message to `take`, over all connections.
async fn consume(client: AsyncClient, mut events: EventLoop, filter: &str, mut take: impl FnMut(&Publish) -> bool) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(ack))) if !ack.session_present => {
                client.try_subscribe(filter, QoS::AtLeastOnce).unwrap();
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                if !take(&publish) {
                    return;
                }
                client.try_ack(&publish).unwrap();
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn publish_numbers(client: AsyncClient, mut events: EventLoop, count: u64) {
    Env::tokio().spawn("publisher events", async move {
        loop {
            if events.poll().await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    for n in 0..count {
        client.publish("n", n.to_string(), PublishOptions::at_least_once()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn rumqttc_gets_every_message_once_and_in_order() {
    const COUNT: u64 = 5000;
    // Publishing is faster than acknowledging: with Mosquitto's limit of 1,000 the queue would overflow.
    let broker = broker(|config| config.queued_messages_max = 5000);
    let (subscriber, subscriber_events) = client(&broker, "s");
    let (publisher, publisher_events) = client(&broker, "p");
    let publishing = broker.clone();
    Env::tokio().spawn("publisher", async move {
        while publishing.sessions().iter().all(|session| session.subscriptions == 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        publish_numbers(publisher, publisher_events, COUNT).await;
    });
    let mut next = 0;
    consume(subscriber, subscriber_events, "n", |publish| {
        assert_eq!(text(publish), next.to_string());
        next += 1;
        next < COUNT
    })
    .await;
    assert_eq!(broker.stats().messages_dropped, 0);
}

#[tokio::test(start_paused = true)]
async fn rumqttc_loses_nothing_over_restarts_of_a_broker_that_keeps_its_sessions() {
    const COUNT: u64 = 2000;
    let broker = broker(|config| {
        config.persistent_sessions = true;
        config.queued_messages_max = 5000;
    });
    let (subscriber, subscriber_events) = client(&broker, "s");
    let (publisher, publisher_events) = client(&broker, "p");
    let publishing = broker.clone();
    Env::tokio().spawn("publisher", async move {
        while publishing.sessions().iter().all(|session| session.subscriptions == 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        publish_numbers(publisher, publisher_events, COUNT).await;
    });
    let received = AtomicU64::new(0);
    let mut missing: BTreeSet<u64> = (0..COUNT).collect();
    consume(subscriber, subscriber_events, "n", |publish| {
        missing.remove(&text(publish).parse().unwrap());
        if received.fetch_add(1, Ordering::Relaxed) % 400 == 399 {
            broker.restart();
        }
        !missing.is_empty()
    })
    .await;
    assert!(received.into_inner() >= COUNT);
}
