use super::super::{
    message::{Delivery, Message},
    outbound::{Answer, Answered, Outbound, Outgoing, Pushed, SendQuota},
};
use proptest::prelude::*;
use rumqttc::mqttbytes::{QoS, v5::Publish};
use std::{collections::VecDeque, num::NonZeroU16, sync::Arc, time::Duration};
use tokio::time::Instant;

fn window(messages: u16) -> NonZeroU16 {
    NonZeroU16::new(messages).unwrap()
}

fn number(n: u32, now: Instant) -> Arc<Message> {
    Arc::new(Message::new(&Publish::new("t", QoS::AtLeastOnce, n.to_be_bytes().to_vec(), None), now))
}

fn push(outbound: &mut Outbound, n: u32, now: Instant) -> Pushed {
    outbound.push(number(n, now), QoS::AtLeastOnce, false, None, now)
}

fn number_of(message: &Message, delivery: &Delivery, now: Instant) -> u32 {
    u32::from_be_bytes(message.packet(delivery, now).payload[..].try_into().unwrap())
}

/// All that may be sent now, as (number, packet id, dup).
fn sent(outbound: &mut Outbound, now: Instant) -> Vec<(u32, u16, bool)> {
    let as_sent = |outgoing| match outgoing {
        Outgoing::Message(message, delivery) => (number_of(&message, &delivery, now), delivery.packet_id, delivery.dup),
        Outgoing::Release(packet_id) => panic!("{packet_id} is released"),
    };
    std::iter::from_fn(|| outbound.next(now, &mut 0)).map(as_sent).collect()
}

/// A PUBACK. Returns whether the message was in flight.
fn acknowledge(outbound: &mut Outbound, packet_id: u16) -> bool {
    outbound.answered(Answer::Ack, packet_id) == Answered::Known
}

#[test]
fn a_strict_window_admits_one_message_for_each_acknowledgement() {
    let now = Instant::now();
    let mut outbound = Outbound::new(SendQuota::Strict, 100);
    outbound.resume(window(2));
    for n in 0..5 {
        push(&mut outbound, n, now);
    }
    assert_eq!(sent(&mut outbound, now), [(0, 1, false), (1, 2, false)]);
    assert!(acknowledge(&mut outbound, 2));
    assert_eq!(sent(&mut outbound, now), [(2, 3, false)]);
    assert!(!acknowledge(&mut outbound, 2));
    assert_eq!(sent(&mut outbound, now), []);
}

#[test]
fn a_leaky_window_lets_a_window_go_for_each_acknowledgement_less_what_is_in_flight_before_it() {
    let now = Instant::now();
    let mut outbound = Outbound::new(SendQuota::MosquittoLeaky, 100);
    outbound.resume(window(3));
    for n in 0..12 {
        push(&mut outbound, n, now);
        sent(&mut outbound, now);
    }
    assert_eq!((outbound.in_flight(), outbound.queued()), (3, 9));
    acknowledge(&mut outbound, 1);
    assert_eq!(sent(&mut outbound, now).len(), 3);
    assert_eq!(outbound.in_flight(), 5);
    // 3 is the second in flight, 6 the fourth.
    acknowledge(&mut outbound, 3);
    assert_eq!(sent(&mut outbound, now).len(), 2);
    acknowledge(&mut outbound, 6);
    assert_eq!(sent(&mut outbound, now), []);
    assert_eq!((outbound.in_flight(), outbound.queued()), (5, 4));
    push(&mut outbound, 12, now);
    assert_eq!(sent(&mut outbound, now), [(12, 9, false)]);
    // After a lost connection all of it goes out again, the window notwithstanding.
    outbound.suspend();
    outbound.resume(window(3));
    assert_eq!(sent(&mut outbound, now).len(), 6);
    outbound.suspend();
    assert!([2, 4, 5, 7].iter().all(|id| acknowledge(&mut outbound, *id)));
    outbound.resume(window(3));
    assert_eq!(sent(&mut outbound, now), [(7, 8, true), (12, 9, true), (8, 10, false)]);
}

