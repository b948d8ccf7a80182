//! Calling labels: requests go out, each comes back as a reply or as an error by its deadline.
//!
//! A [`Backbone`] is one way of doing that. [`queue`] is the one over message queues.

mod pending;
pub(crate) mod queue;

use crate::message::{Reply, Request, TaskId};
use crate::{amqp::PublishError, redial::Unavailable};
use std::future::Future;

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no reply before the deadline")]
    Timeout,
    #[error("the connection on which the reply would have come was lost")]
    ConnectionLost,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("no queue for the replies: {0}")]
    ReplyQueue(#[from] lapin::Error),
}

/// Carries requests to labels and their replies back.
pub(crate) trait Backbone {
    /// Sends all of `requests` at once, for `task`, and waits for each until its reply or its deadline. The results are in
    /// the order of the requests.
    fn forward(
        &self,
        task: &TaskId,
        requests: Vec<Request>,
    ) -> impl Future<Output = Vec<Result<Reply, CallError>>> + Send;
}
