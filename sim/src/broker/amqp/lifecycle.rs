//! How things end: connections and channels with all that hangs on them, queues whose time is over, and the broker's
//! process.

use super::{
    channel::Unacked,
    ids::{ChannelId, ConnectionId, QueueId},
    state::State,
};
use std::{collections::BTreeSet, mem};

impl State {
    /// Ends a connection: its exclusive queues go, its consumers end, its unacknowledged messages return to their
    /// queues.
    pub(super) fn disconnect(&mut self, id: ConnectionId) {
        self.close_channels(id);
        self.delete_exclusive_queues(id);
        self.faults.forget(id);
        if let Some(connection) = self.connections.remove(&id) {
            connection.signals.output.notify_one();
        }
        self.settle_deaths();
    }

    pub(super) fn delete_exclusive_queues(&mut self, id: ConnectionId) {
        let queues = self.connections.get(&id).map(|c| c.exclusive_queues.clone()).unwrap_or_default();
        for queue in queues {
            self.delete_queue(queue);
        }
    }

    pub(super) fn close_channels(&mut self, id: ConnectionId) {
        let channels = self.connections.get(&id).map(|c| c.channels.keys().copied().collect()).unwrap_or_default();
        for channel in Vec::into_iter(channels) {
            self.close_channel(ChannelId { connection: id, channel });
        }
    }

    /// Ends a channel's consumers and requeues what it hasn't acknowledged. Its number stays taken.
    pub(super) fn close_channel(&mut self, at: ChannelId) {
        self.send_confirm(at);
        let slot = self.connections.get_mut(&at.connection).and_then(|c| c.channels.get_mut(&at.channel));
        let Some(mut channel) = slot.and_then(Option::take) else { return };
        if let Some(consumer) = channel.reply_consumer.take() {
            self.reply_channels.remove(&consumer.name);
        }
        let mut touched = BTreeSet::new();
        // Consumers first, or the messages would go back to them.
        for consumer in mem::take(&mut channel.consumers).into_values() {
            touched.extend(self.remove_consumer(consumer));
        }
        for Unacked { queue, position, .. } in channel.settle_all().into_iter().rev() {
            if let Some(queue) = self.queues.get_mut(&queue) {
                queue.messages.requeue(position);
            }
            touched.insert(queue);
        }
        for queue in touched {
            self.pump(queue);
        }
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

    /// See [`Broker::restart`](super::Broker::restart).
    pub(super) fn restart(&mut self) {
        for connection in mem::take(&mut self.connections).into_values() {
            connection.signals.dropped.notify_one();
            connection.signals.output.notify_one();
        }
        self.faults.forget_all();
        self.consumers.clear();
        self.reply_channels.clear();
        self.schedule.clear();
        let names: Vec<Box<str>> = self.exchanges.keys().cloned().collect();
        for name in names {
            if self.exchanges.get(&name).is_some_and(|exchange| !exchange.durable) {
                self.remove_exchange(&name);
            }
        }
        let ids: Vec<QueueId> = self.queues.keys().copied().collect();
        for id in ids {
            let queue = self.queues.get_mut(&id).expect("nothing else removes queues here");
            queue.scheduled_us = None;
            if !queue.durable || queue.auto_delete || queue.owner.is_some() {
                self.delete_queue(id);
                continue;
            }
            queue.forget_consumers();
            queue.used_at_us = self.now_us;
            queue.messages.recover();
            self.pump(id);
        }
        self.settle_deaths();
    }
}
