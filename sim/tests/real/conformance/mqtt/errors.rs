//! What is no MQTT, or not now.

use super::client::{Client, message};
use crate::conformance::harness::At;
use rumqttc::mqttbytes::{
    QoS,
    v5::{Connect, ConnectAuth, LastWill, Packet, Publish, PublishProperties},
};

async fn after_connect(at: &At, packets: &[(&str, &[u8])]) {
    for (what, bytes) in packets {
        let mut client = Client::silently(at, "c", |_| {}).await;
        client.send_raw(bytes).await;
        client.note_answers(what).await;
    }
}

pub(crate) async fn malformed_packets(at: At) {
    let packets: &[(&str, &[u8])] = &[
        ("packet type 0", b"\x00\0"),
        ("packet type 15 without a method", b"\xf0\0"),
        ("a length of five bytes", b"\x30\xff\xff\xff\xff\x01"),
        ("PUBLISH with a topic that is longer than the packet", b"\x30\x04\0\x09ab"),
        ("PUBLISH with QoS 3", b"\x36\x06\0\x01t\0\x01\0"),
        ("PUBLISH with a topic that is no UTF-8", b"\x30\x05\0\x02\xff\xfe\0"),
        ("PUBLISH with U+0000 in its topic", b"\x30\x05\0\x02a\0\0"),
        ("PUBLISH with an unknown property", b"\x30\x06\0\x01t\x02\x7f\x01"),
        ("PUBLISH with a property twice", b"\x30\x08\0\x01t\x04\x01\x01\x01\x01"),
        ("PUBLISH with a property of another packet", b"\x30\x09\0\x01t\x05\x11\0\0\0\x01"),
        ("PUBLISH of QoS 0 with DUP", b"\x38\x04\0\x01t\0"),
        ("SUBSCRIBE with wrong flags", b"\x80\x07\0\x01\0\0\x01t\x01"),
        ("SUBSCRIBE without filters", b"\x82\x03\0\x01\0"),
        ("SUBSCRIBE with reserved options", b"\x82\x07\0\x01\0\0\x01t\xc1"),
        ("SUBSCRIBE with QoS 3", b"\x82\x07\0\x01\0\0\x01t\x03"),
        ("SUBSCRIBE with retain handling 3", b"\x82\x07\0\x01\0\0\x01t\x31"),
        ("SUBSCRIBE that ends early", b"\x82\x02\0\x01"),
        ("PINGREQ with a payload", b"\xc0\x01\0"),
        ("PUBACK that ends early", b"\x40\x01\0"),
        ("DISCONNECT with an unknown reason", b"\xe0\x02\x03\0"),
    ];
    after_connect(&at, packets).await;
}

pub(crate) async fn protocol_errors(at: At) {
    let packets: &[(&str, &[u8])] = &[
        ("PUBLISH of QoS 1 with packet id 0", b"\x32\x06\0\x01t\0\0\0"),
        ("SUBSCRIBE with packet id 0", b"\x82\x07\0\0\0\0\x01t\x01"),
        ("PUBLISH with a subscription identifier", b"\x30\x06\0\x01t\x02\x0b\x01"),
        ("PUBLISH with topic alias 0", b"\x30\x07\0\x01t\x03\x23\0\0"),
        ("PUBLISH with a topic alias above the maximum", b"\x30\x07\0\x01t\x03\x23\xff\xff"),
        ("PUBLISH with an unknown alias and no topic", b"\x30\x06\0\0\x03\x23\0\x01"),
        ("SUBSCRIBE with subscription identifier 0", b"\x82\x09\0\x01\x02\x0b\0\0\x01t\x01"),
        ("AUTH that was not negotiated", b"\xf0\x02\x18\0"),
        ("PINGRESP", b"\xd0\0"),
        ("CONNACK", b"\x20\x03\0\0\0"),
        ("SUBACK", b"\x90\x04\0\x01\0\0"),
        ("PUBREL of nothing", b"\x62\x02\0\x09"),
    ];
    after_connect(&at, packets).await;
    let mut client = Client::silently(&at, "c", |_| {}).await;
    let connect = Connect { keep_alive: 0, client_id: at.name("c"), clean_start: true, properties: None };
    client.send(Packet::Connect(connect, None, ConnectAuth::None)).await;
    client.note_answers("a second CONNECT").await;
}

