//! Calls over message queues: requests go into the routing queue, replies come back over a queue of the worker's own.

use super::{
    CallError, Origin, UnderWay, body_of,
    waiting::{Call, WaitingCalls},
};
use crate::{
    amqp::{
        Delivery, HeaderValue, Ownership, Properties, QueueName, REPLY_QUEUE_LIMIT, ReplyQueue, ReplyQueueError,
        Session,
    },
    backoff::Backoff,
    config,
    deadline::Deadline,
    env::{Env, TaskGuard},
    message::{ROUTING_QUEUE, Reply, Request, RequestId},
    telemetry::{DropReason, Dropped, Event, Telemetry},
    trace::{Kind, Span, TRACEPARENT, Tracer},
};
use futures_util::future::join_all;
use std::sync::Arc;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// What is lacking without a reply queue, in [`Needs`](crate::needs::Needs).
const NEED: &str = "reply queue";

/// Calls over queues.
pub(crate) struct QueueClient {
    env: Env,
    session: Session,
    telemetry: Arc<dyn Telemetry>,
    waiting: WaitingCalls<RequestId>,
    routing_queue: QueueName,
    replies: Replies,
    tracer: Tracer,
}

/// Where replies arrive.
enum Replies {
    /// Over one queue, whose name changes with the connection; `None` while there is none. The task takes them in.
    PerWorker { queue: watch::Receiver<Option<QueueName>>, _consumer: TaskGuard },
    /// Over a queue for each call.
    PerCall,
}

impl QueueClient {
    /// A client over `session`.
    pub(crate) fn new(
        env: &Env,
        session: &Session,
        replies: config::ReplyQueue,
        telemetry: Arc<dyn Telemetry>,
        tracer: Tracer,
    ) -> Self {
        let waiting = WaitingCalls::default();
        let replies = match replies {
            config::ReplyQueue::PerWorker => {
                let (name, queue) = watch::channel(None);
                let consumer = consume_replies(env.clone(), session.clone(), waiting.clone(), telemetry.clone(), name);
                Replies::PerWorker { queue, _consumer: env.spawn("replies", consumer).into() }
            }
            config::ReplyQueue::PerCall => Replies::PerCall,
        };
        let (env, session, routing_queue) = (env.clone(), session.clone(), QueueName::from(ROUTING_QUEUE));
        Self { env, session, telemetry, waiting, routing_queue, replies, tracer }
    }

    /// See [`RpcClient::call_all`](super::RpcClient::call_all).
    pub(super) async fn call_all(&self, origin: Origin<'_>, requests: Vec<Request>) -> Vec<Outcome> {
        let results = match &self.replies {
            Replies::PerWorker { queue, .. } => self.forward_over_shared_queue(origin, &requests, queue.clone()).await,
            Replies::PerCall => self.forward_over_own_queue(origin, &requests).await,
        };
        results.unwrap_or_else(|error| {
            let reason = error.to_string();
            tracing::warn!(task = %origin.task, reason, "requests not answered");
            // One failure for all of them: the first carries it, the rest went the same way.
            let rest = requests.iter().skip(1).map(|_| Err(CallError::ConnectionLost));
            std::iter::once(Err(error)).chain(rest).collect()
        })
    }

    async fn call_over(&self, origin: Origin<'_>, requests: &[Request], queue: &QueueName) -> Vec<Outcome> {
        join_all(requests.iter().map(|request| self.call(origin, request, queue))).await
    }

    async fn call(&self, origin: Origin<'_>, request: &Request, reply_queue: &QueueName) -> Outcome {
        let Some(deadline) = Deadline::from_unix_ms(&self.env, request.deadline_unix_ms) else {
            self.telemetry.record(&Event::RequestTimedOut { request: request.request_id });
            return Err(CallError::Timeout);
        };
        let mut call = self.waiting.enter(request.request_id, request.request_id, request.esl_mac);
        let under_way = UnderWay::begin(self.telemetry.as_ref(), origin.task, request);
        let span = self.tracer.span("call", Kind::Client, request.request_id, None).linked(origin.traceparent);
        let answered = self.send_and_wait(&mut call, request, reply_queue, deadline, &span);
        let outcome = timeout_at(deadline.at(), answered).await.unwrap_or(Err(CallError::Timeout));
        span.end(outcome.as_ref().err().map(CallError::to_string));
        under_way.end(&outcome);
        outcome
    }

