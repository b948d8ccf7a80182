//! Queues as clients know them: with a name, an owner and consumers.

use super::{
    ids::{ConnectionId, ConsumerId},
    queue::Queue,
};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

/// A consumer's place in the rotation.
#[derive(Clone, Copy, Debug)]
struct Turn {
    priority: i64,
    consumer: ConsumerId,
}

/// A queue with its name, its owner and its consumers.
#[derive(Debug)]
pub(super) struct NamedQueue {
    pub(super) name: Arc<str>,
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    /// The connection that declared it, if it is exclusive.
    pub(super) owner: Option<ConnectionId>,
    pub(super) messages: Queue,
    /// All consumers.
    pub(super) consumers: BTreeSet<ConsumerId>,
    /// Those that may have room, the next to be served first: of the highest priority, the one that waits longest.
    rotation: VecDeque<Turn>,
    /// Whether the one consumer wants to stay alone.
    pub(super) exclusively_consumed: bool,
    /// Last time it was declared, consumed or read (`x-expires`).
    pub(super) used_at_us: u64,
    /// Its entry in the schedule.
    pub(super) scheduled_us: Option<u64>,
}

impl NamedQueue {
    pub(super) fn new(name: Arc<str>, messages: Queue, now_us: u64) -> Self {
        Self {
            name,
            durable: false,
            auto_delete: false,
            owner: None,
            messages,
            consumers: BTreeSet::new(),
            rotation: VecDeque::new(),
            exclusively_consumed: false,
            used_at_us: now_us,
            scheduled_us: None,
        }
    }

    /// The consumer that is to be served.
    pub(super) fn next_consumer(&self) -> Option<ConsumerId> {
        self.rotation.front().map(|turn| turn.consumer)
    }

    /// The one that is to be served was: it is the last of its priority now.
    pub(super) fn end_turn(&mut self) {
        if let Some(turn) = self.rotation.pop_front() {
            self.join_rotation(turn.consumer, turn.priority);
        }
    }

    /// The one that is to be served has no room.
    pub(super) fn skip_turn(&mut self) {
        self.rotation.pop_front();
    }

    /// Lets a consumer with room be served when those before it were.
    pub(super) fn join_rotation(&mut self, consumer: ConsumerId, priority: i64) {
        let turn = Turn { priority, consumer };
        match self.rotation.back() {
            Some(last) if last.priority < priority => {
                let at = self.rotation.partition_point(|other| other.priority >= priority);
                self.rotation.insert(at, turn);
            }
            _ => self.rotation.push_back(turn),
        }
    }

    /// A consumer ends, if it is one that has room.
    pub(super) fn leave_rotation(&mut self, consumer: ConsumerId) {
        self.rotation.retain(|turn| turn.consumer != consumer);
    }

    /// All consumers end.
    pub(super) fn forget_consumers(&mut self) {
        self.consumers.clear();
        self.rotation.clear();
        self.exclusively_consumed = false;
    }
}
