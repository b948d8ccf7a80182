//! All that a broker process knows: queues by name, consumers, connections; and the coming and going of connections.
//!
//! Queues' coming and going is in `named_queue`, how messages move in `delivery`; what clients ask for by which method in `session`, `queue_methods` and
//! `basic_methods`; sockets in `connection`. Output is left, encoded, in each connection's outbox.

use super::{
    Config,
    channel::{Channel, Unacked},
    codec,
    exchange::Exchange,
    exchange_methods::predeclared,
    message::Message,
    named_queue::NamedQueue,
    queue::Death,
    session::Phase,
};
use amq_protocol::protocol::AMQPClass;
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};
use tokio::sync::Notify;

/// Output that waits for a slow reader before its consumers get nothing more, as RabbitMQ's credit flow between queue and
/// writer has it. Several times a socket's send buffer, so that it stays fed.
pub(super) const OUTBOX_HIGH_BYTES: usize = 256 * 1024;
/// Output that a connection may leave unread (confirms, returns, replies to `basic.get`) before it is dropped.
const OUTBOX_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A queue as long as it lives: one declared again under the same name is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueId(pub(super) u64);
/// A consumer of whichever connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConsumerId(pub(super) u64);
/// A connection, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnectionId(pub(super) u64);

/// A channel of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) connection: ConnectionId,
    pub(super) channel: u16,
}

/// A subscription of a channel to a queue.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) at: At,
    pub(super) tag: String,
    pub(super) queue: QueueId,
    pub(super) no_ack: bool,
    /// Most deliveries that may be unacknowledged. 0: no limit.
    pub(super) prefetch: u16,
    pub(super) unacked: u16,
}

/// How the tasks of a connection hear from the state.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// For the writer: there is output, or there will be none any more.
    pub(super) output: Notify,
    /// For the reader: the broker dropped the connection.
    pub(super) dropped: Notify,
    /// For the reader: the writer is done.
    pub(super) flushed: Notify,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) phase: Phase,
    pub(super) signals: Arc<Signals>,
    /// Negotiated.
    pub(super) frame_bytes_max: u32,
    pub(super) channel_max: u16,
    pub(super) heartbeat_s: u16,
    /// Who has logged in.
    pub(super) user: Box<str>,
    /// Whether the client wants to hear that a consumer ended with its queue.
    pub(super) cancel_notify: bool,
    /// `None`: closed by us, its `channel.close-ok` is still to come.
    pub(super) channels: BTreeMap<u16, Option<Channel>>,
    /// Channels with confirms to be sent when the frames at hand are done.
    pub(super) to_confirm: BTreeSet<u16>,
    pub(super) exclusive_queues: BTreeSet<QueueId>,
    /// Encoded frames for the writer.
    outbox: Vec<u8>,
    /// What the writer has taken and not yet written.
    writing_bytes: usize,
}

impl Connection {
    pub(super) fn unsent_bytes(&self) -> usize {
        self.outbox.len() + self.writing_bytes
    }

    pub(super) fn channel(&mut self, channel: u16) -> Option<&mut Channel> {
        self.channels.get_mut(&channel)?.as_mut()
    }

    pub(super) fn append(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        if self.outbox.is_empty() {
            self.signals.output.notify_one();
        }
        put(&mut self.outbox);
    }
}

/// The broker's state. Every entry point sets [`now_us`](Self::set_now) first.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) now_us: u64,
    /// Wall-clock time at `now_us` 0.
    pub(super) unix_us_at_start: u64,
    pub(super) names: BTreeMap<Arc<str>, QueueId>,
    pub(super) queues: BTreeMap<QueueId, NamedQueue>,
    /// All but the default one.
    pub(super) exchanges: BTreeMap<Box<str>, Exchange>,
    pub(super) consumers: BTreeMap<ConsumerId, Consumer>,
    /// Open channels that consume direct replies, by what their requests have in `reply_to`.
    pub(super) reply_channels: BTreeMap<Box<str>, At>,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    /// Queues with something to do at a time: a head that expires, a queue that does.
    pub(super) schedule: BTreeSet<(u64, QueueId)>,
    /// For the timer: the schedule begins earlier now.
    pub(super) rescheduled: Arc<Notify>,
    last_id: u64,
    last_generated_name: u64,
    /// Died, not yet gone where its queue wants it.
    pub(super) deaths: Vec<(QueueId, Vec<Death>)>,
}

impl State {
    pub(super) fn new(config: Config) -> Self {
        Self { config, exchanges: predeclared(), ..Self::default() }
    }

