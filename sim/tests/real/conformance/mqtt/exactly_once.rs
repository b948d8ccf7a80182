//! QoS 2, in version 5.

use super::client::{Client, expiring, message, of_qos_0, resuming, shown, with};
use crate::conformance::harness::At;
use rumqttc::mqttbytes::{
    QoS,
    v5::{Connect, LastWill, Packet, PubComp, PubRec, PubRecReason, PubRel, Publish, SubscribeFilter},
};
use std::{ops::Range, time::Duration};
use tokio::time::sleep;

fn exactly_once(at: &At, payload: &str, pkid: u16) -> Publish {
    Publish { qos: QoS::ExactlyOnce, pkid, ..message(&at.name("t"), payload) }
}

async fn subscriber(at: &At, name: &'static str, change: impl FnOnce(&mut Connect)) -> Client {
    let mut client = Client::silently(at, name, change).await;
    client.send_subscribe(SubscribeFilter::new(at.name("t"), QoS::ExactlyOnce)).await;
    client.skip().await;
    client
}

async fn release(client: &mut Client, id: u16) {
    client.send(Packet::PubRel(PubRel::new(id, None))).await;
}

async fn received(client: &mut Client, id: u16) {
    client.send(Packet::PubRec(PubRec::new(id, None))).await;
}

async fn refused(client: &mut Client, id: u16) {
    let refusal = PubRec { reason: PubRecReason::UnspecifiedError, ..PubRec::new(id, None) };
    client.send(Packet::PubRec(refusal)).await;
}

async fn completed(client: &mut Client, id: u16) {
    client.send(Packet::PubComp(PubComp::new(id, None))).await;
}

/// Publishes and releases without a note.
async fn publish(client: &mut Client, publish: Publish) {
    let id = publish.pkid;
    client.send(Packet::Publish(publish)).await;
    client.skip().await;
    release(client, id).await;
    client.skip().await;
}

pub(crate) async fn publishing(at: At) {
    let mut subscriber = subscriber(&at, "s", |_| {}).await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    for dup in [false, true] {
        publisher.publish_packet(Publish { dup, ..exactly_once(&at, "x", 5) }).await;
        subscriber.sync().await;
    }
    for _ in 0..2 {
        release(&mut publisher, 5).await;
        publisher.sync().await;
        subscriber.sync().await;
    }
    at.note("to nobody, and to where it may not");
    publisher.publish_packet(Publish { topic: at.name("nobody").into(), ..exactly_once(&at, "x", 5) }).await;
    publisher.publish_packet(Publish { topic: "$SYS/x".into(), ..exactly_once(&at, "x", 6) }).await;
    let mut client = Client::silently(&at, "c", |_| {}).await;
    client.send_raw(&[0x34, 6, 0, 1, b't', 0, 0, 0]).await;
    client.note_answers("packet id 0").await;
}

pub(crate) async fn id_used_again(at: At) {
    let mut subscriber = subscriber(&at, "s", |_| {}).await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    for text in ["old", "new"] {
        publisher.publish_packet(exactly_once(&at, text, 1)).await;
    }
    release(&mut publisher, 1).await;
    publisher.sync().await;
    subscriber.sync().await;
    at.note("for a message of QoS 1");
    publisher.publish_packet(exactly_once(&at, "QoS 2", 1)).await;
    publisher.publish("t", "QoS 1").await;
    release(&mut publisher, 1).await;
    publisher.sync().await;
    subscriber.sync().await;
}

pub(crate) async fn publisher_comes_back(at: At) {
    let mut subscriber = subscriber(&at, "s", |_| {}).await;
    let mut publisher = Client::connect(&at, "p", resuming(60)).await;
    publisher.publish_packet(exactly_once(&at, "first", 1)).await;
    publisher.publish_packet(exactly_once(&at, "second", 2)).await;
    publisher.vanish().await;
    let mut publisher = Client::connect(&at, "p", resuming(60)).await;
    publisher.publish_packet(Publish { dup: true, ..exactly_once(&at, "first", 1) }).await;
    for id in [2, 1] {
        release(&mut publisher, id).await;
    }
    publisher.sync().await;
    subscriber.sync().await;
    at.note("with a clean start");
    publisher.publish_packet(exactly_once(&at, "third", 3)).await;
    publisher.vanish().await;
    let mut publisher = Client::connect(&at, "p", with(|p| p.session_expiry_interval = Some(60))).await;
    release(&mut publisher, 3).await;
    publisher.sync().await;
    subscriber.sync().await;
}

