//! Connecting, coming back, being away, and what is left behind.

use super::client::{Client, message, of_qos_0, resuming, shown, timed, with};
use crate::conformance::harness::At;
use rumqttc::mqttbytes::{
    QoS,
    v5::{
        Connect, ConnectAuth, Disconnect, DisconnectProperties, DisconnectReasonCode, LastWill, LastWillProperties,
        Packet, Publish, SubscribeFilter,
    },
};
use std::time::Duration;
use tokio::time::sleep;

fn will(at: &At, topic: &str) -> Option<LastWill> {
    Some(LastWill::new(at.name(topic), "gone", QoS::AtLeastOnce, false, None))
}

fn delayed_will(at: &At, topic: &str, delay_s: u32) -> Option<LastWill> {
    let properties = LastWillProperties {
        delay_interval: Some(delay_s),
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: vec![],
    };
    Some(LastWill { properties: Some(properties), ..will(at, topic)? })
}

fn goodbye(reason: DisconnectReasonCode, session_expiry_interval: Option<u32>) -> Disconnect {
    let mut disconnect = Disconnect::new(reason);
    disconnect.properties = session_expiry_interval.map(|interval| DisconnectProperties {
        session_expiry_interval: Some(interval),
        reason_string: None,
        user_properties: vec![],
        server_reference: None,
    });
    disconnect
}

pub(crate) async fn connack(at: At) {
    let mut client = Client::open(&at, "c").await;
    let connect = Connect { keep_alive: 60, client_id: at.name("c"), clean_start: true, properties: None };
    client.send(Packet::Connect(connect, None, ConnectAuth::None)).await;
    client.note_next().await;
}

pub(crate) async fn assigned_id(at: At) {
    for (clean_start, expiry_s) in [(true, 0), (false, 60)] {
        let mut client = Client::open(&at, "c").await;
        let mut connect = Connect { keep_alive: 0, client_id: String::new(), clean_start, properties: None };
        with(|p| p.session_expiry_interval = Some(expiry_s))(&mut connect);
        client.send(Packet::Connect(connect, None, ConnectAuth::None)).await;
        match client.receive().await {
            Some(Packet::ConnAck(ack)) => {
                let id = ack.properties.and_then(|p| p.assigned_client_identifier).unwrap_or_default();
                client.note(&format!("{:?}, begins with auto-: {}", ack.code, id.starts_with("auto-")));
            }
            other => client.note(&shown(other)),
        }
    }
}

pub(crate) async fn takeover(at: At) {
    let mut first = Client::connect(&at, "c", resuming(60)).await;
    first.subscribe("t").await;
    let mut second = Client::connect(&at, "c", resuming(60)).await;
    first.note_to_end().await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish("t", "to the second").await;
    second.sync().await;
}

pub(crate) async fn takeover_and_will(at: At) {
    let mut watcher = Client::subscriber(&at, "w", "will/+").await;
    for (topic, expiry_s) in [("will/session-ends", 0), ("will/session-goes-on", 60)] {
        let lasting = with(|p| p.session_expiry_interval = Some(expiry_s));
        let mut first = Client::connect_with_will(&at, "c", will(&at, topic), lasting).await;
        let second = Client::connect(&at, "c", resuming(60)).await;
        first.note_to_end().await;
        second.disconnect().await;
        watcher.sync().await;
    }
}

pub(crate) async fn clean_start_and_resume(at: At) {
    let mut client = Client::connect(&at, "c", resuming(60)).await;
    client.subscribe("t").await;
    client.disconnect().await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish("t", "while away").await;
    publisher.publish_packet(of_qos_0(message(&at.name("t"), "while away, QoS 0"))).await;
    let mut client = Client::connect(&at, "c", resuming(60)).await;
    client.sync().await;
    client.disconnect().await;
    let mut client = Client::connect(&at, "c", with(|p| p.session_expiry_interval = Some(60))).await;
    client.sync().await;
    publisher.publish("t", "to nobody").await;
    client.sync().await;
}

pub(crate) async fn session_expiry(at: At) {
    let mut client = Client::connect(&at, "c", resuming(2)).await;
    client.subscribe("t").await;
    client.disconnect().await;
    Client::connect(&at, "c", resuming(2)).await.disconnect().await;
    sleep(Duration::from_secs(5)).await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish("t", "too late").await;
    drop(Client::connect(&at, "c", resuming(2)).await);
    // Zero ends it with the connection, and that is what a missing interval means.
    Client::connect(&at, "d", resuming(0)).await.disconnect().await;
    Client::connect(&at, "d", |connect| connect.clean_start = false).await.vanish().await;
    Client::connect(&at, "d", resuming(0)).await.disconnect().await;
}

pub(crate) async fn expiry_at_disconnect(at: At) {
    use DisconnectReasonCode::NormalDisconnection;
    let client = Client::connect(&at, "c", resuming(60)).await;
    client.disconnect_with(goodbye(NormalDisconnection, Some(0))).await;
    let client = Client::connect(&at, "c", resuming(60)).await;
    client.disconnect_with(goodbye(NormalDisconnection, Some(30))).await;
    let client = Client::connect(&at, "c", resuming(0)).await;
    client.disconnect_with(goodbye(NormalDisconnection, Some(60))).await;
    at.note("after a DISCONNECT that would lengthen nothing to something:");
    Client::connect(&at, "c", resuming(0)).await.disconnect().await;
}

