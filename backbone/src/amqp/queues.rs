//! The queues, their arguments, and the exchange for results. A queue keeps its arguments for life: to change one,
//! delete the queue first.

use super::QueueName;
use crate::{config, message};
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::FieldTable,
};
use std::time::Duration;

/// What a service makes sure of before it publishes anything.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    pub(crate) queues: Vec<DurableQueue>,
    /// A durable topic exchange, which survives a restart of the broker.
    pub(crate) exchange: Option<&'static str>,
}

impl From<Vec<DurableQueue>> for Topology {
    fn from(queues: Vec<DurableQueue>) -> Self {
        Self { queues, exchange: None }
    }
}

impl Topology {
    pub(super) async fn declare(&self, channel: &Channel) -> Result<(), lapin::Error> {
        for queue in &self.queues {
            queue.declare(channel).await?;
        }
        if let Some(exchange) = self.exchange {
            let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
            let arguments = FieldTable::default();
            channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, arguments).await?;
        }
        Ok(())
    }
}

/// A queue that survives a restart of the broker.
#[derive(Clone, Debug)]
pub(crate) struct DurableQueue {
    pub(super) name: String,
    arguments: FieldTable,
}

impl DurableQueue {
    /// Tasks that wait for a worker. If there are priorities, those with the highest go first.
    pub(crate) fn tasks(config: &config::TaskQueue) -> Self {
        let mut arguments = FieldTable::default();
        if config.priority_max > 0 {
            arguments.insert("x-max-priority".into(), i32::from(config.priority_max).into());
        }
        Self { name: message::TASK_QUEUE.into(), arguments }
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
