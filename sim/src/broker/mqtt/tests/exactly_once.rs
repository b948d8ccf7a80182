//! QoS 2, in both directions.

use super::super::{
    inbound::Inbound,
    message::Message,
    outbound::{Answer, Answered, Outbound, Outgoing},
};
use super::*;
use crate::broker::mqtt::SendQuota;
use proptest::prelude::*;
use rumqttc::mqttbytes::v5::{PubAckReason, PubComp, PubRec, PubRecReason, PubRel, SubscribeReasonCode};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroU16,
    sync::Arc,
};
use tokio::time::Instant;

fn exactly_once(topic: &str, payload: &str, pkid: u16) -> Publish {
    Publish { qos: QoS::ExactlyOnce, pkid, ..message(topic, payload) }
}

fn window(messages: u16) -> NonZeroU16 {
    NonZeroU16::new(messages).unwrap()
}

impl Client {
    async fn subscribed_exactly_once(broker: &Broker, connect: Connect, filter: &str) -> Self {
        let mut client = Self::new(broker, connect).await;
        let filter = SubscribeFilter::new(filter, QoS::ExactlyOnce);
        client.send(Packet::Subscribe(Subscribe { pkid: 7, ..Subscribe::new(filter, None) })).await;
        let Some(Packet::SubAck(ack)) = client.receive().await else { panic!("no SUBACK") };
        assert_eq!(ack.return_codes, [SubscribeReasonCode::Success(QoS::ExactlyOnce)]);
        client
    }

    async fn expect(&mut self, packet: Packet) {
        assert_eq!(self.receive().await, Some(packet));
    }

