//! Queues as clients know them: with a name, an owner and consumers. How they come and go, and what is due when.

use super::{
    queue::Queue,
    state::{ConnectionId, Consumer, ConsumerId, QueueId, State},
};
use amq_protocol::protocol::{
    AMQPClass,
    basic::{AMQPMethod, Cancel},
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

impl State {
    pub(super) fn create_queue(&mut self, queue: NamedQueue) -> QueueId {
        let id = QueueId(self.next_id());
        if let Some(owner) = queue.owner.and_then(|owner| self.connections.get_mut(&owner)) {
            owner.exclusive_queues.insert(id);
        }
        self.names.insert(Arc::clone(&queue.name), id);
        self.queues.insert(id, queue);
        self.reschedule(id);
        id
    }

    /// Removes a queue with its messages, which don't die; its consumers end and, if they asked for it, are told.
    pub(super) fn delete_queue(&mut self, id: QueueId) -> Option<NamedQueue> {
        let queue = self.queues.remove(&id)?;
        self.names.remove(&queue.name);
        self.unbind_everywhere(id);
        if let Some(at_us) = queue.scheduled_us {
            self.schedule.remove(&(at_us, id));
        }
        if let Some(owner) = queue.owner.and_then(|owner| self.connections.get_mut(&owner)) {
            owner.exclusive_queues.remove(&id);
        }
        for consumer in &queue.consumers {
            let Some(Consumer { at, tag, .. }) = self.consumers.remove(consumer) else { continue };
            let Some(connection) = self.connections.get_mut(&at.connection) else { continue };
            if let Some(channel) = connection.channel(at.channel) {
                channel.consumers.remove(&tag);
                channel.blocked.retain(|other| other != consumer);
            }
            if connection.cancel_notify {
                let cancel = Cancel { consumer_tag: tag.into(), nowait: true };
                self.send(at, AMQPClass::Basic(AMQPMethod::Cancel(cancel)));
            }
        }
        Some(queue)
    }

    /// Keeps the schedule true to what a queue has to do next.
    pub(super) fn reschedule(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let idle_since = queue.consumers.is_empty().then_some(queue.used_at_us);
        let queue_us = queue.messages.arguments.expires_us.and_then(|us| idle_since.map(|since| since + us));
        let next = [queue_us, queue.messages.head_expires_at_us()].into_iter().flatten().min();
        if next == queue.scheduled_us {
            return;
        }
        let earliest = self.schedule.first().map_or(u64::MAX, |(at_us, _)| *at_us);
        if let Some(at_us) = queue.scheduled_us {
            self.schedule.remove(&(at_us, id));
        }
        queue.scheduled_us = next;
        if let Some(at_us) = next {
            self.schedule.insert((at_us, id));
            if at_us < earliest {
                self.rescheduled.notify_one();
            }
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn next_expiry_us(&self) -> Option<u64> {
        self.schedule.first().map(|(at_us, _)| *at_us)
    }

    /// Does all that is due.
    pub(super) fn expire(&mut self) {
        while let Some(&(at_us, id)) = self.schedule.first().filter(|(at_us, _)| *at_us <= self.now_us) {
            self.schedule.remove(&(at_us, id));
            let queue = self.queues.get_mut(&id).expect("the schedule holds queues");
            queue.scheduled_us = None;
            let idle_until = queue.messages.arguments.expires_us.map(|us| queue.used_at_us + us);
            if queue.consumers.is_empty() && idle_until.is_some_and(|until| until <= self.now_us) {
                self.delete_queue(id);
            } else {
                self.pump(id);
            }
        }
        self.settle_deaths();
    }
}
