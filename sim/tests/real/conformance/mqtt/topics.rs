//! Who gets what: filters, options, retained messages.

use super::client::{Client, bad_publish, expiring, message, of_qos_0, payload};
use crate::conformance::harness::At;
use rumqttc::mqttbytes::{
    QoS,
    v5::{
        Packet, Publish, PublishProperties, RetainForwardRule, Subscribe, SubscribeFilter, SubscribeProperties,
        Unsubscribe,
    },
};
use std::time::Duration;
use tokio::time::sleep;

pub(crate) async fn wildcards(at: At) {
    let filters = ["a/b", "a/+", "a/#", "+/b", "#", "+/+", "+", "a/+/c", "a//c", "/a"];
    let topics = ["a", "a/b", "a/b/c", "a//c", "/a", "a/", "b/b", "A/b", "a/b/"];
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    for filter in filters {
        let mut subscriber = Client::subscriber(&at, "s", filter).await;
        for topic in topics {
            publisher.send(Packet::Publish(message(&at.name(topic), topic))).await;
            publisher.skip().await;
        }
        let got: Vec<String> = subscriber.messages().await.iter().map(payload).collect();
        at.note(format_args!("{filter} gets {got:?}"));
        subscriber.disconnect().await;
    }
}

pub(crate) async fn dollar_topics(at: At) {
    let mut subscriber = Client::connect(&at, "s", |_| {}).await;
    for filter in ["#".to_owned(), format!("+/{}", at.name("t")), format!("$x/{}", at.name("t"))] {
        // QoS 0: `#` brings what all others publish, and that may not fill the window.
        subscriber.send_subscribe(SubscribeFilter::new(filter, QoS::AtMostOnce)).await;
        subscriber.messages().await;
    }
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    for prefix in ["$x", "x", "$SYS"] {
        let topic = format!("{prefix}/{}", at.name("t"));
        publisher.publish_packet(message(&topic, prefix)).await;
        let mine = |publish: &Publish| String::from_utf8_lossy(&publish.topic) == topic;
        let got = subscriber.messages().await.iter().filter(|publish| mine(publish)).count();
        at.note(format_args!("{topic}: {got} copies"));
    }
}

pub(crate) async fn overlapping(at: At) {
    let mut subscriber = Client::connect(&at, "s", |_| {}).await;
    for (n, filter) in ["t/#", "t/+", "t/1"].iter().enumerate() {
        let filter = SubscribeFilter::new(at.name(filter), QoS::AtLeastOnce);
        let properties = SubscribeProperties { id: Some(n + 1), user_properties: vec![] };
        subscriber.send(Packet::Subscribe(Subscribe { pkid: 3, ..Subscribe::new(filter, Some(properties)) })).await;
        subscriber.sync().await;
    }
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish("t/1", "one").await;
    let copies = subscriber.messages().await;
    let mut identifiers: Vec<Vec<usize>> =
        copies.into_iter().map(|copy| copy.properties.unwrap_or_default().subscription_identifiers).collect();
    identifiers.sort();
    at.note(format_args!("identifiers of the copies: {identifiers:?}"));
}

pub(crate) async fn subscribe_answers(at: At) {
    let mut client = Client::connect(&at, "c", |_| {}).await;
    for (filter, qos) in
        [("a", QoS::AtMostOnce), ("a", QoS::AtLeastOnce), ("a", QoS::ExactlyOnce), ("a/#", QoS::AtLeastOnce)]
    {
        client.send_subscribe(SubscribeFilter::new(at.name(filter), qos)).await;
        client.sync().await;
    }
    client.unsubscribe(vec![at.name("a"), at.name("never")]).await;
    client.unsubscribe(vec![at.name("a")]).await;
}

pub(crate) async fn bad_filters(at: At) {
    for filter in [
        "",
        "a+",
        "a/b#",
        "#/a",
        "a/#/b",
        "+a",
        "$share",
        "$share/",
        "$share/g",
        "$share//t",
        "$share/g/",
        "$share/g+/t",
    ] {
        let mut client = Client::silently(&at, "c", |_| {}).await;
        client.send_subscribe(SubscribeFilter::new(filter, QoS::AtLeastOnce)).await;
        client.note_answers(&format!("SUBSCRIBE {filter:?}")).await;
    }
    let mut client = Client::silently(&at, "c", |_| {}).await;
    let unsubscribe = Unsubscribe { pkid: 8, filters: vec!["a/#/b".into()], properties: None };
    client.send(Packet::Unsubscribe(unsubscribe)).await;
    client.note_answers("UNSUBSCRIBE a/#/b").await;
}