    async fn send_and_wait(
        &self,
        call: &mut Call<RequestId>,
        request: &Request,
        reply_queue: &QueueName,
        deadline: Deadline,
        span: &Span,
    ) -> Result<Reply, CallError> {
        let body = match body_of(request) {
            Ok(body) => body,
            Err(reply) => return Ok(reply),
        };
        let mut properties = Properties::default()
            .reply_to(reply_queue)
            .correlation_id(request.request_id)
            .expires_in_ms(deadline.left_ms());
        if let Some(parent) = span.traceparent() {
            properties = properties.headers(&[(TRACEPARENT, HeaderValue::Text(parent.to_string()))]);
        }
        let publish = self.session.publish(&self.routing_queue, &body, properties, deadline.at());
        tokio::select! {
            biased;
            // A reply can overtake the confirm, and is worth more.
            reply = &mut call.reply => return reply.map_err(|_| CallError::ConnectionLost),
            confirmed = publish => confirmed?,
        }
        (&mut call.reply).await.map_err(|_| CallError::ConnectionLost)
    }

    /// Until when a reply queue is waited for: no longer than the requests may take.
    fn patience(&self, requests: &[Request]) -> Instant {
        let now = Instant::now();
        let deadline = requests.first().and_then(|request| Deadline::from_unix_ms(&self.env, request.deadline_unix_ms));
        deadline.map_or(now, |deadline| deadline.at().min(now + REPLY_QUEUE_LIMIT))
    }

    /// The thesis' way: declare a queue, call, delete it.
    async fn forward_over_own_queue(
        &self,
        origin: Origin<'_>,
        requests: &[Request],
    ) -> Result<Vec<Outcome>, CallError> {
        // Not exclusive, so that it outlives nothing but its consumer, as in the thesis.
        let mut replies = match ReplyQueue::open(&self.session, Ownership::Shared, self.patience(requests)).await {
            // In either case there was no time for more.
            Err(ReplyQueueError::Late | ReplyQueueError::Unavailable(_)) => return Err(CallError::Timeout),
            opened => opened?,
        };
        let name = replies.name().clone();
        let results = tokio::select! {
            biased;
            () = take_in(&mut replies, &self.waiting, self.telemetry.as_ref()) => {
                return Err(CallError::ConnectionLost);
            }
            results = self.call_over(origin, requests, &name) => results,
        };
        replies.delete().await;
        Ok(results)
    }

    async fn forward_over_shared_queue(
        &self,
        origin: Origin<'_>,
        requests: &[Request],
        mut queue: watch::Receiver<Option<QueueName>>,
    ) -> Result<Vec<Outcome>, CallError> {
        let queue = match timeout_at(self.patience(requests), queue.wait_for(Option::is_some)).await {
            Ok(Ok(queue)) => queue.clone().expect("waited for"),
            Ok(Err(_)) | Err(_) => return Err(CallError::ConnectionLost),
        };
        Ok(self.call_over(origin, requests, &queue).await)
    }
}

type Outcome = Result<Reply, CallError>;

/// Gives replies to their calls until the queue is gone.
async fn take_in(replies: &mut ReplyQueue, waiting: &WaitingCalls<RequestId>, telemetry: &dyn Telemetry) {
    while let Some(delivery) = replies.next().await {
        if let Err(dropped) = deliver(&delivery, waiting) {
            telemetry.record(&dropped.event());
        }
    }
}

/// Gives what came over a reply queue to the call that waits for it.
fn deliver(delivery: &Delivery, waiting: &WaitingCalls<RequestId>) -> Result<(), Dropped> {
    let (reply, _) = Reply::parse_foreign(delivery.body()).map_err(Dropped::malformed)?; // its router has told
    let request = delivery.correlation_id().and_then(|id| id.parse().ok());
    let request = request.ok_or_else(|| Dropped::malformed("a reply without a correlation id"))?;
    Ok(waiting.deliver(request, Some(request), reply, DropReason::ReplyMisrouted)?)
}

/// Keeps a worker's one reply queue: declares it on each connection and takes in what arrives.
async fn consume_replies(
    env: Env,
    session: Session,
    waiting: WaitingCalls<RequestId>,
    telemetry: Arc<dyn Telemetry>,
    name: watch::Sender<Option<QueueName>>,
) {
    let mut backoff = Backoff::new();
    session.needs().lack(NEED, "no reply queue yet".into());
    loop {
        let deadline = Instant::now() + REPLY_QUEUE_LIMIT;
        let lacking = match ReplyQueue::open(&session, Ownership::Exclusive, deadline).await {
            Ok(mut replies) => {
                backoff = Backoff::new();
                name.send_replace(Some(replies.name().clone()));
                session.needs().met(NEED);
                take_in(&mut replies, &waiting, telemetry.as_ref()).await;
                name.send_replace(None);
                // What is still under way would come over a queue that is gone.
                waiting.abandon_all();
                "the reply queue is gone".to_owned()
            }
            Err(error) => error.to_string(),
        };
        tracing::warn!(reason = lacking, "no reply queue; trying again");
        session.needs().lack(NEED, lacking);
        backoff.pause(&env).await;
    }
}
