//! What goes wrong at a RabbitMQ that lives on: alarms, late confirms, consumers and connections that it ends. Each
//! returns how much it hit.

use super::{
    broker::Broker,
    ids::{ChannelId, ConnectionId},
    refusal::Refusal,
    state::{Consumer, State},
};
use amq_protocol::protocol::{
    AMQPClass,
    basic::{AMQPMethod as Basic, Cancel},
    connection::{AMQPMethod as Method, Blocked, Unblocked},
};
use std::{collections::BTreeSet, sync::atomic::Ordering::Relaxed};

/// What RabbitMQ says of `consumer_timeout`, with its default.
const DELIVERY_TIMEOUT: &str = "delivery acknowledgement on channel timed out. Timeout value used: 1800000 ms. This \
                                timeout value can be configured, see consumers doc guide to learn more";

/// What lasts, counted: faults may overlap.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Memory or disk space is short: what publishes is not read.
    alarms: u32,
    /// Connections that are read no more for it.
    blocked: BTreeSet<ConnectionId>,
    /// How many there were.
    ever_blocked: usize,
    /// Confirms wait.
    confirms_held: u32,
    /// Confirms that waited.
    late_confirms: u64,
}

impl Faults {
    /// This connection is gone.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.blocked.remove(&id);
    }

    /// All connections are gone. What lasts, lasts.
    pub(super) fn forget_all(&mut self) {
        self.blocked.clear();
    }

    /// Whether confirms wait now; one more does.
    pub(super) fn holds_confirm(&mut self) -> bool {
        self.late_confirms += u64::from(self.confirms_held > 0);
        self.confirms_held > 0
    }
}

impl Broker {
    /// Begins to lack memory, as RabbitMQ does above `vm_memory_high_watermark`: from now on it reads nothing more from
    /// connections that publish, and tells those that want to know.
    pub fn raise_alarm(&self) {
        let mut state = self.state();
        state.faults.alarms += 1;
        let publishers = state.connections.iter().filter(|(_, connection)| connection.publishes).map(|(id, _)| *id);
        for id in publishers.collect::<Vec<_>>() {
            state.block(id);
        }
    }

    /// The lack is over. Returns how many connections had to wait.
    pub fn clear_alarm(&self) -> usize {
        let mut state = self.state();
        state.faults.alarms -= 1;
        let count = state.faults.ever_blocked;
        if state.faults.alarms == 0 {
            state.faults.ever_blocked = 0;
            for id in std::mem::take(&mut state.faults.blocked) {
                state.unblock(id);
            }
        }
        count
    }

    /// From now on it confirms nothing, while it takes and keeps messages as always.
    pub fn hold_confirms(&self) {
        self.state().faults.confirms_held += 1;
    }

    /// All confirms that have waited are sent, if nobody else holds them. Returns how often one had to wait.
    pub fn release_confirms(&self) -> u64 {
        let mut state = self.state();
        state.faults.confirms_held -= 1;
        let late = state.faults.late_confirms;
        if state.faults.confirms_held == 0 {
            state.faults.late_confirms = 0;
            let of = |(id, channels): (ConnectionId, BTreeSet<u16>)| {
                channels.into_iter().map(move |channel| ChannelId { connection: id, channel })
            };
            let due = state.connections.iter().map(|(id, connection)| (*id, connection.to_confirm.clone()));
            for at in due.flat_map(of).collect::<Vec<_>>() {
                state.send_confirm(at);
            }
        }
        late
    }

    /// Ends all consumers of queues that are nobody's own, as when such queues move to another node. Who wants to hear
    /// of it does.
    pub fn cancel_consumers(&self) -> usize {
        let mut state = self.state();
        let shared = |queue| state.queues.get(queue).is_some_and(|queue| queue.owner.is_none());
        let of_shared = state.consumers.iter().filter(|(_, consumer)| shared(&consumer.queue));
        let consumers: Vec<_> = of_shared.map(|(id, _)| *id).collect();
        for id in &consumers {
            let Consumer { at, tag, .. } = &state.consumers[id];
            let (at, tag) = (*at, tag.clone());
            state.forget_consumer(at, &tag, *id);
            if state.connections.get(&at.connection).is_some_and(|connection| connection.cancel_notify) {
                let cancel = Cancel { consumer_tag: tag.into(), nowait: true };
                state.send(at, AMQPClass::Basic(Basic::Cancel(cancel)));
            }
            state.remove_consumer(*id);
        }
        state.settle_deaths();
        consumers.len()
    }

    /// Loses patience with all that has deliveries unacknowledged (`consumer_timeout`): their channels are closed, and
    /// the messages go back into their queues.
    pub fn time_out_deliveries(&self) -> usize {
        let mut state = self.state();
        let channels = state.connections.iter().flat_map(|(id, connection)| {
            let late = connection.channels.iter().filter(|(_, channel)| channel.as_ref().is_some_and(|c| c.is_owed()));
            late.map(|(channel, _)| ChannelId { connection: *id, channel: *channel })
        });
        let channels: Vec<_> = channels.collect();
        for at in &channels {
            state.refuse(*at, &Refusal::precondition_failed(DELIVERY_TIMEOUT.into()), (0, 0));
        }
        state.settle_deaths();
        channels.len()
    }

    /// Closes all connections, as an operator can.
    pub fn close_connections(&self) -> usize {
        let mut state = self.state();
        let ids: Vec<_> = state.connections.keys().copied().collect();
        for id in &ids {
            let refusal = Refusal::connection_forced("Closed via management plugin".into());
            state.refuse(ChannelId { connection: *id, channel: 0 }, &refusal, (0, 0));
        }
        state.settle_deaths();
        ids.len()
    }
}

impl State {
    /// A connection publishes: if there is an alarm it is read no more until that is over.
    pub(super) fn publishes(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.publishes = true;
        }
        if self.faults.alarms > 0 {
            self.block(id);
        }
    }

    fn block(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        connection.signals.is_blocked.store(true, Relaxed);
        if !self.faults.blocked.insert(id) {
            return;
        }
        self.faults.ever_blocked += 1;
        if self.wants_to_know(id) {
            let blocked = Blocked { reason: "low on memory".into() };
            self.send(ChannelId { connection: id, channel: 0 }, AMQPClass::Connection(Method::Blocked(blocked)));
        }
    }

    fn unblock(&mut self, id: ConnectionId) {
        if self.wants_to_know(id) {
            let unblocked = Method::Unblocked(Unblocked {});
            self.send(ChannelId { connection: id, channel: 0 }, AMQPClass::Connection(unblocked));
        }
        if let Some(connection) = self.connections.get(&id) {
            connection.signals.is_blocked.store(false, Relaxed);
            connection.signals.unblocked.notify_one();
        }
    }

    fn wants_to_know(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.blocked_notify)
    }
}