pub(crate) async fn exactly_once(at: At) {
    let mut client = Client::silently(&at, "c", |_| {}).await;
    client.publish_packet(Publish { qos: QoS::ExactlyOnce, ..message(&at.name("t"), "x") }).await;
    let will = LastWill::new(at.name("t"), "x", QoS::ExactlyOnce, false, None);
    Client::connect_with_will(&at, "d", Some(will), |_| {}).await;
}

pub(crate) async fn topic_alias(at: At) {
    let mut subscriber = Client::subscriber(&at, "s", "t").await;
    let mut publisher = Client::silently(&at, "p", |_| {}).await;
    let aliased = |topic: &str, payload: &str| {
        let properties = PublishProperties { topic_alias: Some(10), ..PublishProperties::default() };
        Publish { properties: Some(properties), ..message(topic, payload) }
    };
    publisher.publish_packet(aliased(&at.name("t"), "with its topic")).await;
    publisher.publish_packet(aliased("", "by its number")).await;
    subscriber.sync().await;
}

pub(crate) async fn bad_connects(at: At) {
    let connects: &[(&str, &[u8])] = &[
        ("MQTT 3.1", b"\x10\x0f\0\x06MQIsdp\x03\x02\0\0\0\x01c"),
        ("MQTT 3.1.1", b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c"),
        ("MQTT 6", b"\x10\x0e\0\x04MQTT\x06\x02\0\0\0\0\x01c"),
        ("another protocol", b"\x10\x0e\0\x04MQXX\x05\x02\0\0\0\0\x01c"),
        ("the reserved flag", b"\x10\x0e\0\x04MQTT\x05\x03\0\0\0\0\x01c"),
        ("a will of QoS 3", b"\x10\x14\0\x04MQTT\x05\x1e\0\0\0\0\x01c\0\0\x01t\0\0"),
        ("a will flag without a will", b"\x10\x0e\0\x04MQTT\x05\x06\0\0\0\0\x01c"),
        ("a will QoS without a will", b"\x10\x0e\0\x04MQTT\x05\x0a\0\0\0\0\x01c"),
        ("a receive maximum of 0", b"\x10\x11\0\x04MQTT\x05\x02\0\0\x03\x21\0\0\0\x01c"),
        ("a maximum packet size of 0", b"\x10\x13\0\x04MQTT\x05\x02\0\0\x05\x27\0\0\0\0\0\x01c"),
        ("a property twice", b"\x10\x18\0\x04MQTT\x05\x02\0\0\x0a\x11\0\0\0\0\x11\0\0\0\0\0\x01c"),
        ("an authentication method", b"\x10\x14\0\x04MQTT\x05\x02\0\0\x06\x15\0\x03abc\0\x01c"),
        ("authentication data without a method", b"\x10\x14\0\x04MQTT\x05\x02\0\0\x06\x16\0\x03abc\0\x01c"),
        ("a client id that is no UTF-8", b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01\xff"),
        ("a CONNECT that ends early", b"\x10\x08\0\x04MQTT\x05\x02"),
        ("a packet that is no CONNECT", b"\xc0\0"),
        ("no MQTT at all", b"GET / HTTP/1.1\r\n\r\n"),
    ];
    for (what, bytes) in connects {
        let mut client = Client::open(&at, "c").await;
        client.send_raw(bytes).await;
        client.note_answer(what).await;
    }
}

pub(crate) async fn will_topics(at: At) {
    for topic in ["a/#", "+", ""] {
        at.note(format_args!("a will for {topic:?}"));
        let will = LastWill::new(topic, "x", QoS::AtLeastOnce, false, None);
        Client::connect_with_will(&at, "c", Some(will), |_| {}).await;
    }
}
