//! Shared subscriptions.

use super::client::{Client, resuming, with};
use crate::conformance::harness::At;
use rumqttc::mqttbytes::{QoS, v5::SubscribeFilter};
use std::time::Duration;
use tokio::time::sleep;

fn share(at: &At, group: &str) -> String {
    format!("$share/{group}/{}", at.name("t"))
}

async fn join(at: &At, member: &mut Client) {
    member.send_subscribe(SubscribeFilter::new(share(at, "g"), QoS::AtLeastOnce)).await;
    member.sync().await;
}

pub(crate) async fn order(at: At) {
    let mut members = vec![];
    for name in ["a", "b", "c"] {
        let mut member = Client::connect(&at, name, |_| {}).await;
        join(&at, &mut member).await;
        members.push(member);
    }
    let mut plain = Client::subscriber(&at, "plain", "t").await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish_numbers("t", 0..9).await;
    for member in &mut members {
        member.note_payloads().await;
    }
    plain.sum_up("all").await;
    at.note("one leaves, one joins");
    members.remove(0).disconnect().await;
    let mut late = Client::connect(&at, "d", |_| {}).await;
    join(&at, &mut late).await;
    members.push(late);
    publisher.publish_numbers("t", 0..6).await;
    for member in &mut members {
        member.note_payloads().await;
    }
}

pub(crate) async fn member_away(at: At) {
    for name in ["here", "away"] {
        let mut member = Client::connect(&at, name, resuming(60)).await;
        join(&at, &mut member).await;
        member.disconnect().await;
    }
    let mut here = Client::connect(&at, "here", resuming(60)).await;
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish_numbers("t", 0..4).await;
    let count = here.messages().await.len();
    at.note(format_args!("the connected member gets {count} of 4"));
    let mut away = Client::connect(&at, "away", resuming(60)).await;
    let count = away.messages().await.len();
    at.note(format_args!("the other finds {count} of 4 when it comes back"));
}

pub(crate) async fn all_away(at: At) {
    for name in ["a", "b"] {
        let mut member = Client::connect(&at, name, resuming(60)).await;
        join(&at, &mut member).await;
        member.disconnect().await;
    }
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    publisher.publish_numbers("t", 0..4).await;
    for name in ["a", "b"] {
        Client::connect(&at, name, resuming(60)).await.note_payloads().await;
    }
}

/// The dying member's session ends with its connection, outlives it, or expires after it.
pub(crate) async fn dead_member(at: At) {
    let mut publisher = Client::connect(&at, "p", |_| {}).await;
    for (expiry_s, how) in [(0, "at once"), (60, "long after"), (1, "soon after")] {
        at.note(format_args!("the session ends {how}"));
        let lasting = || with(move |p| p.session_expiry_interval = Some(expiry_s));
        let mut dying = Client::connect(&at, "dying", lasting()).await;
        let mut living = Client::connect(&at, "living", |_| {}).await;
        for member in [&mut dying, &mut living] {
            join(&at, member).await;
        }
        publisher.publish_numbers("t", 0..4).await;
        dying.sum_up("unacknowledged").await;
        for publish in living.sum_up("acknowledged").await {
            living.acknowledge(publish.pkid).await;
        }
        dying.vanish().await;
        living.sum_up("handed on").await;
        if expiry_s == 1 {
            sleep(Duration::from_secs(3)).await;
            living.sum_up("handed on when the session has ended").await;
        }
        if expiry_s == 60 {
            let mut back = Client::connect(&at, "dying", resuming(60)).await;
            back.sync().await;
            back.unsubscribe(vec![share(&at, "g")]).await;
            back.disconnect().await;
        }
        publisher.publish_numbers("t", 4..6).await;
        living.sum_up("after that").await;
        living.disconnect().await;
    }
}

pub(crate) async fn two_groups(at: At) {
    let mut client = Client::connect(&at, "c", |_| {}).await;
    for group in ["g", "h"] {
        client.send_subscribe(SubscribeFilter::new(share(&at, group), QoS::AtLeastOnce)).await;
    }
    client.sync().await;
    client.publish("t", "once for each group").await;
    client.unsubscribe(vec![share(&at, "g"), share(&at, "other")]).await;
    client.publish("t", "for the other group").await;
}

pub(crate) async fn no_local(at: At) {
    let mut client = Client::connect(&at, "c", |_| {}).await;
    let mut filter = SubscribeFilter::new(share(&at, "g"), QoS::AtLeastOnce);
    filter.nolocal = true;
    client.send_subscribe(filter).await;
    client.sync().await;
}
