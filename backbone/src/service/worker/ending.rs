//! How a try ends: what becomes of the task, and what its producer learns.

use super::{ATTEMPT_HEADER, CONFIRMED_HEADER, Came, Failure, INTERRUPTIONS_HEADER, STARTED_HEADER, calls::Ended};
use crate::{
    amqp::{Delivery, HeaderValue, Properties, PublishError, QueueName, Session, Settlement},
    env::Env,
    message::{
        CommandOutcome, CommandResult, Message as _, RESULT_VERSION, RESULTS_EXCHANGE, TASK_ID_HEADER, TaskId,
        TaskOutcome, TaskResult,
    },
    service::settle::{self, Rounds},
    telemetry::{Event, FailReason, Telemetry},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Most interruptions before a task goes to the dead-letter queue: more than RabbitMQ and workers are restarted while
/// one task is in work, and still few workers for a task to kill.
const INTERRUPTIONS_MAX: u32 = 10;
/// Headers of a dead letter: why, what was said, after how many tries, the result that its producer gets; and
/// [`TASK_ID_HEADER`].
const REASON_HEADER: &str = "x-reason";
const DETAIL_HEADER: &str = "x-detail";
const ATTEMPTS_HEADER: &str = "x-attempts";
const RESULT_HEADER: &str = "x-result";
/// All headers of tasks and dead letters that are ours, except when the producer published: that stays.
const OURS: [&str; 9] = [
    ATTEMPT_HEADER,
    INTERRUPTIONS_HEADER,
    STARTED_HEADER,
    CONFIRMED_HEADER,
    REASON_HEADER,
    DETAIL_HEADER,
    ATTEMPTS_HEADER,
    RESULT_HEADER,
    TASK_ID_HEADER,
];
/// Largest result in a header, in bytes: all properties of a message must fit into a frame of 8 KB.
const RESULT_HEADER_BYTES_MAX: usize = 2_048;
/// How long putting a task aside, or publishing its result, waits for a connection.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);

/// How a try went.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    /// When it began; `None`: there was no try.
    pub(super) started_unix_ms: Option<u64>,
    pub(super) outcome: Result<(), Failure>,
    pub(super) ended: Ended,
}

impl Tried {
    /// The end of a delivery that was not tried, with a line for each command that it is known to have.
    pub(super) fn not_tried(reason: FailReason, detail: String, lines: Vec<CommandResult>) -> Self {
        let ended = Ended { rounds: vec![lines], ..Ended::default() };
        Self { started_unix_ms: None, outcome: Err(Failure::of(reason, detail)), ended }
    }

    /// Whether the task's next delivery should end in the same way.
    pub(super) fn is_worth_remembering(&self) -> bool {
        self.started_unix_ms.is_some()
    }
}

/// Ends the tries of one worker.
pub(super) struct Ending {
    pub(super) env: Env,
    pub(super) attempts_max: u32,
    pub(super) publishes_results: bool,
    pub(super) telemetry: Arc<dyn Telemetry>,
    pub(super) session: Session,
    pub(super) retry_queue: QueueName,
    pub(super) dead_letter_queue: QueueName,
    pub(super) rounds: Rounds,
}

impl Ending {
    /// Sees to it that the task goes where it belongs and that its producer learns of it; only then it counts.
    pub(super) async fn settle(
        &self,
        delivery: &Delivery,
        came: &Came,
        task: Option<&TaskId>,
        tried: &Tried,
    ) -> Settlement {
        let settled = match (&tried.outcome, task) {
            (Ok(()), _) => self.done(delivery, came, task, tried).await,
            (Err(failure), Some(task)) if self.has_next_try(came, failure) => {
                self.try_again(delivery, came, task, tried, failure).await
            }
            (Err(failure), _) => self.give_up(delivery, came, task, tried, failure).await,
        };
        match settled {
            Ok(()) => Settlement::Done,
            Err(error) => {
                let pause = self.rounds.pause(delivery.body());
                settle::hand_back(&error.to_string(), pause, self.telemetry.as_ref()).await
            }
        }
    }

    fn has_next_try(&self, came: &Came, failure: &Failure) -> bool {
        match failure.reason {
            _ if failure.is_final => false,
            FailReason::Interrupted => came.interruptions < INTERRUPTIONS_MAX,
            _ => came.attempt < self.attempts_max,
        }
    }

    async fn done(
        &self,
        delivery: &Delivery,
        came: &Came,
        task: Option<&TaskId>,
        tried: &Tried,
    ) -> Result<(), PublishError> {
        if self.publishes_results {
            self.tell(delivery, &self.result(came, task, tried)).await?;
        }
        let task = task.expect("a task without a name was not tried");
        let (attempt, latency_us) = (came.attempt, tried.ended.latency_us);
        let age_us = self.age_us(came, tried).max(latency_us);
        self.telemetry.record(&Event::TaskDone { task, attempt, latency_us, age_us });
        Ok(())
    }

