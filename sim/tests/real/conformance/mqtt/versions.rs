//! MQTT 3.1.1 and 3.1, and clients of different versions at one broker.

use super::{
    client::{Client, expiring, message, resuming},
    older::{Older, lasting, payload, with_will},
};
use crate::conformance::harness::At;
use rumqttc::mqttbytes::v5::{Publish as NewerPublish, PublishProperties, SubscribeFilter};
use rumqttc_v4::mqttbytes::{
    QoS,
    v4::{LastWill, Packet, Publish, Subscribe, SubscribeFilter as OlderFilter},
};
use std::time::Duration;
use tokio::time::sleep;

fn will(at: &At, topic: &str) -> impl FnOnce(&mut rumqttc_v4::mqttbytes::v4::Connect) {
    with_will(LastWill::new(at.name(topic), "gone", QoS::ExactlyOnce, false))
}

pub(crate) async fn connects(at: At) {
    let connects: &[(&str, &[u8])] = &[
        ("3.1.1", b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c"),
        ("3.1", b"\x10\x0f\0\x06MQIsdp\x03\x02\0\0\0\x01c"),
        ("MQTT of level 3", b"\x10\x0d\0\x04MQTT\x03\x02\0\0\0\x01c"),
        ("MQIsdp of level 4", b"\x10\x0f\0\x06MQIsdp\x04\x02\0\0\0\x01c"),
        ("no id, clean session", b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0"),
        ("no id, lasting session", b"\x10\x0c\0\x04MQTT\x04\0\0\0\0\0"),
        ("3.1, no id, clean session", b"\x10\x0e\0\x06MQIsdp\x03\x02\0\0\0\0"),
        ("name and password", b"\x10\x15\0\x04MQTT\x04\xc2\0\0\0\x01c\0\x02me\0\x02pw"),
        ("a password without a name", b"\x10\x11\0\x04MQTT\x04\x42\0\0\0\x01c\0\x02pw"),
        ("a name that is missing", b"\x10\x0d\0\x04MQTT\x04\x82\0\0\0\x01c"),
        ("the reserved flag", b"\x10\x0d\0\x04MQTT\x04\x03\0\0\0\x01c"),
        ("3.1, the reserved flag", b"\x10\x0f\0\x06MQIsdp\x03\x03\0\0\0\x01c"),
        ("flags of the packet", b"\x11\x0d\0\x04MQTT\x04\x02\0\0\0\x01c"),
        ("a will of QoS 3", b"\x10\x12\0\x04MQTT\x04\x1e\0\0\0\x01c\0\x01t\0\0"),
        ("a will QoS without a will", b"\x10\x0d\0\x04MQTT\x04\x0a\0\0\0\x01c"),
        ("a will for a/#", b"\x10\x14\0\x04MQTT\x04\x06\0\0\0\x01c\0\x03a/#\0\0"),
        ("a will for nothing", b"\x10\x11\0\x04MQTT\x04\x06\0\0\0\x01c\0\0\0\0"),
        ("an id that is no UTF-8", b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01\xff"),
        ("a byte too many", b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x01c!"),
        ("a CONNECT that ends early", b"\x10\x08\0\x04MQTT\x04\x02"),
    ];
    for (what, bytes) in connects {
        let mut client = Client::open(&at, "c").await;
        client.send_raw(bytes).await;
        client.note_answer(what).await;
    }
}

pub(crate) async fn sessions(at: At) {
    let mut client = Older::connect(&at, "c", lasting).await;
    client.subscribe("t", QoS::AtLeastOnce).await;
    client.disconnect().await;
    let mut publisher = Older::connect(&at, "p", |_| {}).await;
    publisher.publish("t", QoS::AtLeastOnce, "while away").await;
    publisher.publish("t", QoS::AtMostOnce, "while away").await;
    sleep(Duration::from_secs(2)).await;
    let mut client = Older::connect(&at, "c", lasting).await;
    client.sync().await;
    client.vanish().await;
    let mut client = Older::connect(&at, "c", lasting).await;
    client.sync().await;
    client.disconnect().await;
    Older::connect(&at, "c", |_| {}).await.disconnect().await;
    Older::connect(&at, "c", lasting).await.disconnect().await;
    at.note("3.1 is not told of its session");
    let mut client = Client::open(&at, "c").await;
    let id = at.name("c");
    let length = [u8::try_from(14 + id.len()).unwrap(), u8::try_from(id.len()).unwrap()];
    client
        .send_raw(&[&[0x10, length[0]], &b"\0\x06MQIsdp\x03\0\0\0\0"[..], &[length[1]], id.as_bytes()].concat())
        .await;
    client.note_answer("a lasting session").await;
}

pub(crate) async fn takeover(at: At) {
    let mut first = Older::connect(&at, "c", lasting).await;
    first.subscribe("t", QoS::AtLeastOnce).await;
    let mut second = Older::connect(&at, "c", lasting).await;
    first.note_to_end().await;
    at.note("by one of version 5");
    let mut third = Client::connect(&at, "c", resuming(60)).await;
    second.note_to_end().await;
    third.publish("t", "to the third").await;
    third.disconnect().await;
    let mut fourth = Older::connect(&at, "c", lasting).await;
    fourth.sync().await;
}

pub(crate) async fn wills(at: At) {
    let mut watcher = Older::subscriber(&at, "w", "will/+", QoS::ExactlyOnce).await;
    Older::connect(&at, "c", will(&at, "will/lost")).await.vanish().await;
    watcher.sync().await;
    Older::connect(&at, "c", will(&at, "will/polite")).await.disconnect().await;
    watcher.sync().await;
    let mut broken = Older::connect(&at, "c", will(&at, "will/broken")).await;
    broken.send_raw(b"\x00\0").await;
    broken.note_to_end().await;
    watcher.sync().await;
    let silent = |connect: &mut _| {
        will(&at, "will/silent")(connect);
        connect.keep_alive = 1;
    };
    let mut silent = Older::connect(&at, "c", silent).await;
    silent.note_to_end().await;
    watcher.sync().await;
}

pub(crate) async fn subscribing(at: At) {
    let mut client = Older::connect(&at, "c", |_| {}).await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        client.subscribe("a", qos).await;
    }
    let filters = ["b", "c/#"].map(|filter| OlderFilter::new(at.name(filter), QoS::ExactlyOnce));
    client.send(Packet::Subscribe(Subscribe { pkid: 9, ..Subscribe::new_many(filters) })).await;
    client.sync().await;
    client.unsubscribe("a").await;
    client.unsubscribe("never").await;
    for filter in ["", "a+", "a/#/b"] {
        let mut client = Older::connect(&at, "d", |_| {}).await;
        let length = u8::try_from(filter.len()).unwrap();
        client.send_raw(&[&[0x82, length + 5, 0, 7, 0, length], filter.as_bytes(), &[1]].concat()).await;
        client.note_answers(&format!("SUBSCRIBE {filter:?}")).await;
    }
}

pub(crate) async fn overlapping(at: At) {
    for (what, filters) in [
        ("QoS 2 for #", [("t/#", QoS::ExactlyOnce), ("t/+", QoS::AtLeastOnce), ("t/1", QoS::AtMostOnce)]),
        ("QoS 2 for +", [("t/#", QoS::AtMostOnce), ("t/+", QoS::ExactlyOnce), ("t/1", QoS::AtLeastOnce)]),
        ("QoS 2 for the name", [("t/#", QoS::AtLeastOnce), ("t/+", QoS::AtMostOnce), ("t/1", QoS::ExactlyOnce)]),
    ] {
        at.note(what);
        let mut client = Older::connect(&at, "c", |_| {}).await;
        for (filter, qos) in filters {
            client.subscribe(filter, qos).await;
        }
        let mut publisher = Client::silently(&at, "p", |_| {}).await;
        publisher.publish("t/1", "one copy").await;
        client.sync().await;
        client.unsubscribe("t/1").await;
        publisher.publish("t/1", "one copy").await;
        client.sync().await;
    }
}

pub(crate) async fn shares(at: At) {
    let filter = format!("$share/g/{}", at.name("t"));
    let mut members = vec![];
    for name in ["a", "b"] {
        let mut member = Older::connect(&at, name, |_| {}).await;
        member.subscribe_raw(&filter, QoS::AtLeastOnce).await;
        members.push(member);
    }
    let mut newer = Client::connect(&at, "c", |_| {}).await;
    newer.send_subscribe(SubscribeFilter::new(filter, QoS::AtLeastOnce)).await;
    newer.sync().await;
    let mut publisher = Older::connect(&at, "p", |_| {}).await;
    publisher.publish_numbers("t", 0..6).await;
    for member in &mut members {
        let payloads: Vec<String> = member.messages().await.iter().map(payload).collect();
        at.note(format_args!("{payloads:?}"));
    }
    newer.note_payloads().await;
    at.note("a member with a subscription of its own");
    members[0].subscribe("t", QoS::AtLeastOnce).await;
    publisher.publish_numbers("t", 0..3).await;
    members[0].sum_up("gets").await;
}

pub(crate) async fn retained(at: At) {
    let mut publisher = Older::connect(&at, "p", |_| {}).await;
    let retain = Publish { retain: true, ..publisher.message("r", QoS::AtLeastOnce, "kept") };
    publisher.publish_packet(retain).await;
    let mut client = Older::connect(&at, "c", |_| {}).await;
    for _ in 0..2 {
        client.subscribe("r", QoS::ExactlyOnce).await;
    }
    at.note("live messages don't have the flag");
    let retain = Publish { retain: true, ..publisher.message("r", QoS::AtLeastOnce, "new") };
    publisher.publish_packet(retain).await;
    client.sync().await;
    let clear = Publish { retain: true, ..publisher.message("r", QoS::AtMostOnce, "") };
    publisher.publish_packet(clear).await;
    client.subscribe("r", QoS::AtMostOnce).await;
}

pub(crate) async fn publishing(at: At) {
    let mut client = Older::connect(&at, "c", |_| {}).await;
    client.publish("nobody", QoS::AtLeastOnce, "").await;
    client.publish("nobody", QoS::ExactlyOnce, "").await;
    for (pkid, qos) in [(2, QoS::AtLeastOnce), (3, QoS::ExactlyOnce)] {
        let topic = format!("$SYS/{}", at.name("t"));
        client.publish_packet(Publish { pkid, ..Publish::new(topic, qos, "x") }).await;
    }
    let packets: &[(&str, &[u8])] = &[
        ("an empty topic", b"\x30\x02\0\0"),
        ("a topic with +", b"\x30\x03\0\x01+"),
        ("a topic that is no UTF-8", b"\x30\x03\0\x01\xff"),
        ("a topic that is longer than the packet", b"\x30\x04\0\x09ab"),
        ("QoS 3", b"\x36\x05\0\x01t\0\x01"),
        ("packet id 0", b"\x32\x05\0\x01t\0\0"),
        ("QoS 0 with DUP", b"\x38\x03\0\x01t"),
        ("no payload", b"\x30\x03\0\x01t"),
    ];
    after_connect(&at, packets).await;
}

async fn after_connect(at: &At, packets: &[(&str, &[u8])]) {
    for (what, bytes) in packets {
        let mut client = Older::subscriber(at, "c", "x", QoS::AtMostOnce).await;
        client.send_raw(bytes).await;
        client.note_answers(what).await;
    }
}

pub(crate) async fn malformed_packets(at: At) {
    let packets: &[(&str, &[u8])] = &[
        ("packet type 0", b"\x00\0"),
        ("AUTH", b"\xf0\x02\x18\0"),
        ("a second CONNECT", b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c"),
        ("SUBSCRIBE without filters", b"\x82\x02\0\x01"),
        ("SUBSCRIBE with packet id 0", b"\x82\x06\0\0\0\x01t\x01"),
        ("SUBSCRIBE with wrong flags", b"\x80\x06\0\x01\0\x01t\x01"),
        ("SUBSCRIBE with QoS 3", b"\x82\x06\0\x01\0\x01t\x03"),
        ("SUBSCRIBE with an option of version 5", b"\x82\x06\0\x01\0\x01t\x05"),
        ("UNSUBSCRIBE without filters", b"\xa2\x02\0\x01"),
        ("PUBREL with wrong flags", b"\x60\x02\0\x01"),
        ("PUBREL of nothing", b"\x62\x02\0\x09"),
        ("PUBREC of nothing", b"\x50\x02\0\x09"),
        ("PUBACK of nothing", b"\x40\x02\0\x09"),
        ("PUBCOMP of nothing", b"\x70\x02\0\x09"),
        ("PUBACK with packet id 0", b"\x40\x02\0\0"),
        ("PUBACK that ends early", b"\x40\x01\0"),
        ("PUBACK that is too long", b"\x40\x03\0\x09\0"),
        ("PINGRESP", b"\xd0\0"),
        ("a length of five bytes", b"\x30\xff\xff\xff\xff\x01"),
    ];
    after_connect(&at, packets).await;
}

/// The window of one who can't name another.
pub(crate) async fn in_flight_window(at: At) {
    let mut subscriber = Older::subscriber(&at, "s", "t", QoS::AtLeastOnce).await;
    let mut publisher = Older::connect(&at, "p", |_| {}).await;
    publisher.publish_numbers("t", 0..50).await;
    let got = subscriber.sum_up("without an acknowledgement").await;
    subscriber.send(Packet::PubAck(rumqttc_v4::mqttbytes::v4::PubAck::new(got[1].pkid))).await;
    subscriber.sum_up("after one").await;
}

pub(crate) async fn redelivery(at: At) {
    let mut subscriber = Older::subscriber_with(&at, "s", "t", QoS::AtLeastOnce, lasting).await;
    let mut publisher = Older::connect(&at, "p", |_| {}).await;
    publisher.publish_numbers("t", 0..3).await;
    let got = subscriber.sum_up("first").await;
    subscriber.send(Packet::PubAck(rumqttc_v4::mqttbytes::v4::PubAck::new(got[1].pkid))).await;
    subscriber.sync().await;
    subscriber.vanish().await;
    publisher.publish_numbers("t", 3..5).await;
    let mut subscriber = Older::connect(&at, "s", lasting).await;
    subscriber.sync().await;
}

pub(crate) async fn mixed(at: At) {
    let mut older = Older::subscriber(&at, "o", "t", QoS::AtLeastOnce).await;
    let mut newer = Client::subscriber(&at, "n", "t").await;
    let properties = PublishProperties {
        response_topic: Some("answers".into()),
        correlation_data: Some("42".into()),
        user_properties: vec![("a".into(), "1".into())],
        ..PublishProperties::default()
    };
    let publish = NewerPublish { properties: Some(properties), ..message(&at.name("t"), "from version 5") };
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish_packet(publish).await;
    let mut older_publisher = Older::connect(&at, "q", |_| {}).await;
    older_publisher.publish("t", QoS::AtLeastOnce, "from 3.1.1").await;
    older.sync().await;
    newer.sync().await;
    at.note("messages expire");
    let away = Older::subscriber_with(&at, "away", "e", QoS::AtLeastOnce, lasting).await;
    away.disconnect().await;
    for (text, expiry_s) in [("brief", 1), ("long", 60)] {
        publisher.publish_packet(expiring(message(&at.name("e"), text), expiry_s)).await;
    }
    sleep(Duration::from_secs(3)).await;
    Older::connect(&at, "away", lasting).await.sync().await;
}

/// A whole exchange in both directions, and over a lost connection.
pub(crate) async fn exactly_once(at: At) {
    let mut subscriber = Older::subscriber_with(&at, "s", "t", QoS::ExactlyOnce, lasting).await;
    let mut publisher = Older::connect(&at, "p", lasting).await;
    publisher.publish("t", QoS::ExactlyOnce, "one").await;
    subscriber.sync().await;
    publisher.vanish().await;
    let mut publisher = Older::connect(&at, "p", lasting).await;
    let again = Publish { dup: true, ..publisher.message("t", QoS::ExactlyOnce, "one") };
    publisher.publish_packet(again).await;
    for _ in 0..2 {
        publisher.send_raw(b"\x62\x02\0\x01").await;
        publisher.sync().await;
    }
    let two = Publish { pkid: 2, ..publisher.message("t", QoS::ExactlyOnce, "two") };
    publisher.publish_packet(two).await;
    publisher.send_raw(b"\x62\x02\0\x02").await;
    publisher.sync().await;
    subscriber.sync().await;
    subscriber.send_raw(b"\x50\x02\0\x01").await;
    subscriber.sync().await;
    subscriber.vanish().await;
    let mut subscriber = Older::connect(&at, "s", lasting).await;
    subscriber.sync().await;
    subscriber.send_raw(b"\x70\x02\0\x01\x50\x02\0\x02").await;
    subscriber.sync().await;
    subscriber.send_raw(b"\x70\x02\0\x02").await;
    subscriber.sync().await;
    subscriber.vanish().await;
    Older::connect(&at, "s", lasting).await.sync().await;
}

/// A client that is not told reasons, nor the broker's window.
pub(crate) async fn many_unreleased(at: At) {
    let mut watcher = Older::subscriber(&at, "w", "t", QoS::AtMostOnce).await;
    let mut publisher = Older::connect(&at, "p", |_| {}).await;
    let release = |id: u8| [0x62, 2, 0, id];
    for id in 1..25_u8 {
        let publish = Publish { pkid: id.into(), ..publisher.message("t", QoS::ExactlyOnce, &id.to_string()) };
        publisher.send(Packet::Publish(publish)).await;
    }
    publisher.note_answers("messages without a release").await;
    publisher.send_raw(&(1..25).flat_map(release).collect::<Vec<_>>()).await;
    publisher.note_answers("releases").await;
    let payloads: Vec<String> = watcher.messages().await.iter().map(payload).collect();
    at.note(format_args!("passed on: {payloads:?}"));
}

pub(crate) async fn not_offered(at: At) {
    let mut client = Older::connect(&at, "c", |_| {}).await;
    client.publish("t", QoS::ExactlyOnce, "x").await;
    Older::connect(&at, "d", will(&at, "t")).await;
}
