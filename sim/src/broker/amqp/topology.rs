//! What the broker has by name, queues and exchanges: how it is found, how it comes and goes, and what is due when.

use super::{
    exchange::{Destination, Exchange},
    ids::{ChannelId, QueueId},
    named_queue::NamedQueue,
    refusal::Refusal,
    state::{Consumer, State},
};
use amq_protocol::protocol::{
    AMQPClass,
    basic::{AMQPMethod, Cancel},
};
use std::sync::Arc;

impl State {
    /// The queue of that name, open to this connection. An empty name means the one declared last on the channel.
    ///
    /// # Errors
    /// 404 if there is none; 405 if it is another connection's.
    pub(super) fn find_queue(&mut self, at: ChannelId, name: &str) -> Result<QueueId, Refusal> {
        let last;
        let name = if name.is_empty() {
            let channel = self.connections.get_mut(&at.connection).and_then(|c| c.channel(at.channel));
            last = channel.map(|channel| channel.last_queue.clone()).unwrap_or_default();
            if last.is_empty() {
                return Err(Refusal::not_found("no previously declared queue".into()));
            }
            &last
        } else {
            name
        };
        let Some(&id) = self.names.get(name) else {
            return Err(Refusal::not_found(format!("no queue '{name}' in vhost '/'")));
        };
        match self.queues[&id].owner {
            Some(owner) if owner != at.connection => Err(Refusal::locked_queue(name)),
            _ => Ok(id),
        }
    }

    /// The exchange of that name, which must not be the default one.
    ///
    /// # Errors
    /// 403 for the default one; 404 if there is none.
    pub(super) fn find_exchange(&mut self, name: &str) -> Result<&mut Exchange, Refusal> {
        if name.is_empty() {
            return Err(Refusal::access_refused("operation not permitted on the default exchange".into()));
        }
        let exchange = self.exchanges.get_mut(name);
        exchange.ok_or_else(|| Refusal::not_found(format!("no exchange '{name}' in vhost '/'")))
    }

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
        self.unbind_everywhere(Destination::Queue(id));
        if let Some(at_us) = queue.scheduled_us {
            self.schedule.remove(&(at_us, id));
        }
        if let Some(owner) = queue.owner.and_then(|owner| self.connections.get_mut(&owner)) {
            owner.exclusive_queues.remove(&id);
        }
        for consumer in &queue.consumers {
            let Some(Consumer { at, tag, .. }) = self.consumers.remove(consumer) else { continue };
            self.forget_consumer(at, &tag, *consumer);
            if self.connections.get(&at.connection).is_some_and(|connection| connection.cancel_notify) {
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

    /// Something is gone that bindings led to: so are these, and exchanges that end with the last of theirs.
    fn unbind_everywhere(&mut self, gone: Destination) {
        let mut gone = vec![gone];
        while let Some(destination) = gone.pop() {
            self.exchanges.retain(|name, exchange| {
                let ends = exchange.forget(&destination) && exchange.auto_delete && exchange.binding_count() == 0;
                if ends {
                    gone.push(Destination::Exchange(name.clone()));
                }
                !ends
            });
        }
    }

    /// Removes an exchange with all bindings from it and to it.
    pub(super) fn remove_exchange(&mut self, name: &str) {
        if let Some((name, _)) = self.exchanges.remove_entry(name) {
            self.unbind_everywhere(Destination::Exchange(name));
        }
    }
}
