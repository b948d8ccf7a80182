//! Calling labels: requests go out, each comes back as a reply or as an error by its deadline.
//!
//! Each way of doing that is a file: [`queue`] over message queues, [`http`] over HTTP. [`RpcClient`] is the one that
//! the configuration chooses.

pub(crate) mod http;
mod queue;
mod recent;
pub(crate) mod waiting;

use crate::{
    amqp::{PublishError, ReplyQueueError, Session},
    config::{Config, RpcKind},
    env::Env,
    message::{Message as _, REQUEST_BYTES_MAX, Reply, Request, RequestId, TaskId},
    telemetry::{Event, FailReason, Telemetry},
    trace::{TraceParent, Tracer},
};
use http::HttpClient;
use queue::QueueClient;
use std::sync::Arc;

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no reply before the deadline")]
    Timeout,
    #[error("the connection on which the reply would have come was lost")]
    ConnectionLost,
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    ReplyQueue(#[from] ReplyQueueError),
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

/// The bytes of `request`; if routers don't take so many, the reply in its gateway's stead.
fn body_of(request: &Request) -> Result<Vec<u8>, Reply> {
    let body = request.to_bytes();
    match body.len() {
        ..=REQUEST_BYTES_MAX => Ok(body),
        bytes => {
            let detail = format!("the request has {bytes} bytes; routers take {REQUEST_BYTES_MAX}");
            Err(Reply::too_large(request, detail))
        }
    }
}

/// What a call is made for.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) task: &'a TaskId,
    /// The span in which its producer published it, if it says so.
    pub(crate) traceparent: Option<TraceParent>,
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

/// Calls labels in the way that a configuration chooses.
pub(crate) enum RpcClient {
    Queue(QueueClient),
    Http(HttpClient),
}

impl RpcClient {
    /// The client for `config`, which traces calls; over queues it uses `session`.
    pub(crate) fn new(
        env: &Env,
        config: &Config,
        session: &Session,
        telemetry: Arc<dyn Telemetry>,
        tracer: Tracer,
    ) -> Self {
        match config.rpc.kind {
            RpcKind::Queue => {
                let replies = config.task_worker.reply_queue;
                Self::Queue(QueueClient::new(env, session, replies, telemetry, tracer))
            }
            RpcKind::Http => Self::Http(HttpClient::new(env, &config.rpc, telemetry, tracer)),
        }
    }

    /// Sends all of `requests` at once, for `origin`, and waits for each until its reply or its deadline. The results
    /// are in the order of the requests.
    pub(crate) async fn call_all(&self, origin: Origin<'_>, requests: Vec<Request>) -> Vec<Result<Reply, CallError>> {
        match self {
            Self::Queue(client) => client.call_all(origin, requests).await,
            Self::Http(client) => client.call_all(origin, requests).await,
        }
    }
}
