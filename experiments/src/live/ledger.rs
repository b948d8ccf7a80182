//! What the real brokers hold before and after a run.

use crate::audit::Remains;
use anyhow::{Context, bail};
use backbone::{
    config::Config,
    env::{Env as _, TokioEnv},
    message::{
        DEFAULT_ROUTE_KEY, Message as _, ROUTING_QUEUE, TASK_ID_HEADER, TASK_QUEUE, Task, dead_letter_queue,
        retry_queue,
    },
};
use lapin::{
    Connection, ConnectionProperties, ErrorKind,
    message::BasicGetMessage,
    options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    tcp::OwnedTLSConfig,
    types::{AMQPValue, FieldTable},
};
use std::time::Duration;

/// A connection to RabbitMQ that looks into its queues.
pub(super) struct Ledger {
    connection: Connection,
    retry_queue: String,
}

impl Ledger {
    /// # Errors
    /// When RabbitMQ can't be reached, or holds messages already: they would be taken for this run's.
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        // The parser's own error may repeat the URL, password and all.
        let uri = config.amqp.url.parse().map_err(|_| anyhow::anyhow!("--amqp: no AMQP URL"))?;
        let opened = TokioEnv.open_amqp(uri, OwnedTLSConfig::default(), ConnectionProperties::default()).await;
        let retry_queue = retry_queue(Duration::from_millis(config.task_worker.retry_delay_ms));
        let ledger = Self { connection: opened.context("connecting to RabbitMQ")?, retry_queue };
        for queue in [TASK_QUEUE, ROUTING_QUEUE, &ledger.retry_queue, &dead_letter_queue()] {
            let messages = ledger.depth(queue).await?;
            if messages > 0 {
                bail!("RabbitMQ has {messages} messages in `{queue}` already; a run needs its queues for itself");
            }
        }
        Ok(ledger)
    }

    /// How many messages are ready in `queue`; none if there is no such queue.
    async fn depth(&self, queue: &str) -> anyhow::Result<u32> {
        let channel = self.connection.create_channel().await.context("opening a channel to RabbitMQ")?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        match channel.queue_declare(queue.into(), passive, FieldTable::default()).await {
            Ok(queue) => Ok(queue.message_count()),
            Err(error) if is_not_found(&error) => Ok(0),
            Err(error) => Err(error).with_context(|| format!("asking RabbitMQ for `{queue}`")),
        }
    }

    /// Takes all messages out of `queue`.
    async fn take_all(&self, queue: &str) -> anyhow::Result<Vec<BasicGetMessage>> {
        if self.depth(queue).await? == 0 {
            return Ok(Vec::new());
        }
        let channel = self.connection.create_channel().await.context("opening a channel to RabbitMQ")?;
        let mut messages = Vec::new();
        let taking = || format!("taking a message out of `{queue}`");
        while let Some(message) =
            channel.basic_get(queue.into(), BasicGetOptions::default()).await.with_context(taking)?
        {
            message.delivery.acker.ack(BasicAckOptions::default()).await.with_context(taking)?;
            messages.push(message);
        }
        Ok(messages)
    }

    /// Empties the queues and says which tasks were in them. All workers must have stopped: what they had in hand is in its
    /// queue again by then.
    ///
    /// # Errors
    /// When RabbitMQ does not answer.
    pub(super) async fn remains(&self) -> anyhow::Result<Remains> {
        let mut remains = Remains::default();
        for queue in [TASK_QUEUE, &self.retry_queue] {
            let messages = self.take_all(queue).await?;
            let tasks = messages.iter().filter_map(|message| Task::parse(&message.delivery.data).ok());
            remains.queued.extend(tasks.map(|task| task.task_id.to_string()));
        }
        for message in self.take_all(&dead_letter_queue()).await? {
            let headers = message.delivery.properties.headers().as_ref();
            if let Some(AMQPValue::LongString(id)) = headers.and_then(|headers| headers.inner().get(TASK_ID_HEADER)) {
                remains.dead.insert(id.to_string());
            }
        }
        Ok(remains)
    }

    /// For the message of a run that does not end.
    pub(super) async fn open_ends(&self) -> String {
        let mut open = Vec::new();
        for queue in [TASK_QUEUE, ROUTING_QUEUE, &self.retry_queue] {
            match self.depth(queue).await {
                Ok(0) => {}
                Ok(messages) => open.push(format!("{messages} messages in queue {queue}")),
                Err(error) => open.push(format!("{error:#}")),
            }
        }
        if open.is_empty() { "no message waits in RabbitMQ".into() } else { open.join(", ") }
    }
}

fn is_not_found(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}

/// Does what an operator of fixed routing does once: names the one gateway.
///
/// # Errors
/// When Redis can't be reached or refuses.
pub(super) async fn set_default_route(redis_url: &str, gateway: &str) -> anyhow::Result<()> {
    // The parser's own error may repeat the URL.
    let client = redis::Client::open(redis_url).map_err(|_| anyhow::anyhow!("--redis: no Redis URL"))?;
    let mut connection = client.get_multiplexed_async_connection().await.context("connecting to Redis")?;
    let set = redis::cmd("SET").arg(DEFAULT_ROUTE_KEY).arg(gateway).exec_async(&mut connection).await;
    set.with_context(|| format!("setting {DEFAULT_ROUTE_KEY} in Redis"))
}