    async fn try_again(
        &self,
        delivery: &Delivery,
        came: &Came,
        task: &TaskId,
        tried: &Tried,
        failure: &Failure,
    ) -> Result<(), PublishError> {
        let was_interrupted = failure.reason == FailReason::Interrupted;
        let mut headers = vec![
            (ATTEMPT_HEADER, HeaderValue::Number(came.attempt + u32::from(!was_interrupted))),
            (INTERRUPTIONS_HEADER, HeaderValue::Number(came.interruptions + u32::from(was_interrupted))),
        ];
        if let Some(started) = came.started_unix_ms.or(tried.started_unix_ms).filter(|_| self.publishes_results) {
            headers.push((STARTED_HEADER, HeaderValue::UnixMs(started)));
        }
        // An interrupted try may have confirmed more than the one before it, but nobody knows.
        let confirmed = if was_interrupted { came.confirmed.header() } else { tried.ended.confirmed().header() };
        if let Some(confirmed) = confirmed {
            headers.push((CONFIRMED_HEADER, HeaderValue::Text(confirmed)));
        }
        self.put(delivery, &self.retry_queue, &headers).await?;
        let (attempt, latency_us, detail) = (came.attempt, tried.ended.latency_us, failure.detail.as_str());
        self.telemetry.record(&Event::TaskRetried { task, attempt, reason: failure.reason, latency_us, detail });
        Ok(())
    }

    async fn give_up(
        &self,
        delivery: &Delivery,
        came: &Came,
        task: Option<&TaskId>,
        tried: &Tried,
        failure: &Failure,
    ) -> Result<(), PublishError> {
        let result = self.publishes_results.then(|| self.result(came, task, tried));
        let text = HeaderValue::Text;
        let mut headers = vec![
            (REASON_HEADER, text(failure.reason.to_string())),
            (DETAIL_HEADER, text(failure.detail.clone())),
            (ATTEMPTS_HEADER, HeaderValue::Number(came.attempt)),
            (TASK_ID_HEADER, text(task.map_or_else(String::new, ToString::to_string))),
        ];
        if let Some(result) = &result {
            let bytes = result.clone().within(RESULT_HEADER_BYTES_MAX).to_bytes();
            headers.push((RESULT_HEADER, text(String::from_utf8(bytes).expect("JSON is UTF-8"))));
        }
        self.put(delivery, &self.dead_letter_queue, &headers).await?;
        if let Some(result) = &result {
            self.tell(delivery, result).await?;
        }
        let (attempt, latency_us, detail) = (came.attempt, tried.ended.latency_us, failure.detail.as_str());
        self.telemetry.record(&Event::TaskDeadLettered { task, attempt, reason: failure.reason, latency_us, detail });
        Ok(())
    }

    /// Puts the task into `queue`, unchanged but for its headers.
    async fn put(
        &self,
        delivery: &Delivery,
        queue: &QueueName,
        headers: &[(&str, HeaderValue)],
    ) -> Result<(), PublishError> {
        let properties = Properties::anew(delivery, &OURS, headers);
        self.session.publish(queue, delivery.body(), properties, Instant::now() + CONNECTION_LIMIT).await
    }

    /// Publishes the result where the producer wants it, or for whoever does.
    async fn tell(&self, delivery: &Delivery, result: &TaskResult) -> Result<(), PublishError> {
        let (body, limit) = (result.to_bytes(), Instant::now() + CONNECTION_LIMIT);
        let properties = || Properties::persistent().json().correlation_of(delivery);
        if let Some(queue) = delivery.reply_to() {
            match self.session.publish(&queue, &body, properties(), limit).await {
                Err(PublishError::Unroutable { .. }) => {
                    tracing::info!(%queue, "the queue for a result is gone; publishing it for everybody");
                }
                published => return published,
            }
        }
        self.session.announce(RESULTS_EXCHANGE, result.outcome.name(), &body, properties(), limit).await
    }

    fn result(&self, came: &Came, task: Option<&TaskId>, tried: &Tried) -> TaskResult {
        let failure = tried.outcome.as_ref().err();
        let is_superseded = |line: &CommandResult| line.outcome == CommandOutcome::Superseded;
        let outcome = match failure.map(|failure| failure.reason) {
            None if tried.ended.lines().any(is_superseded) => TaskOutcome::Superseded,
            None => TaskOutcome::Done,
            Some(FailReason::Expired) => TaskOutcome::Expired,
            Some(_) => TaskOutcome::Failed,
        };
        let is_try = tried.started_unix_ms.is_some() || failure.is_some_and(|f| f.reason == FailReason::Interrupted);
        TaskResult {
            v: RESULT_VERSION,
            task_id: task.cloned(),
            outcome,
            reason: failure.map(|failure| failure.reason.to_string()),
            detail: failure.map(|failure| failure.detail.clone()).filter(|detail| !detail.is_empty()),
            attempts: came.attempt - u32::from(!is_try),
            published_unix_ms: came.published_unix_ms,
            started_unix_ms: came.started_unix_ms.or(tried.started_unix_ms),
            ended_unix_ms: self.env.unix_ms(),
            commands: tried.ended.lines().cloned().collect(),
            commands_left_out: 0,
        }
    }

    /// How old the task is; clocks that disagree make no negative age.
    fn age_us(&self, came: &Came, tried: &Tried) -> u64 {
        let now_us = u64::try_from(self.env.unix_time().as_micros()).expect("this century's time fits 64 bits");
        let begin_unix_ms = came.published_unix_ms.or(came.started_unix_ms).or(tried.started_unix_ms);
        begin_unix_ms.map_or(0, |begin| now_us.saturating_sub(begin.saturating_mul(1_000)))
    }
}
