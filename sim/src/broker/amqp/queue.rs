//! One queue as a plain state machine: waiting and unacknowledged messages in their order, priorities, expiry, length
//! limit, and which messages die of what. "Now" is an argument.
//!
//! Who consumes, who gets a dead letter and what goes over the wire is not decided here.

use super::{
    arguments::Arguments,
    dead_letter::{Death, Reason},
    message::Message,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Where a message stands in its queue: smaller is earlier. A message keeps its position when it is delivered, so that
/// it can go back to it.
pub(super) type Position = u64;

/// A message in a queue.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) position: Position,
    pub(super) message: Arc<Message>,
    /// Within the queue's range; higher goes first.
    priority: u8,
    /// Whether it was delivered before.
    pub(super) redelivered: bool,
    /// `u64::MAX`: never.
    expires_at_us: u64,
}

/// The messages of one queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) arguments: Arguments,
    /// Messages without a priority, in ascending position: in most queues, all.
    ready: VecDeque<Entry>,
    /// Those with one, the most urgent first; none is empty. Each priority is a queue of its own, as in RabbitMQ.
    urgent: BTreeMap<Reverse<u8>, VecDeque<Entry>>,
    /// Delivered, awaiting their acknowledgement.
    unacked: BTreeMap<Position, Entry>,
    next_position: Position,
    /// Messages that clients have published to it; dead letters are not published.
    pub(super) published: u64,
    /// Messages taken from it, each as often as it was.
    pub(super) delivered: u64,
}

impl Queue {
    pub(super) fn new(arguments: Arguments) -> Self {
        Self { arguments, ..Self::default() }
    }

    /// Messages that wait for a consumer.
    pub(super) fn ready_count(&self) -> usize {
        self.ready.len() + self.urgent.values().map(VecDeque::len).sum::<usize>()
    }

    /// Messages that are delivered and not settled.
    pub(super) fn unacked_count(&self) -> usize {
        self.unacked.len()
    }

    /// All messages, delivered ones included.
    pub(super) fn depth(&self) -> usize {
        self.ready_count() + self.unacked.len()
    }

    /// The message that goes next: the oldest of the most urgent.
    fn head(&self) -> Option<&Entry> {
        self.urgent.first_key_value().map_or(&self.ready, |(_, level)| level).front()
    }

    fn pop_head(&mut self) -> Option<Entry> {
        let Some(mut level) = self.urgent.first_entry() else { return self.ready.pop_front() };
        let head = level.get_mut().pop_front();
        if level.get().is_empty() {
            level.remove();
        }
        head
    }

    fn level(&mut self, priority: u8) -> &mut VecDeque<Entry> {
        if priority == 0 { &mut self.ready } else { self.urgent.entry(Reverse(priority)).or_default() }
    }

    /// Appends a message. Call [`trim`](Self::trim) once consumers had their chance.
    pub(super) fn push(&mut self, message: Arc<Message>, now_us: u64) {
        let own_us = message.ttl_ms().map_or(u64::MAX, |ms| ms * 1_000);
        let ttl_us = own_us.min(self.arguments.message_ttl_us.unwrap_or(u64::MAX));
        let priority = self.arguments.priority_max.map_or(0, |max| message.priority().min(max));
        let position = self.next_position;
        self.next_position += 1;
        let expires_at_us = now_us.saturating_add(ttl_us);
        self.level(priority).push_back(Entry { position, message, priority, redelivered: false, expires_at_us });
    }

    /// Takes the message at the head, after those whose time is over. With `awaits_ack` it stays in the queue as
    /// unacknowledged, else it is gone.
    ///
    /// A message whose time ends at this very instant is still taken: a TTL of 0 means "now or never".
    pub(super) fn take(&mut self, now_us: u64, awaits_ack: bool, deaths: &mut Vec<Death>) -> Option<Entry> {
        while self.head().is_some_and(|head| head.expires_at_us < now_us) {
            self.drop_head(Reason::Expired, deaths);
        }
        let entry = self.pop_head()?;
        self.delivered += 1;
        if awaits_ack {
            self.unacked.insert(entry.position, Entry { redelivered: true, ..entry.clone() });
        }
        Some(entry)
    }

    /// Drops what is expired or too much, from the head on: an expired message behind one that lives on stays, and a
    /// more urgent one gives way before a less urgent one, as in RabbitMQ's classic queues.
    pub(super) fn trim(&mut self, now_us: u64, deaths: &mut Vec<Death>) {
        while self.head().is_some_and(|head| head.expires_at_us <= now_us) {
            self.drop_head(Reason::Expired, deaths);
        }
        while self.arguments.length_max.is_some_and(|max| self.ready_count() > max) {
            self.drop_head(Reason::MaxLen, deaths);
        }
    }

    fn drop_head(&mut self, reason: Reason, deaths: &mut Vec<Death>) {
        if let Some(head) = self.pop_head() {
            deaths.push((head.message, reason));
        }
    }

    /// Forgets a delivered message. `false` if it wasn't there.
    pub(super) fn ack(&mut self, position: Position) -> bool {
        self.unacked.remove(&position).is_some()
    }

    /// Lets a delivered message die.
    pub(super) fn reject(&mut self, position: Position, deaths: &mut Vec<Death>) {
        if let Some(entry) = self.unacked.remove(&position) {
            deaths.push((entry.message, Reason::Rejected));
        }
    }

    /// Puts a delivered message back where it was among those as urgent, marked as redelivered. Of many, requeue the
    /// last first: each then goes to the very front.
    pub(super) fn requeue(&mut self, position: Position) {
        let Some(entry) = self.unacked.remove(&position) else { return };
        let level = self.level(entry.priority);
        let at = match level.front() {
            Some(head) if head.position < position => level.partition_point(|e| e.position < position),
            _ => 0,
        };
        level.insert(at, entry);
    }

    /// Drops all waiting messages and says how many they were; delivered ones stay, and nothing dies.
    pub(super) fn purge(&mut self) -> usize {
        let count = self.ready_count();
        self.ready = VecDeque::new();
        self.urgent.clear();
        count
    }

    /// What a restart leaves: persistent messages, the delivered ones among them back in their places.
    pub(super) fn recover(&mut self) {
        while let Some((position, _)) = self.unacked.last_key_value() {
            self.requeue(*position);
        }
        self.ready.retain(|entry| entry.message.is_persistent());
        self.urgent.retain(|_, level| {
            level.retain(|entry| entry.message.is_persistent());
            !level.is_empty()
        });
    }

    /// When the head expires.
    pub(super) fn head_expires_at_us(&self) -> Option<u64> {
        self.head().map(|head| head.expires_at_us).filter(|at| *at != u64::MAX)
    }

    /// All messages in their order, the most urgent first, delivered ones included.
    pub(super) fn messages(&self) -> Vec<Arc<Message>> {
        let waiting = self.urgent.values().flatten().chain(&self.ready);
        let mut all: Vec<&Entry> = self.unacked.values().chain(waiting).collect();
        all.sort_by_key(|entry| (Reverse(entry.priority), entry.position));
        all.into_iter().map(|entry| Arc::clone(&entry.message)).collect()
    }
}