    async fn publish_exactly_once(&mut self, publish: Publish) {
        let id = publish.pkid;
        self.send(Packet::Publish(publish)).await;
        self.expect(Packet::PubRec(PubRec::new(id, None))).await;
        self.send(Packet::PubRel(PubRel::new(id, None))).await;
        self.expect(Packet::PubComp(PubComp::new(id, None))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_passed_on_once_when_it_is_released_however_often_it_comes() {
    let broker = broker(|_| {});
    let mut subscriber = Client::subscribed_exactly_once(&broker, hello("s"), "t").await;
    let mut publisher = Client::new(&broker, resuming("p", 60)).await;
    publisher.send(Packet::Publish(exactly_once("t", "x", 5))).await;
    publisher.expect(Packet::PubRec(PubRec::new(5, None))).await;
    drop(publisher);
    let mut publisher = Client::new(&broker, resuming("p", 60)).await;
    publisher.send(Packet::Publish(Publish { dup: true, ..exactly_once("t", "x", 5) })).await;
    publisher.expect(Packet::PubRec(PubRec::new(5, None))).await;
    assert_eq!(subscriber.messages().await, []);
    for _ in 0..2 {
        publisher.send(Packet::PubRel(PubRel::new(5, None))).await;
        publisher.expect(Packet::PubComp(PubComp::new(5, None))).await;
    }
    let got = subscriber.messages().await;
    assert_eq!((texts(&got), got[0].qos), (vec!["x".to_owned()], QoS::ExactlyOnce));
    publisher.publish_exactly_once(exactly_once("t", "x", 5)).await;
    assert_eq!(subscriber.messages().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_lets_go_of_a_message_once_and_over_connections() {
    let broker = broker(|_| {});
    let mut subscriber = Client::subscribed_exactly_once(&broker, resuming("s", 60), "t").await;
    let mut publisher = Client::new(&broker, hello("p")).await;
    for (n, id) in [("0", 1), ("1", 2)] {
        publisher.publish_exactly_once(exactly_once("t", n, id)).await;
    }
    let got = subscriber.messages().await;
    assert_eq!(texts(&got), ["0", "1"]);
    subscriber.send(Packet::PubRec(PubRec::new(got[0].pkid, None))).await;
    subscriber.expect(Packet::PubRel(PubRel::new(got[0].pkid, None))).await;
    drop(subscriber);
    let mut subscriber = Client::new(&broker, resuming("s", 60)).await;
    subscriber.expect(Packet::PubRel(PubRel::new(got[0].pkid, None))).await;
    subscriber.expect(Packet::Publish(Publish { dup: true, ..got[1].clone() })).await;
    subscriber.send(Packet::PubComp(PubComp::new(got[0].pkid, None))).await;
    let refused = PubRec { reason: PubRecReason::UnspecifiedError, ..PubRec::new(got[1].pkid, None) };
    subscriber.send(Packet::PubRec(refused)).await;
    assert_eq!(subscriber.messages().await, []);
    assert_eq!(broker.sessions()[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn the_lower_qos_of_message_and_subscription_is_used_wills_and_retained_messages_included() {
    let broker = broker(|_| {});
    let mut once = Client::subscribed(&broker, hello("1"), "t").await;
    let mut exactly = Client::subscribed_exactly_once(&broker, hello("2"), "t").await;
    let will = LastWill { qos: QoS::ExactlyOnce, ..will("t") };
    let mut publisher = Client::open(&broker, hello("p"), Some(will)).await.0;
    let qos_of = |messages: Vec<Publish>| messages.iter().map(|publish| publish.qos).collect::<Vec<_>>();
    publisher.send(Packet::Publish(message("t", "QoS 1"))).await;
    publisher.receive().await;
    publisher.publish_exactly_once(Publish { retain: true, ..exactly_once("t", "QoS 2", 3) }).await;
    drop(publisher);
    assert_eq!(qos_of(once.messages().await), [QoS::AtLeastOnce; 3]);
    assert_eq!(qos_of(exactly.messages().await), [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce]);
    let mut late = Client::subscribed_exactly_once(&broker, hello("l"), "t").await;
    assert_eq!(qos_of(late.messages().await), [QoS::ExactlyOnce]);
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_not_released_are_limited_and_those_to_the_brokers_topics_refused() {
    let broker = broker(|config| (config.queued_messages_max, config.max_inflight) = (1, window(2)));
    let mut publisher = Client::new(&broker, hello("p")).await;
    for (id, topic, reason) in [
        (1, "t", PubRecReason::Success),
        (2, "t", PubRecReason::Success),
        (3, "t", PubRecReason::QuotaExceeded),
        // As in Mosquitto, a refusal makes room.
        (3, "t", PubRecReason::Success),
        (9, "$SYS/x", PubRecReason::NotAuthorized),
        (4, "t", PubRecReason::QuotaExceeded),
        (4, "t", PubRecReason::QuotaExceeded),
        (3, "t", PubRecReason::Success),
    ] {
        publisher.send(Packet::Publish(exactly_once(topic, "", id))).await;
        publisher.expect(Packet::PubRec(PubRec { reason, ..PubRec::new(id, None) })).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_holds_too_much_publishes_nothing_else() {
    let broker = broker(|config| config.max_inflight = window(1));
    let mut publisher = Client::new(&broker, hello("p")).await;
    publisher.send(Packet::Publish(exactly_once("t", "", 2))).await;
    publisher.expect(Packet::PubRec(PubRec::new(2, None))).await;
    assert_eq!(publisher.publish(message("t", "")).await.reason, PubAckReason::QuotaExceeded);
    assert_eq!(publisher.publish(message("t", "")).await.reason, PubAckReason::NoMatchingSubscribers);
}

#[tokio::test(start_paused = true)]
async fn a_packet_id_that_is_used_again_drops_what_it_was_used_for() {
    let broker = broker(|_| {});
    let mut subscriber = Client::subscribed_exactly_once(&broker, hello("s"), "t").await;
    let mut publisher = Client::new(&broker, hello("p")).await;
    for text in ["old", "new"] {
        publisher.send(Packet::Publish(exactly_once("t", text, 1))).await;
        publisher.expect(Packet::PubRec(PubRec::new(1, None))).await;
    }
    publisher.send(Packet::PubRel(PubRel::new(1, None))).await;
    publisher.expect(Packet::PubComp(PubComp::new(1, None))).await;
    publisher.send(Packet::Publish(exactly_once("t", "QoS 2", 1))).await;
    publisher.expect(Packet::PubRec(PubRec::new(1, None))).await;
    assert_eq!(publisher.publish(message("t", "QoS 1")).await.reason, PubAckReason::Success);
    publisher.send(Packet::PubRel(PubRel::new(1, None))).await;
    publisher.expect(Packet::PubComp(PubComp::new(1, None))).await;
    assert_eq!(texts(&subscriber.messages().await), ["new", "QoS 1"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_fit_its_message_ends_the_connection() {
    for answers in [
        vec![Packet::PubAck(PubAck::new(2, None))],
        vec![Packet::PubComp(PubComp::new(2, None))],
        vec![Packet::PubRec(PubRec::new(1, None))],
        vec![Packet::PubRec(PubRec::new(2, None)), Packet::PubAck(PubAck::new(2, None))],
    ] {
        let broker = broker(|_| {});
        let mut subscriber = Client::subscribed_exactly_once(&broker, hello("s"), "t").await;
        let mut publisher = Client::new(&broker, hello("p")).await;
        publisher.publish(message("t", "QoS 1")).await;
        publisher.publish_exactly_once(exactly_once("t", "QoS 2", 1)).await;
        assert_eq!(subscriber.messages().await.len(), 2);
        for answer in answers {
            subscriber.send(answer).await;
        }
        let end = async { while subscriber.receive().await != Some(protocol_error()) {} };
        timeout(Duration::from_secs(1), end).await.unwrap();
    }
}

fn protocol_error() -> Packet {
    Packet::Disconnect(Disconnect::new(DisconnectReasonCode::ProtocolError))
}

#[test]
fn a_window_is_shared_and_a_refusal_gives_the_place_back_but_in_mosquitto_2_0_11() {
    for (quota, after_refusal) in [(SendQuota::Strict, true), (SendQuota::MosquittoLeaky, false)] {
        let now = Instant::now();
        let mut outbound = Outbound::new(quota, 100);
        outbound.resume(window(2));
        let push = |outbound: &mut Outbound, qos| {
            outbound.push(Arc::new(Message::new(&message("t", ""), now)), qos, false, None, now);
            outbound.next(now, &mut 0).is_some()
        };
        assert!(push(&mut outbound, QoS::AtLeastOnce) && push(&mut outbound, QoS::ExactlyOnce));
        assert_eq!(outbound.answered(Answer::Refused, 1), Answered::Wrong);
        assert_eq!(outbound.answered(Answer::Refused, 2), Answered::Known);
        assert_eq!(outbound.answered(Answer::Refused, 2), Answered::Unknown);
        // Nothing waits: what the refusal would let go is nothing, and then it is as it was.
        assert!(outbound.next(now, &mut 0).is_none());
        assert_eq!(push(&mut outbound, QoS::ExactlyOnce), after_refusal);
    }
}

#[test]
fn a_receiver_is_told_to_let_go_of_an_expired_message_all_the_same() {
    let now = Instant::now();
    let mut outbound = Outbound::new(SendQuota::Strict, 100);
    outbound.resume(window(2));
    outbound.push(Arc::new(Message::new(&expiring("t", "", 1), now)), QoS::ExactlyOnce, false, None, now);
    assert!(matches!(outbound.next(now, &mut 0), Some(Outgoing::Message(..))));
    outbound.answered(Answer::Received, 1);
    outbound.suspend();
    outbound.resume(window(2));
    let later = now + Duration::from_secs(9);
    assert!(matches!(outbound.next(later, &mut 0), Some(Outgoing::Release(1))));
    assert_eq!(outbound.answered(Answer::Complete, 1), Answered::Known);
    assert_eq!((outbound.in_flight(), outbound.queued()), (0, 0));
}

/// A client that follows the rules (4.3.3): it takes a message when it is new, and knows it again by its packet id
/// until it is told to let go.
#[derive(Debug, Default)]
struct Receiver {
    held: BTreeSet<u16>,
    taken: Vec<u8>,
}

impl Receiver {
    /// Takes what comes, and answers.
    fn take(&mut self, outgoing: Outgoing, now: Instant) -> (Answer, u16) {
        match outgoing {
            Outgoing::Message(message, delivery) => {
                if self.held.insert(delivery.packet_id) {
                    self.taken.push(message.packet(&delivery, now).payload[0]);
                }
                (Answer::Received, delivery.packet_id)
            }
            Outgoing::Release(id) => {
                self.held.remove(&id);
                (Answer::Complete, id)
            }
        }
    }
}

proptest! {
    /// Packets in both directions get lost with their connection at any time; every message arrives once all the same,
    /// and in order if the window is kept.
    #[test]
    fn a_session_delivers_exactly_once(
        steps in prop::collection::vec((0u8..8, any::<u8>()), 1..200), size in 1u16..5, leaky in any::<bool>(),
    ) {
        let now = Instant::now();
        let mut outbound = Outbound::new(if leaky { SendQuota::MosquittoLeaky } else { SendQuota::Strict }, usize::MAX);
        outbound.resume(window(size));
        let (mut pushed, mut receiver, mut wire) = (0u8, Receiver::default(), VecDeque::new());
        for (step, random) in steps.into_iter().chain([(7, 0); 1000]) {
            match step {
                0..3 => {
                    let message = content_of(pushed, now);
                    outbound.push(Arc::new(message), QoS::ExactlyOnce, false, None, now);
                    pushed += 1;
                }
                3 => {
                    let arrives = usize::from(random) % (wire.len() + 1);
                    for outgoing in wire.drain(..arrives) {
                        receiver.take(outgoing, now);
                    }
                    wire.clear();
                    outbound.suspend();
                    outbound.resume(window(size));
                }
                _ => if let Some(outgoing) = wire.pop_front() {
                    let (answer, id) = receiver.take(outgoing, now);
                    prop_assert_eq!(outbound.answered(answer, id), Answered::Known);
                    if answer == Answer::Received {
                        wire.push_back(Outgoing::Release(id));
                    }
                }
            }
            wire.extend(std::iter::from_fn(|| outbound.next(now, &mut 0)));
            prop_assert!(leaky || outbound.in_flight() <= usize::from(size));
        }
        prop_assert_eq!((outbound.in_flight(), outbound.queued()), (0, 0));
        prop_assert!(leaky || receiver.taken.is_sorted());
        receiver.taken.sort_unstable();
        prop_assert_eq!(receiver.taken, (0..pushed).collect::<Vec<_>>());
    }

    /// Whatever a client repeats, each id that it releases brings what it sent last under it, once.
    #[test]
    fn what_is_held_is_released_once(steps in prop::collection::vec((any::<bool>(), 1u16..4, 0u8..3), 0..60)) {
        let now = Instant::now();
        let (mut inbound, mut model) = (Inbound::new(0), BTreeMap::new());
        inbound.resume(window(2));
        for (release, id, content) in steps {
            if release {
                let released = inbound.release(id).map(|message| message.is_same(&content_of(model[&id], now)));
                prop_assert_eq!(released, model.remove(&id).map(|_| true));
            } else {
                let room = model.len() < 2 || model.contains_key(&id);
                prop_assert_eq!(inbound.take(id, Arc::new(content_of(content, now))), room);
                if room {
                    model.insert(id, content);
                }
            }
        }
    }
}

fn content_of(content: u8, now: Instant) -> Message {
    Message::new(&Publish::new("t", QoS::ExactlyOnce, vec![content], None), now)
}
