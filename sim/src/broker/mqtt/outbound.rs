//! One session's messages of QoS 1 and 2 to its client: what waits, what is in flight, how much more may go (MQTT 5,
//! sections 4.3 and 4.9). Both kinds share one window.

use super::message::{Delivery, Message};
use rumqttc::mqttbytes::QoS;
use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU16,
    sync::Arc,
};
use tokio::time::Instant;

/// How the broker keeps to a client's in-flight window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendQuota {
    /// Never more in flight than the window: what the standard demands, and what Mosquitto 1.6 does.
    #[default]
    Strict,
    /// Mosquitto 2.0.11 (its issue 2301, `db__message_delete_outgoing`): a new message waits when the window is full,
    /// but a PUBACK for the first message in flight lets a whole window's worth of what waits go, one for the second a
    /// message less, and so on, however many are in flight. If that lets nothing go, the next new message overtakes
    /// what waits.
    MosquittoLeaky,
}

/// What became of a message given to [`Outbound::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Taken,
    /// The queue is full.
    Dropped,
}

/// A client's answer to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// PUBACK: it has the message, of QoS 1.
    Ack,
    /// PUBREC: it has the message, of QoS 2, and holds on to its packet id.
    Received,
    /// PUBREC with an error: it has done with the message, of QoS 2.
    Refused,
    /// PUBCOMP: it has let go of the packet id.
    Complete,
}

/// What an [`Answer`] meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// The message that it answers.
    Known,
    /// Nothing.
    Unknown,
    /// A message that can't be answered so, or not yet.
    Wrong,
}

#[derive(Clone, Debug)]
struct Waiting {
    message: Arc<Message>,
    delivery: Delivery,
    /// The client has received it, and is to be told to let go of its packet id.
    released: bool,
}

#[derive(Debug)]
struct InFlight {
    message: Arc<Message>,
    delivery: Delivery,
    released: bool,
    /// Place in the order of sending.
    order: u64,
}

/// What is sent next.
#[derive(Clone, Debug)]
pub(super) enum Outgoing {
    Message(Arc<Message>, Delivery),
    /// PUBREL for a packet id, again on a new connection.
    Release(u16),
}

/// A state machine: messages and acknowledgements in, packets out through [`Outbound::next`].
#[derive(Debug)]
pub(super) struct Outbound {
    quota: SendQuota,
    queue_max: usize,
    /// Most in flight; `None` while the client is away.
    window: Option<NonZeroU16>,
    /// What may still go out.
    credit: u16,
    /// How many of the queue go out, whatever the credit is, if the quota is leaky.
    leaking: usize,
    last_id: u16,
    sent: u64,
    queue: VecDeque<Waiting>,
    /// How many at the front of the queue were sent before, on a connection that is lost; they keep their packet ids.
    resends: usize,
    in_flight: BTreeMap<u16, InFlight>,
}

impl Outbound {
    /// Nothing, to a client that is away. At most `queue_max` messages wait beside those in flight.
    pub(super) fn new(quota: SendQuota, queue_max: usize) -> Self {
        Self {
            quota,
            queue_max,
            window: None,
            credit: 0,
            leaking: 0,
            last_id: 0,
            sent: 0,
            queue: VecDeque::new(),
            resends: 0,
            in_flight: BTreeMap::new(),
        }
    }

    /// The client is back: what is unacknowledged goes out again, in its old order and before anything else.
    pub(super) fn resume(&mut self, window: NonZeroU16) {
        self.suspend();
        self.window = Some(window);
        self.credit = window.get();
        if self.quota == SendQuota::MosquittoLeaky {
            self.leaking = self.resends.max(window.get().into());
        }
    }

    /// The client is gone; what was in flight waits for it.
    pub(super) fn suspend(&mut self) {
        self.window = None;
        self.credit = 0;
        self.leaking = 0;
        let mut unacknowledged: Vec<InFlight> = std::mem::take(&mut self.in_flight).into_values().collect();
        unacknowledged.sort_by_key(|in_flight| in_flight.order);
        self.resends += unacknowledged.len();
        for InFlight { message, delivery, released, .. } in unacknowledged.into_iter().rev() {
            self.queue.push_front(Waiting { message, delivery: Delivery { dup: true, ..delivery }, released });
        }
    }

