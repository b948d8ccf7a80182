//! The dispatcher: puts tasks into the task queue, at least once each, and no more than may wait there.

mod room;

use super::settle::Pause;
use crate::{
    amqp::{DurableQueue, HeaderValue, Properties, QueueName, Session},
    config::Config,
    env::Env,
    message::{Message, PUBLISHED_HEADER, TASK_QUEUE, Task},
    telemetry::{Event, Telemetry},
};
use futures_util::{Stream, StreamExt, stream::FuturesUnordered};
use room::Room;
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long one try to publish waits for a connection. Another try follows, until the shutdown.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);
/// How long a shutdown waits for confirms that are under way.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Why the dispatcher stopped early.
#[derive(Debug, thiserror::Error)]
#[error(
    "stopped after {confirmed} tasks; {unconfirmed} more were sent but not confirmed, and may be in the queue or not"
)]
pub struct DispatchError {
    /// Tasks that are in the queue.
    pub confirmed: u64,
    /// Tasks that may be in the queue.
    pub unconfirmed: u64,
}

/// Puts tasks into the task queue.
pub struct Dispatcher;

impl Dispatcher {
    /// Publishes every task of `tasks`, persistent, and returns their number once the broker has confirmed all. After a
    /// lost connection it publishes what was not confirmed again. While too many tasks wait in the queue it takes no
    /// more than one out of `tasks`.
    ///
    /// # Errors
    /// [`DispatchError`] if `shutdown` came first.
    ///
    /// # Panics
    /// If `config` is not valid.
    pub async fn run(
        env: Env,
        config: Arc<Config>,
        telemetry: Arc<dyn Telemetry>,
        shutdown: CancellationToken,
        tasks: impl Stream<Item = Task> + Send,
    ) -> Result<u64, DispatchError> {
        let queue = DurableQueue::tasks(&config.task_queue);
        let session = Session::new(&env, &config.amqp, "dispatcher", vec![queue.clone()], telemetry.clone());
        // Who gets results wants to know how long their tasks took.
        let clock = config.results.publish.then_some(&env);
        let mut tasks = pin!(tasks);
        let mut unconfirmed = FuturesUnordered::new();
        let mut confirmed = 0;
        let window = config.dispatcher.window;
        let mut room = Room::new(config.dispatcher.waiting_max, window);
        let (mut more, mut next) = (true, None);
        while more || next.is_some() || !unconfirmed.is_empty() {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(()) = unconfirmed.next(), if !unconfirmed.is_empty() => confirmed += 1,
                // Only when nothing is under way: each confirm would end the look, and it would begin again.
                () = room.make(&session, &queue), if next.is_some() && !room.is_left() && unconfirmed.is_empty() => {}
                task = tasks.next(), if more && next.is_none() && unconfirmed.len() < window => match task {
                    Some(task) => next = Some(task),
                    None => more = false,
                },
            }
            if room.is_left()
                && let Some(task) = next.take()
            {
                room.take();
                unconfirmed.push(dispatch(&session, telemetry.as_ref(), clock, task));
            }
        }
        let stopped = more || next.is_some() || !unconfirmed.is_empty();
        let drain = async {
            while unconfirmed.next().await.is_some() {
                confirmed += 1;
            }
        };
        // Not finished in time: the error below says how many.
        let _ = timeout(DRAIN_LIMIT, drain).await;
        let unconfirmed = unconfirmed.len() as u64;
        session.close().await;
        if stopped { Err(DispatchError { confirmed, unconfirmed }) } else { Ok(confirmed) }
    }
}

/// Publishes `task` until that succeeds; with a `clock` it says when it was first published.
async fn dispatch(session: &Session, telemetry: &dyn Telemetry, clock: Option<&Env>, task: Task) {
    let (queue, body) = (QueueName::from(TASK_QUEUE), task.to_bytes());
    let mut properties = Properties::persistent();
    if let Some(clock) = clock {
        properties = properties.headers(&[(PUBLISHED_HEADER, HeaderValue::UnixMs(clock.unix_ms()))]);
    }
    if let Some(priority) = task.priority {
        properties = properties.priority(priority);
    }
    let mut pause = Pause::of_task();
    loop {
        let limit = Instant::now() + CONNECTION_LIMIT;
        match session.publish(&queue, &body, properties.clone(), limit).await {
            Ok(()) => break,
            Err(error) => tracing::warn!(task = %task.task_id, %error, "task not confirmed; publishing it again"),
        }
        pause.wait().await;
    }
    telemetry.record(&Event::TaskDispatched { task: &task.task_id });
}
