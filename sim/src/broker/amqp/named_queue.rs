//! Queues as clients know them: with a name, an owner and consumers.

use super::{
    ids::{ConnectionId, ConsumerId},
    queue::Queue,
};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

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
    /// Those that may have room, the next to be served first.
    pub(super) rotation: VecDeque<ConsumerId>,
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
}
