//! Tasks: what producers put into the task queue.

use super::{Mac, Message, TASK_BYTES_MAX, TASK_COMMANDS_MAX, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Highest priority of a task (AMQP 0-9-1 has 0 to 9).
pub(crate) const PRIORITY_MAX: u8 = 9;

/// Work for a task worker: commands for one or more labels, done when all labels have confirmed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Chosen by whoever dispatches; names the task in logs, metrics, results and dead letters.
    pub task_id: TaskId,
    /// When the task is no longer worth doing, in milliseconds since 1970: after that it is not tried (again), and its
    /// outcome is `expired`. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_ms: Option<u64>,
    /// 0 to 9; of tasks that wait, those with a higher one are taken first. Works where the task queue has priorities
    /// (`task_queue.priority_max`), and a producer of its own also sets the message's property `priority`. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(max = 9)))]
    pub priority: Option<u8>,
    /// At least one, at most 1,000.
    #[cfg_attr(test, schemars(length(min = 1, max = 1_000)))]
    pub commands: Vec<Command>,
}

/// One command for one label.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The label.
    pub esl_mac: Mac,
    /// Grows with every new content of this label. A label ignores what is not newer than what it shows, so that a
    /// command delivered twice or late does no harm.
    pub version: u64,
    /// What the label shall do; passed through unread.
    #[cfg_attr(test, schemars(with = "serde_json::Value"))]
    pub body: Box<RawValue>,
}

impl Message for Task {
    const KIND: &'static str = "task";
    const BYTES_MAX: usize = TASK_BYTES_MAX;
    fn item_count(&self) -> Option<(usize, usize, usize)> {
        Some((self.commands.len(), 1, TASK_COMMANDS_MAX))
    }
}

/// A message that a worker can take for a task: [`Task`], or one of your own for a handler of your own.
pub trait TaskMessage: Message + Send + Sync {
    /// Names the task in logs, metrics, results and dead letters.
    fn task_id(&self) -> &TaskId;

    /// When the task is no longer worth doing, in milliseconds since 1970; `None`: never.
    fn expires_unix_ms(&self) -> Option<u64> {
        None
    }

    /// The commands that it is known to have before anybody works on it: for the lines of its result should it end
    /// without a try.
    fn commands(&self) -> &[Command] {
        &[]
    }
}

impl TaskMessage for Task {
    fn task_id(&self) -> &TaskId {
        &self.task_id
    }

    fn expires_unix_ms(&self) -> Option<u64> {
        self.expires_unix_ms
    }

    fn commands(&self) -> &[Command] {
        &self.commands
    }
}
