//! MQTT 3.1.1 and 3.1: the codec against rumqttc's own for 3.1.1, and clients of different versions together.

use super::super::v3::{self, Version};
use super::*;
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use rumqttc::mqttbytes::{
    Error,
    v5::{
        PubAckReason, PubComp, PubRec, PubRecReason, PubRel, SubAck, SubscribeReasonCode, UnsubAck, UnsubAckReason,
        Unsubscribe,
    },
};
use rumqttc_v4::mqttbytes::v4;

fn text_of(max: usize) -> impl Strategy<Value = String> {
    vec(prop_oneof!["[a-z/]", Just("ä".to_owned())], 1..max).prop_map(|parts| parts.concat())
}

fn qos() -> impl Strategy<Value = QoS> {
    prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

/// A PUBLISH in both versions.
fn publish() -> impl Strategy<Value = (v4::Publish, Publish)> {
    (text_of(200), vec(any::<u8>(), 0..300), qos(), any::<(bool, bool)>(), 1..=u16::MAX).prop_map(
        |(topic, payload, qos, (dup, retain), id)| {
            let pkid = if qos == QoS::AtMostOnce { 0 } else { id };
            let (dup, topic, payload) = (dup && pkid > 0, Bytes::from(topic), Bytes::from(payload));
            let older = v4::Publish { dup, qos, retain, topic: topic.clone(), pkid, payload: payload.clone() };
            (older, Publish { dup, qos, retain, topic, pkid, payload, properties: None })
        },
    )
}

fn connect() -> impl Strategy<Value = (v4::Connect, Packet)> {
    let will = prop::option::of((text_of(9), vec(any::<u8>(), 0..9), qos(), any::<bool>()));
    let auth = prop::sample::select(vec![
        v4::ConnectAuth::None,
        v4::ConnectAuth::Username { username: "me".into() },
        v4::ConnectAuth::UsernamePassword { username: "me".into(), password: Bytes::from_static(b"\xff") },
    ]);
    (any::<u16>(), text_of(9), any::<bool>(), will, auth).prop_map(|(keep_alive, client_id, clean, will, auth)| {
        let mut older = v4::Connect::new(client_id.clone());
        (older.keep_alive, older.clean_session, older.auth) = (keep_alive, clean, auth);
        older.last_will =
            will.clone().map(|(topic, message, qos, retain)| v4::LastWill::new(topic, message, qos, retain));
        let will = will.map(|(topic, message, qos, retain)| LastWill::new(topic, message, qos, retain, None));
        let connect = if clean { hello(&client_id) } else { resuming(&client_id, u32::MAX) };
        (older, Packet::Connect(Connect { keep_alive, ..connect }, will, ConnectAuth::None))
    })
}

/// What a client may send, in both versions.
fn from_client() -> impl Strategy<Value = (v4::Packet, Packet)> {
    let id = || 1..=u16::MAX;
    let filters = vec((text_of(9), qos()), 1..5);
    let subscribe = (id(), filters).prop_map(|(pkid, filters)| {
        let older = filters.iter().map(|(path, qos)| v4::SubscribeFilter::new(path.clone(), *qos)).collect();
        let filters = filters.into_iter().map(|(path, qos)| SubscribeFilter::new(path, qos)).collect();
        let newer = Packet::Subscribe(Subscribe { pkid, filters, properties: None });
        (v4::Packet::Subscribe(v4::Subscribe { pkid, filters: older }), newer)
    });
    let unsubscribe = (id(), vec(text_of(9), 1..5)).prop_map(|(pkid, topics)| {
        let newer = Packet::Unsubscribe(Unsubscribe { pkid, filters: topics.clone(), properties: None });
        (v4::Packet::Unsubscribe(v4::Unsubscribe { pkid, topics }), newer)
    });
    let goodbye = Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection));
    prop_oneof![
        connect().prop_map(|(older, newer)| (v4::Packet::Connect(older), newer)),
        publish().prop_map(|(older, newer)| (v4::Packet::Publish(older), Packet::Publish(newer))),
        id().prop_map(|id| (v4::Packet::PubAck(v4::PubAck::new(id)), Packet::PubAck(PubAck::new(id, None)))),
        id().prop_map(|id| (v4::Packet::PubRec(v4::PubRec::new(id)), Packet::PubRec(PubRec::new(id, None)))),
        id().prop_map(|id| (v4::Packet::PubRel(v4::PubRel::new(id)), Packet::PubRel(PubRel::new(id, None)))),
        id().prop_map(|id| (v4::Packet::PubComp(v4::PubComp::new(id)), Packet::PubComp(PubComp::new(id, None)))),
        subscribe,
        unsubscribe,
        Just((v4::Packet::PingReq, Packet::PingReq)),
        Just((v4::Packet::Disconnect, goodbye)),
    ]
}