pub(crate) async fn subscriptions_survive(at: At) {
    let mut client = Client::connect(&at, "c", resuming(60)).await;
    let mut filter = SubscribeFilter::new(at.name("t"), QoS::AtMostOnce);
    filter.preserve_retain = true;
    client.send_subscribe(filter).await;
    client.sync().await;
    client.vanish().await;
    let mut client = Client::connect(&at, "c", resuming(60)).await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish_packet(Publish { retain: true, ..message(&at.name("t"), "still") }).await;
    client.sync().await;
}

pub(crate) async fn wills(at: At) {
    use DisconnectReasonCode::{DisconnectWithWillMessage, NormalDisconnection, UnspecifiedError};
    let mut watcher = Client::subscriber(&at, "w", "will/+").await;
    Client::connect_with_will(&at, "c", will(&at, "will/lost"), |_| {}).await.vanish().await;
    watcher.sync().await;
    for (topic, reason) in [
        ("will/polite", NormalDisconnection),
        ("will/asked", DisconnectWithWillMessage),
        ("will/error", UnspecifiedError),
    ] {
        let client = Client::connect_with_will(&at, "c", will(&at, topic), |_| {}).await;
        client.disconnect_with(goodbye(reason, None)).await;
        watcher.sync().await;
    }
    let mut broken = Client::connect_with_will(&at, "c", will(&at, "will/broken"), |_| {}).await;
    broken.send_raw(&[0x00, 0]).await;
    broken.note_to_end().await;
    watcher.sync().await;
}

pub(crate) async fn will_properties(at: At) {
    let mut watcher = Client::subscriber(&at, "w", "will").await;
    let properties = LastWillProperties {
        delay_interval: None,
        payload_format_indicator: Some(1),
        message_expiry_interval: None,
        content_type: Some("text".into()),
        response_topic: Some("answers".into()),
        correlation_data: Some("42".into()),
        user_properties: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
    };
    let will = LastWill { properties: Some(properties), retain: true, ..will(&at, "will").unwrap() };
    Client::connect_with_will(&at, "c", Some(will), |_| {}).await.vanish().await;
    watcher.sync().await;
    let mut late = Client::connect(&at, "l", |_| {}).await;
    late.subscribe("will").await;
}

pub(crate) async fn will_delay(at: At) {
    let mut watcher = Client::subscriber(&at, "w", "will/+").await;
    let back = delayed_will(&at, "will/back-in-time", 2);
    Client::connect_with_will(&at, "c", back, resuming(60)).await.vanish().await;
    let client = Client::connect(&at, "c", resuming(60)).await;
    sleep(Duration::from_secs(4)).await;
    watcher.sync().await;
    client.disconnect().await;
    let delayed = delayed_will(&at, "will/delayed", 2);
    Client::connect_with_will(&at, "c", delayed, resuming(60)).await.vanish().await;
    watcher.sync().await;
    let (min, max) = (Duration::from_secs(1), Duration::from_secs(4));
    timed(&at, "the delayed will", min, max, watcher.note_next()).await;
    // The end of the session cuts the delay short.
    let cut = delayed_will(&at, "will/session-ends", 60);
    Client::connect_with_will(&at, "d", cut, resuming(1)).await.vanish().await;
    let (min, max) = (Duration::from_millis(500), Duration::from_secs(4));
    timed(&at, "the will at the end of its session", min, max, watcher.note_next()).await;
    let no_session = delayed_will(&at, "will/no-session", 60);
    Client::connect_with_will(&at, "e", no_session, |_| {}).await.vanish().await;
    watcher.sync().await;
}

pub(crate) async fn keep_alive(at: At) {
    let mut watcher = Client::subscriber(&at, "w", "will").await;
    let mut silent = Client::connect_with_will(&at, "c", will(&at, "will"), |connect| connect.keep_alive = 1).await;
    // Mosquitto looks for silent clients every 5 s.
    let (min, max) = (Duration::from_millis(1400), Duration::from_secs(8));
    timed(&at, "a silent client's end", min, max, silent.note_to_end()).await;
    watcher.note_next().await;
    let mut pinging = Client::connect(&at, "d", |connect| connect.keep_alive = 1).await;
    for _ in 0..12 {
        sleep(Duration::from_millis(500)).await;
        pinging.sync().await;
    }
    let mut without = Client::connect(&at, "e", |connect| connect.keep_alive = 0).await;
    sleep(Duration::from_secs(7)).await;
    without.sync().await;
}

pub(crate) async fn last_words(at: At) {
    let mut watcher = Client::subscriber(&at, "w", "t").await;
    let mut client = Client::connect(&at, "c", |_| {}).await;
    client.send(Packet::Publish(message(&at.name("t"), "last words"))).await;
    client.vanish().await;
    watcher.sync().await;
}
