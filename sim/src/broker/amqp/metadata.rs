//! What RabbitMQ has to do elsewhere before a queue begins or ends.

use futures_util::future::BoxFuture;
use std::fmt;

/// What it costs to change metadata. RabbitMQ keeps its queues in a store of its own, which makes one change at a time;
/// the emulated one does so at once, unless it is given a cost by
/// [`Broker::with_metadata_cost`](super::Broker::with_metadata_cost).
pub trait MetadataCost: fmt::Debug + Send + Sync {
    /// Ready when a queue may begin or end. Its connection waits for that, others go on.
    fn change(&self) -> BoxFuture<'_, ()>;
}
