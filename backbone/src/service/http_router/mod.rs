//! The HTTP router, the thesis' baseline: takes a request over HTTP, finds the gateway, hands the request to the MQTT
//! broker and waits for the reply in its own memory.
//!
//! What that costs is decided by how replies come back (`http_router.replies`): through one shared subscription, as in
//! the thesis, a reply reaches whichever replica the broker picks, and one that nobody waits for there is dropped; the
//! call then ends at its deadline. The two other ways bring every reply to the router that waits for it.

mod answer;

use super::{
    clocks::Clocks,
    presence::{self, Choice, Presence},
    reports::{malformed, store_report, tell_left_out},
};
use crate::{
    config::{Config, Replies},
    deadline::Deadline,
    env::{Env, Listener, Stream},
    message::{Message, REQUEST_BYTES_MAX, Reply, Request, RequestId, Status, action_topic, router_topic},
    mqtt::{Handover, Incoming, Mqtt, MqttError, ReplyTo},
    rpc::{
        http::ROUTE_PATH,
        waiting::{Call, WaitingCalls},
    },
    store::{CorrelationKey, Destination, Shards},
    telemetry::{DropReason, Dropped, Event, Telemetry, bounded},
    trace::{Kind, Span, TRACEPARENT, TraceParent, Tracer},
};
use answer::{Answer, Refusal, answer};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{Method, body::Incoming as Body, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// Most open connections; more wait in the listen backlog. Some workers' worth of the most calls that each makes at a
/// time.
const CONNECTIONS_MAX: usize = 1_024;
/// Most RSSI reports in work at a time, as many as a backward router's default.
const REPORTS_MAX: usize = 32;
/// How long a connection may be silent before or within the head of a request. Longer than workers keep idle ones.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Largest head of a request: ours have 150 bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Limit of reading a request's body.
const BODY_LIMIT: Duration = Duration::from_secs(5);
/// How long a request waits for a connection to the MQTT broker, as in the forward router.
const CONNECTION_LIMIT: Duration = Duration::from_secs(2);
/// What a shutdown allows requests under way on top of their reply timeout.
const DRAIN_MARGIN: Duration = Duration::from_secs(1);

/// The router's socket could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr} (http_router.listen): {source}")]
pub struct ListenError {
    addr: SocketAddr,
    source: io::Error,
}

/// Answers requests over HTTP.
pub struct HttpRouter {
    env: Env,
    config: Arc<Config>,
    telemetry: Arc<dyn Telemetry>,
    mqtt: Mqtt,
    store: Shards,
    clocks: Clocks,
    presence: Presence,
    waiting: WaitingCalls<CorrelationKey>,
    free: Semaphore,
    http: http1::Builder,
    /// Where gateways answer to this router alone, if they are asked to.
    own_topic: Option<String>,
    tracer: Tracer,
}

impl HttpRouter {
    /// Answers requests until `shutdown`. Those that are under way then have their reply timeout to finish.
    ///
    /// # Errors
    /// [`ListenError`], at once.
    ///
    /// # Panics
    /// If `config` is not valid.
    pub async fn run(
        env: Env,
        config: Arc<Config>,
        telemetry: Arc<dyn Telemetry>,
        shutdown: CancellationToken,
    ) -> Result<(), ListenError> {
        let addr = config.http_router.listen;
        let listener = env.listen(addr).await.map_err(|source| ListenError { addr, source })?;
        let (mut router, messages) = Self::new(env, config, telemetry);
        router.serve(listener, messages, &shutdown).await;
        router.mqtt.close().await;
        router.tracer.close().await;
        Ok(())
    }

    fn new(env: Env, config: Arc<Config>, telemetry: Arc<dyn Telemetry>) -> (Self, mpsc::Receiver<Incoming>) {
        let mut life = [0; 8];
        env.random(&mut life);
        let own_topic = router_topic(u64::from_be_bytes(life));
        let own_topic = (config.http_router.replies == Replies::ResponseTopic).then_some(own_topic);
        let group = &config.http_router.group;
        let replies = match config.http_router.replies {
            Replies::Shared => format!("$share/{group}//gw/+/response"),
            Replies::Broadcast => "/gw/+/response".into(),
            Replies::ResponseTopic => own_topic.clone().expect("made for this choice"),
        };
        let own = [replies, format!("$share/{group}//gw/+/rssi")];
        let subscriptions = own.into_iter().chain(presence::subscriptions(&config.routing)).collect();
        let (mqtt, messages) = Mqtt::start(&env, &config.mqtt, "http", subscriptions, telemetry.clone());
        let store = Shards::new(&env, &config.redis, &telemetry);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(HEAD_BYTES_MAX);
        let free = Semaphore::new(config.http_router.in_flight_max);
        let (clocks, waiting) = (Clocks::default(), WaitingCalls::default());
        let presence = Presence::default();
        let tracer = Tracer::new(&env, &config.tracing, "http_router", &telemetry);
        let router =
            Self { env, config, telemetry, mqtt, store, clocks, presence, waiting, free, http, own_topic, tracer };
        (router, messages)
    }

    async fn serve(
        &self,
        mut listener: Listener,
        mut messages: mpsc::Receiver<Incoming>,
        shutdown: &CancellationToken,
    ) {
        let mut connections = FuturesUnordered::new();
        let mut reports = FuturesUnordered::new();
        let mut end = pin!(async {
            shutdown.cancelled().await;
            sleep(Duration::from_millis(self.config.task_worker.reply_timeout_ms) + DRAIN_MARGIN).await;
        });
        loop {
            let stopping = shutdown.is_cancelled();
            if stopping && connections.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                () = &mut end => {
                    tracing::warn!(unfinished = connections.len(), "connections not finished in time are dropped");
                    break;
                }
                () = shutdown.cancelled(), if !stopping => {}
                Some(()) = connections.next(), if !connections.is_empty() => {}
                Some(()) = reports.next(), if !reports.is_empty() => {}
                message = messages.recv(), if reports.len() < REPORTS_MAX => {
                    let message = message.expect("the client runs as long as the router does");
                    if message.topic.ends_with(b"/rssi") {
                        reports.push(self.take_report(message));
                    } else if presence::is_status(&message) {
                        self.take_status(&message);
                    } else {
                        self.take_reply(&message);
                    }
                }
                stream = listener.connection(), if !stopping && connections.len() < CONNECTIONS_MAX => {
                    connections.push(self.serve_connection(stream, shutdown));
                }
            }
        }
    }

    async fn serve_connection(&self, stream: Stream, shutdown: &CancellationToken) {
        let service = service_fn(|request| async { Ok::<Answer, Infallible>(answer(self.take(request).await)) });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let outcome = tokio::select! {
            biased;
            outcome = connection.as_mut() => outcome,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "a connection ended");
        }
    }

    /// From a request over HTTP to its reply.
    async fn take(&self, request: hyper::Request<Body>) -> Result<Reply, Refusal> {
        if request.uri().path() != ROUTE_PATH {
            return Err(Refusal::UnknownPath);
        }
        if request.method() != Method::POST {
            return Err(Refusal::NotPosted);
        }
        // Before the body is read: it takes the memory.
        let _permit = self.free.try_acquire().map_err(|_| Refusal::Overloaded)?;
        let came_unix_ns = self.tracer.now_unix_ns();
        let parent = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok());
        let parent = parent.and_then(TraceParent::parse);
        let body = read_body(request.into_body()).await?;
        let request = Request::parse(&body).inspect_err(|error| self.drop_message(Dropped::malformed(error)))?;
        let Some(deadline) = Deadline::from_unix_ms(&self.env, request.deadline_unix_ms) else {
            self.drop_message(DropReason::Expired.into());
            return Err(Refusal::TimedOut);
        };
        self.telemetry.record(&Event::RequestTaken { request: request.request_id });
        let mut span = Some(self.tracer.span_since(came_unix_ns, "forward", Kind::Server, request.request_id, parent));
        let outcome = timeout_at(deadline.at(), self.forward(&request, body, deadline, &mut span)).await;
        let outcome = outcome.unwrap_or(Err(Refusal::TimedOut));
        if let Some(span) = span {
            span.end(outcome.as_ref().err().map(Refusal::to_string));
        }
        match outcome {
            Err(refusal) if refusal.is_of_broker() => {
                Ok(Reply::not_passed_on(&request, Status::BrokerRefused, bounded(&refusal)))
            }
            outcome => outcome,
        }
    }

    /// `span` is taken when it has ended: when the MQTT broker has the request.
    async fn forward(
        &self,
        request: &Request,
        body: Bytes,
        deadline: Deadline,
        span: &mut Option<Span>,
    ) -> Result<Reply, Refusal> {
        let store = self.store.of(request.esl_mac);
        let ways = match store.route(&self.env, &self.config.routing, request).await? {
            Destination::Ways(ways) => ways,
            Destination::Outranked { newest } => return Ok(Reply::superseded(request, newest)),
        };
        let gateway = match self.presence.choose(&ways, &self.mqtt) {
            Choice::To(gateway) => gateway,
            Choice::Offline(gateway) => return Ok(Reply::gateway_offline(request, gateway)),
            Choice::NoRoute => return Ok(Reply::no_route(request)),
        };
        let id = request.request_id;
        let mut call = self.waiting.enter(self.key_of(request), id, request.esl_mac);
        let reply_to = self.own_topic.clone().map(|topic| ReplyTo { topic, correlation: id.to_string().into() });
        let patience = deadline.at().min(Instant::now() + CONNECTION_LIMIT);
        let traceparent = span.as_ref().and_then(Span::traceparent);
        let left_s = deadline.left_s();
        let publish = self.mqtt.publish(action_topic(gateway), body.into(), reply_to, left_s, patience, traceparent);
        let mut reply = pin!(wait_for(&mut call));
        let reply = tokio::select! {
            biased;
            // A reply can overtake the PUBACK, and is worth more.
            reply = &mut reply => reply,
            handover = publish => match handover {
                Ok(Handover::Taken) => {
                    self.telemetry.record(&Event::RequestForwarded { request: id, gateway });
                    span.take().into_iter().for_each(|span| span.end(None));
                    self.within_limit(reply).await?
                }
                Err(error @ MqttError::TooLarge { .. }) => return Ok(Reply::too_large(request, error.to_string())),
                Err(error) => return Err(error.into()),
                Ok(Handover::NoSubscribers) => return Ok(Reply::gateway_offline(request, gateway)),
            },
        };
        self.telemetry.record(&Event::ReplyReturned { request: id });
        self.tracer.span("return", Kind::Consumer, id, traceparent).end(None);
        Ok(reply)
    }

    /// A reply that comes within `http_router.reply_timeout_ms`, if that is set.
    async fn within_limit(&self, reply: impl Future<Output = Reply>) -> Result<Reply, Refusal> {
        match self.config.http_router.reply_timeout_ms {
            0 => Ok(reply.await),
            limit_ms => {
                timeout(Duration::from_millis(limit_ms), reply).await.map_err(|_| Refusal::NoReply { limit_ms })
            }
        }
    }

    /// What the reply to `request` will be known by.
    fn key_of(&self, request: &Request) -> CorrelationKey {
        match self.config.http_router.replies {
            // Comes back as correlation data, whatever else the gateway echoes.
            Replies::ResponseTopic => CorrelationKey::RequestId(request.request_id),
            Replies::Shared | Replies::Broadcast => CorrelationKey::of_request(self.config.correlation, request),
        }
    }

    fn take_reply(&self, message: &Incoming) {
        if !self.mqtt.is_current(message) {
            return; // Its connection is gone, so the broker gives it to somebody again.
        }
        if let Err(dropped) = self.deliver(message) {
            self.drop_message(dropped);
        }
        self.mqtt.acknowledge(message);
    }

    fn deliver(&self, message: &Incoming) -> Result<(), Dropped> {
        let (reply, left_out) = Reply::parse_foreign(&message.payload).map_err(|error| malformed(message, &error))?;
        tell_left_out(self.telemetry.as_ref(), message, &left_out);
        let (key, foreign) = match self.config.http_router.replies {
            Replies::ResponseTopic => {
                let data = message.correlation.as_deref().and_then(|data| std::str::from_utf8(data).ok());
                let id = data.and_then(|data| data.parse::<RequestId>().ok());
                // Only this life of the router ever named this topic, so what it does not know is old.
                (id.map(CorrelationKey::RequestId), DropReason::ReplyNotAwaited)
            }
            Replies::Broadcast => (CorrelationKey::of_reply(self.config.correlation, &reply), DropReason::ReplyOfOther),
            Replies::Shared => {
                (CorrelationKey::of_reply(self.config.correlation, &reply), DropReason::ReplyMisdelivered)
            }
        };
        let key = key.ok_or(DropReason::CallerUnknown)?;
        Ok(self.waiting.deliver(key, reply.request_id, reply, foreign)?)
    }

    async fn take_report(&self, message: Incoming) {
        if !self.mqtt.is_current(&message) {
            return;
        }
        let (routing, telemetry) = (&self.config.routing, self.telemetry.as_ref());
        let _turn = self.store.turn().await;
        let stored = store_report(&self.env, &self.store, routing, &self.clocks, telemetry, &message).await;
        if let Err(dropped) = stored {
            self.drop_message(dropped);
        }
        self.mqtt.acknowledge(&message);
    }

    fn take_status(&self, message: &Incoming) {
        if let Err(dropped) = self.presence.take(message, self.env.unix_ms()) {
            self.drop_message(dropped);
        }
        self.mqtt.acknowledge(message);
    }

    fn drop_message(&self, dropped: Dropped) {
        self.telemetry.record(&dropped.event());
    }
}

/// The reply. A request whose key a later one has taken over has none to expect, and waits until its deadline, as in
/// the thesis.
async fn wait_for(call: &mut Call<CorrelationKey>) -> Reply {
    match (&mut call.reply).await {
        Ok(reply) => reply,
        Err(_) => std::future::pending().await,
    }
}

/// Reads a request's body within its limits.
async fn read_body(body: Body) -> Result<Bytes, Refusal> {
    match timeout(BODY_LIMIT, Limited::new(body, REQUEST_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge { bytes_max: REQUEST_BYTES_MAX }),
        Ok(Err(_)) | Err(_) => Err(Refusal::Incomplete),
    }
}

#[cfg(test)]
mod tests;
