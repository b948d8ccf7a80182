//! The queues and their arguments. A queue keeps its arguments for life: to change one, delete the queue first.

use super::QueueName;
use crate::message;
use lapin::{Channel, options::QueueDeclareOptions, types::FieldTable};
use std::time::Duration;

/// A queue that survives a restart of the broker.
#[derive(Clone, Debug)]
pub(crate) struct DurableQueue {
    pub(super) name: String,
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

    pub(crate) fn name(&self) -> QueueName {
        self.name.as_str().into()
    }

    /// Makes sure that the queue exists. Returns how many messages wait in it; those that are with a consumer do not.
    pub(crate) async fn declare(&self, channel: &Channel) -> Result<u32, lapin::Error> {
        let name = self.name.as_str().into();
        let queue = channel.queue_declare(name, QueueDeclareOptions::durable(), self.arguments.clone()).await?;
        Ok(queue.message_count())
    }
}