    /// Takes a message over, to be sent with `qos`, 1 or 2.
    pub(super) fn push(
        &mut self,
        message: Arc<Message>,
        qos: QoS,
        retain: bool,
        identifier: Option<usize>,
        now: Instant,
    ) -> Pushed {
        let delivery = Delivery { qos, packet_id: 0, dup: false, retain, identifier };
        let waiting = Waiting { message, delivery, released: false };
        if self.quota == SendQuota::MosquittoLeaky && self.credit > 0 {
            self.queue.insert(self.resends, waiting);
            self.leaking = self.leaking.max(self.resends + 1);
            return Pushed::Taken;
        }
        if self.queue.len() - self.resends >= self.queue_max {
            self.drop_expired(now);
            if self.queue.len() - self.resends >= self.queue_max {
                return Pushed::Dropped;
            }
        }
        self.queue.push_back(waiting);
        Pushed::Taken
    }

    /// The client has answered the message with `packet_id`.
    pub(super) fn answered(&mut self, answer: Answer, packet_id: u16) -> Answered {
        // On a new connection the answer may be to what is not yet sent again.
        let resend = self.queue.iter().take(self.resends).position(|w| w.delivery.packet_id == packet_id);
        let (qos, released) = match (self.in_flight.get_mut(&packet_id), resend) {
            (Some(in_flight), _) => (in_flight.delivery.qos, &mut in_flight.released),
            (None, Some(at)) => (self.queue[at].delivery.qos, &mut self.queue[at].released),
            (None, None) => return Answered::Unknown,
        };
        match (qos, answer, *released) {
            (QoS::AtLeastOnce, Answer::Ack, _)
            | (QoS::ExactlyOnce, Answer::Refused, false)
            | (QoS::ExactlyOnce, Answer::Complete, true) => {}
            (QoS::ExactlyOnce, Answer::Received, _) => {
                *released = true;
                return Answered::Known;
            }
            _ => return Answered::Wrong,
        }
        if let Some(done) = self.in_flight.remove(&packet_id) {
            self.admit(answer, &done);
        } else if let Some(at) = resend {
            self.queue.remove(at);
            self.resends -= 1;
        }
        Answered::Known
    }

    /// The message `done` is no longer in flight: others may go.
    fn admit(&mut self, answer: Answer, done: &InFlight) {
        let window = self.window.map_or(0, NonZeroU16::get);
        let leaky = self.quota == SendQuota::MosquittoLeaky;
        // Mosquitto forgets about the one that was refused.
        if !(leaky && answer == Answer::Refused) {
            self.credit = self.credit.saturating_add(1).min(window);
        }
        if leaky {
            let before = self.in_flight.values().filter(|other| other.order < done.order).count();
            self.leaking = usize::from(window).saturating_sub(before);
        }
    }

    /// A message just given out by [`Outbound::next`] is too large for the client.
    pub(super) fn skip(&mut self, packet_id: u16) {
        let skipped = self.in_flight.remove(&packet_id).expect("was just given out");
        self.admit(Answer::Ack, &skipped);
    }

    /// What to send next, if there is something that may go. Expired messages are skipped and counted in `expired`.
    pub(super) fn next(&mut self, now: Instant, expired: &mut u64) -> Option<Outgoing> {
        loop {
            let may_go = match self.quota {
                SendQuota::Strict => self.credit > 0,
                SendQuota::MosquittoLeaky => self.leaking > 0,
            };
            if !may_go || self.in_flight.len() == usize::from(u16::MAX) {
                return None;
            }
            let Some(Waiting { message, mut delivery, released }) = self.queue.pop_front() else {
                self.leaking = 0;
                return None;
            };
            self.resends = self.resends.saturating_sub(1);
            // A client that has received it waits for its release, however late that is.
            if !released && message.is_expired(now) {
                *expired += 1;
                continue;
            }
            if delivery.packet_id == 0 {
                delivery.packet_id = self.free_id();
            }
            self.credit = self.credit.saturating_sub(1);
            self.leaking = self.leaking.saturating_sub(1);
            self.sent += 1;
            let in_flight = InFlight { message: message.clone(), delivery, released, order: self.sent };
            let old = self.in_flight.insert(delivery.packet_id, in_flight);
            assert!(old.is_none(), "a packet id is used once at a time");
            return Some(match released {
                true => Outgoing::Release(delivery.packet_id),
                false => Outgoing::Message(message, delivery),
            });
        }
    }

    /// Messages that wait for their turn or their client.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Messages sent and not yet acknowledged.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn drop_expired(&mut self, now: Instant) {
        let kept = self.queue.split_off(self.resends).into_iter().filter(|waiting| !waiting.message.is_expired(now));
        self.queue.extend(kept);
    }

    /// Ids of resends need no look: they all go before a new id is drawn.
    fn free_id(&mut self) -> u16 {
        assert!(self.resends == 0 && self.in_flight.len() < usize::from(u16::MAX), "there is a free id");
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}
