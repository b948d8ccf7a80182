//! A consumer, for as long as its connection is of use.

use super::OpenConnection;
use crate::answers::Answers;
use futures_util::{StreamExt as _, future::BoxFuture};
use lapin::{Channel, Consumer, message::Delivery};
use std::sync::Arc;

/// A consumer with its channel.
pub(super) struct Consuming {
    pub(super) channel: Channel,
    pub(super) consumer: Consumer,
    answers: Arc<Answers>,
    given_up: BoxFuture<'static, ()>,
}

/// Why there are no more deliveries.
pub(super) enum End {
    /// RabbitMQ has ended the consumer.
    ByBroker,
    /// The channel is lost, or its connection; why.
    Lost(String),
}

impl Consuming {
    /// `consumer` on `channel` of `connection`.
    pub(super) fn new(connection: &OpenConnection, channel: Channel, consumer: Consumer) -> Self {
        let answers = connection.answers.clone();
        Self { channel, consumer, answers, given_up: Box::pin(connection.given_up.clone().cancelled_owned()) }
    }

    /// The next delivery, or why there is none any more. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Delivery, End> {
        tokio::select! {
            biased;
            next = self.consumer.next() => match next {
                Some(Ok(delivery)) => {
                    self.answers.heard();
                    Ok(delivery)
                }
                Some(Err(error)) => Err(End::Lost(error.to_string())),
                None => Err(End::ByBroker),
            },
            () = &mut self.given_up => Err(End::Lost("its connection was given up".to_owned())),
        }
    }
}