/// What a server may send, in both versions.
fn from_server() -> impl Strategy<Value = (v4::Packet, Packet)> {
    let id = || 1..=u16::MAX;
    let codes = vec(prop::option::of(qos()), 1..5);
    let suback = (id(), codes).prop_map(|(pkid, codes)| {
        let older =
            codes.iter().map(|qos| qos.map_or(v4::SubscribeReasonCode::Failure, v4::SubscribeReasonCode::Success));
        let older = v4::SubAck::new(pkid, older.collect());
        let refused = SubscribeReasonCode::QuotaExceeded;
        let return_codes = codes.into_iter().map(|qos| qos.map_or(refused, SubscribeReasonCode::Success)).collect();
        (v4::Packet::SubAck(older), Packet::SubAck(SubAck { pkid, return_codes, properties: None }))
    });
    prop_oneof![
        any::<bool>().prop_map(|session_present| {
            let older = v4::ConnAck::new(v4::ConnectReturnCode::Success, session_present);
            let newer = ConnAck { session_present, code: ConnectReturnCode::Success, properties: None };
            (v4::Packet::ConnAck(older), Packet::ConnAck(newer))
        }),
        publish().prop_map(|(older, newer)| (v4::Packet::Publish(older), Packet::Publish(newer))),
        id().prop_map(|id| {
            let reason = PubAckReason::NoMatchingSubscribers;
            (v4::Packet::PubAck(v4::PubAck::new(id)), Packet::PubAck(PubAck { reason, ..PubAck::new(id, None) }))
        }),
        id().prop_map(|id| {
            let reason = PubRecReason::NotAuthorized;
            (v4::Packet::PubRec(v4::PubRec::new(id)), Packet::PubRec(PubRec { reason, ..PubRec::new(id, None) }))
        }),
        id().prop_map(|id| (v4::Packet::PubRel(v4::PubRel::new(id)), Packet::PubRel(PubRel::new(id, None)))),
        id().prop_map(|id| (v4::Packet::PubComp(v4::PubComp::new(id)), Packet::PubComp(PubComp::new(id, None)))),
        suback,
        id().prop_map(|pkid| {
            let reasons = vec![UnsubAckReason::NoSubscriptionExisted];
            let newer = Packet::UnsubAck(UnsubAck { pkid, reasons, properties: None });
            (v4::Packet::UnsubAck(v4::UnsubAck::new(pkid)), newer)
        }),
        Just((v4::Packet::PingResp, Packet::PingResp)),
    ]
}

fn encoded(packet: &v4::Packet) -> BytesMut {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, usize::MAX).unwrap();
    bytes
}

proptest! {
    #[test]
    fn what_rumqttc_sends_is_understood_when_it_is_whole((older, newer) in from_client()) {
        let bytes = encoded(&older);
        if let v4::Packet::Connect(_) = older {
            prop_assert_eq!(Version::of_connect(&bytes), Version::V311);
        }
        for cut in 0..bytes.len() {
            let mut part = BytesMut::from(&bytes[..cut]);
            prop_assert!(matches!(v3::read(&mut part, Version::V311, 10_000), Err(Error::InsufficientBytes(_))));
            prop_assert_eq!(part.len(), cut);
        }
        let mut input = [&bytes[..], b"\xc0\0"].concat().as_slice().into();
        prop_assert_eq!(v3::read(&mut input, Version::V311, 10_000).unwrap(), newer);
        prop_assert_eq!(v3::read(&mut input, Version::V311, 10_000).unwrap(), Packet::PingReq);
    }

    #[test]
    fn what_the_broker_sends_is_understood_by_rumqttc((older, newer) in from_server()) {
        let mut bytes = BytesMut::new();
        v3::write(&newer, Version::V311, &mut bytes);
        prop_assert_eq!(&bytes, &encoded(&older));
        prop_assert_eq!(v4::Packet::read(&mut bytes, 10_000).unwrap(), older);
        prop_assert!(bytes.is_empty());
    }
}