/// Notes which of the messages with these packet ids are received, which are refused, and what is not answered.
async fn hold(at: &At, publisher: &mut Client, ids: Range<u16>) {
    let (mut received, mut refused) = (vec![], vec![]);
    for id in ids {
        publisher.send(Packet::Publish(exactly_once(at, &id.to_string(), id))).await;
        for answer in publisher.all().await {
            match answer {
                Some(Packet::PubRec(ack)) if ack.reason == PubRecReason::Success => received.push(ack.pkid),
                Some(Packet::PubRec(ack)) => refused.push((ack.pkid, ack.reason)),
                other => publisher.note(&shown(other)),
            }
        }
    }
    at.note(format_args!("received {received:?}, refused {refused:?}"));
}

pub(crate) async fn many_unreleased(at: At) {
    let mut watcher = Client::silently(&at, "w", |_| {}).await;
    watcher.send_subscribe(SubscribeFilter::new(at.name("t"), QoS::AtMostOnce)).await;
    watcher.skip().await;
    let mut publisher = Client::connect(&at, "p", resuming(60)).await;
    hold(&at, &mut publisher, 1..25).await;
    for id in 1..25 {
        release(&mut publisher, id).await;
        publisher.skip().await;
    }
    watcher.sum_up("of those").await;
    hold(&at, &mut publisher, 1..25).await;
    publisher.vanish().await;
    let mut publisher = Client::connect(&at, "p", resuming(60)).await;
    hold(&at, &mut publisher, 24..28).await;
    for id in 1..10 {
        release(&mut publisher, id).await;
        publisher.skip().await;
    }
    hold(&at, &mut publisher, 30..40).await;
    publisher.publish("t", "of QoS 1").await;
    watcher.sum_up("in the end").await;
}

pub(crate) async fn receiving(at: At) {
    let mut subscriber = subscriber(&at, "s", resuming(60)).await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    for (id, text) in [(1, "one"), (2, "two"), (3, "three")] {
        publish(&mut publisher, exactly_once(&at, text, id)).await;
    }
    let got = subscriber.sum_up("at first").await;
    for _ in 0..2 {
        received(&mut subscriber, got[0].pkid).await;
        subscriber.sync().await;
    }
    received(&mut subscriber, got[2].pkid).await;
    subscriber.sync().await;
    subscriber.vanish().await;
    let mut subscriber = Client::connect(&at, "s", resuming(60)).await;
    subscriber.sync().await;
    for publish in &got {
        received(&mut subscriber, publish.pkid).await;
    }
    subscriber.sync().await;
    for publish in &got {
        completed(&mut subscriber, publish.pkid).await;
    }
    subscriber.vanish().await;
    Client::connect(&at, "s", resuming(60)).await.sync().await;
}

pub(crate) async fn answers_that_do_not_fit(at: At) {
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    for (what, answers) in [
        ("PUBACK for QoS 2", &b"\x40\x02\0\x02"[..]),
        ("PUBREC for QoS 1", b"\x50\x02\0\x01"),
        ("PUBREC with an error for QoS 1", b"\x50\x03\0\x01\x80"),
        ("PUBCOMP for QoS 1", b"\x70\x02\0\x01"),
        ("PUBCOMP before PUBREC", b"\x70\x02\0\x02"),
        ("PUBACK after PUBREC", b"\x50\x02\0\x02\x40\x02\0\x02"),
        ("PUBREC with an error after PUBREC", b"\x50\x02\0\x02\x50\x03\0\x02\x80"),
        ("PUBREC of nothing", b"\x50\x02\0\x09"),
        ("PUBREC of nothing with an error", b"\x50\x03\0\x09\x80"),
        ("PUBCOMP of nothing", b"\x70\x02\0\x09"),
        ("PUBREL of nothing with a reason", b"\x62\x03\0\x09\x92"),
        ("PUBREL with wrong flags", b"\x60\x02\0\x09"),
        ("PUBREC with packet id 0", b"\x50\x02\0\0"),
    ] {
        let mut subscriber = subscriber(&at, "s", |_| {}).await;
        publisher.publish("t", "QoS 1").await;
        publish(&mut publisher, exactly_once(&at, "QoS 2", 2)).await;
        subscriber.messages().await;
        subscriber.send_raw(answers).await;
        subscriber.note_answers(what).await;
    }
}

