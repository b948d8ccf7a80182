//! Calls over message queues: requests go into the routing queue, replies come back over a queue of the worker's own.

use super::{
    Backbone, CallError, UnderWay,
    pending::{Call, Pending},
};
use crate::{
    amqp::{self, Session},
    backoff::Backoff,
    config::ReplyQueue,
    deadline::Deadline,
    env::{Env, TaskGuard},
    message::{Message, ROUTING_QUEUE, Reply, Request, TaskId},
    telemetry::{Event, Telemetry},
};
use futures_util::{StreamExt, future::join_all};
use lapin::{BasicProperties, Channel, Consumer, options::BasicConsumeOptions, types::FieldTable, types::ShortString};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

/// Limit of declaring a reply queue and consuming it, and of deleting it.
const QUEUE_LIMIT: Duration = Duration::from_secs(10);

/// The backbone over queues.
pub(crate) struct QueueBackbone {
    env: Env,
    session: Session,
    telemetry: Arc<dyn Telemetry>,
    pending: Pending,
    routing_queue: ShortString,
    replies: Replies,
}

/// Where replies arrive.
enum Replies {
    /// Over one queue, whose name changes with the connection; `None` while there is none. The task takes them in.
    PerWorker { queue: watch::Receiver<Option<ShortString>>, _consumer: TaskGuard },
    /// Over a queue for each call.
    PerCall,
}

impl QueueBackbone {
    /// A backbone over `session`.
    pub(crate) fn new(env: &Env, session: &Session, replies: ReplyQueue, telemetry: Arc<dyn Telemetry>) -> Self {
        let pending = Pending::default();
        let replies = match replies {
            ReplyQueue::PerWorker => {
                let (name, queue) = watch::channel(None);
                let consumer = consume_replies(env.clone(), session.clone(), pending.clone(), telemetry.clone(), name);
                Replies::PerWorker { queue, _consumer: env.spawn("replies", consumer).into() }
            }
            ReplyQueue::PerCall => Replies::PerCall,
        };
        let (env, session, routing_queue) = (env.clone(), session.clone(), ROUTING_QUEUE.into());
        Self { env, session, telemetry, pending, routing_queue, replies }
    }

    async fn call_all(
        &self,
        task: &TaskId,
        requests: &[Request],
        queue: &ShortString,
    ) -> Vec<Result<Reply, CallError>> {
        join_all(requests.iter().map(|request| self.call(task, request, queue))).await
    }

    async fn call(&self, task: &TaskId, request: &Request, reply_queue: &ShortString) -> Result<Reply, CallError> {
        let Some(deadline) = Deadline::from_unix_ms(&self.env, request.deadline_unix_ms) else {
            self.telemetry.record(&Event::RequestTimedOut { request: request.request_id });
            return Err(CallError::Timeout);
        };
        let mut call = self.pending.call(request.request_id, request.esl_mac);
        let under_way = UnderWay::begin(self.telemetry.as_ref(), task, request);
        let outcome = timeout_at(deadline.at(), self.send_and_wait(&mut call, request, reply_queue, deadline)).await;
        let outcome = outcome.unwrap_or(Err(CallError::Timeout));
        under_way.end(&outcome);
        outcome
    }

    async fn send_and_wait(
        &self,
        call: &mut Call,
        request: &Request,
        reply_queue: &ShortString,
        deadline: Deadline,
    ) -> Result<Reply, CallError> {
        let body = request.to_bytes();
        let properties = BasicProperties::default()
            .with_reply_to(reply_queue.clone())
            .with_correlation_id(request.request_id.to_string().into())
            .with_expiration(deadline.left_ms().to_string().into());
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
        deadline.map_or(now, |deadline| deadline.at().min(now + QUEUE_LIMIT))
    }

