//! How much goes out, what waits, what is dropped, what comes again.

use super::client::{Client, expiring, message, of_qos_0, resuming, with};
use crate::conformance::harness::At;
use rumqttc::mqttbytes::v5::{Connect, Packet, Publish};
use std::time::Duration;
use tokio::time::sleep;

pub(crate) async fn in_flight_window(at: At) {
    let mut subscriber = Client::subscriber(&at, "s", "t").await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish_numbers("t", 0..90).await;
    let got = subscriber.sum_up("without an acknowledgement").await;
    subscriber.acknowledge(got[0].pkid).await;
    subscriber.sum_up("after one for the first").await;
    subscriber.acknowledge(got[5].pkid).await;
    subscriber.sum_up("after one for the fifth of what is in flight").await;
    subscriber.acknowledge(got[19].pkid).await;
    subscriber.sum_up("after one for the eighteenth").await;
}

pub(crate) async fn receive_maximum(at: At) {
    let mut subscriber = Client::subscriber_with(&at, "s", "t", with(|p| p.receive_maximum = Some(3))).await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish_numbers("t", 0..10).await;
    let got = subscriber.sum_up("without an acknowledgement").await;
    subscriber.acknowledge(got[0].pkid).await;
    let more = subscriber.sum_up("after one").await;
    for publish in got[1..].iter().chain(&more) {
        subscriber.acknowledge(publish.pkid).await;
    }
    subscriber.sum_up("after all").await;
    publisher.publish_numbers("t", 10..20).await;
    subscriber.sum_up("again without an acknowledgement").await;
}

pub(crate) async fn large_receive_maximum(at: At) {
    let mut subscriber = Client::subscriber_with(&at, "s", "t", with(|p| p.receive_maximum = Some(40))).await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish_numbers("t", 0..90).await;
    subscriber.sum_up("without an acknowledgement").await;
}

/// Mosquitto 2.0.11's issue 2301, as far as it can be seen.
pub(crate) async fn leak(at: At) {
    let lasting = |connect: &mut Connect| {
        resuming(60)(connect);
        connect.properties.get_or_insert_default().receive_maximum = Some(3);
    };
    let mut subscriber = Client::subscriber_with(&at, "s", "t", lasting).await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish_numbers("t", 0..20).await;
    let mut got = subscriber.messages().await;
    for n in [0, 2, 5, 1, 7] {
        subscriber.acknowledge(got[n].pkid).await;
        subscriber.note_more(&format!("after an acknowledgement for {n}"), &mut got).await;
        publisher
            .publish_numbers("t", 100 + 10 * u32::try_from(n).unwrap()..102 + 10 * u32::try_from(n).unwrap())
            .await;
        subscriber.note_more("after two more messages", &mut got).await;
    }
    subscriber.vanish().await;
    let mut subscriber = Client::connect(&at, "s", lasting).await;
    let mut again = vec![];
    subscriber.note_more("after a lost connection", &mut again).await;
    subscriber.acknowledge(again[0].pkid).await;
    subscriber.note_more("after an acknowledgement for the first", &mut again).await;
    for publish in again {
        subscriber.acknowledge(publish.pkid).await;
    }
    subscriber.note_payloads().await;
}

pub(crate) async fn acknowledged_in_any_order(at: At) {
    let mut subscriber = Client::subscriber_with(&at, "s", "t", with(|p| p.receive_maximum = Some(3))).await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish_numbers("t", 0..3).await;
    let got = subscriber.sum_up("three").await;
    for at in [2, 0, 1] {
        subscriber.acknowledge(got[at].pkid).await;
    }
    publisher.publish_numbers("t", 3..6).await;
    subscriber.sum_up("three more").await;
    at.note("an acknowledgement of nothing");
    subscriber.acknowledge(4711).await;
    subscriber.sync().await;
}

pub(crate) async fn queued_limit(at: At) {
    Client::subscriber_with(&at, "away", "t", resuming(60)).await.disconnect().await;
    let mut here = Client::subscriber(&at, "here", "t").await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish_numbers("t", 0..1100).await;
    here.sum_up("the window of one who is here").await;
    let mut away = Client::connect(&at, "away", resuming(60)).await;
    let mut total = 0;
    loop {
        let got = away.messages().await;
        if got.is_empty() {
            break;
        }
        total += got.len();
        for publish in got {
            away.acknowledge(publish.pkid).await;
        }
    }
    at.note(format_args!("one who was away gets {total} of 1100"));
}