pub(crate) async fn shared_window(at: At) {
    let mut subscriber = subscriber(&at, "s", with(|p| p.receive_maximum = Some(3))).await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    for n in 0..12_u16 {
        let text = n.to_string();
        if n % 2 == 0 {
            publish(&mut publisher, exactly_once(&at, &text, n + 1)).await;
        } else {
            publisher.publish("t", &text).await;
        }
    }
    let mut got = vec![];
    subscriber.note_more("without an answer", &mut got).await;
    received(&mut subscriber, got[0].pkid).await;
    subscriber.skip().await;
    subscriber.note_more("after PUBREC for 0", &mut got).await;
    subscriber.acknowledge(got[1].pkid).await;
    subscriber.note_more("after PUBACK for 1", &mut got).await;
    completed(&mut subscriber, got[0].pkid).await;
    subscriber.note_more("after PUBCOMP for 0", &mut got).await;
    refused(&mut subscriber, got[2].pkid).await;
    subscriber.note_more("after PUBREC with an error for 2", &mut got).await;
}

pub(crate) async fn lower_of_both(at: At) {
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    for granted in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        at.note(format_args!("{granted:?}"));
        let mut subscriber = Client::silently(&at, "s", |_| {}).await;
        subscriber.send_subscribe(SubscribeFilter::new(at.name("t"), granted)).await;
        subscriber.skip().await;
        publisher.publish_packet(of_qos_0(message(&at.name("t"), "zero"))).await;
        publisher.publish("t", "one").await;
        publish(&mut publisher, exactly_once(&at, "two", 2)).await;
        let will = LastWill::new(at.name("t"), "a will", QoS::ExactlyOnce, false, None);
        Client::connect_with_will(&at, "w", Some(will), |_| {}).await.vanish().await;
        subscriber.sync().await;
    }
}

pub(crate) async fn retained(at: At) {
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish_packet(Publish { retain: true, ..exactly_once(&at, "kept", 1) }).await;
    let mut early = Client::connect(&at, "e", |_| {}).await;
    early.subscribe("t").await;
    release(&mut publisher, 1).await;
    publisher.sync().await;
    early.sync().await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut late = Client::connect(&at, "l", |_| {}).await;
        late.send_subscribe(SubscribeFilter::new(at.name("t"), qos)).await;
        late.sync().await;
    }
    publish(&mut publisher, Publish { retain: true, ..exactly_once(&at, "", 1) }).await;
}

pub(crate) async fn expiry(at: At) {
    let mut subscriber = subscriber(&at, "s", resuming(60)).await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish_packet(expiring(exactly_once(&at, "not released in time", 1), 1)).await;
    publish(&mut publisher, expiring(exactly_once(&at, "received in time", 2), 1)).await;
    publish(&mut publisher, expiring(exactly_once(&at, "not received in time", 3), 1)).await;
    let got = subscriber.sum_up("at first").await;
    received(&mut subscriber, got[0].pkid).await;
    subscriber.sync().await;
    subscriber.vanish().await;
    sleep(Duration::from_secs(3)).await;
    release(&mut publisher, 1).await;
    publisher.sync().await;
    Client::connect(&at, "s", resuming(60)).await.sync().await;
}

pub(crate) async fn shares(at: At) {
    let mut members = vec![];
    for name in ["a", "b"] {
        let mut member = Client::connect(&at, name, |_| {}).await;
        member.send_subscribe(SubscribeFilter::new(format!("$share/g/{}", at.name("t")), QoS::ExactlyOnce)).await;
        member.sync().await;
        members.push(member);
    }
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    for n in 0..4 {
        publish(&mut publisher, exactly_once(&at, &n.to_string(), n + 1)).await;
    }
    for member in &mut members {
        member.sync().await;
    }
    at.note("a member dies with what it had in flight");
    members.remove(0).vanish().await;
    members[0].sync().await;
}
