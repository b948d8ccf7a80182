//! Consuming a durable queue, across lost connections.

use super::{
    Delivery, DurableQueue, OpenConnection, REPLY_SUCCESS, Session,
    consuming::{Consuming, End},
    settling::Generation,
};
use crate::backoff::Backoff;
use futures_util::future::BoxFuture;
use lapin::{
    Channel,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use std::{future::pending, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};

/// Limit of opening a channel and starting to consume, with the wait for the connection.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// Limit of telling the broker to stop delivering, and of closing the channel.
const CANCEL_LIMIT: Duration = Duration::from_secs(1);

/// Who acknowledges deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acknowledge {
    /// The service, after its work; at most `prefetch` are outstanding.
    AfterWork {
        /// How many.
        prefetch: u16,
    },
    /// The broker, as it sends. A crash loses what was delivered, and nothing bounds how much that is: lapin takes in
    /// what the broker sends.
    OnDelivery,
}

/// The deliveries of one queue. After a lost connection they go on by themselves on the next one.
pub(crate) struct Deliveries {
    session: Session,
    queue: DurableQueue,
    acknowledge: Acknowledge,
    open: Option<Consuming>,
    /// The channel whose consumer the broker ended last, as it does when the queue is deleted or moves to another node.
    /// It is consumed over again, if it can be: what was in work then is settled over it, which nobody else can do as
    /// long as it is open. Kept in any case: of a queue that was deleted, that counts as the service's.
    ended: Option<Channel>,
    /// Has come over the present channel, while there was no room for it.
    waiting: Option<Delivery>,
    opening: Option<BoxFuture<'static, Opened>>,
    /// How many channels there were, with the present one.
    generation: Generation,
}

/// A queue that is consumed, and whether that is over the channel that there was before.
struct Opened {
    consuming: Consuming,
    is_same_channel: bool,
}

impl Deliveries {
    pub(crate) fn new(session: &Session, queue: DurableQueue, acknowledge: Acknowledge) -> Self {
        let session = session.clone();
        session.needs().lack(&queue.name, format!("not consuming `{}` yet", queue.name));
        Self { session, queue, acknowledge, open: None, ended: None, waiting: None, opening: None, generation: 0 }
    }

    /// The next delivery, if there is room for one. Without room it only sees to it that the queue is consumed: one
    /// that was deleted has to be there again, however long the work at hand takes. Never ends; dropping the future
    /// loses nothing.
    pub(crate) async fn next(&mut self, has_room: bool) -> Delivery {
        loop {
            if let Some(delivery) = self.waiting.take_if(|_| has_room) {
                return delivery;
            }
            if self.waiting.is_some() {
                pending::<()>().await;
            }
            let Some(consuming) = &mut self.open else {
                // A consumer that keeps ending must not be reopened in a tight loop.
                let reopening = self.generation > 0;
                let opening = self.opening.get_or_insert_with(|| {
                    let (session, queue, ended) = (self.session.clone(), self.queue.clone(), self.ended.clone());
                    Box::pin(open(session, queue, self.acknowledge, (reopening, ended)))
                });
                let Opened { consuming, is_same_channel } = opening.await;
                self.opening = None;
                self.open = Some(consuming);
                if is_same_channel {
                    self.ended = None;
                } else {
                    self.generation += 1;
                }
                self.session.needs().met(&self.queue.name);
                continue;
            };
            match consuming.next().await {
                Ok(delivery) => self.waiting = Some(Delivery::new(delivery)),
                Err(End::Lost(reason)) => {
                    tracing::debug!(queue = self.queue.name, reason, "consumer ended");
                    self.lost(&reason);
                    self.open = None;
                }
                Err(End::ByBroker) => {
                    tracing::warn!(queue = self.queue.name, "RabbitMQ has ended the consumer; consuming anew");
                    self.lost("RabbitMQ has ended the consumer");
                    self.ended = self.open.take().map(|consuming| consuming.channel);
                }
            }
        }
    }

    fn lost(&self, reason: &str) {
        self.session.needs().lack(&self.queue.name, format!("not consuming `{}`: {reason}", self.queue.name));
    }