    pub(super) fn set_now(&mut self, now_us: u64) {
        self.now_us = self.now_us.max(now_us);
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// A number for a generated queue name or consumer tag.
    pub(super) fn next_name(&mut self) -> u64 {
        self.last_generated_name += 1;
        self.last_generated_name
    }

    pub(super) fn connect(&mut self) -> (ConnectionId, Arc<Signals>) {
        let id = ConnectionId(self.next_id());
        let signals = Arc::new(Signals::default());
        let connection = Connection {
            phase: Phase::Header,
            signals: Arc::clone(&signals),
            frame_bytes_max: self.config.frame_bytes_max,
            channel_max: self.config.channel_max,
            heartbeat_s: 0,
            user: Box::default(),
            cancel_notify: false,
            channels: BTreeMap::new(),
            to_confirm: BTreeSet::new(),
            exclusive_queues: BTreeSet::new(),
            outbox: Vec::new(),
            writing_bytes: 0,
        };
        self.connections.insert(id, connection);
        (id, signals)
    }

    /// Ends a connection: its exclusive queues go, its consumers end, its unacknowledged messages return to their queues.
    pub(super) fn disconnect(&mut self, id: ConnectionId) {
        self.close_channels(id);
        self.delete_exclusive_queues(id);
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

    /// How far a connection has come. One that the broker has forgotten is at its end.
    pub(super) fn phase(&self, id: ConnectionId) -> Phase {
        self.connections.get(&id).map_or(Phase::Ended, |connection| connection.phase)
    }

    /// After how much silence of the peer the connection is dropped: two heartbeats (section 4.2.7).
    pub(super) fn silence_max(&self, id: ConnectionId) -> Option<Duration> {
        self.heartbeat_interval(id).map(|interval| interval * 4)
    }

    /// After how much silence of our own a heartbeat is due: half the negotiated time, as RabbitMQ has it.
    pub(super) fn heartbeat_interval(&self, id: ConnectionId) -> Option<Duration> {
        let heartbeat_s = self.connections.get(&id).map_or(0, |connection| connection.heartbeat_s);
        (heartbeat_s > 0).then(|| Duration::from_secs(heartbeat_s.into()) / 2)
    }

    pub(super) fn close_channels(&mut self, id: ConnectionId) {
        let channels = self.connections.get(&id).map(|c| c.channels.keys().copied().collect()).unwrap_or_default();
        for channel in Vec::into_iter(channels) {
            self.close_channel(At { connection: id, channel });
        }
    }

    /// Ends a channel's consumers and requeues what it hasn't acknowledged. Its number stays taken.
    pub(super) fn close_channel(&mut self, at: At) {
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

    /// Leaves a method for the writer.
    pub(super) fn send(&mut self, at: At, class: AMQPClass) {
        self.append(at.connection, |out| codec::put_method(out, at.channel, class));
    }

    /// Leaves a method with content for the writer.
    pub(super) fn send_content(&mut self, at: At, class: AMQPClass, message: &Message) {
        let frame_bytes_max = self.connections.get(&at.connection).map_or(u32::MAX, |c| c.frame_bytes_max);
        self.append(at.connection, |out| {
            codec::put_method(out, at.channel, class);
            codec::put_content(out, at.channel, message, frame_bytes_max);
        });
    }

    pub(super) fn append(&mut self, id: ConnectionId, put: impl FnOnce(&mut Vec<u8>)) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.append(put);
        if connection.unsent_bytes() > OUTBOX_BYTES_MAX {
            tracing::warn!(connection = id.0, "peer left {OUTBOX_BYTES_MAX} bytes unread: connection dropped");
            connection.signals.dropped.notify_one();
        }
    }

    /// Sends the confirm that is due on a channel.
    pub(super) fn send_confirm(&mut self, at: At) {
        let Some(connection) = self.connections.get_mut(&at.connection) else { return };
        connection.to_confirm.remove(&at.channel);
        let due = connection.channel(at.channel).and_then(Channel::take_confirm);
        if let Some((delivery_tag, multiple)) = due {
            self.append(at.connection, |out| codec::put_ack(out, at.channel, delivery_tag, multiple));
        }
    }

    /// All output so far, and whether it is the last.
    pub(super) fn take_output(&mut self, id: ConnectionId) -> (Vec<u8>, bool) {
        let Some(connection) = self.connections.get_mut(&id) else { return (Vec::new(), true) };
        connection.writing_bytes = connection.outbox.len();
        (mem::take(&mut connection.outbox), connection.phase.is_over())
    }

    /// What [`take_output`](Self::take_output) gave was written; consumers that waited for that go on.
    pub(super) fn written(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let was_full = mem::take(&mut connection.writing_bytes) + connection.outbox.len() > OUTBOX_HIGH_BYTES;
        if was_full {
            let channels: Vec<u16> = connection.channels.keys().copied().collect();
            for channel in channels {
                self.unblock_channel(At { connection: id, channel });
            }
            self.settle_deaths();
        }
    }

    /// See [`Broker::restart`](super::Broker::restart).
    pub(super) fn restart(&mut self) {
        for connection in mem::take(&mut self.connections).into_values() {
            connection.signals.dropped.notify_one();
            connection.signals.output.notify_one();
        }
        self.consumers.clear();
        self.reply_channels.clear();
        self.schedule.clear();
        self.exchanges.retain(|_, exchange| exchange.durable);
        let ids: Vec<QueueId> = self.queues.keys().copied().collect();
        for id in ids {
            let queue = self.queues.get_mut(&id).expect("nothing else removes queues here");
            queue.scheduled_us = None;
            if !queue.durable || queue.auto_delete || queue.owner.is_some() {
                self.delete_queue(id);
                continue;
            }
            queue.consumers.clear();
            queue.rotation.clear();
            queue.exclusively_consumed = false;
            queue.used_at_us = self.now_us;
            queue.messages.recover();
            self.pump(id);
        }
        self.settle_deaths();
    }
}
