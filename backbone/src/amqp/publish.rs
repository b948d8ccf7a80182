//! Publishing with a confirm: the only way in which this crate publishes.

use super::{Properties, QueueName, Session};
use crate::reconnect::Unavailable;
use lapin::options::BasicPublishOptions;
use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// Limit of the wait for a confirm. Healthy brokers confirm within milliseconds, and within a second when they sync to
/// disk; a connection that is silent for longer is taken for dead, well before its heartbeat says so.
const CONFIRM_LIMIT: Duration = Duration::from_secs(10);
/// Most returned messages that are kept for their publishers to find; more would only pile up if nobody looked.
const RETURNS_MAX: usize = 1_024;

/// Why a message is not known to be in its queue. Except for [`Unavailable`](Self::Unavailable),
/// [`Unroutable`](Self::Unroutable) and [`Missing`](Self::Missing) it may be there all the same.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// There was no connection.
    #[error("publish to {to}: {source}")]
    Unavailable {
        /// Where to: a queue, or an exchange and a key.
        to: String,
        /// What the dials met.
        source: Unavailable,
    },
    /// The broker returned the message.
    #[error("publish to {to}: the broker has no such queue")]
    Unroutable {
        /// Where to: a queue, or an exchange and a key.
        to: String,
    },
    /// The queue was missing, and could not be declared again.
    #[error("publish to {to}: the broker has no such queue, and declaring it again failed: {reason}")]
    Missing {
        /// Where to: a queue, or an exchange and a key.
        to: String,
        /// Why it can't be had.
        reason: String,
    },
    /// The broker refused the message.
    #[error("publish to {to}: the broker refused it (basic.nack)")]
    Refused {
        /// Where to: a queue, or an exchange and a key.
        to: String,
    },
    /// The connection was lost before the confirm.
    #[error("publish to {to}: connection lost before the confirm: {source}")]
    Lost {
        /// Where to: a queue, or an exchange and a key.
        to: String,
        /// lapin's reason.
        source: lapin::Error,
    },
    /// The confirm did not come in time. The connection is given up.
    #[error("publish to {to}: no confirm within {CONFIRM_LIMIT:?}")]
    Unconfirmed {
        /// Where to: a queue, or an exchange and a key.
        to: String,
    },
}

/// Which publishes were returned.
///
/// lapin hands a returned message to whichever publish is confirmed next, which need not be its own when the broker
/// confirms several at once. So each message carries a number of ours, and what was handed to the wrong publish is kept
/// here for the right one.
#[derive(Debug, Default)]
pub(super) struct Returns {
    last_number: AtomicU64,
    misplaced: Mutex<BTreeSet<u64>>,
}

impl Returns {
    fn next_number(&self) -> u64 {
        self.last_number.fetch_add(1, Relaxed) + 1
    }

    /// Whether message `own` came back, when its confirm carried message `carried`.
    fn came_back(&self, own: u64, carried: Option<u64>) -> bool {
        if carried == Some(own) {
            return true;
        }
        let mut misplaced = self.misplaced.lock().expect("no holder of this lock panics");
        if let Some(other) = carried {
            misplaced.insert(other);
            if misplaced.len() > RETURNS_MAX {
                misplaced.pop_first();
            }
        }
        misplaced.remove(&own)
    }
}

impl Session {
    /// Publishes `body` to `queue` and waits until the broker has taken it over. A connection is waited for until
    /// `deadline`, its confirm for 10 s. A queue of this session's own that is gone is declared again, and the message
    /// published once more.
    ///
    /// # Errors
    /// [`PublishError`].
    pub(crate) async fn publish(
        &self,
        queue: &QueueName,
        body: &[u8],
        properties: Properties,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        if !self.declares(queue) {
            return self.publish_once("", queue, body, properties, deadline).await;
        }
        let repairs = self.repairs.so_far();
        match self.publish_once("", queue, body, properties.clone(), deadline).await {
            Err(PublishError::Unroutable { .. }) => {}
            outcome => return outcome,
        }
        self.declare_again(queue, repairs, deadline).await?;
        self.publish_once("", queue, body, properties, deadline).await
    }

    /// Publishes `body` to a topic exchange, for whoever has bound a queue to it, and waits until the broker has taken
    /// it over. If nobody has, that is no error: then nobody wants it.
    ///
    /// # Errors
    /// [`PublishError`], with the key in the place of a queue.
    pub(crate) async fn announce(
        &self,
        exchange: &'static str,
        key: &str,
        body: &[u8],
        properties: Properties,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        self.publish_once(exchange, &key.into(), body, properties, deadline).await
    }

    async fn publish_once(
        &self,
        exchange: &'static str,
        queue: &QueueName,
        body: &[u8],
        properties: Properties,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        let to = || match exchange {
            "" => format!("queue `{queue}`"),
            exchange => format!("exchange `{exchange}` with key `{queue}`"),
        };
        let line = self.line(deadline).await.map_err(|source| PublishError::Unavailable { to: to(), source })?;
        let (link, number) = (&line.connection, line.connection.returns.next_number());
        let properties = properties.0.with_message_id(number.to_string().into());
        let options = BasicPublishOptions { mandatory: exchange.is_empty(), ..Default::default() };
        let confirm = async {
            link.channel.basic_publish(exchange.into(), queue.0.clone(), options, body, properties).await?.await
        };
        let confirmation = match timeout(CONFIRM_LIMIT, confirm).await {
            Ok(Ok(confirmation)) => confirmation,
            Ok(Err(source)) => {
                self.give_up_if_only_the_channel_is_closed(line, &source);
                return Err(PublishError::Lost { to: to(), source });
            }
            Err(_) => {
                self.give_up(line, "no publisher confirm in time");
                return Err(PublishError::Unconfirmed { to: to() });
            }
        };
        link.answers.heard();
        let refused = !confirmation.is_ack();
        let carried = confirmation.take_message().and_then(|message| {
            message.delivery.properties.message_id().as_ref().and_then(|id| id.as_str().parse().ok())
        });
        if link.returns.came_back(number, carried) {
            return Err(PublishError::Unroutable { to: to() });
        }
        if refused { Err(PublishError::Refused { to: to() }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_that_came_with_a_foreign_confirm_is_found_by_its_publisher() {
        let returns = Returns::default();
        let (first, second) = (returns.next_number(), returns.next_number());
        assert!(!returns.came_back(first, Some(second)));
        assert!(returns.came_back(second, None));
        assert!(!returns.came_back(second, None), "found once");
    }

    #[test]
    fn returns_that_nobody_looks_for_are_bounded() {
        let returns = Returns::default();
        for other in 2..10_000 {
            returns.came_back(1, Some(other));
        }
        assert_eq!(returns.misplaced.lock().unwrap().len(), RETURNS_MAX);
    }
}
