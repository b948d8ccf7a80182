//! Calls over HTTP, the thesis' baseline: each request is a POST to a router, and the response carries the reply.
//!
//! A worker goes round the routers by itself, a connection to each in turn, starting at a random one: its rotation is
//! its own. Whether the requests of one task go to one router decides much with replies that come to any router
//! (`config::Connections`).

mod lines;

pub(crate) use lines::ROUTE_PATH;

use super::{CallError, Origin, UnderWay, body_of};
use crate::{
    config,
    deadline::Deadline,
    env::Env,
    message::{REPLY_BYTES_MAX, Reply, Request},
    telemetry::{Ask, Event, Standing, Telemetry, bounded},
    trace::{Kind, TraceParent, Tracer},
};
use bytes::Bytes;
use futures_util::future::join_all;
use hyper::StatusCode;
use lines::{Answer, Lines, Turn};
use std::sync::Arc;
use tokio::{sync::Semaphore, time::timeout_at};

/// Most calls of a worker at a time: bounds its connections. More wait their turn; the thesis' tasks have two.
const CALLS_MAX: usize = 64;

/// Calls over HTTP.
pub(crate) struct HttpClient {
    env: Env,
    telemetry: Arc<dyn Telemetry>,
    lines: Arc<Lines>,
    free: Semaphore,
    tracer: Tracer,
}

impl HttpClient {
    /// A client of the routers in `config`.
    pub(crate) fn new(env: &Env, config: &config::Rpc, telemetry: Arc<dyn Telemetry>, tracer: Tracer) -> Self {
        let lines = Arc::new(Lines::new(env, config));
        let watched = Arc::downgrade(&lines);
        let ask: Ask = Arc::new(move || {
            let unreachable = watched.upgrade().and_then(|lines| lines.unreachable());
            unreachable.map_or(Standing::Up, Standing::Stalled)
        });
        telemetry.keeps("router", &ask);
        Self { env: env.clone(), telemetry, lines, free: Semaphore::new(CALLS_MAX), tracer }
    }

    /// See [`RpcClient::call_all`](super::RpcClient::call_all).
    pub(super) async fn call_all(&self, origin: Origin<'_>, requests: Vec<Request>) -> Vec<Result<Reply, CallError>> {
        let turn = self.lines.turn_of_task();
        join_all(requests.iter().map(|request| self.call(origin, request, turn))).await
    }

    async fn call(&self, origin: Origin<'_>, request: &Request, turn: Option<Turn>) -> Result<Reply, CallError> {
        let Origin { task, traceparent } = origin;
        let under_way = UnderWay::begin(self.telemetry.as_ref(), task, request);
        let span = self.tracer.span("call", Kind::Client, request.request_id, None).linked(traceparent);
        let outcome = match Deadline::from_unix_ms(&self.env, request.deadline_unix_ms) {
            Some(deadline) => {
                let answered = self.post(request, turn, span.traceparent());
                timeout_at(deadline.at(), answered).await.unwrap_or(Err(CallError::Timeout))
            }
            None => Err(CallError::Timeout),
        };
        span.end(outcome.as_ref().err().map(CallError::to_string));
        under_way.end(&outcome);
        if let Err(error) = &outcome {
            tracing::info!(%task, request = %request.request_id, %error, "request not answered");
        }
        outcome
    }

    /// Posts over a connection at hand, or over one to the router whose turn it is.
    async fn post(
        &self,
        request: &Request,
        mut turn: Option<Turn>,
        traceparent: Option<TraceParent>,
    ) -> Result<Reply, CallError> {
        let _permit = self.free.acquire().await.expect("never closed");
        let body = match body_of(request) {
            Ok(body) => Bytes::from(body),
            Err(reply) => return Ok(reply),
        };
        let mut last_failure = String::new();
        // Each router once, and one try more for a kept connection that its router has just closed.
        for _ in 0..=self.lines.routers() {
            let mut line = match self.lines.take_idle() {
                Some(line) => line,
                None => match self.lines.dial(turn.take().unwrap_or_else(|| self.lines.turn())).await {
                    Ok(line) => line,
                    Err(reason) => {
                        self.telemetry.record(&Event::Disconnected { broker: "router", reason: &reason });
                        last_failure = reason;
                        continue;
                    }
                },
            };
            match self.lines.post(&mut line, body.clone(), traceparent, REPLY_BYTES_MAX).await {
                Ok(answer) => {
                    self.lines.give_back(line);
                    return read(request, &answer);
                }
                // Sent twice at worst: labels ignore a version that they know.
                Err(error) if line.used => last_failure = error.to_string(),
                Err(error) => {
                    self.telemetry.record(&Event::Disconnected { broker: "router", reason: &error.to_string() });
                    return Err(CallError::ConnectionLost);
                }
            }
        }
        self.lines.none_answers(&last_failure);
        Err(CallError::NoRouter { last_failure })
    }
}

/// What an answer says about `request`.
fn read(request: &Request, answer: &Answer) -> Result<Reply, CallError> {
    let refused = |detail: String| CallError::Router { status: answer.status.as_u16(), detail };
    match answer.status {
        StatusCode::SERVICE_UNAVAILABLE => Err(CallError::Overloaded),
        StatusCode::GATEWAY_TIMEOUT => Err(CallError::Timeout),
        StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::BAD_GATEWAY => {
            let (reply, _) = Reply::parse_foreign(&answer.body).map_err(|error| refused(error.to_string()))?;
            let is_mine = reply.answers(request.request_id, request.esl_mac);
            is_mine.then_some(reply).ok_or_else(|| refused("the reply is to another request".into()))
        }
        _ => Err(refused(bounded(&String::from_utf8_lossy(&answer.body)))),
    }
}

#[cfg(test)]
mod tests;