#[test]
fn malformed_packets_of_older_versions_are_refused() {
    for malformed in [
        &b"\x00\0"[..],
        b"\x10\x0d\0\x04MQTT\x04\x03\0\0\0\x01c",            // reserved flag
        b"\x10\x0d\0\x04MQTT\x04\x0a\0\0\0\x01c",            // a QoS of no will
        b"\x10\x11\0\x04MQTT\x04\x42\0\0\0\x01c\0\x02pw",    // a password without a name
        b"\x10\x12\0\x04MQTT\x04\x1e\0\0\0\x01c\0\x01t\0\0", // a will of QoS 3
        b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x01c!",
        b"\x36\x05\0\x01t\0\x01",
        b"\x32\x05\0\x01t\0\0",
        b"\x30\x03\0\x09t",
        b"\x30\x03\0\x01\xff",
        b"\x30\x03\0\x01\0",
        b"\x40\x03\0\x01\0",
        b"\x60\x02\0\x01",
        b"\x82\x02\0\x01",
        b"\x82\x06\0\x01\0\x01t\x03",
        b"\x80\x06\0\x01\0\x01t\x01",
        b"\xa2\x02\0\x01",
        b"\xe0\x01\0",
        b"\xf0\0",
        b"\x30\xff\xff\xff\xff\x01",
        b"\x30\xff\xff\x01", // more than 10,000 bytes
    ] {
        let read = v3::read(&mut malformed.into(), Version::V311, 10_000);
        assert!(!matches!(read, Ok(_) | Err(Error::InsufficientBytes(_))), "{malformed:?}: {read:?}");
    }
}

/// A client of 3.1.1.
struct Older(Client);

