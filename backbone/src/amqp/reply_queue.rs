//! Queues for replies: named by the broker, and gone with their consumer.

use super::{Delivery, OpenConnection, QueueName, Session, consuming::Consuming};
use crate::reconnect::Unavailable;
use lapin::{
    options::{BasicConsumeOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Limit of declaring a reply queue and consuming it, and of deleting it.
pub(crate) const REPLY_QUEUE_LIMIT: Duration = Duration::from_secs(10);
/// How long the answer to an open that nobody waits for any more is waited for. It comes, or the connection ends.
const LATE_LIMIT: Duration = Duration::from_secs(60);
/// How long a reply queue without a consumer stays, in milliseconds. Auto-delete begins with the first consumer: a
/// worker that dies between declaring and consuming would leave its queue for ever.
const ORPHAN_EXPIRES_MS: i64 = 60_000;

/// Why there is no queue for replies.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplyQueueError {
    /// There was no connection.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// RabbitMQ refused it, or the connection was lost.
    #[error("no queue for the replies: {0}")]
    Refused(#[from] lapin::Error),
    /// There was no answer in time.
    #[error("no queue for the replies in time")]
    Late,
}

/// Whose a reply queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// The connection's: nobody else may use it, and it goes with the connection.
    Exclusive,
    /// Anybody may use it who knows its name.
    Shared,
}

/// A queue for replies with its consumer.
pub(crate) struct ReplyQueue {
    name: QueueName,
    consuming: Consuming,
}

impl ReplyQueue {
    /// Declares a queue and consumes it, until `deadline` at most.
    ///
    /// # Errors
    /// [`ReplyQueueError`].
    pub(crate) async fn open(
        session: &Session,
        ownership: Ownership,
        deadline: Instant,
    ) -> Result<Self, ReplyQueueError> {
        // While there is no connection nothing was asked, so there is nothing that could come late.
        let connection = session.line(deadline).await?.connection;
        let mut opening = Box::pin(Self::declare_and_consume(connection, ownership));
        if let Ok(opened) = timeout_at(deadline, &mut opening).await {
            return opened;
        }
        // RabbitMQ may answer yet, and then the queue would stay, with a consumer that nobody has.
        session.env.spawn("late reply queue", async move {
            if let Ok(Ok(queue)) = timeout(LATE_LIMIT, opening).await {
                queue.delete().await;
            }
        });
        Err(ReplyQueueError::Late)
    }

    async fn declare_and_consume(connection: OpenConnection, ownership: Ownership) -> Result<Self, ReplyQueueError> {
        let exclusive = ownership == Ownership::Exclusive;
        let channel = connection.channel.clone();
        let options = QueueDeclareOptions { exclusive, auto_delete: true, ..Default::default() };
        let mut arguments = FieldTable::default();
        arguments.insert("x-expires".into(), ORPHAN_EXPIRES_MS.into());
        let name = channel.queue_declare("".into(), options, arguments).await?.name().clone();
        // Acknowledged on delivery: a reply whose worker died has nobody left to go to.
        let options = BasicConsumeOptions { no_ack: true, exclusive, ..Default::default() };
        let consumer = channel.basic_consume(name.clone(), "".into(), options, FieldTable::default()).await?;
        Ok(Self { name: QueueName(name), consuming: Consuming::new(&connection, channel, consumer) })
    }

    pub(crate) fn name(&self) -> &QueueName {
        &self.name
    }

    /// The next reply; `None` once the queue or its connection is gone.
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        self.consuming.next().await.ok().map(Delivery::new)
    }

    /// Deletes the queue. Not left to auto-delete, because lapin remembers every declared queue until it is deleted by
    /// name.
    pub(crate) async fn delete(self) {
        let deleted = self.consuming.channel.queue_delete(self.name.0, QueueDeleteOptions::default());
        match timeout(REPLY_QUEUE_LIMIT, deleted).await {
            Ok(Ok(_)) => {}
            // The queue deletes itself with its consumer.
            Ok(Err(error)) => tracing::debug!(%error, "reply queue not deleted"),
            Err(_) => tracing::debug!("reply queue not deleted in time"),
        }
    }
}
