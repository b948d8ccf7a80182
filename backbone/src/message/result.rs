//! Results: what a producer learns of its tasks. At least once each: the same task id with the same number of attempts
//! is the same result.

use super::{Mac, Message, RESULT_BYTES_MAX, TaskId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of the results' format. It grows when a reader of the old one would read the new one wrongly; fields
/// that are added don't change it.
pub const RESULT_VERSION: u32 = 1;

/// What became of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskResult {
    /// [`RESULT_VERSION`].
    pub v: u32,
    /// The task; missing if it was too malformed to have a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// How it ended.
    pub outcome: TaskOutcome,
    /// Unless it succeeded: why, in one of the words that `x-reason` of a dead letter has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Unless it succeeded: for people, what was said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How many tries it took; 0: it was not tried.
    pub attempts: u32,
    /// When it was published, in milliseconds since 1970 by its producer's clock, as far as that has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_unix_ms: Option<u64>,
    /// When its first try began, in milliseconds since 1970. Missing if it was not tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_unix_ms: Option<u64>,
    /// When it ended, in milliseconds since 1970.
    pub ended_unix_ms: u64,
    /// A line for each command, in the task's order. Empty if the task was too malformed to have any.
    pub commands: Vec<CommandResult>,
    /// In the header of a dead letter, which has less room: how many of these lines are left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub commands_left_out: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Message for TaskResult {
    const KIND: &'static str = "task result";
    const BYTES_MAX: usize = RESULT_BYTES_MAX;
}

/// How a task ended. Its name is the routing key of its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TaskOutcome {
    /// Every label shows what it should.
    Done,
    /// Every label shows what it should, or something newer was accepted for it; at least for one.
    Superseded,
    /// It was given up, and lies in the dead-letter queue.
    Failed,
    /// Its time was over before it was done. It lies in the dead-letter queue, too.
    Expired,
}

impl TaskOutcome {
    /// Its name in JSON and as a routing key.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Self::Done | Self::Superseded)
    }
}

/// What became of one command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CommandResult {
    /// The label.
    pub esl_mac: Mac,
    /// The command's version.
    pub version: u64,
    /// How it ended.
    pub outcome: CommandOutcome,
    /// For people: the gateway's own words, or which hop failed and what it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CommandOutcome {
    /// The label shows it.
    Done,
    /// Something newer was accepted for the label.
    Superseded,
    /// The gateway tried and failed.
    Failed,
    /// No gateway has heard the label lately.
    NoRoute,
    /// The label's gateway is not connected to the broker.
    GatewayOffline,
    /// It has more bytes than a hop takes. It was not sent.
    TooLarge,
    /// A broker on the way refused it.
    BrokerRefused,
    /// No reply before the deadline. The label may show it all the same.
    TimedOut,
    /// The task's time was over.
    Expired,
    /// A broker or a router could not be reached, or the connection was lost. The label may show it all the same.
    BrokerUnavailable,
    /// The router had too many requests in work.
    Overloaded,
    /// The worker was lost before it could say. The label may show it all the same.
    Interrupted,
    /// Not sent: the task ended before.
    NotTried,
}

impl CommandOutcome {
    /// Whether the label shows what was asked for, or something newer was accepted for it.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Self::Done | Self::Superseded)
    }

    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::NoRoute => "no_route",
            Self::GatewayOffline => "gateway_offline",
            Self::TooLarge => "too_large",
            Self::BrokerRefused => "broker_refused",
            Self::TimedOut => "timed_out",
            Self::Expired => "expired",
            Self::BrokerUnavailable => "broker_unavailable",
            Self::Overloaded => "overloaded",
            Self::Interrupted => "interrupted",
            Self::NotTried => "not_tried",
        }
    }
}

impl fmt::Display for CommandOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TaskResult {
    /// The same in at most `bytes_max` bytes of JSON: the lines of commands that failed first, as many as fit; how many
    /// there are not is said.
    pub(crate) fn within(mut self, bytes_max: usize) -> Self {
        if self.to_bytes().len() <= bytes_max {
            return self;
        }
        let lines = std::mem::take(&mut self.commands);
        self.commands_left_out = lines.len();
        let mut bytes = self.to_bytes().len();
        let (failed, done): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| !line.outcome.is_success());
        for line in failed.into_iter().chain(done) {
            bytes += serde_json::to_vec(&line).expect("a line has string keys").len() + 1;
            if bytes > bytes_max {
                break;
            }
            self.commands.push(line);
            self.commands_left_out -= 1;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_has_to_fit_keeps_what_failed_and_says_how_much_is_missing() {
        let line = |number: u64| {
            let outcome = if number == 400 { CommandOutcome::NoRoute } else { CommandOutcome::Done };
            CommandResult { esl_mac: Mac::new(number), version: 1, outcome, detail: None }
        };
        let result = TaskResult {
            v: RESULT_VERSION,
            task_id: Some("t".parse().unwrap()),
            outcome: TaskOutcome::Failed,
            reason: Some("no_route".into()),
            detail: None,
            attempts: 1,
            published_unix_ms: None,
            started_unix_ms: Some(1),
            ended_unix_ms: 2,
            commands: (0..500).map(line).collect(),
            commands_left_out: 0,
        };
        assert_eq!(result.clone().within(RESULT_BYTES_MAX), result);
        let short = result.within(1_000);
        assert!(short.to_bytes().len() <= 1_000 && short.commands.len() > 5);
        assert_eq!(short.commands[0].esl_mac, Mac::new(400));
        assert_eq!(short.commands.len() + short.commands_left_out, 500);
        assert_eq!(TaskResult::parse(&short.to_bytes()).unwrap(), short);
    }
}