    /// The thesis' way: declare a queue, call, delete it.
    async fn forward_over_own_queue(&self, task: &TaskId, requests: &[Request]) -> Result<Vec<Outcome>, CallError> {
        // Not exclusive, so that it outlives nothing but its consumer, as in the thesis.
        let opened = timeout_at(self.patience(requests), open_reply_queue(&self.session, false)).await;
        let mut replies = opened.map_err(|_| CallError::Timeout)??;
        let results = tokio::select! {
            biased;
            () = take_in(&mut replies.consumer, &self.pending, self.telemetry.as_ref()) => {
                return Err(CallError::ConnectionLost);
            }
            results = self.call_all(task, requests, &replies.queue) => results,
        };
        match timeout(QUEUE_LIMIT, amqp::delete_queue(&replies.channel, replies.queue.clone())).await {
            Ok(Ok(())) => {}
            // The queue deletes itself with its consumer.
            Ok(Err(error)) => tracing::debug!(%error, "reply queue not deleted"),
            Err(_) => tracing::debug!("reply queue not deleted in time"),
        }
        Ok(results)
    }

    async fn forward_over_shared_queue(
        &self,
        task: &TaskId,
        requests: &[Request],
        mut queue: watch::Receiver<Option<ShortString>>,
    ) -> Result<Vec<Outcome>, CallError> {
        let queue = match timeout_at(self.patience(requests), queue.wait_for(Option::is_some)).await {
            Ok(Ok(queue)) => queue.clone().expect("waited for"),
            Ok(Err(_)) | Err(_) => return Err(CallError::ConnectionLost),
        };
        Ok(self.call_all(task, requests, &queue).await)
    }
}

type Outcome = Result<Reply, CallError>;

impl Backbone for QueueBackbone {
    async fn forward(&self, task: &TaskId, requests: Vec<Request>) -> Vec<Outcome> {
        let results = match &self.replies {
            Replies::PerWorker { queue, .. } => self.forward_over_shared_queue(task, &requests, queue.clone()).await,
            Replies::PerCall => self.forward_over_own_queue(task, &requests).await,
        };
        results.unwrap_or_else(|error| {
            let reason = error.to_string();
            tracing::warn!(%task, reason, "requests not answered");
            // One failure for all of them: the first carries it, the rest went the same way.
            let rest = requests.iter().skip(1).map(|_| Err(CallError::ConnectionLost));
            std::iter::once(Err(error)).chain(rest).collect()
        })
    }
}

/// A queue for replies with its consumer.
struct OpenReplies {
    channel: Channel,
    queue: ShortString,
    consumer: Consumer,
}

async fn open_reply_queue(session: &Session, exclusive: bool) -> Result<OpenReplies, CallError> {
    let channel = session.channel(Instant::now() + QUEUE_LIMIT).await?;
    let queue = amqp::reply_queue(&channel, exclusive).await?;
    // Acknowledged on delivery: a reply whose worker died has nobody left to go to.
    let options = BasicConsumeOptions { no_ack: true, exclusive, ..Default::default() };
    let consumer = channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default()).await?;
    Ok(OpenReplies { channel, queue, consumer })
}

/// Gives replies to their calls until the consumer ends.
async fn take_in(consumer: &mut Consumer, pending: &Pending, telemetry: &dyn Telemetry) {
    while let Some(Ok(delivery)) = consumer.next().await {
        if let Err(dropped) = pending.deliver(&delivery) {
            telemetry.record(&dropped.event());
        }
    }
}

/// Keeps a worker's one reply queue: declares it on each connection and takes in what arrives.
async fn consume_replies(
    env: Env,
    session: Session,
    pending: Pending,
    telemetry: Arc<dyn Telemetry>,
    name: watch::Sender<Option<ShortString>>,
) {
    let mut backoff = Backoff::new();
    loop {
        match timeout(QUEUE_LIMIT, open_reply_queue(&session, true)).await {
            Ok(Ok(mut replies)) => {
                backoff = Backoff::new();
                name.send_replace(Some(replies.queue.clone()));
                take_in(&mut replies.consumer, &pending, telemetry.as_ref()).await;
                name.send_replace(None);
                // What is still under way would come over a queue that is gone.
                pending.abandon_all();
            }
            Ok(Err(error)) => tracing::warn!(%error, "no reply queue; trying again"),
            Err(_) => tracing::warn!("no reply queue in time; trying again"),
        }
        backoff.pause(&env).await;
    }
}
