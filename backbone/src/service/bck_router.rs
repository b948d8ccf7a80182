//! The backward router: takes what gateways publish, replies to their callers' queues and RSSI reports into the routing
//! table. Any router takes any message; a message is acknowledged once it is where it belongs.
//!
//! A router that can't hand over, since RabbitMQ or Redis is out of its reach, must not keep its share of the messages
//! from the routers that can: `aside` is how it steps aside.

mod aside;

use super::{
    clocks::Clocks,
    reports::{malformed, retry, store_report, tell_left_out},
};
use crate::{
    amqp::{Properties, PublishError, QueueName, Session},
    config::Config,
    env::Env,
    message::Reply,
    mqtt::{Incoming, Mqtt},
    store::{Caller, CorrelationKey, Shards},
    telemetry::{DropReason, Dropped, Event, Telemetry},
    trace::{Kind, Tracer},
};
use aside::Aside;
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long a shutdown waits for messages that are under way. What is left unacknowledged goes to another router.
const DRAIN_LIMIT: Duration = Duration::from_secs(12);
/// How long nothing may come in after the unsubscribing before a router takes that for all: acknowledgements make room
/// for what the broker still had queued for it, a round trip later.
const QUIET: Duration = Duration::from_millis(100);

/// Carries replies from MQTT to RabbitMQ, and RSSI reports into the routing table.
pub struct BckRouter {
    env: Env,
    config: Arc<Config>,
    telemetry: Arc<dyn Telemetry>,
    session: Session,
    mqtt: Mqtt,
    store: Shards,
    clocks: Clocks,
    aside: Aside,
    tracer: Tracer,
}

/// What became of a message. In each case it is acknowledged.
type Outcome = Result<(), Dropped>;

impl BckRouter {
    /// Routes replies and reports until `shutdown`.
    ///
    /// # Panics
    /// If `config` is not valid.
    pub async fn run(env: Env, config: Arc<Config>, telemetry: Arc<dyn Telemetry>, shutdown: CancellationToken) {
        let session = Session::new(&env, &config.amqp, "bck-router", Vec::new(), telemetry.clone());
        let group = &config.bck_router.group;
        let subscriptions = vec![format!("$share/{group}//gw/+/response"), format!("$share/{group}//gw/+/rssi")];
        let (mqtt, mut messages) = Mqtt::start(&env, &config.mqtt, "bck", subscriptions, telemetry.clone());
        let store = Shards::new(&env, &config.redis, &telemetry);
        let in_work_max = config.bck_router.in_flight_max;
        let tracer = Tracer::new(&env, &config.tracing, "bck_router", &telemetry);
        let (clocks, aside) = (Clocks::default(), Aside::default());
        let mut router = Self { env, config, telemetry, session, mqtt, store, clocks, aside, tracer };

        let mut stepping_aside = Box::pin(router.step_aside());
        let mut in_work = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(()) = in_work.next(), if !in_work.is_empty() => {}
                () = &mut stepping_aside => unreachable!("it goes on for ever"),
                message = messages.recv(), if in_work.len() < in_work_max => {
                    let message = message.expect("the client runs as long as the router does");
                    in_work.push(router.work(message));
                }
            }
        }
        drop(stepping_aside);
        // Brokers need not give what a router leaves unacknowledged to another one, and Mosquitto does not. So nothing
        // is left: first no more comes in, then all that came is worked off.
        let drain = async {
            let mut unsubscribed = pin!(router.mqtt.unsubscribe());
            let mut subscribed = true;
            loop {
                tokio::select! {
                    biased;
                    () = &mut unsubscribed, if subscribed => subscribed = false,
                    Some(()) = in_work.next(), if !in_work.is_empty() => {}
                    Some(message) = messages.recv(), if in_work.len() < in_work_max => {
                        in_work.push(router.work(message));
                    }
                    () = sleep(QUIET), if !subscribed && in_work.is_empty() => break,
                }
            }
        };
        if timeout(DRAIN_LIMIT, drain).await.is_err() {
            tracing::warn!(unfinished = in_work.len(), "messages not finished in time go to another router");
        }
        drop(in_work);
        router.mqtt.close().await;
        router.session.close().await;
        router.tracer.close().await;
    }

    async fn work(&self, message: Incoming) {
        if !self.mqtt.is_current(&message) {
            return; // Its connection is gone, so the broker gives it to somebody again.
        }
        // Who waits for a turn is not late: the router need not step aside for that.
        let _turn = if is_report(&message.topic) { Some(self.store.turn().await) } else { None };
        let outcome = tokio::select! {
            biased;
            outcome = self.hand_over(&message) => outcome,
            () = self.hand_back(&message) => Err(DropReason::HandedBack.into()),
        };
        if let Err(dropped) = outcome {
            self.telemetry.record(&dropped.event());
        }
        self.mqtt.acknowledge(&message);
    }

    async fn hand_over(&self, message: &Incoming) -> Outcome {
        if is_report(&message.topic) {
            store_report(&self.env, &self.store, &self.config.routing, &self.clocks, self.telemetry.as_ref(), message)
                .await
        } else {
            self.return_reply(message).await
        }
    }

    async fn return_reply(&self, message: &Incoming) -> Outcome {
        let came_unix_ns = self.tracer.now_unix_ns();
        let (reply, left_out) = Reply::parse_foreign(&message.payload).map_err(|error| malformed(message, &error))?;
        tell_left_out(self.telemetry.as_ref(), message, &left_out);
        let key = CorrelationKey::of_reply(self.config.correlation, &reply).ok_or(DropReason::CallerUnknown)?;
        // Its request's deadline is not in a reply, but no request has more time than this.
        let give_up = Instant::now() + Duration::from_millis(self.config.task_worker.reply_timeout_ms);
        let caller =
            retry(give_up, || self.store.of(reply.esl_mac).caller(key)).await?.ok_or(DropReason::CallerUnknown)?;
        // Whose it is is known only now, since a gateway need not echo more than it has to.
        let parent = message.traceparent;
        let span = self.tracer.span_since(came_unix_ns, "return", Kind::Consumer, caller.request, parent);
        let returned = retry(give_up, || self.publish(&caller, &message.payload, give_up)).await.flatten();
        span.end(returned.as_ref().err().map(Dropped::to_string));
        returned?;
        self.telemetry.record(&Event::ReplyReturned { request: caller.request });
        Ok(())
    }

    async fn publish(&self, caller: &Caller, reply: &[u8], give_up: Instant) -> Result<Outcome, PublishError> {
        let queue = QueueName::from(caller.reply_queue.as_str());
        let properties = Properties::default().correlation_id(caller.request);
        match self.session.publish(&queue, reply, properties, give_up).await {
            Ok(()) => Ok(Ok(())),
            Err(PublishError::Unroutable { .. }) => Ok(Err(DropReason::CallerGone.into())),
            Err(error) => Err(error),
        }
    }
}

/// Whether it is a gateway's report that comes on this topic, rather than a reply.
fn is_report(topic: &[u8]) -> bool {
    topic.ends_with(b"/rssi")
}