pub(crate) async fn bad_topics(at: At) {
    for topic in ["", "a/+", "#", "a/#"] {
        let mut client = Client::silently(&at, "c", |_| {}).await;
        client.send_raw(&bad_publish(topic)).await;
        client.note_answers(&format!("PUBLISH {topic:?}")).await;
    }
    for levels in [201, 202] {
        let mut client = Client::silently(&at, "c", |_| {}).await;
        client.send_raw(&bad_publish(&"/".repeat(levels - 1))).await;
        client.note_answers(&format!("PUBLISH to a topic of {levels} levels")).await;
    }
}

pub(crate) async fn quality_of_service(at: At) {
    for granted in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut subscriber = Client::silently(&at, "s", |_| {}).await;
        subscriber.send_subscribe(SubscribeFilter::new(at.name("t"), granted)).await;
        subscriber.skip().await;
        let mut publisher = Client::silently(&at, "p", |_| {}).await;
        publisher.publish("t", "one").await;
        publisher.publish_packet(of_qos_0(message(&at.name("t"), "zero"))).await;
        subscriber.sync().await;
    }
    let mut publisher = Client::silently(&at, "p", |_| {}).await;
    publisher.publish("nobody", "").await;
}

pub(crate) async fn subscription_options(at: At) {
    let mut client = Client::connect(&at, "c", |_| {}).await;
    let mut filter = SubscribeFilter::new(at.name("own"), QoS::AtLeastOnce);
    filter.nolocal = true;
    client.send_subscribe(filter).await;
    client.publish("own", "not to myself").await;
    let mut other = Client::connect(&at, "o", |_| {}).await;
    other.publish("own", "from another").await;
    client.sync().await;
    other.publish_packet(Publish { retain: true, ..message(&at.name("kept"), "kept") }).await;
    for (published, rule) in [
        (false, RetainForwardRule::OnEverySubscribe),
        (false, RetainForwardRule::OnNewSubscribe),
        (true, RetainForwardRule::Never),
    ] {
        for _ in 0..2 {
            at.note(format_args!("{rule:?}, as published: {published}"));
            let mut filter = SubscribeFilter::new(at.name("kept"), QoS::AtLeastOnce);
            (filter.preserve_retain, filter.retain_forward_rule) = (published, rule.clone());
            client.send_subscribe(filter).await;
            client.sync().await;
        }
        other.publish_packet(Publish { retain: true, ..message(&at.name("kept"), "again") }).await;
        client.sync().await;
        client.unsubscribe(vec![at.name("kept")]).await;
    }
}

pub(crate) async fn retained(at: At) {
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    for (topic, text) in [("r/1", "old"), ("r/1", "new"), ("r/2", "second")] {
        publisher.publish_packet(Publish { retain: true, ..message(&at.name(topic), text) }).await;
    }
    publisher.publish_packet(Publish { retain: true, ..expiring(message(&at.name("r/3"), "brief"), 1) }).await;
    publisher.publish_packet(Publish { retain: true, ..of_qos_0(message(&at.name("r/4"), "QoS 0")) }).await;
    sleep(Duration::from_secs(3)).await;
    let mut subscriber = Client::connect(&at, "s", |_| {}).await;
    for topic in ["r/1", "r/2", "r/3", "r/4", "+/1", "#"] {
        subscriber.send_subscribe(SubscribeFilter::new(at.name(topic), QoS::AtLeastOnce)).await;
        let mut got: Vec<String> = subscriber.messages().await.iter().map(payload).collect();
        got.sort();
        at.note(format_args!("who subscribes to {topic} gets {got:?}"));
        subscriber.unsubscribe(vec![at.name(topic)]).await;
    }
    at.note("cleared");
    publisher.publish_packet(Publish { retain: true, ..message(&at.name("r/1"), "") }).await;
    subscriber.subscribe("r/1").await;
    at.note("to a shared subscription");
    subscriber.send_subscribe(SubscribeFilter::new(format!("$share/g/{}", at.name("r/2")), QoS::AtLeastOnce)).await;
    subscriber.sync().await;
}

pub(crate) async fn properties_pass(at: At) {
    let mut subscriber = Client::subscriber(&at, "s", "t").await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    let properties = PublishProperties {
        payload_format_indicator: Some(1),
        response_topic: Some("answers".into()),
        correlation_data: Some("42".into()),
        user_properties: vec![("a".into(), "1".into()), ("b".into(), "2".into()), ("a".into(), "3".into())],
        content_type: Some("text".into()),
        ..PublishProperties::default()
    };
    publisher.publish_packet(Publish { properties: Some(properties), ..message(&at.name("t"), "x") }).await;
    subscriber.sync().await;
}