pub(crate) async fn message_expiry(at: At) {
    Client::subscriber_with(&at, "s", "t", resuming(60)).await.disconnect().await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    for (text, expiry_s) in [("brief", 1), ("long", 60)] {
        publisher.publish_packet(expiring(message(&at.name("t"), text), expiry_s)).await;
    }
    sleep(Duration::from_secs(3)).await;
    let mut subscriber = Client::connect(&at, "s", resuming(60)).await;
    for publish in subscriber.sum_up("after 3 s").await {
        let left_s = publish.properties.and_then(|p| p.message_expiry_interval).unwrap_or(0);
        at.note(format_args!("of 60 s about 57 are left: {}", (56..=58).contains(&left_s)));
    }
    publisher.publish_packet(expiring(message(&at.name("t"), "at once"), 60)).await;
    for publish in subscriber.sum_up("at once").await {
        let left_s = publish.properties.and_then(|p| p.message_expiry_interval).unwrap_or(0);
        at.note(format_args!("of 60 s about 60 are left: {}", (59..=60).contains(&left_s)));
    }
}

pub(crate) async fn redelivery(at: At) {
    let mut subscriber = Client::subscriber_with(&at, "s", "t", resuming(60)).await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish_numbers("t", 0..3).await;
    let first = subscriber.sum_up("first").await;
    subscriber.acknowledge(first[1].pkid).await;
    subscriber.sync().await;
    subscriber.vanish().await;
    publisher.publish_numbers("t", 3..4).await;
    let mut subscriber = Client::connect(&at, "s", resuming(60)).await;
    for publish in subscriber.sum_up("second").await {
        let same_id = first.iter().any(|old| old.pkid == publish.pkid && old.payload == publish.payload);
        at.note(format_args!("{:?} DUP: {}, same packet id: {same_id}", publish.payload, publish.dup));
    }
}

pub(crate) async fn not_while_connected(at: At) {
    let mut subscriber = Client::subscriber(&at, "s", "t").await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish("t", "once").await;
    subscriber.sum_up("at first").await;
    sleep(Duration::from_secs(5)).await;
    subscriber.sum_up("after 5 s").await;
}

pub(crate) async fn maximum_packet_size(at: At) {
    let mut subscriber = Client::subscriber_with(&at, "s", "t", with(|p| p.max_packet_size = Some(200))).await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish("t", &"x".repeat(200)).await;
    publisher.publish("t", "fits").await;
    subscriber.sync().await;
    publisher.publish_packet(of_qos_0(message(&at.name("t"), &"x".repeat(200)))).await;
    publisher.publish("t", "fits, too").await;
    subscriber.sync().await;
}

pub(crate) async fn large_payload(at: At) {
    let mut subscriber = Client::subscriber(&at, "s", "t").await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.send(Packet::Publish(message(&at.name("t"), &"x".repeat(500_000)))).await;
    publisher.skip().await;
    let got = subscriber.messages().await;
    at.note(format_args!("{} bytes", got[0].payload.len()));
}

pub(crate) async fn brokers_maximum_packet_size(at: At) {
    const LIMIT: usize = 2_000;
    let mut other = Client::subscriber(&at, "s", "t").await;
    let of_size = |bytes: usize| {
        let empty = message(&at.name("t"), "");
        // The length of so long a packet has two bytes, that of an empty one has one.
        let payload = "x".repeat(bytes - Publish { pkid: 1, ..empty.clone() }.size() - 1);
        Publish { payload: payload.into(), ..empty }
    };
    let mut publisher = Client::silently(&at, "p", |_| {}).await;
    publisher.publish_packet(of_size(LIMIT)).await;
    at.note(format_args!("{} message", other.messages().await.len()));
    publisher.send(Packet::Publish(Publish { pkid: 2, ..of_size(LIMIT + 100) })).await;
    publisher.note_answers("a packet of 100 bytes more").await;
    let mut publisher = Client::silently(&at, "p", |_| {}).await;
    publisher.publish_packet(message(&at.name("t"), "fits")).await;
    other.sync().await;
}
