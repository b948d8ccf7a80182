//! How messages move: into the queue that a routing key names, to consumers in turn as far as their prefetch and their
//! connection let them, and from one queue to another when they die.

use super::{
    channel::Unacked,
    codec,
    dead_letter::{Death, Reason},
    exchange::Destination,
    ids::{ChannelId, ConnectionId, ConsumerId, QueueId},
    message::Message,
    state::{Consumer, State},
};
use std::{collections::BTreeSet, mem, sync::Arc};

impl State {
    /// Puts a message into the queues that its exchange finds for its routing key, or gives it back if there are none.
    pub(super) fn route(&mut self, message: Message) -> Result<(), Message> {
        if message.exchange().is_empty() {
            self.reply_directly(&message);
        }
        let queues = self.reached(&message);
        if queues.is_empty() {
            return Err(message);
        }
        let message = Arc::new(message);
        for id in queues {
            self.queues.get_mut(&id).expect("names and bindings are of queues that are there").messages.published += 1;
            self.enqueue(id, Arc::clone(&message));
        }
        Ok(())
    }

    /// The queues that a message goes to, each once, whichever ways lead there.
    fn reached(&self, message: &Message) -> BTreeSet<QueueId> {
        if message.exchange().is_empty() {
            return message.routing_keys().filter_map(|key| self.names.get(key).copied()).collect();
        }
        let mut queues = BTreeSet::new();
        let mut visited = BTreeSet::from([message.exchange()]);
        let mut ahead = vec![message.exchange()];
        while let Some(name) = ahead.pop() {
            let Some(exchange) = self.exchanges.get(name) else { continue };
            let destinations = exchange.route(message);
            if destinations.is_empty()
                && let Some(alternate) = &exchange.alternate
                && visited.insert(alternate)
            {
                ahead.push(alternate);
            }
            for destination in destinations {
                match destination {
                    Destination::Queue(id) => drop(queues.insert(*id)),
                    Destination::Exchange(name) if visited.insert(name) => ahead.push(name),
                    Destination::Exchange(_) => {}
                }
            }
        }
        queues
    }

    fn enqueue(&mut self, id: QueueId, message: Arc<Message>) {
        let queue = self.queues.get_mut(&id).expect("names and bindings are of queues that are there");
        queue.messages.push(message, self.now_us);
        self.pump(id);
    }

    /// Puts a dead letter where it belongs; where it has been before and would circle, it is dropped. Nobody is told
    /// when there is no such queue or no such exchange.
    fn route_dead_letter(&mut self, letter: Message, reason: Reason) {
        let queues = self.reached(&letter);
        let letter = Arc::new(letter);
        for id in queues {
            if reason == Reason::Rejected || !letter.circles_through(&self.queues[&id].name) {
                self.enqueue(id, Arc::clone(&letter));
            }
        }
    }

    /// Gives a queue's messages to its consumers with room, in turn, and drops what then is expired or too much.
    pub(super) fn pump(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let mut deaths = Vec::new();
        while queue.messages.ready_count() > 0 {
            let Some(consumer_id) = queue.next_consumer() else { break };
            let consumer = self.consumers.get_mut(&consumer_id).expect("the rotation holds consumers");
            let ChannelId { connection, channel: number } = consumer.at;
            let connection = self.connections.get_mut(&connection).expect("a consumer has a connection");
            let congested = connection.is_congested();
            let frame_bytes_max = connection.frame_bytes_max;
            let channel = connection.channel(number).expect("a consumer has an open channel");
            let room = consumer.no_ack
                || ((consumer.prefetch == 0 || consumer.unacked < consumer.prefetch) && channel.has_room());
            if congested || !room {
                queue.skip_turn();
                channel.blocked.push(consumer_id);
                continue;
            }
            let Some(entry) = queue.messages.take(self.now_us, !consumer.no_ack, &mut deaths) else { break };
            queue.end_turn();
            let unacked = Unacked { queue: id, position: entry.position, consumer: Some(consumer_id) };
            let tag = channel.deliver((!consumer.no_ack).then_some(unacked));
            consumer.unacked = consumer.unacked.saturating_add(u16::from(!consumer.no_ack));
            connection.append(|out| {
                let Consumer { tag: name, .. } = consumer;
                codec::put_delivery(out, number, name, tag, entry.redelivered, &entry.message, frame_bytes_max);
            });
        }
        queue.messages.trim(self.now_us, &mut deaths);
        self.bury(id, deaths);
        self.reschedule(id);
    }

    /// Keeps what died for [`settle_deaths`](Self::settle_deaths).
    pub(super) fn bury(&mut self, id: QueueId, deaths: Vec<Death>) {
        if !deaths.is_empty() {
            self.deaths.push((id, deaths));
        }
    }

