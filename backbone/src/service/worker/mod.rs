//! A task worker, with the logic of whoever uses it: takes a task, lets its [`Handler`] send commands and judge their
//! results, tells the producer, acknowledges the task last.
//!
//! A task that fails waits in the retry queue for its next try, which sends only what was not confirmed; after the last
//! one it goes to the dead-letter queue with the reason. A task that is delivered twice is simply done twice: labels
//! ignore a version that they know.
//!
//! A worker that crashes can't say so, and its broker delivers the task again, marked as redelivered, without counting.
//! So a redelivered task is not worked on at once: it goes the way of a failed one, with one more interruption in a
//! header. A task that kills its workers kills a bounded number of them, with a pause between two. Interruptions are
//! counted apart from tries, because most are no fault of the task: a restarted RabbitMQ interrupts all that are in
//! work.
//!
//! A worker that lives can lose a task, too: with its connection, or because RabbitMQ takes back what is not
//! acknowledged in time. It finishes the try and remembers how that went; when the task comes again, it is settled
//! with that, and not done a second time ([`unsettled`]).

mod calls;
mod confirmed;
mod ending;
mod failure;
mod unsettled;

pub use calls::Calls;
pub use failure::Failure;

use super::settle::{Pause, Rounds};
use crate::{
    amqp::{Acknowledge, Delivery, DurableQueue, Served, Session, Settlement, Topology, serve},
    config::{self, Config},
    env::Env,
    message::{Command, CommandOutcome, CommandResult, Message as _, RESULTS_EXCHANGE, TaskMessage},
    rpc::RpcClient,
    telemetry::{DropReason, Event, FailReason, Telemetry, bounded},
    trace::{TRACEPARENT, TraceParent, Tracer},
};
use confirmed::Confirmed;
use ending::{Ending, Tried};
use std::{future::Future, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use unsettled::Unsettled;

/// Header of a task that was tried before: which try comes next, counted from 1.
const ATTEMPT_HEADER: &str = "x-attempt";
/// Header of a task that was interrupted before: how often.
const INTERRUPTIONS_HEADER: &str = "x-interruptions";
/// Header of a task that was tried before: when it first was, in milliseconds since 1970.
const STARTED_HEADER: &str = "x-started-unix-ms";
/// Header of a task that was tried before: which of its commands are confirmed.
const CONFIRMED_HEADER: &str = "x-confirmed";
/// What a shutdown allows a try on top of its reply timeout: for putting the task aside and for the acknowledgement.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// What a worker does with a task.
///
/// A handler may be called again for a task that it has handled: when a try failed, when its worker was lost, or when
/// the broker delivers twice. What it does beside sending commands should bear that.
///
/// This one switches lights, and is satisfied when most of them are on:
///
/// ```
/// use backbone::{
///     message::Task,
///     service::{Calls, Failure, Handler, Worker},
/// };
///
/// struct Lights;
///
/// impl Handler for Lights {
///     type Task = Task;
///
///     async fn handle(&self, task: &Task, calls: &Calls<'_>) -> Result<(), Failure> {
///         let lights = calls.send(&task.commands).await?;
///         let on = lights.iter().filter(|light| light.outcome.is_success()).count();
///         if on * 2 > lights.len() { Ok(()) } else { Err(Failure::again(format!("{on} of {} lights", lights.len()))) }
///     }
/// }
///
/// let worker = Worker::new(Lights); // and then `worker.run(env, config, telemetry, shutdown).await`
/// # let _ = worker;
/// ```
pub trait Handler: Send + Sync + 'static {
    /// What its tasks are: [`Task`](crate::message::Task), or a message of your own.
    type Task: TaskMessage;

    /// Does `task`: sends commands over `calls`, as often as it likes, and says whether the task is done. What it asks
    /// beside that (a database, a service) it reaches through the [`Env`] of `calls`, so that it runs in the simulator,
    /// too. No limit is put around it but that of a shutdown.
    ///
    /// # Errors
    /// [`Failure`]: the task is tried again, or given up.
    fn handle(&self, task: &Self::Task, calls: &Calls<'_>) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Takes tasks and lets a handler do them.
#[derive(Debug)]
pub struct Worker<H> {
    handler: H,
}

/// A worker that runs.
struct Running<H> {
    handler: H,
    env: Env,
    config: config::TaskWorker,
    telemetry: Arc<dyn Telemetry>,
    rpc: RpcClient,
    /// Whether requests say which try they are.
    tells_attempt: bool,
    ending: Ending,
    unsettled: Unsettled,
}

/// What came with a task: where it stands.
pub(super) struct Came {
    attempt: u32,
    interruptions: u32,
    published_unix_ms: Option<u64>,
    started_unix_ms: Option<u64>,
    confirmed: Confirmed,
    traceparent: Option<TraceParent>,
}

impl Came {
    fn with(delivery: &Delivery) -> Self {
        Self {
            attempt: attempt(delivery.number(ATTEMPT_HEADER)),
            interruptions: delivery.number(INTERRUPTIONS_HEADER).unwrap_or(0),
            published_unix_ms: delivery.published_unix_ms(),
            started_unix_ms: delivery.unix_ms(STARTED_HEADER),
            confirmed: delivery.text(CONFIRMED_HEADER).map(Confirmed::parse).unwrap_or_default(),
            traceparent: delivery.text(TRACEPARENT).and_then(TraceParent::parse),
        }
    }
}

/// Which try it is whose header says this: the first one, unless the header makes sense.
fn attempt(header: Option<u32>) -> u32 {
    header.unwrap_or(1).max(1)
}

impl<H: Handler> Worker<H> {
    /// A worker that lets `handler` do its tasks.
    pub fn new(handler: H) -> Self {
        Self { handler }
    }

    /// Works on tasks until `shutdown`. Tries that are under way then have their reply timeout to finish; tasks that
    /// don't return to the queue.
    ///
    /// # Panics
    /// If `config` is not valid.
    pub async fn run(self, env: Env, config: Arc<Config>, telemetry: Arc<dyn Telemetry>, shutdown: CancellationToken) {
        let config = &config.as_ref().clone();
        let tasks = DurableQueue::tasks(&config.task_queue);
        let retries = DurableQueue::retries(Duration::from_millis(config.task_worker.retry_delay_ms));
        let dead_letters = DurableQueue::dead_letters();
        let (retry_queue, dead_letter_queue) = (retries.name(), dead_letters.name());
        let topology = Topology {
            queues: vec![tasks.clone(), DurableQueue::requests(), retries, dead_letters],
            exchange: config.results.publish.then_some(RESULTS_EXCHANGE),
        };
        let session = Session::new(&env, &config.amqp, "task-worker", topology, telemetry.clone());
        let tracer = Tracer::new(&env, &config.tracing, "task_worker", &telemetry);
        let rpc = RpcClient::new(&env, config, &session, telemetry.clone(), tracer.clone());
        let ending = Ending {
            env: env.clone(),
            attempts_max: config.task_worker.attempts_max,
            publishes_results: config.results.publish,
            telemetry: telemetry.clone(),
            session: session.clone(),
            retry_queue,
            dead_letter_queue,
            rounds: Rounds::new(Pause::of_task()),
        };
        let tells_attempt = config.routing.retry_elsewhere;
        let config = config.task_worker.clone();
        let served = Served {
            queue: tasks,
            acknowledge: Acknowledge::AfterWork { prefetch: config.prefetch },
            in_work_max: config.prefetch.into(),
            drain_limit: Duration::from_millis(config.reply_timeout_ms) + DRAIN_MARGIN,
        };
        let unsettled = Unsettled::new(config.prefetch.into());
        let worker = Running { handler: self.handler, env, config, telemetry, rpc, tells_attempt, ending, unsettled };
        let unfinished = serve(&session, served, &shutdown, |delivery| worker.work(delivery)).await;
        if unfinished > 0 {
            tracing::warn!(unfinished, "tasks not finished in time return to the queue");
        }
        session.close().await;
        tracer.close().await;
    }
}

impl<H: Handler> Running<H> {
    async fn work(&self, delivery: Delivery) -> Settlement {
        let came = Came::with(&delivery);
        let (task, tried) = match H::Task::parse(delivery.body()) {
            Ok(task) => {
                let tried = match self.unsettled.take(&task, delivery.body()) {
                    Some(tried) => tried,
                    None => self.attempt(&task, &came, delivery.is_redelivered()).await,
                };
                (Some(task), tried)
            }
            Err(error) => (None, Tried::not_tried(FailReason::Malformed, bounded(&error), Vec::new())),
        };
        let settlement = if delivery.can_be_settled() {
            self.ending.settle(&delivery, &came, task.as_ref().map(TaskMessage::task_id), &tried).await
        } else {
            // Its connection is gone, so the broker gives it to somebody again; to settle it now would double it.
            let detail = "the connection that the task came over is gone";
            self.telemetry.record(&Event::Dropped { reason: DropReason::HandedBack, detail });
            Settlement::HandBack
        };
        if let (Settlement::HandBack, Some(task)) = (settlement, task)
            && tried.is_worth_remembering()
        {
            self.unsettled.remember(&task, delivery.body(), tried);
        }
        settlement
    }

    /// Has the task done, unless there is a reason not to.
    async fn attempt(&self, task: &H::Task, came: &Came, is_redelivered: bool) -> Tried {
        let without_try = |reason, outcome| {
            let detail = if reason == FailReason::Expired { "its time was over before this try" } else { "" };
            Tried::not_tried(reason, detail.into(), lines_of(task, came, outcome))
        };
        if is_redelivered {
            return without_try(FailReason::Interrupted, CommandOutcome::Interrupted);
        }
        let now_unix_ms = self.env.unix_ms();
        if task.expires_unix_ms().is_some_and(|expires| expires <= now_unix_ms) {
            return without_try(FailReason::Expired, CommandOutcome::Expired);
        }
        self.telemetry.record(&Event::TaskStarted { task: task.task_id(), attempt: came.attempt });
        let reply_timeout = Duration::from_millis(self.config.reply_timeout_ms);
        let calls = Calls::new(&self.env, &self.rpc, task, came, (reply_timeout, self.tells_attempt));
        let outcome = self.handler.handle(task, &calls).await;
        let ended = calls.end();
        let outcome = outcome.map_err(|failure| match task.expires_unix_ms() {
            // Not worth another try, whatever went wrong.
            Some(expires) if expires <= self.env.unix_ms() => failure.expired(),
            _ => failure,
        });
        Tried { started_unix_ms: Some(now_unix_ms), outcome, ended }
    }
}

/// A line for each command that `task` is known to have: what earlier tries confirmed, and `outcome` for the rest.
fn lines_of(task: &impl TaskMessage, came: &Came, outcome: CommandOutcome) -> Vec<CommandResult> {
    let commands = task.commands();
    let confirmed = came.confirmed.of_round(0, commands);
    let line = |(command, confirmed): (&Command, Option<CommandOutcome>)| CommandResult {
        esl_mac: command.esl_mac,
        version: command.version,
        outcome: confirmed.unwrap_or(outcome),
        detail: None,
    };
    commands.iter().zip(confirmed).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_on_its_first_try_unless_its_header_says_something_sensible() {
        assert_eq!([None, Some(0), Some(1), Some(3)].map(attempt), [1, 1, 1, 3]);
    }
}
