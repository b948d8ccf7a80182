use super::*;
use crate::broker::mqtt::{SendQuota, Stats};
use rumqttc::mqttbytes::v5::{LastWillProperties, PubAckReason};
use std::num::NonZeroU16;
use tokio::time::{Instant, advance, sleep};

#[tokio::test(start_paused = true)]
async fn a_publish_is_acknowledged_with_whether_anybody_wanted_it() {
    let broker = broker(|_| {});
    let mut publisher = Client::new(&broker, hello("p")).await;
    assert_eq!(publisher.publish(message("a", "1")).await.reason, PubAckReason::NoMatchingSubscribers);
    let mut subscriber = Client::subscribed(&broker, hello("s"), "+").await;
    assert_eq!(publisher.publish(message("a", "2")).await.reason, PubAckReason::Success);
    let got = subscriber.message().await;
    assert_eq!((got.qos, got.dup, got.retain, got.pkid), (QoS::AtLeastOnce, false, false, 1));
    assert_eq!(text(&got), "2");
    assert_eq!(broker.stats(), Stats { publishes_received: 2, publishes_sent: 1, ..Stats::default() });
}

#[tokio::test(start_paused = true)]
async fn a_resumed_session_brings_what_was_unacknowledged_first_and_then_what_waited() {
    let broker = broker(|config| config.max_inflight = NonZeroU16::new(2).unwrap());
    let mut subscriber = Client::subscribed(&broker, resuming("s", 60), "t").await;
    let mut publisher = Client::new(&broker, hello("p")).await;
    for n in 0..4 {
        publisher.publish(message("t", &n.to_string())).await;
    }
    assert_eq!(texts(&subscriber.messages().await), ["0", "1"]);
    subscriber.acknowledge(1).await;
    assert_eq!(texts(&subscriber.messages().await), ["2"]);
    drop(subscriber);
    let (mut subscriber, ack) = Client::open(&broker, resuming("s", 60), None).await;
    assert!(ack.session_present);
    let again = subscriber.messages().await;
    assert_eq!(texts(&again), ["1", "2"]);
    assert!(again.iter().all(|publish| publish.dup));
    subscriber.acknowledge(again[0].pkid).await;
    let last = subscriber.message().await;
    assert_eq!((text(&last), last.dup), ("3".into(), false));
}