    /// Sends the dead to where their queues want them. Messages that circle without end are dropped, so this ends.
    pub(super) fn settle_deaths(&mut self) {
        while !self.deaths.is_empty() {
            for (id, deaths) in mem::take(&mut self.deaths) {
                let Some(queue) = self.queues.get(&id) else { continue };
                let Some(exchange) = queue.messages.arguments.dead_letter_exchange.clone() else { continue };
                let name = Arc::clone(&queue.name);
                let key = queue.messages.arguments.dead_letter_routing_key.clone();
                let unix_s = (self.unix_us_at_start + self.now_us) / 1_000_000;
                for (message, reason) in deaths {
                    let letter = message.dead_lettered(&name, reason, unix_s, (&exchange, key.as_deref()));
                    self.route_dead_letter(letter, reason);
                }
            }
        }
    }

    /// Adds a consumer and serves it.
    pub(super) fn add_consumer(&mut self, consumer: Consumer, exclusive: bool) {
        let id = ConsumerId(self.next_id());
        let queue_id = consumer.queue;
        let queue = self.queues.get_mut(&queue_id).expect("the caller looked the queue up");
        queue.consumers.insert(id);
        queue.join_rotation(id, consumer.priority);
        queue.exclusively_consumed = exclusive;
        let channel = self.connections.get_mut(&consumer.at.connection).and_then(|c| c.channel(consumer.at.channel));
        channel.expect("the caller's channel is open").consumers.insert(consumer.tag.clone(), id);
        self.consumers.insert(id, consumer);
        self.pump(queue_id);
    }

    /// A consumer's channel forgets its tag.
    pub(super) fn forget_consumer(&mut self, at: ChannelId, tag: &str, id: ConsumerId) {
        let channel = self.connections.get_mut(&at.connection).and_then(|connection| connection.channel(at.channel));
        if let Some(channel) = channel {
            channel.consumers.remove(tag);
            channel.blocked.retain(|other| *other != id);
        }
    }

    /// Ends a consumer whose tag its channel has forgotten already; an auto-delete queue goes with its last one. The
    /// queue, if it is still there.
    pub(super) fn remove_consumer(&mut self, id: ConsumerId) -> Option<QueueId> {
        let consumer = self.consumers.remove(&id)?;
        let queue = self.queues.get_mut(&consumer.queue)?;
        queue.consumers.remove(&id);
        queue.leave_rotation(id);
        queue.exclusively_consumed = false;
        queue.used_at_us = self.now_us;
        if queue.auto_delete && queue.consumers.is_empty() {
            self.delete_queue(consumer.queue);
            return None;
        }
        self.reschedule(consumer.queue);
        Some(consumer.queue)
    }

    /// A consumer's delivery was settled: it may have room again.
    pub(super) fn credit(&mut self, at: ChannelId, settled: &[Unacked]) {
        for id in settled.iter().filter_map(|unacked| unacked.consumer) {
            if let Some(consumer) = self.consumers.get_mut(&id) {
                consumer.unacked = consumer.unacked.saturating_sub(1);
            }
        }
        let channel = self.connections.get_mut(&at.connection).and_then(|c| c.channel(at.channel));
        let Some(channel) = channel.filter(|channel| !channel.blocked.is_empty()) else { return };
        if channel.channel_prefetch > 0 {
            self.unblock_channel(at);
            return;
        }
        let freed: BTreeSet<ConsumerId> = settled.iter().filter_map(|unacked| unacked.consumer).collect();
        let freed: Vec<ConsumerId> = channel.blocked.extract_if(.., |id| freed.contains(id)).collect();
        self.resume(&freed);
    }

    /// What [`take_output`](Self::take_output) gave was written; consumers that waited for that go on.
    pub(super) fn written(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.finish_write() {
            let channels: Vec<u16> = connection.channels.keys().copied().collect();
            for channel in channels {
                self.unblock_channel(ChannelId { connection: id, channel });
            }
            self.settle_deaths();
        }
    }

    /// Lets all consumers of a channel try again.
    pub(super) fn unblock_channel(&mut self, at: ChannelId) {
        let channel = self.connections.get_mut(&at.connection).and_then(|c| c.channel(at.channel));
        let blocked = channel.map(|channel| mem::take(&mut channel.blocked)).unwrap_or_default();
        self.resume(&blocked);
    }

    /// Lets consumers join their queues' rotations again, all of them before any is served.
    fn resume(&mut self, consumers: &[ConsumerId]) {
        let mut touched = BTreeSet::new();
        for id in consumers {
            let Some(&Consumer { queue, priority, .. }) = self.consumers.get(id) else { continue };
            self.queues.get_mut(&queue).expect("a consumer has a queue").join_rotation(*id, priority);
            touched.insert(queue);
        }
        for queue in touched {
            self.pump(queue);
        }
    }
}
