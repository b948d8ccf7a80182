//! The task worker: takes a task, calls all its labels at once, acknowledges the task last.
//!
//! A task that fails waits in the retry queue for its next try; after the last one it goes to the dead-letter queue
//! with the reason. A task that is delivered twice is simply done twice: labels ignore a version that they know.
//!
//! A worker that crashes can't say so, and its broker delivers the task again, marked as redelivered, without counting.
//! So a redelivered task is not worked on at once: it goes the way of a failed one, with one more interruption in a
//! header. A task that kills its workers kills a bounded number of them, with a pause between two. Interruptions are
//! counted apart from tries, because most are no fault of the task: a restarted RabbitMQ interrupts all that are in
//! work.

use super::settle;
use crate::{
    amqp::{
        Acknowledge, Delivery, DurableQueue, HeaderValue, Properties, QueueName, Served, Session, Settlement, serve,
    },
    config::{self, Config},
    deadline::Deadline,
    env::Env,
    message::{Message, Reply, Request, RequestId, TASK_ID_HEADER, Task, TaskId},
    rpc::{CallError, RpcClient},
    telemetry::{DropReason, Event, FailReason, Telemetry, bounded},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Header of a task that was tried before: which try comes next, counted from 1.
const ATTEMPT_HEADER: &str = "x-attempt";
/// Header of a task that was interrupted before: how often.
const INTERRUPTIONS_HEADER: &str = "x-interruptions";
/// Most interruptions before a task goes to the dead-letter queue: more than RabbitMQ and workers are restarted while
/// one task is in work, and still few workers for a task to kill.
const INTERRUPTIONS_MAX: u32 = 10;
/// Headers of a dead letter: why, what is wrong with a malformed one, after how many tries; and [`TASK_ID_HEADER`].
const REASON_HEADER: &str = "x-reason";
const DETAIL_HEADER: &str = "x-detail";
const ATTEMPTS_HEADER: &str = "x-attempts";
/// How long putting a task aside waits for a connection.
const SET_ASIDE_LIMIT: Duration = Duration::from_secs(10);
/// What a shutdown allows a try on top of its reply timeout: for putting the task aside and for the acknowledgement.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// Takes tasks and calls labels.
pub struct TaskWorker {
    env: Env,
    config: config::TaskWorker,
    telemetry: Arc<dyn Telemetry>,
    session: Session,
    rpc: RpcClient,
    retry_queue: QueueName,
    dead_letter_queue: QueueName,
}

/// How a try went.
struct Tried {
    attempt: u32,
    /// Interruptions before it.
    interruptions: u32,
    latency_us: u64,
    outcome: Result<(), FailReason>,
    /// For people: which label, and what was said of it; what is wrong with a malformed task.
    detail: String,
}

impl TaskWorker {
    /// Works on tasks until `shutdown`. Tries that are under way then have their reply timeout to finish; tasks that
    /// don't return to the queue.
    ///
    /// # Panics
    /// If `config` is not valid.
    pub async fn run(env: Env, config: Arc<Config>, telemetry: Arc<dyn Telemetry>, shutdown: CancellationToken) {
        let config = &config.as_ref().clone();
        let retries = DurableQueue::retries(Duration::from_millis(config.task_worker.retry_delay_ms));
        let dead_letters = DurableQueue::dead_letters();
        let (retry_queue, dead_letter_queue) = (retries.name(), dead_letters.name());
        let queues = vec![DurableQueue::tasks(), DurableQueue::requests(), retries, dead_letters];
        let session = Session::new(&env, &config.amqp, "task-worker", queues, telemetry.clone());
        let rpc = RpcClient::new(&env, config, &session, telemetry.clone());
        let config = config.task_worker.clone();
        let served = Served {
            queue: DurableQueue::tasks(),
            acknowledge: Acknowledge::AfterWork { prefetch: config.prefetch },
            in_work_max: config.prefetch.into(),
            drain_limit: Duration::from_millis(config.reply_timeout_ms) + DRAIN_MARGIN,
        };
        let worker = Self { env, config, telemetry, session, rpc, retry_queue, dead_letter_queue };
        let unfinished = serve(&worker.session, served, &shutdown, |delivery| worker.work(delivery)).await;
        if unfinished > 0 {
            tracing::warn!(unfinished, "tasks not finished in time return to the queue");
        }
        worker.session.close().await;
    }

    async fn work(&self, delivery: Delivery) -> Settlement {
        let attempt = attempt(delivery.number(ATTEMPT_HEADER));
        let interruptions = delivery.number(INTERRUPTIONS_HEADER).unwrap_or(0);
        let failed = |reason, detail| Tried { attempt, interruptions, latency_us: 0, outcome: Err(reason), detail };
        let task = match Task::parse(delivery.body()) {
            Ok(task) => task,
            Err(error) => {
                return self.settle(&delivery, None, &failed(FailReason::Malformed, bounded(&error))).await;
            }
        };
        if delivery.is_redelivered() {
            return self.settle(&delivery, Some(&task.task_id), &failed(FailReason::Interrupted, String::new())).await;
        }
        self.telemetry.record(&Event::TaskStarted { task: &task.task_id, attempt });
        let start = Instant::now();
        let results = self.rpc.call_all(&task.task_id, self.requests(&task)).await;
        let latency_us = u64::try_from(start.elapsed().as_micros()).expect("a try ends before 2^64 us");
        let outcome = outcome_of_all(&results);
        let detail = if outcome.is_ok() { String::new() } else { detail(&task, &results) };
        let tried = Tried { attempt, interruptions, latency_us, outcome, detail };
        self.settle(&delivery, Some(&task.task_id), &tried).await
    }

    /// One request for each command; all have the same deadline.
    fn requests(&self, task: &Task) -> Vec<Request> {
        let deadline = Deadline::after(&self.env, Duration::from_millis(self.config.reply_timeout_ms));
        let request = |command: &crate::message::Command| Request {
            request_id: RequestId::draw(&self.env),
            esl_mac: command.esl_mac,
            version: command.version,
            deadline_unix_ms: deadline.unix_ms(),
            body: command.body.clone(),
        };
        task.commands.iter().map(request).collect()
    }

    /// Records how a try went and sees to it that the task goes where it belongs; only then it counts as done.
    async fn settle(&self, delivery: &Delivery, task: Option<&TaskId>, tried: &Tried) -> Settlement {
        let &Tried { attempt, latency_us, outcome, .. } = tried;
        match (outcome, task) {
            (Ok(()), Some(task)) => {
                self.telemetry.record(&Event::TaskDone { task, attempt, latency_us });
                Settlement::Done
            }
            (Ok(()), None) => unreachable!("a task without a name was not tried"),
            (Err(_), _) if !delivery.can_be_settled() => {
                // Its connection is gone, so the broker gives it to somebody again; setting it aside would double it.
                let detail = "the connection that the task came over is gone";
                self.telemetry.record(&Event::Dropped { reason: DropReason::HandedBack, detail });
                Settlement::HandBack
            }
            (Err(reason), task) => match (self.next_try(tried, reason), task) {
                (Some(headers), Some(task)) => {
                    let settlement = self.set_aside(delivery, &self.retry_queue, &headers).await;
                    if settlement == Settlement::Done {
                        let detail = &tried.detail;
                        self.telemetry.record(&Event::TaskRetried { task, attempt, reason, latency_us, detail });
                    }
                    settlement
                }
                _ => {
                    let text = HeaderValue::Text;
                    let name = task.map_or_else(String::new, ToString::to_string);
                    let headers = [
                        (REASON_HEADER, text(reason.to_string())),
                        (DETAIL_HEADER, text(tried.detail.clone())),
                        (ATTEMPTS_HEADER, HeaderValue::Number(attempt)),
                        (TASK_ID_HEADER, text(name)),
                    ];
                    let settlement = self.set_aside(delivery, &self.dead_letter_queue, &headers).await;
                    if settlement == Settlement::Done {
                        let detail = &tried.detail;
                        self.telemetry.record(&Event::TaskDeadLettered { task, attempt, reason, latency_us, detail });
                    }
                    settlement
                }
            },
        }
    }

    /// The headers with which a task is tried again after it failed for `reason`; `None` if it is given up.
    fn next_try(&self, tried: &Tried, reason: FailReason) -> Option<[(&'static str, HeaderValue); 2]> {
        let &Tried { attempt, interruptions, .. } = tried;
        let (attempt, interruptions) = match reason {
            _ if reason.is_final() => return None,
            FailReason::Interrupted if interruptions < INTERRUPTIONS_MAX => (attempt, interruptions + 1),
            FailReason::Interrupted => return None,
            _ if attempt < self.config.attempts_max => (attempt + 1, interruptions),
            _ => return None,
        };
        Some([
            (ATTEMPT_HEADER, HeaderValue::Number(attempt)),
            (INTERRUPTIONS_HEADER, HeaderValue::Number(interruptions)),
        ])
    }

    /// Puts the task into `queue`, unchanged but for its headers. If that fails, it goes back to where it came from.
    async fn set_aside(&self, delivery: &Delivery, queue: &QueueName, headers: &[(&str, HeaderValue)]) -> Settlement {
        let properties = Properties::persistent().headers(headers);
        let limit = Instant::now() + SET_ASIDE_LIMIT;
        let published = self.session.publish(queue, delivery.body(), properties, limit).await;
        let Err(error) = published else { return Settlement::Done };
        settle::hand_back(&error.to_string(), self.telemetry.as_ref()).await
    }
}

/// Which try it is whose header says this: the first one, unless the header makes sense.
fn attempt(header: Option<u32>) -> u32 {
    header.unwrap_or(1).max(1)
}

/// What the results say about their task: done, or why it failed. A reason for which another try makes no sense comes
/// last, since the try would be for the other labels.
fn outcome_of_all(results: &[Result<Reply, CallError>]) -> Result<(), FailReason> {
    let reasons = || results.iter().filter_map(|result| outcome_of(result).err());
    let reason = reasons().find(|reason| !reason.is_final()).or_else(|| reasons().next());
    reason.map_or(Ok(()), Err)
}

/// What one result says about its task.
fn outcome_of(result: &Result<Reply, CallError>) -> Result<(), FailReason> {
    match result {
        Ok(reply) if reply.status.is_success() => Ok(()),
        Ok(reply) => Err(FailReason::Refused(reply.status)),
        Err(error) => Err(error.reason()),
    }
}

/// The first label that does not show what it should, and what was said of it; how many others there are.
fn detail(task: &Task, results: &[Result<Reply, CallError>]) -> String {
    let said = |result: &Result<Reply, CallError>| match result {
        Ok(Reply { status, detail, .. }) => {
            let words = detail.as_deref().map(|detail| format!(", {detail}"));
            format!("{}{}", FailReason::Refused(*status), words.unwrap_or_default())
        }
        Err(error) => error.to_string(),
    };
    let mut failed = task.commands.iter().zip(results).filter(|(_, result)| outcome_of(result).is_err());
    let Some((command, result)) = failed.next() else { return String::new() };
    let others = match failed.count() {
        0 => String::new(),
        others => format!("; and {others} more of {} labels", task.commands.len()),
    };
    format!("label {}: {}{others}", command.esl_mac, bounded(&said(result)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Mac, Status};

    #[test]
    fn a_detail_names_the_label_and_what_its_gateway_said() {
        let task = r#"{"task_id":"t","commands":[
            {"esl_mac":"00:00:00:00:00:01","version":1,"body":1},{"esl_mac":"00:00:00:00:00:02","version":1,"body":1},
            {"esl_mac":"00:00:00:00:00:03","version":1,"body":1}]}"#;
        let task = Task::parse(task.as_bytes()).unwrap();
        let reply = |status, detail: Option<&str>| {
            let esl_mac = Mac::new(9);
            Ok(Reply { request_id: None, esl_mac, status, detail: detail.map(str::to_owned) })
        };
        let results =
            [reply(Status::Done, None), reply(Status::Failed, Some("battery empty")), Err(CallError::Timeout)];
        let said = detail(&task, &results);
        assert!(said.starts_with("label 00:00:00:00:00:02: "), "{said}");
        assert!(said.ends_with(", battery empty; and 1 more of 3 labels"), "{said}");
        let results = [reply(Status::Done, None), reply(Status::Done, None), Err(CallError::Timeout)];
        assert_eq!(detail(&task, &results), "label 00:00:00:00:00:03: no reply before the deadline");
        let long = "x".repeat(20_000);
        let results = [reply(Status::Failed, Some(&long)), reply(Status::Done, None), reply(Status::Done, None)];
        assert!(detail(&task, &results).len() < 500);
    }

    #[test]
    fn a_task_is_on_its_first_try_unless_its_header_says_something_sensible() {
        assert_eq!([None, Some(0), Some(1), Some(3)].map(attempt), [1, 1, 1, 3]);
    }
}
