//! What the broker tells queues, consumers, connections and channels apart by.

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
pub(super) struct ChannelId {
    pub(super) connection: ConnectionId,
    /// 0 is the connection itself.
    pub(super) channel: u16,
}
