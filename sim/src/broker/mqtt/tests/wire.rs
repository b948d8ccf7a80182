use super::*;
use crate::broker::mqtt::connection;
use rumqttc::mqttbytes::v5::{PubAckReason, SubscribeReasonCode, UnsubAckReason, Unsubscribe};
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, advance, sleep},
};

#[tokio::test(start_paused = true)]
async fn the_connack_tells_the_brokers_limits_and_the_assigned_id() {
    let broker = broker(|config| (config.keep_alive_max_s, config.max_qos) = (30, QoS::AtLeastOnce));
    let (_client, ack) = Client::open(&broker, Connect { keep_alive: 60, ..hello("") }, None).await;
    assert_eq!((ack.code, ack.session_present), (ConnectReturnCode::Success, false));
    let properties: ConnAckProperties = ack.properties.unwrap();
    assert_eq!(properties.assigned_client_identifier.as_deref(), Some("auto-1"));
    assert_eq!((properties.receive_max, properties.max_qos, properties.topic_alias_max), (Some(20), Some(1), Some(10)));
    assert_eq!((properties.max_packet_size, properties.server_keep_alive), (Some(1 << 20), Some(30)));
    assert_eq!(broker.sessions()[0].client_id, "auto-1");
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_granted_and_taken_back_one_by_one() {
    let broker = broker(|config| config.max_qos = QoS::AtLeastOnce);
    let mut client = Client::new(&broker, hello("c")).await;
    let filters = [("a", QoS::ExactlyOnce), ("c", QoS::AtMostOnce)];
    let filters = filters.map(|(filter, qos)| SubscribeFilter::new(filter, qos));
    client.send(Packet::Subscribe(Subscribe { pkid: 9, ..Subscribe::new_many(filters, None) })).await;
    let Some(Packet::SubAck(ack)) = client.receive().await else { panic!("no SUBACK") };
    let granted = SubscribeReasonCode::Success;
    assert_eq!(ack.return_codes, [granted(QoS::AtLeastOnce), granted(QoS::AtMostOnce)]);
    let filters = ["a", "b"].map(String::from).to_vec();
    client.send(Packet::Unsubscribe(Unsubscribe { pkid: 10, filters, properties: None })).await;
    let Some(Packet::UnsubAck(ack)) = client.receive().await else { panic!("no UNSUBACK") };
    assert_eq!(ack.reasons, [UnsubAckReason::Success, UnsubAckReason::NoSubscriptionExisted]);
    assert_eq!(client.publish(message("a", "x")).await.reason, PubAckReason::NoMatchingSubscribers);
    client.send(Packet::Publish(message("c", "x"))).await;
    assert_eq!(client.message().await.qos, QoS::AtMostOnce);
}

#[tokio::test(start_paused = true)]
async fn a_clean_start_forgets_the_session() {
    let broker = broker(|_| {});
    Client::subscribed(&broker, resuming("s", 60), "t").await.disconnect().await;
    let (_client, ack) = Client::open(&broker, Connect { clean_start: true, ..resuming("s", 60) }, None).await;
    assert!(!ack.session_present);
    assert_eq!(broker.sessions()[0].subscriptions, 0);
    let mut publisher = Client::new(&broker, hello("p")).await;
    assert_eq!(publisher.publish(message("t", "")).await.reason, PubAckReason::NoMatchingSubscribers);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_exactly_when_its_expiry_interval_is_over() {
    let broker = broker(|_| {});
    Client::subscribed(&broker, resuming("s", 10), "t").await.disconnect().await;
    advance(Duration::from_millis(9_999)).await;
    assert_eq!(broker.sessions().len(), 1);
    advance(Duration::from_millis(1)).await;
    assert_eq!(broker.sessions().len(), 0);
    assert!(!Client::open(&broker, resuming("s", 10), None).await.1.session_present);
}

#[tokio::test(start_paused = true)]
async fn a_session_without_expiry_interval_ends_with_its_connection() {
    let broker = broker(|_| {});
    let client = Client::subscribed(&broker, hello("s"), "t").await;
    drop(client);
    sleep(Duration::from_millis(1)).await;
    assert_eq!((broker.sessions(), broker.clients_connected()), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_takes_the_session_over_and_the_first_is_told() {
    let broker = broker(|_| {});
    let first = Client::subscribed(&broker, resuming("s", 60), "t").await;
    let (mut second, ack) = Client::open(&broker, resuming("s", 60), None).await;
    assert!(ack.session_present);
    first.ends_with(DisconnectReasonCode::SessionTakenOver).await;
    second.publish(message("u", "")).await;
    assert_eq!(broker.clients_connected(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_dropped_after_one_and_a_half_keep_alives() {
    let broker = broker(|_| {});
    let mut client = Client::new(&broker, Connect { keep_alive: 10, ..hello("s") }).await;
    sleep(Duration::from_secs(14)).await;
    client.send(Packet::PingReq).await;
    assert_eq!(client.receive().await, Some(Packet::PingResp));
    let heard = Instant::now();
    client.ends_with(DisconnectReasonCode::KeepAliveTimeout).await;
    assert_eq!(heard.elapsed(), Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_says_connect_is_closed() {
    let mut stream = open(&broker(|_| {}), 100);
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_will_is_published_unless_the_client_says_goodbye() {
    let broker = broker(|_| {});
    let mut watcher = Client::subscribed(&broker, hello("w"), "will/+").await;
    drop(Client::open(&broker, hello("lost"), Some(will("will/lost"))).await);
    assert_eq!(watcher.message().await.topic, "will/lost");
    Client::open(&broker, hello("polite"), Some(will("will/polite"))).await.0.disconnect().await;
    let mut with_will = Client::open(&broker, hello("asks"), Some(will("will/asked"))).await.0;
    let reason = DisconnectReasonCode::DisconnectWithWillMessage;
    with_will.send(Packet::Disconnect(Disconnect::new(reason))).await;
    assert_eq!(watcher.message().await.topic, "will/asked");
    let silent = Connect { keep_alive: 1, ..hello("silent") };
    let _silent = Client::open(&broker, silent, Some(will("will/silent"))).await;
    assert_eq!(watcher.message().await.topic, "will/silent");
}

#[tokio::test(start_paused = true)]
async fn breaking_the_protocol_ends_the_connection_with_the_reason() {
    use DisconnectReasonCode as Reason;
    let bad_filter = Subscribe::new(SubscribeFilter::new("b#", QoS::AtMostOnce), None);
    let aliased = PublishProperties { topic_alias: Some(11), ..PublishProperties::default() };
    for (packet, reason) in [
        (Packet::Publish(Publish { qos: QoS::ExactlyOnce, ..message("t", "") }), Reason::QoSNotSupported),
        (Packet::Publish(Publish { properties: Some(aliased), ..message("t", "") }), Reason::TopicAliasInvalid),
        (Packet::Publish(message("", "")), Reason::ProtocolError),
        (Packet::Subscribe(Subscribe { pkid: 7, ..bad_filter }), Reason::MalformedPacket),
        (Packet::Publish(message("t", &"x".repeat(1000))), Reason::PacketTooLarge),
        (Packet::Connect(hello("again"), None, ConnectAuth::None), Reason::ProtocolError),
        (Packet::PingResp, Reason::ProtocolError),
    ] {
        let broker = broker(|config| (config.packet_bytes_max, config.max_qos) = (1000, QoS::AtLeastOnce));
        let mut client = Client::new(&broker, hello("c")).await;
        client.send(packet).await;
        client.ends_with(reason).await;
    }
    for malformed in [&b"\x30\x04\0\x02a+\0"[..], b"\x82\x02\0\x01", b"\xf0\0", b"\x00\0", b"\x30\xff\xff\xff\xff\x01"]
    {
        let mut client = Client::new(&broker(|_| {}), hello("c")).await;
        client.stream.write_all(malformed).await.unwrap();
        client.ends_with(Reason::MalformedPacket).await;
    }
}

#[tokio::test(start_paused = true)]
async fn clients_of_other_versions_are_refused_in_mqtt_3() {
    for connect in [&b"\x10\x0d\0\x04MQTT\x03\x02\0\0\0\x01c"[..], b"\x10\x0f\0\x06MQIsdp\x04\x02\0\0\0\x01c"] {
        let mut stream = open(&broker(|_| {}), 100);
        stream.write_all(connect).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, [0x20, 2, 0, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_malformed_connect_is_refused_with_the_reason() {
    // A receive maximum of 0; a reserved flag.
    for (connect, code) in [
        (&b"\x10\x11\0\x04MQTT\x05\x02\0\0\x03\x21\0\0\0\x01c"[..], ConnectReturnCode::ProtocolError),
        (b"\x10\x0e\0\x04MQTT\x05\x03\0\0\0\0\x01c", ConnectReturnCode::MalformedPacket),
    ] {
        let mut client = Client { stream: open(&broker(|_| {}), 100), input: BytesMut::new() };
        client.stream.write_all(connect).await.unwrap();
        let Some(Packet::ConnAck(ack)) = client.receive().await else { panic!("no CONNACK") };
        assert_eq!(ack.code, code);
        assert_eq!(client.receive().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_asks_for_what_is_not_offered_is_refused() {
    let with = |change: fn(&mut ConnectProperties)| {
        let mut properties = ConnectProperties::new();
        change(&mut properties);
        Connect { properties: Some(properties), ..hello("c") }
    };
    let method = with(|p| p.authentication_method = Some("SCRAM".into()));
    let exactly_once = LastWill { qos: QoS::ExactlyOnce, ..will("t") };
    for (connect, will, code) in [
        (method, None, ConnectReturnCode::BadAuthenticationMethod),
        (with(|p| p.max_packet_size = Some(0)), None, ConnectReturnCode::ProtocolError),
        (hello("c"), Some(exactly_once), ConnectReturnCode::QoSNotSupported),
        (hello("c"), Some(will("a/#")), ConnectReturnCode::TopicNameInvalid),
    ] {
        let broker = broker(|config| config.max_qos = QoS::AtLeastOnce);
        let (mut client, ack) = Client::open(&broker, connect, will).await;
        assert_eq!(ack.code, code);
        assert_eq!(client.receive().await, None);
        assert_eq!(broker.sessions(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_sessions_and_retained_messages_only_if_they_are_on_disk() {
    for persistent in [false, true] {
        let broker = broker(|config| config.persistent_sessions = persistent);
        let mut subscriber = Client::subscribed(&broker, resuming("s", 60), "t").await;
        let mut publisher = Client::open(&broker, hello("p"), Some(will("t"))).await.0;
        publisher.publish(Publish { retain: true, ..message("t", "1") }).await;
        subscriber.message().await;
        broker.restart();
        assert_eq!((subscriber.receive().await, publisher.receive().await), (None, None));
        assert_eq!(broker.sessions().len(), usize::from(persistent));
        let (mut subscriber, ack) = Client::open(&broker, resuming("s", 60), None).await;
        assert_eq!(ack.session_present, persistent);
        assert_eq!(subscriber.messages().await.len(), usize::from(persistent));
        let mut other = Client::subscribed(&broker, hello("o"), "t").await;
        assert_eq!(other.messages().await.len(), usize::from(persistent));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_but_does_not_read_is_not_read_from_any_more() {
    let broker = broker(|_| {});
    let mut stream = open(&broker, 1 << 10);
    let mut connect = BytesMut::new();
    Packet::Connect(hello("c"), None, ConnectAuth::None).write(&mut connect, None).unwrap();
    stream.write_all(&connect).await.unwrap();
    let pings = b"\xc0\0".repeat(8 << 20);
    assert!(timeout(Duration::from_secs(60), stream.write_all(&pings)).await.is_err());
}

/// Notes how much each write brings.
struct Recorder {
    stream: DuplexStream,
    writes: Arc<Mutex<Vec<usize>>>,
}

impl AsyncRead for Recorder {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.lock().unwrap().push(buf.len());
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn pending_packets_leave_packet_by_packet() {
    {
        let broker = broker(|_| {});
        let (client, stream) = tokio::io::duplex(1 << 10);
        let writes = Arc::new(Mutex::new(vec![]));
        let recorder = Recorder { stream, writes: writes.clone() };
        Env::tokio().spawn("server", async move {
            let _ = connection::serve(String::new, &broker, recorder).await;
        });
        let mut client = Client { stream: client, input: BytesMut::new() };
        client.send(Packet::Connect(hello("c"), None, ConnectAuth::None)).await;
        client.receive().await;
        writes.lock().unwrap().clear();
        client.stream.write_all(b"\xc0\0\xc0\0\xc0\0").await.unwrap();
        for _ in 0..3 {
            assert_eq!(client.receive().await, Some(Packet::PingResp));
        }
        assert_eq!(*writes.lock().unwrap(), [2, 2, 2]);
    }
}