#[tokio::test(start_paused = true)]
async fn retained_messages_greet_new_subscribers_until_they_are_cleared_or_expire() {
    let broker = broker(|_| {});
    let mut publisher = Client::new(&broker, hello("p")).await;
    publisher.publish(Publish { retain: true, ..message("r/1", "old") }).await;
    publisher.publish(Publish { retain: true, ..message("r/1", "new") }).await;
    publisher.publish(Publish { retain: true, ..expiring("r/2", "brief", 5) }).await;
    let mut subscriber = Client::subscribed(&broker, hello("s"), "r/+").await;
    let greeting = subscriber.messages().await;
    assert_eq!(texts(&greeting), ["new", "brief"]);
    assert!(greeting.iter().all(|publish| publish.retain));
    publisher.publish(Publish { retain: true, ..message("r/1", "") }).await;
    assert!(!subscriber.message().await.retain);
    advance(Duration::from_secs(5)).await;
    let mut late = Client::subscribed(&broker, hello("t"), "r/#").await;
    assert_eq!(late.messages().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_message_carries_what_is_left_of_its_expiry_and_is_dropped_after_it() {
    let broker = broker(|_| {});
    Client::subscribed(&broker, resuming("s", 3600), "t").await.disconnect().await;
    let mut publisher = Client::new(&broker, hello("p")).await;
    publisher.publish(expiring("t", "short", 5)).await;
    publisher.publish(expiring("t", "long", 60)).await;
    advance(Duration::from_millis(10_500)).await;
    let mut subscriber = Client::new(&broker, resuming("s", 3600)).await;
    let got = subscriber.messages().await;
    assert_eq!(texts(&got), ["long"]);
    assert_eq!(got[0].properties.as_ref().unwrap().message_expiry_interval, Some(50));
    assert_eq!(broker.stats().messages_expired, 1);
}

#[tokio::test(start_paused = true)]
async fn the_window_is_the_smaller_of_both_sides_and_only_the_strict_broker_keeps_it() {
    for (quota, after_one_ack) in [(SendQuota::Strict, 1), (SendQuota::MosquittoLeaky, 3)] {
        let broker = broker(|config| config.quota = quota);
        let properties = ConnectProperties { receive_maximum: Some(3), ..ConnectProperties::new() };
        let modest = Connect { properties: Some(properties), ..hello("modest") };
        let mut modest = Client::subscribed(&broker, modest, "t").await;
        let mut eager = Client::subscribed(&broker, hello("eager"), "t").await;
        let mut publisher = Client::new(&broker, hello("p")).await;
        for n in 0..30 {
            publisher.publish(message("t", &n.to_string())).await;
        }
        assert_eq!(eager.messages().await.len(), 20);
        assert_eq!(modest.messages().await.len(), 3);
        modest.acknowledge(1).await;
        assert_eq!(modest.messages().await.len(), after_one_ack);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_the_newest_messages_and_counts_them() {
    let broker = broker(|config| config.queued_messages_max = 2);
    Client::subscribed(&broker, resuming("s", 60), "t").await.disconnect().await;
    let mut publisher = Client::new(&broker, hello("p")).await;
    for n in 0..5 {
        publisher.publish(message("t", &n.to_string())).await;
    }
    assert_eq!((broker.stats().messages_dropped, broker.sessions()[0].queued), (3, 2));
    let mut subscriber = Client::new(&broker, resuming("s", 60)).await;
    assert_eq!(texts(&subscriber.messages().await), ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_larger_than_its_receiver_takes_is_not_sent_and_holds_nothing_up() {
    let broker = broker(|_| {});
    let properties = ConnectProperties { max_packet_size: Some(100), ..ConnectProperties::new() };
    let small = Connect { properties: Some(properties), ..hello("small") };
    let mut small = Client::subscribed(&broker, small, "t").await;
    let mut publisher = Client::new(&broker, hello("p")).await;
    for _ in 0..30 {
        publisher.publish(message("t", &"x".repeat(100))).await;
    }
    publisher.publish(message("t", "fits")).await;
    assert_eq!(texts(&small.messages().await), ["fits"]);
    assert_eq!(broker.stats().messages_dropped, 30);
}

#[tokio::test(start_paused = true)]
async fn a_share_prefers_members_that_are_connected_and_keeps_messages_when_none_is() {
    let broker = broker(|_| {});
    let mut one = Client::subscribed(&broker, resuming("1", 60), "$share/g/t").await;
    Client::subscribed(&broker, resuming("2", 60), "$share/g/t").await.disconnect().await;
    let mut publisher = Client::new(&broker, hello("p")).await;
    for n in 0..4 {
        publisher.publish(message("t", &n.to_string())).await;
        assert_eq!(one.taken().await, n.to_string());
    }
    one.disconnect().await;
    for n in 4..6 {
        publisher.publish(message("t", &n.to_string())).await;
    }
    assert_eq!(broker.sessions().iter().map(|session| session.queued).collect::<Vec<_>>(), [1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_will_waits_for_the_client_but_not_longer_than_its_session() {
    let delayed = |topic: &str, delay_s| {
        let mut will = will(topic);
        will.properties = Some(LastWillProperties {
            delay_interval: Some(delay_s),
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: vec![],
        });
        Some(will)
    };
    let broker = broker(|_| {});
    let mut watcher = Client::subscribed(&broker, hello("w"), "+").await;
    for (topic, expiry_s, delay_s, after_s) in [("delay", 60, 5, 5), ("session", 3, 60, 3), ("at-once", 0, 60, 0)] {
        drop(Client::open(&broker, resuming("c", expiry_s), delayed(topic, delay_s)).await);
        let left = Instant::now();
        // The timer is the serving task's; here somebody's packets turn the clock.
        let mut other = Client::new(&broker, hello("o")).await;
        while watcher.messages().await.is_empty() {
            other.send(Packet::PingReq).await;
            other.receive().await;
        }
        assert_eq!(left.elapsed().as_secs(), after_s, "{topic}");
    }
    drop(Client::open(&broker, resuming("d", 60), delayed("back", 5)).await);
    advance(Duration::from_secs(4)).await;
    let _back = Client::new(&broker, resuming("d", 60)).await;
    advance(Duration::from_secs(4)).await;
    assert_eq!(watcher.messages().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_topic_has_a_number_until_its_connection_ends() {
    let aliased = |topic: &str| {
        let properties = PublishProperties { topic_alias: Some(10), ..PublishProperties::default() };
        Publish { properties: Some(properties), ..message(topic, "x") }
    };
    let broker = broker(|_| {});
    let mut watcher = Client::subscribed(&broker, hello("w"), "+").await;
    let mut publisher = Client::new(&broker, hello("p")).await;
    publisher.publish(aliased("t")).await;
    publisher.publish(aliased("")).await;
    let got = watcher.messages().await;
    assert!(got.len() == 2 && got.iter().all(|publish| publish.topic == "t" && publish.properties.is_none()));
    let mut again = Client::new(&broker, hello("p")).await;
    again.send(Packet::Publish(aliased(""))).await;
    again.ends_with(DisconnectReasonCode::ProtocolError).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_member_of_a_share_had_not_acknowledged_is_counted() {
    let broker = broker(|_| {});
    let dying = Client::subscribed(&broker, hello("dying"), "$share/g/t").await;
    let mut publisher = Client::new(&broker, hello("p")).await;
    for n in 0..30 {
        publisher.publish(message("t", &n.to_string())).await;
    }
    drop(dying);
    sleep(Duration::from_millis(1)).await;
    assert_eq!((broker.sessions().len(), broker.stats().messages_abandoned), (1, 30));
}
