//! All that a broker process knows: queues by name, consumers, connections. What is done with it is in the modules
//! above.
//!
//! Output is left, encoded, in each connection's write buffer.

use super::{
    channel::Channel,
    codec,
    config::Config,
    dead_letter::Death,
    exchange::{Exchange, predeclared},
    faults::Faults,
    ids::{ChannelId, ConnectionId, ConsumerId, QueueId},
    message::Message,
    named_queue::NamedQueue,
    phase::Phase,
};
use amq_protocol::protocol::AMQPClass;
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::sync::Notify;

/// Output that waits for a slow reader before its consumers get nothing more, as RabbitMQ's credit flow between queue
/// and writer has it. Several times a socket's send buffer, so that it stays fed.
const WRITE_BUFFER_HIGH_BYTES: usize = 256 * 1024;
/// Output that a connection may leave unread (confirms, returns, replies to `basic.get`) before it is dropped.
const WRITE_BUFFER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A buffer that grew beyond this in a burst is given back after it.
const IDLE_BUFFER_BYTES_MAX: usize = 16 * 1024;

/// A subscription of a channel to a queue.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) at: ChannelId,
    pub(super) tag: String,
    pub(super) queue: QueueId,
    pub(super) no_ack: bool,
    /// Those of its queue with a lower one get only what it has no room for (`x-priority`).
    pub(super) priority: i64,
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
    /// Nothing more is to be read from the client for now.
    pub(super) is_blocked: AtomicBool,
    /// For the reader: that is over.
    pub(super) unblocked: Notify,
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
    /// Whether the client wants to hear that it is read no more.
    pub(super) blocked_notify: bool,
    /// It has published.
    pub(super) publishes: bool,
    /// `None`: closed by us, its `channel.close-ok` is still to come.
    pub(super) channels: BTreeMap<u16, Option<Channel>>,
    /// Channels with confirms to be sent when the frames at hand are done.
    pub(super) to_confirm: BTreeSet<u16>,
    pub(super) exclusive_queues: BTreeSet<QueueId>,
    /// Encoded frames for the writer.
    write_buffer: Vec<u8>,
    /// What the writer has taken and not yet written.
    writing_bytes: usize,
}

impl Connection {
    fn unsent_bytes(&self) -> usize {
        self.write_buffer.len() + self.writing_bytes
    }

    /// So much is unsent that consumers have to wait.
    pub(super) fn is_congested(&self) -> bool {
        self.unsent_bytes() > WRITE_BUFFER_HIGH_BYTES
    }

    /// What the writer has taken is written. Whether consumers had to wait for that.
    pub(super) fn finish_write(&mut self) -> bool {
        let was_congested = self.is_congested();
        self.writing_bytes = 0;
        was_congested
    }

    pub(super) fn channel(&mut self, channel: u16) -> Option<&mut Channel> {
        self.channels.get_mut(&channel)?.as_mut()
    }

    pub(super) fn append(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        if self.write_buffer.is_empty() {
            self.signals.output.notify_one();
        }
        put(&mut self.write_buffer);
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
    pub(super) reply_channels: BTreeMap<Box<str>, ChannelId>,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    /// Queues with something to do at a time: a head that expires, a queue that does.
    pub(super) schedule: BTreeSet<(u64, QueueId)>,
    /// For the timer: the schedule begins earlier now.
    pub(super) rescheduled: Arc<Notify>,
    last_id: u64,
    last_generated_name: u64,
    /// Died, not yet gone where its queue wants it.
    pub(super) deaths: Vec<(QueueId, Vec<Death>)>,
    pub(super) faults: Faults,
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
            blocked_notify: false,
            publishes: false,
            channels: BTreeMap::new(),
            to_confirm: BTreeSet::new(),
            exclusive_queues: BTreeSet::new(),
            write_buffer: Vec::new(),
            writing_bytes: 0,
        };
        self.connections.insert(id, connection);
        (id, signals)
    }

    /// How far a connection has come. One that the broker has forgotten is at its end.
    pub(super) fn phase(&self, id: ConnectionId) -> Phase {
        self.connections.get(&id).map_or(Phase::Ended, |connection| connection.phase)
    }

    pub(super) fn set_phase(&mut self, id: ConnectionId, phase: Phase) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.phase = phase;
            connection.signals.output.notify_one();
        }
    }

    /// The channel that a method has come on.
    pub(super) fn open_channel(&mut self, at: ChannelId) -> &mut Channel {
        let connection = self.connections.get_mut(&at.connection).expect("a method comes on a connection");
        connection.channel(at.channel).expect("a method comes on an open channel")
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

    /// Leaves a method for the writer.
    pub(super) fn send(&mut self, at: ChannelId, class: AMQPClass) {
        self.append(at.connection, |out| codec::put_method(out, at.channel, class));
    }

    /// Leaves a method with content for the writer.
    pub(super) fn send_content(&mut self, at: ChannelId, class: AMQPClass, message: &Message) {
        let frame_bytes_max = self.connections.get(&at.connection).map_or(u32::MAX, |c| c.frame_bytes_max);
        self.append(at.connection, |out| {
            codec::put_method(out, at.channel, class);
            codec::put_content(out, at.channel, message, frame_bytes_max);
        });
    }

    pub(super) fn append(&mut self, id: ConnectionId, put: impl FnOnce(&mut Vec<u8>)) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.append(put);
        if connection.unsent_bytes() > WRITE_BUFFER_BYTES_MAX {
            tracing::warn!(connection = id.0, "peer left {WRITE_BUFFER_BYTES_MAX} bytes unread: connection dropped");
            connection.signals.dropped.notify_one();
        }
    }

    /// Sends the confirm that is due on a channel.
    pub(super) fn send_confirm(&mut self, at: ChannelId) {
        let Some(connection) = self.connections.get_mut(&at.connection) else { return };
        if connection.to_confirm.contains(&at.channel) && self.faults.holds_confirm() {
            return;
        }
        connection.to_confirm.remove(&at.channel);
        let due = connection.channel(at.channel).and_then(Channel::take_confirm);
        if let Some((delivery_tag, multiple)) = due {
            self.append(at.connection, |out| codec::put_ack(out, at.channel, delivery_tag, multiple));
        }
    }

    /// All output so far, and whether it is the last. `spent` is a buffer to be used again.
    pub(super) fn take_output(&mut self, id: ConnectionId, mut spent: Vec<u8>) -> (Vec<u8>, bool) {
        let Some(connection) = self.connections.get_mut(&id) else { return (Vec::new(), true) };
        spent.clear();
        if spent.capacity() > IDLE_BUFFER_BYTES_MAX {
            spent = Vec::new();
        }
        connection.writing_bytes = connection.write_buffer.len();
        (mem::replace(&mut connection.write_buffer, spent), connection.phase.is_over())
    }
}