#[test]
fn what_was_unacknowledged_goes_out_again_first_and_with_its_old_ids() {
    let now = Instant::now();
    let mut outbound = Outbound::new(SendQuota::Strict, 100);
    outbound.resume(window(3));
    for n in 0..5 {
        push(&mut outbound, n, now);
    }
    sent(&mut outbound, now);
    acknowledge(&mut outbound, 2);
    sent(&mut outbound, now);
    outbound.suspend();
    assert_eq!((outbound.in_flight(), outbound.queued()), (0, 4));
    push(&mut outbound, 5, now);
    // With a smaller window than before, one resend has to wait; its late acknowledgement is still understood.
    outbound.resume(window(2));
    assert_eq!(sent(&mut outbound, now), [(0, 1, true), (2, 3, true)]);
    assert!(acknowledge(&mut outbound, 4));
    assert_eq!(sent(&mut outbound, now), []);
    acknowledge(&mut outbound, 1);
    acknowledge(&mut outbound, 3);
    assert_eq!(sent(&mut outbound, now), [(4, 5, false), (5, 6, false)]);
}

#[test]
fn resends_do_not_count_against_the_queue_limit() {
    let now = Instant::now();
    let mut outbound = Outbound::new(SendQuota::Strict, 2);
    outbound.resume(window(3));
    for n in 0..3 {
        assert_eq!(push(&mut outbound, n, now), Pushed::Taken);
        sent(&mut outbound, now);
    }
    outbound.suspend();
    assert_eq!([3, 4, 5].map(|n| push(&mut outbound, n, now)), [Pushed::Taken, Pushed::Taken, Pushed::Dropped]);
}

#[test]
fn packet_ids_that_are_still_in_flight_are_not_used_again() {
    let now = Instant::now();
    let mut outbound = Outbound::new(SendQuota::Strict, 10);
    outbound.resume(window(2));
    push(&mut outbound, 0, now);
    assert_eq!(sent(&mut outbound, now), [(0, 1, false)]);
    for n in 1..70_000 {
        push(&mut outbound, n, now);
        let [(_, id, _)] = sent(&mut outbound, now)[..] else { panic!("one at a time") };
        assert!(id > 1);
        acknowledge(&mut outbound, id);
    }
}

#[test]
fn expired_messages_make_room_in_a_full_queue_and_are_never_sent() {
    let now = Instant::now();
    let mut outbound = Outbound::new(SendQuota::Strict, 2);
    let expiring = Arc::new(Message::new(&super::expiring("t", "x", 1), now));
    outbound.push(expiring.clone(), QoS::AtLeastOnce, false, None, now);
    outbound.push(expiring, QoS::AtLeastOnce, false, None, now);
    assert_eq!(push(&mut outbound, 1, now), Pushed::Dropped);
    let later = now + Duration::from_secs(1);
    assert_eq!(push(&mut outbound, 1, later), Pushed::Taken);
    outbound.resume(window(9));
    assert_eq!(sent(&mut outbound, later), [(1, 1, false)]);
}

proptest! {
    /// A client that acknowledges in any order and whose connection breaks at any time. While it is connected nothing
    /// comes twice; over breaks nothing is lost, and only what was unacknowledged comes again, marked.
    #[test]
    fn a_strict_session_loses_and_doubles_nothing_and_keeps_order(
        steps in prop::collection::vec((0u8..10, any::<prop::sample::Index>()), 1..300),
        size in 1u16..6,
    ) {
        let now = Instant::now();
        let mut outbound = Outbound::new(SendQuota::Strict, usize::MAX);
        outbound.resume(window(size));
        let (mut pushed, mut first_sends, mut held) = (0u32, 0u32, VecDeque::new());
        let mut redelivered = VecDeque::new();
        for (step, index) in steps {
            match step {
                0..5 => { push(&mut outbound, pushed, now); pushed += 1; }
                5..9 if !held.is_empty() => {
                    let (_, id) = held.remove(index.index(held.len())).unwrap();
                    prop_assert!(acknowledge(&mut outbound, id));
                }
                9 => {
                    outbound.suspend();
                    outbound.resume(window(size));
                    redelivered = std::mem::take(&mut held);
                }
                _ => {}
            }
            for (n, id, dup) in sent(&mut outbound, now) {
                if dup {
                    prop_assert_eq!(Some((n, id)), redelivered.pop_front());
                } else {
                    prop_assert!(redelivered.is_empty());
                    prop_assert_eq!(n, first_sends);
                    first_sends += 1;
                }
                held.push_back((n, id));
            }
            prop_assert!(held.len() <= usize::from(size));
            prop_assert_eq!(held.len(), outbound.in_flight());
            prop_assert_eq!((pushed - first_sends) as usize, outbound.queued());
            prop_assert!(outbound.queued() == 0 || held.len() == usize::from(size));
        }
    }
}
