//! How a handler reaches labels.

use super::{Came, Failure, confirmed::Confirmed};
use crate::{
    deadline::Deadline,
    env::Env,
    message::{
        Command, CommandOutcome, CommandResult, Reply, Request, RequestId, Status, TASK_COMMANDS_MAX, TaskId,
        TaskMessage,
    },
    rpc::{CallError, Origin, RpcClient},
    telemetry::bounded,
};
use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::Instant;

/// The calls of one try of one task.
pub struct Calls<'a> {
    env: &'a Env,
    rpc: &'a RpcClient,
    reply_timeout: Duration,
    task: &'a TaskId,
    expires_unix_ms: Option<u64>,
    came: &'a Came,
    /// Whether requests say which try they are.
    tells_attempt: bool,
    log: Mutex<Log>,
}

/// What was sent in this try.
#[derive(Default)]
struct Log {
    rounds: Vec<Vec<CommandResult>>,
    first_sent: Option<Instant>,
    last_ended: Option<Instant>,
}

/// What a try's calls came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended {
    /// From the first command sent to the last one answered.
    pub(super) latency_us: u64,
    /// A line for each command, round by round.
    pub(super) rounds: Vec<Vec<CommandResult>>,
}

impl Ended {
    /// A line for each command.
    pub(super) fn lines(&self) -> impl Iterator<Item = &CommandResult> {
        self.rounds.iter().flatten()
    }

    /// What the next try need not send again.
    pub(super) fn confirmed(&self) -> Confirmed {
        Confirmed::after(self.rounds.iter().map(Vec::as_slice))
    }
}

impl<'a> Calls<'a> {
    pub(super) fn new(
        env: &'a Env,
        rpc: &'a RpcClient,
        task: &'a impl TaskMessage,
        came: &'a Came,
        (reply_timeout, tells_attempt): (Duration, bool),
    ) -> Self {
        let (task, expires_unix_ms) = (task.task_id(), task.expires_unix_ms());
        Self { env, rpc, reply_timeout, task, expires_unix_ms, came, tells_attempt, log: Mutex::default() }
    }

    /// The outside world, for what a handler asks beside labels: connections, time, randomness.
    #[must_use]
    pub fn env(&self) -> &Env {
        self.env
    }

    /// Which try of the task this is, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.came.attempt
    }

    /// Sends `commands`, all at once, and waits for each until its label has answered or the reply timeout is over. The
    /// results are in the order of the commands, and become lines of the task's result.
    ///
    /// What an earlier try of the task confirmed is not sent again: a handler that sends the same commands in the same
    /// order at every try finds those confirmed. One that sends others than last time has all of them sent.
    ///
    /// # Errors
    /// A final [`Failure`] if the task would have more than 1,000 commands. That one of them failed is no error here;
    /// [`Failure::unless_all_succeeded`] makes one of it.
    pub async fn send(&self, commands: &[Command]) -> Result<Vec<CommandResult>, Failure> {
        let round = self.begin(commands)?;
        let confirmed = self.came.confirmed.of_round(round, commands);
        let is_open = |(_, confirmed): &(&Command, &Option<CommandOutcome>)| confirmed.is_none();
        let open: Vec<&Command> = commands.iter().zip(&confirmed).filter(is_open).map(|(command, _)| command).collect();
        let mut answers = if open.is_empty() {
            Vec::new().into_iter()
        } else {
            let origin = Origin { task: self.task, traceparent: self.came.traceparent };
            self.rpc.call_all(origin, self.requests(&open)).await.into_iter()
        };
        let line = |(command, confirmed): (&Command, Option<CommandOutcome>)| {
            let (outcome, detail) = match confirmed {
                Some(outcome) => (outcome, None),
                None => self.outcome_of(answers.next().expect("an answer for each request")),
            };
            CommandResult { esl_mac: command.esl_mac, version: command.version, outcome, detail }
        };
        let lines: Vec<CommandResult> = commands.iter().zip(confirmed).map(line).collect();
        let mut log = self.log();
        log.rounds[round].clone_from(&lines);
        log.last_ended = Some(Instant::now());
        Ok(lines)
    }

    /// Takes note of a round; should it never end, its commands count as not tried.
    fn begin(&self, commands: &[Command]) -> Result<usize, Failure> {
        let mut log = self.log();
        let sent: usize = log.rounds.iter().map(Vec::len).sum();
        if sent + commands.len() > TASK_COMMANDS_MAX {
            let all = sent + commands.len();
            return Err(Failure::give_up(format!("{all} commands; a task may have at most {TASK_COMMANDS_MAX}")));
        }
        let line = |command: &Command| CommandResult {
            esl_mac: command.esl_mac,
            version: command.version,
            outcome: CommandOutcome::NotTried,
            detail: None,
        };
        log.rounds.push(commands.iter().map(line).collect());
        log.first_sent.get_or_insert_with(Instant::now);
        Ok(log.rounds.len() - 1)
    }

    /// One request for each command; all have the same deadline.
    fn requests(&self, commands: &[&Command]) -> Vec<Request> {
        let left = self.expires_unix_ms.map(|expires| expires.saturating_sub(self.env.unix_ms()));
        let timeout = left.map_or(self.reply_timeout, |left| self.reply_timeout.min(Duration::from_millis(left)));
        let deadline = Deadline::after(self.env, timeout);
        let attempt = Some(self.attempt()).filter(|attempt| self.tells_attempt && *attempt > 1);
        let request = |command: &&Command| Request {
            request_id: RequestId::draw(self.env),
            esl_mac: command.esl_mac,
            version: command.version,
            deadline_unix_ms: deadline.unix_ms(),
            attempt,
            body: command.body.clone(),
        };
        commands.iter().map(request).collect()
    }

    fn outcome_of(&self, answer: Result<Reply, CallError>) -> (CommandOutcome, Option<String>) {
        match answer {
            Ok(Reply { status, detail, .. }) => {
                let outcome = match status {
                    Status::Done => CommandOutcome::Done,
                    Status::Superseded => CommandOutcome::Superseded,
                    Status::Failed => CommandOutcome::Failed,
                    Status::NoRoute => CommandOutcome::NoRoute,
                    Status::GatewayOffline => CommandOutcome::GatewayOffline,
                    Status::TooLarge => CommandOutcome::TooLarge,
                    Status::BrokerRefused => CommandOutcome::BrokerRefused,
                    Status::BrokerUnavailable => CommandOutcome::BrokerUnavailable,
                };
                (outcome, detail.map(|detail| bounded(&detail)))
            }
            Err(error) => {
                let is_over = self.expires_unix_ms.is_some_and(|expires| expires <= self.env.unix_ms());
                let outcome = match error {
                    CallError::Timeout if is_over => CommandOutcome::Expired,
                    CallError::Timeout => CommandOutcome::TimedOut,
                    CallError::Overloaded => CommandOutcome::Overloaded,
                    _ => CommandOutcome::BrokerUnavailable,
                };
                (outcome, Some(bounded(&error)))
            }
        }
    }

    /// What all calls came to.
    pub(super) fn end(self) -> Ended {
        let log = self.log.into_inner().expect("no holder of this lock panics");
        let took = log.first_sent.zip(log.last_ended).map(|(sent, ended)| ended.duration_since(sent));
        let latency_us = u64::try_from(took.unwrap_or_default().as_micros()).expect("a try ends before 2^64 us");
        Ended { latency_us, rounds: log.rounds }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no holder of this lock panics")
    }
}
