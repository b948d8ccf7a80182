//! The task worker that is shipped: it sends a task's commands, and the task is done when all labels have confirmed.

use super::worker::{Calls, Failure, Handler, Worker};
use crate::{config::Config, env::Env, message::Task, telemetry::Telemetry};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Takes tasks and calls labels.
pub struct TaskWorker;

/// Sends what a task says.
struct SendCommands;

impl Handler for SendCommands {
    type Task = Task;

    async fn handle(&self, task: &Task, calls: &Calls<'_>) -> Result<(), Failure> {
        Failure::unless_all_succeeded(&calls.send(&task.commands).await?)
    }
}

impl TaskWorker {
    /// As [`Worker::run`].
    ///
    /// # Panics
    /// If `config` is not valid.
    pub async fn run(env: Env, config: Arc<Config>, telemetry: Arc<dyn Telemetry>, shutdown: CancellationToken) {
        Worker::new(SendCommands).run(env, config, telemetry, shutdown).await;
    }
}