impl Older {
    async fn new(broker: &Broker, connect: v4::Connect) -> (Self, v4::ConnAck) {
        let mut client = Self(Client { stream: open(broker, 1 << 20), input: BytesMut::new() });
        client.send(v4::Packet::Connect(connect)).await;
        match client.receive().await {
            Some(v4::Packet::ConnAck(ack)) => (client, ack),
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    async fn send(&mut self, packet: v4::Packet) {
        self.0.stream.write_all(&encoded(&packet)).await.unwrap();
    }

    async fn receive(&mut self) -> Option<v4::Packet> {
        loop {
            if let Ok(packet) = v4::Packet::read(&mut self.0.input, usize::MAX) {
                return Some(packet);
            }
            if self.0.stream.read_buf(&mut self.0.input).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn subscribe(&mut self, filter: &str, qos: QoS) {
        let subscribe = v4::Subscribe { pkid: 7, ..v4::Subscribe::new(filter, qos) };
        self.send(v4::Packet::Subscribe(subscribe)).await;
        let granted = v4::SubAck::new(7, vec![v4::SubscribeReasonCode::Success(qos)]);
        assert_eq!(self.receive().await, Some(v4::Packet::SubAck(granted)));
    }
}

fn older_hello(id: &str, clean_session: bool) -> v4::Connect {
    v4::Connect { keep_alive: 0, clean_session, ..v4::Connect::new(id) }
}

#[tokio::test(start_paused = true)]
async fn properties_do_not_reach_older_clients_but_messages_expire_for_them() {
    let broker = broker(|_| {});
    let (mut subscriber, _) = Older::new(&broker, older_hello("s", false)).await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    drop(subscriber);
    let mut publisher = Client::new(&broker, hello("p")).await;
    publisher.publish(expiring("t", "short", 5)).await;
    publisher.publish(expiring("t", "long", 60)).await;
    tokio::time::advance(Duration::from_secs(6)).await;
    let (mut subscriber, ack) = Older::new(&broker, older_hello("s", false)).await;
    assert!(ack.session_present);
    let expected = v4::Publish { pkid: 1, ..v4::Publish::new("t", QoS::AtLeastOnce, "long") };
    assert_eq!(subscriber.receive().await, Some(v4::Packet::Publish(expected)));
}

#[tokio::test(start_paused = true)]
async fn an_older_clients_session_lasts_until_it_asks_for_a_clean_one() {
    let broker = broker(|_| {});
    drop(Older::new(&broker, older_hello("s", false)).await);
    tokio::time::advance(Duration::from_secs(1_000_000)).await;
    assert!(Older::new(&broker, older_hello("s", false)).await.1.session_present);
    assert!(!Older::new(&broker, older_hello("s", true)).await.1.session_present);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(broker.sessions(), []);
}

#[tokio::test(start_paused = true)]
async fn an_older_client_needs_an_id_for_a_session_and_with_3_1_always() {
    for (connect, code) in [
        (&b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0"[..], 0),
        (b"\x10\x0c\0\x04MQTT\x04\0\0\0\0\0", 2),
        (b"\x10\x0e\0\x06MQIsdp\x03\x02\0\0\0\0", 2),
        (b"\x10\x0f\0\x06MQIsdp\x03\x02\0\0\0\x01c", 0),
    ] {
        let broker = broker(|_| {});
        let mut stream = open(&broker, 100);
        stream.write_all(connect).await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [0x20, 2, 0, code]);
        if code != 0 {
            assert_eq!(stream.read(&mut answer).await.unwrap(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_client_that_is_refused_or_breaks_the_protocol_is_disconnected_without_a_word() {
    let broker = broker(|config| config.packet_bytes_max = 1000);
    let mut watcher = Client::subscribed(&broker, hello("w"), "gone").await;
    let will = v4::LastWill::new("gone", "x", QoS::AtLeastOnce, false);
    let mut bad_will = older_hello("c", true);
    bad_will.last_will = Some(v4::LastWill { topic: "a/#".into(), ..will.clone() });
    let mut refused = open(&broker, 100);
    refused.write_all(&encoded(&v4::Packet::Connect(bad_will))).await.unwrap();
    assert_eq!(refused.read(&mut [0]).await.unwrap(), 0);
    for bad in [&b"\x30\x03\0\x01#"[..], b"\xd0\0", b"\x30\xff\x7f", b"\x82\x08\0\x01\0\x03a/+\x03", b"\xf0\0"] {
        let connect = v4::Connect { last_will: Some(will.clone()), ..older_hello("c", true) };
        let (mut client, _) = Older::new(&broker, connect).await;
        client.0.stream.write_all(bad).await.unwrap();
        assert_eq!(client.receive().await, None, "{bad:?}");
        assert_eq!(watcher.taken().await, "x");
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_client_gets_one_copy_however_many_of_its_subscriptions_match() {
    let broker = broker(|_| {});
    let (mut older, _) = Older::new(&broker, older_hello("o", true)).await;
    let mut newer = Client::new(&broker, hello("n")).await;
    for (filter, qos) in [("a/#", QoS::AtMostOnce), ("a/+", QoS::AtMostOnce), ("a/b", QoS::AtLeastOnce)] {
        older.subscribe(filter, qos).await;
        newer.subscribe(filter).await;
    }
    let mut publisher = Client::new(&broker, hello("p")).await;
    for n in ["1", "2"] {
        publisher.publish(message("a/b", n)).await;
    }
    assert_eq!(newer.messages().await.len(), 6);
    for (n, pkid) in [("1", 1), ("2", 2)] {
        let expected = v4::Publish { pkid, ..v4::Publish::new("a/b", QoS::AtLeastOnce, n) };
        assert_eq!(older.receive().await, Some(v4::Packet::Publish(expected)));
    }
    older.send(v4::Packet::PingReq).await;
    assert_eq!(older.receive().await, Some(v4::Packet::PingResp));
}

#[tokio::test(start_paused = true)]
async fn a_session_passes_from_one_version_to_another() {
    let broker = broker(|_| {});
    let (mut older, _) = Older::new(&broker, older_hello("s", false)).await;
    older.subscribe("t", QoS::AtLeastOnce).await;
    let (mut newer, ack) = Client::open(&broker, resuming("s", 60), None).await;
    assert!(ack.session_present);
    assert_eq!(older.receive().await, None);
    newer.send(Packet::Publish(message("t", "x"))).await;
    assert_eq!(text(&newer.message().await), "x");
    let (mut older, ack) = Older::new(&broker, older_hello("s", false)).await;
    assert!(ack.session_present);
    newer.receive().await;
    newer.ends_with(DisconnectReasonCode::SessionTakenOver).await;
    let again = v4::Publish { dup: true, pkid: 1, ..v4::Publish::new("t", QoS::AtLeastOnce, "x") };
    assert_eq!(older.receive().await, Some(v4::Packet::Publish(again)));
}
