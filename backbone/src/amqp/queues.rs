//! The queues and their arguments. A queue keeps its arguments for life: to change one, delete the queue first.

use crate::message;
use lapin::{
    Channel,
    options::{QueueDeclareOptions, QueueDeleteOptions},
    types::{FieldTable, ShortString},
};
use std::time::Duration;

/// A queue that survives a restart of the broker.
#[derive(Clone, Debug)]
pub(crate) struct DurableQueue {
    pub(crate) name: String,
    arguments: FieldTable,
}

impl DurableQueue {
    /// Tasks that wait for a worker.
    pub(crate) fn tasks() -> Self {
        Self { name: message::TASK_QUEUE.into(), arguments: FieldTable::default() }
    }

    /// Requests that wait for a forward router.
    pub(crate) fn requests() -> Self {
        Self { name: message::ROUTING_QUEUE.into(), arguments: FieldTable::default() }
    }

    /// Failed tasks that wait for `delay` and then return to the task queue.
    pub(crate) fn retries(delay: Duration) -> Self {
        let mut arguments = FieldTable::default();
        let delay_ms = i64::try_from(delay.as_millis()).expect("a configured delay is far below 2^63 ms");
        arguments.insert("x-message-ttl".into(), delay_ms.into());
        arguments.insert("x-dead-letter-exchange".into(), lapin::types::LongString::from("").into());
        arguments
            .insert("x-dead-letter-routing-key".into(), lapin::types::LongString::from(message::TASK_QUEUE).into());
        Self { name: message::retry_queue(delay), arguments }
    }

    /// Tasks that were given up.
    pub(crate) fn dead_letters() -> Self {
        Self { name: message::dead_letter_queue(), arguments: FieldTable::default() }
    }

    /// Makes sure that the queue exists. Returns how many messages wait in it; those that are with a consumer do not.
    pub(crate) async fn declare(&self, channel: &Channel) -> Result<u32, lapin::Error> {
        let name = self.name.as_str().into();
        let queue = channel.queue_declare(name, QueueDeclareOptions::durable(), self.arguments.clone()).await?;
        Ok(queue.message_count())
    }
}

/// How long a reply queue without a consumer stays, in milliseconds. Auto-delete begins with the first consumer: a worker
/// that dies between declaring and consuming would leave its queue for ever.
const ORPHAN_EXPIRES_MS: i64 = 60_000;

/// Declares a queue for replies, named by the broker and gone with its last consumer. An `exclusive` one is also gone with
/// its connection.
pub(crate) async fn reply_queue(channel: &Channel, exclusive: bool) -> Result<ShortString, lapin::Error> {
    let options = QueueDeclareOptions { exclusive, auto_delete: true, ..Default::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-expires".into(), ORPHAN_EXPIRES_MS.into());
    let queue = channel.queue_declare("".into(), options, arguments).await?;
    Ok(queue.name().clone())
}

/// Deletes a queue. Not left to auto-delete, because lapin remembers every declared queue until it is deleted by name.
pub(crate) async fn delete_queue(channel: &Channel, name: ShortString) -> Result<(), lapin::Error> {
    channel.queue_delete(name, QueueDeleteOptions::default()).await?;
    Ok(())
}
