//! Calling labels: requests go out, each comes back as a reply or as an error by its deadline.
//!
//! A [`Backbone`] is one way of doing that: [`queue`] over message queues, [`http`] over HTTP.

pub(crate) mod http;
mod pending;
mod queue;
pub(crate) mod recent;

use crate::{
    amqp::{PublishError, Session},
    config::{Config, RpcKind},
    env::Env,
    message::{Reply, Request, TaskId},
    redial::Unavailable,
    telemetry::Telemetry,
};
use http::HttpBackbone;
use queue::QueueBackbone;
use std::{future::Future, sync::Arc};

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
    #[error("the router has too many requests in work")]
    Overloaded,
    #[error("no router could be reached; last failure: {last_failure}")]
    NoRouter { last_failure: String },
    #[error("the router answered with HTTP status {status}: {detail}")]
    Router { status: u16, detail: String },
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

/// The backbone that a configuration chooses.
pub(crate) enum Chosen<E: Env> {
    Queue(QueueBackbone<E>),
    Http(HttpBackbone<E>),
}

impl<E: Env> Chosen<E> {
    /// The one of `config`; over queues it uses `session`.
    pub(crate) fn new(env: &E, config: &Config, session: &Session<E>, telemetry: Arc<dyn Telemetry>) -> Self {
        match config.rpc.kind {
            RpcKind::Queue => Self::Queue(QueueBackbone::new(env, session, config.task_worker.reply_queue, telemetry)),
            RpcKind::Http => Self::Http(HttpBackbone::new(env, &config.rpc, telemetry)),
        }
    }
}

impl<E: Env> Backbone for Chosen<E> {
    async fn forward(&self, task: &TaskId, requests: Vec<Request>) -> Vec<Result<Reply, CallError>> {
        match self {
            Self::Queue(backbone) => backbone.forward(task, requests).await,
            Self::Http(backbone) => backbone.forward(task, requests).await,
        }
    }
}
