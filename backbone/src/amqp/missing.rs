//! Queues that are gone while they are needed, since somebody deleted them: the session declares them again.

use super::{PublishError, QueueName, Session};
use crate::{
    reconnect::{DialError, Line},
    telemetry::Event,
};
use lapin::ErrorKind;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

/// Limit of declaring what is missing.
const DECLARE_LIMIT: Duration = Duration::from_secs(10);
/// What is lacking while it can't be declared, in [`Needs`](crate::needs::Needs).
pub(super) const NEED: &str = "declare";
/// For how long that counts: several times the longest pause after which whoever missed the queue tries again.
const REMEMBERED: Duration = Duration::from_secs(30);
/// AMQP's reply codes for what a broker refuses (AMQP 0-9-1, 1.2), as metrics name them.
const REFUSALS: [(u16, &str); 6] = [
    (403, "access_refused"),
    (404, "not_found"),
    (405, "resource_locked"),
    (406, "precondition_failed"),
    (530, "not_allowed"),
    (540, "not_implemented"),
];

/// How often a session has tried to declare what was missing; one try at a time.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    tries: AtomicU64,
    turn: Mutex<()>,
}

impl Repairs {
    /// How many tries there were.
    pub(super) fn so_far(&self) -> u64 {
        self.tries.load(Relaxed)
    }
}

/// What a refusal is called; `None` if RabbitMQ did not refuse, or closed the connection for another reason.
pub(super) fn refusal(error: &lapin::Error) -> Option<&'static str> {
    let ErrorKind::ProtocolError(error) = error.kind() else { return None };
    let code = error.get_id();
    REFUSALS.iter().find(|(refusal, _)| *refusal == code).map(|(_, name)| *name)
}

impl Session {
    /// Whether `queue` is one that this session sees to.
    pub(super) fn declares(&self, queue: &QueueName) -> bool {
        self.topology.queues.iter().any(|own| own.name == queue.as_str())
    }

    /// Declares all that this session sees to, since `queue` is gone. Of many that find that out at a time, one does
    /// it: whoever finds that a try has begun after its first `seen` takes the outcome of that.
    ///
    /// # Errors
    /// [`PublishError`], if it can't be declared, and [`PublishError::Unavailable`].
    pub(super) async fn declare_again(
        &self,
        queue: &QueueName,
        seen: u64,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        let _turn = self.repairs.turn.lock().await;
        if self.repairs.so_far() != seen {
            return Ok(()); // whether that helped shows the next publish
        }
        let to = || format!("queue `{queue}`");
        let line = self.line(deadline).await.map_err(|source| PublishError::Unavailable { to: to(), source })?;
        self.telemetry.record(&Event::QueueMissing { queue: queue.as_str() });
        let declared = timeout(DECLARE_LIMIT, self.declare_on_a_channel_of_its_own(&line)).await;
        self.repairs.tries.fetch_add(1, Relaxed);
        let error = match declared {
            Ok(Ok(())) => {
                self.needs.met(NEED);
                return Ok(());
            }
            Ok(Err(error)) => error,
            Err(silent) => silent.into(),
        };
        let reason = error.to_string();
        let lacking = format!("cannot declare `{}`: {reason}", queue.as_str());
        self.needs.lack_until(NEED, lacking, Instant::now() + REMEMBERED);
        if let Some(error) = error.downcast_ref() {
            self.refused(error, &reason);
        }
        Err(PublishError::Missing { to: to(), reason })
    }

    /// A refusal closes the channel, and must not take the publishes of others with it.
    async fn declare_on_a_channel_of_its_own(&self, line: &Line<super::OpenConnection>) -> Result<(), DialError> {
        let channel = line.connection.connection.create_channel().await?;
        self.topology.declare(&channel).await?;
        channel.close(super::REPLY_SUCCESS, "OK".into()).await?;
        Ok(())
    }

    /// After a publish failed with `source`: if the broker has closed the channel alone, since an exchange is missing
    /// or a message was not to its liking, the connection goes with it, so that the next one declares everything anew
    /// and consumers come along.
    pub(super) fn give_up_if_only_the_channel_is_closed(
        &self,
        line: Line<super::OpenConnection>,
        source: &lapin::Error,
    ) {
        let link = &line.connection;
        if link.connection.status().connected() && !link.channel.status().connected() {
            let reason = source.to_string();
            self.refused(source, &reason);
            self.give_up(line, &reason);
        }
    }
}
