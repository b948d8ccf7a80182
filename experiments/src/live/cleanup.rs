//! Cleaning up after a run at brokers that are not its own: whatever its end was, they are left as they were.
//!
//! MQTT needs nothing of the kind: sessions end with their connections, and nothing that is published is retained.

use super::{
    keys::{Keys, SAVED_ROUTE_KEY},
    queues,
};
use anyhow::Context;
use backbone::config::{Config, RoutingMode};
use std::sync::Arc;

/// What is to be cleaned up. It is entered before anything is written, and only where nobody else's things could be
/// meant.
#[derive(Default)]
pub(super) struct Cleanup {
    /// RabbitMQ, where the run's queues are to be deleted.
    pub(super) queues: Option<Arc<Config>>,
    /// Redis, where the run's keys are to be deleted, and the default route is to be what it was.
    pub(super) keys: Option<Arc<Config>>,
}

impl Cleanup {
    /// Does it. Nothing of the run may be at work any more. What fails is a warning: the run's own end is of more
    /// interest.
    pub(super) fn run(self) {
        if self.queues.is_none() && self.keys.is_none() {
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime could be built before the run, and it is gone");
        let done = runtime.block_on(async { [self.delete_queues().await, self.restore_keys().await] });
        for error in done.into_iter().filter_map(Result::err) {
            tracing::warn!("not tidied up: {error:#}");
        }
    }

    async fn delete_queues(&self) -> anyhow::Result<()> {
        let Some(config) = &self.queues else { return Ok(()) };
        queues::delete(config).await
    }

    async fn restore_keys(&self) -> anyhow::Result<()> {
        let Some(config) = &self.keys else { return Ok(()) };
        let given_back = async {
            let mut keys = Keys::open(&config.redis).await?;
            keys.give_back(config.routing.mode == RoutingMode::Fixed).await
        };
        given_back.await.with_context(|| {
            format!(
                "Redis may still have keys of the run. They expire, but for `{SAVED_ROUTE_KEY}`, if it is there: that \
                 is the default route from before, which the next run with this database puts back"
            )
        })
    }
}
