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
    message::{Reply, Request, RequestId, TaskId},
    redial::Unavailable,
    telemetry::{Event, FailReason, Telemetry},
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

impl CallError {
    /// What it means for the task.
    pub(crate) fn reason(&self) -> FailReason {
        match self {
            Self::Timeout => FailReason::Timeout,
            Self::Overloaded => FailReason::Overloaded,
            _ => FailReason::BrokerUnavailable,
        }
    }
}

/// A request that is under way: reports that it was sent, and how it ended. Dropped before it has ended, it failed.
struct UnderWay<'a> {
    telemetry: &'a dyn Telemetry,
    request: RequestId,
    ended: bool,
}

impl<'a> UnderWay<'a> {
    fn begin(telemetry: &'a dyn Telemetry, task: &TaskId, request: &Request) -> Self {
        let Request { request_id, esl_mac, .. } = *request;
        telemetry.record(&Event::RequestSent { request: request_id, esl: esl_mac, task });
        Self { telemetry, request: request_id, ended: false }
    }

    fn end(mut self, outcome: &Result<Reply, CallError>) {
        self.ended = true;
        let request = self.request;
        self.telemetry.record(&match outcome {
            Ok(reply) => Event::ReplyReceived { request, status: reply.status },
            Err(CallError::Timeout) => Event::RequestTimedOut { request },
            Err(error) => Event::RequestFailed { request, reason: error.reason() },
        });
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let reason = FailReason::BrokerUnavailable;
            self.telemetry.record(&Event::RequestFailed { request: self.request, reason });
        }
    }
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
pub(crate) enum Chosen {
    Queue(QueueBackbone),
    Http(HttpBackbone),
}

impl Chosen {
    /// The one of `config`; over queues it uses `session`.
    pub(crate) fn new(env: &Env, config: &Config, session: &Session, telemetry: Arc<dyn Telemetry>) -> Self {
        match config.rpc.kind {
            RpcKind::Queue => Self::Queue(QueueBackbone::new(env, session, config.task_worker.reply_queue, telemetry)),
            RpcKind::Http => Self::Http(HttpBackbone::new(env, &config.rpc, telemetry)),
        }
    }
}

impl Backbone for Chosen {
    async fn forward(&self, task: &TaskId, requests: Vec<Request>) -> Vec<Result<Reply, CallError>> {
        match self {
            Self::Queue(backbone) => backbone.forward(task, requests).await,
            Self::Http(backbone) => backbone.forward(task, requests).await,
        }
    }
}