    /// The channel over which the last delivery came, and which one it is. `None` once that has ended.
    pub(super) fn channel(&self) -> Option<(Generation, &Channel)> {
        self.open.as_ref().map(|consuming| (self.generation, &consuming.channel))
    }

    /// Tells the broker to send no more. Deliveries that were not yet taken return to the queue when the session
    /// closes, unless they count as settled; [`Deliveries::rest`] gives those. What was taken can still be
    /// acknowledged, as long as `self` lives.
    pub(crate) async fn stop(&mut self) {
        self.opening = None;
        if let Some(Consuming { channel, consumer, .. }) = &self.open {
            // On failure the connection is gone, and deliveries have stopped with it.
            let _ = timeout(CANCEL_LIMIT, channel.basic_cancel(consumer.tag(), BasicCancelOptions::default())).await;
        }
    }

    /// After [`Deliveries::stop`]: the next delivery that had come in before.
    pub(crate) async fn rest(&mut self) -> Option<Delivery> {
        if let Some(delivery) = self.waiting.take() {
            return Some(delivery);
        }
        self.open.as_mut()?.next().await.ok().map(Delivery::new)
    }

    /// Closes the channel. What was taken and not acknowledged returns to the queue.
    pub(crate) async fn close(self) {
        let open = self.open.map(|consuming| consuming.channel);
        for channel in open.into_iter().chain(self.ended) {
            // Awaited, because lapin reports an error when the connection is closed while a channel is closing.
            let _ = timeout(CANCEL_LIMIT, channel.close(REPLY_SUCCESS, "OK".into())).await;
        }
    }
}

/// Consumes, over the channel whose consumer has ended or over a new one, trying until it succeeds; after an earlier
/// consumer's end not at once.
async fn open(
    session: Session,
    queue: DurableQueue,
    acknowledge: Acknowledge,
    (reopening, ended): (bool, Option<Channel>),
) -> Opened {
    let mut backoff = Backoff::new();
    if reopening {
        backoff.pause(&session.env).await;
    }
    loop {
        let limit = Instant::now() + OPEN_LIMIT;
        let reason = match session.line(limit).await {
            Err(error) => format!("cannot consume `{}`: {error}", queue.name),
            Ok(line) => {
                let opened = try_open(&line.connection, &queue, acknowledge, ended.as_ref());
                match timeout_at(limit, opened).await {
                    Ok(Ok(open)) => return open,
                    Ok(Err(error)) => {
                        let reason = format!("cannot consume `{}`: {error}", queue.name);
                        session.refused(&error, &reason);
                        reason
                    }
                    Err(_) => {
                        // RabbitMQ may begin to deliver yet, to a consumer that nobody has: as long as its channel is
                        // open, what it gets is with nobody.
                        session.give_up(line, "no answer to a consume in time");
                        format!("cannot consume `{}`: no answer", queue.name)
                    }
                }
            }
        };
        tracing::warn!(reason, "trying again");
        session.needs().lack(&queue.name, reason);
        backoff.pause(&session.env).await;
    }
}

async fn try_open(
    connection: &OpenConnection,
    queue: &DurableQueue,
    acknowledge: Acknowledge,
    ended: Option<&Channel>,
) -> lapin::Result<Opened> {
    let usable = ended.filter(|channel| channel.status().connected());
    let (channel, is_same_channel) = match usable {
        Some(channel) => (channel.clone(), true),
        None => (connection.connection.create_channel().await?, false),
    };
    // Again, though the session has done it: a consumer also ends because its queue was deleted.
    queue.declare(&channel).await?;
    let no_ack = match acknowledge {
        Acknowledge::AfterWork { prefetch } => {
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            false
        }
        Acknowledge::OnDelivery => true,
    };
    let options = BasicConsumeOptions { no_ack, ..Default::default() };
    let consumer = channel.basic_consume(queue.name.as_str().into(), "".into(), options, FieldTable::default()).await?;
    Ok(Opened { consuming: Consuming::new(connection, channel, consumer), is_same_channel })
}
