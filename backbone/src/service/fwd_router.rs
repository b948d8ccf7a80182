//! The forward router: takes a request from RabbitMQ, notes who waits for its reply, finds the gateway, and hands the
//! request to the MQTT broker, byte for byte. Only then is it acknowledged.

use super::{
    presence::{self, Choice, Presence},
    settle::{self, Pause, Rounds},
};
use crate::{
    amqp::{
        Acknowledge, Delivery, DurableQueue, Properties, PublishError, QueueName, Served, Session, Settlement, serve,
    },
    config::{Acknowledgement, Config},
    deadline::Deadline,
    env::Env,
    message::{Message, Reply, Request, Status, action_topic},
    mqtt::{Handover, Incoming, Mqtt, MqttError},
    store::{Caller, CorrelationKey, Destination, Shards, StoreError},
    telemetry::{DropReason, Dropped, Event, Telemetry, bounded},
    trace::{Kind, Span, TRACEPARENT, TraceParent, Tracer},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

/// Most requests in work at a time when RabbitMQ does not wait for acknowledgements, and so sets no bound. The thesis
/// has none; this one is far above what its 50 workers can have under way.
const AUTO_IN_WORK_MAX: usize = 1_024;
/// How long a shutdown waits for requests that are under way: the longest wait for a PUBACK, and a margin.
const DRAIN_LIMIT: Duration = Duration::from_secs(12);
/// How long a request waits for a connection to the MQTT broker, or its refusal for one to RabbitMQ. A router that is
/// cut off hands its requests back soon, so that another can take them.
const CONNECTION_LIMIT: Duration = Duration::from_secs(2);
/// So long before its deadline a request that still can't be passed on is answered with the reason: time for the answer
/// to reach the caller. Of a shorter deadline it is a quarter.
const ANSWER_MARGIN: Duration = Duration::from_millis(500);
/// With less time than this, another try is not worth a pause.
const LAST_TRY: Duration = Duration::from_millis(500);

/// Carries requests from RabbitMQ to MQTT.
pub struct FwdRouter {
    env: Env,
    config: Arc<Config>,
    telemetry: Arc<dyn Telemetry>,
    session: Session,
    mqtt: Mqtt,
    store: Shards,
    rounds: Rounds,
    presence: Presence,
    tracer: Tracer,
}

/// Why a request could not be passed on now.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Mqtt(#[from] MqttError),
    #[error(transparent)]
    Amqp(#[from] PublishError),
}

impl Failure {
    /// What the caller is told.
    fn status(&self) -> Status {
        let is_refusal = match self {
            Self::Store(error) => error.is_refusal(),
            Self::Mqtt(error) => error.is_refusal(),
            Self::Amqp(_) => false,
        };
        if is_refusal { Status::BrokerRefused } else { Status::BrokerUnavailable }
    }

    /// Whether another try, here or elsewhere, would end the same way.
    fn is_for_good(&self) -> bool {
        match self {
            Self::Store(error) => error.is_for_good(),
            Self::Mqtt(error) => error.is_for_good(),
            Self::Amqp(_) => false,
        }
    }
}

/// A request that is worth passing on.
struct Taken {
    request: Request,
    deadline: Deadline,
    /// Until when it may be tried.
    answer_at: Instant,
    reply_queue: QueueName,
}

impl FwdRouter {
    /// Routes requests until `shutdown`. What is under way then is finished or handed back.
    ///
    /// # Panics
    /// If `config` is not valid.
    pub async fn run(env: Env, config: Arc<Config>, telemetry: Arc<dyn Telemetry>, shutdown: CancellationToken) {
        let queues = vec![DurableQueue::requests()];
        let session = Session::new(&env, &config.amqp, "fwd-router", queues, telemetry.clone());
        let subscriptions = presence::subscriptions(&config.routing).collect();
        let (mqtt, statuses) = Mqtt::start(&env, &config.mqtt, "fwd", subscriptions, telemetry.clone());
        let store = Shards::new(&env, &config.redis, &telemetry);
        let prefetch = config.fwd_router.prefetch;
        let (acknowledge, in_work_max) = match config.fwd_router.acknowledgement {
            Acknowledgement::AfterHandover => (Acknowledge::AfterWork { prefetch }, prefetch.into()),
            Acknowledgement::Auto => (Acknowledge::OnDelivery, AUTO_IN_WORK_MAX),
        };
        let served = Served { queue: DurableQueue::requests(), acknowledge, in_work_max, drain_limit: DRAIN_LIMIT };
        let rounds = Rounds::new(Pause::in_time());
        let presence = Presence::default();
        let tracer = Tracer::new(&env, &config.tracing, "fwd_router", &telemetry);
        let mut router = Self { env, config, telemetry, session, mqtt, store, rounds, presence, tracer };
        let unfinished = tokio::select! {
            biased;
            unfinished = serve(&router.session, served, &shutdown, |delivery| router.work(delivery)) => unfinished,
            () = router.hear_of_gateways(statuses) => unreachable!("the client runs as long as the router does"),
        };
        let reason = match acknowledge {
            Acknowledge::AfterWork { .. } => DropReason::HandedBack,
            Acknowledge::OnDelivery => DropReason::Lost,
        };
        let detail = "not finished before the shutdown";
        (0..unfinished).for_each(|_| router.telemetry.record(&Event::Dropped { reason, detail }));
        router.mqtt.close().await;
        router.session.close().await;
        router.tracer.close().await;
    }

    /// Takes in what gateways say of themselves, if that is wanted.
    async fn hear_of_gateways(&self, mut statuses: mpsc::Receiver<Incoming>) {
        while let Some(status) = statuses.recv().await {
            if let Err(dropped) = self.presence.take(&status, self.env.unix_ms()) {
                self.telemetry.record(&dropped.event());
            }
            self.mqtt.acknowledge(&status);
        }
    }

    async fn work(&self, mut delivery: Delivery) -> Settlement {
        match self.take(&delivery) {
            Ok(taken) => {
                let request = taken.request.request_id;
                self.telemetry.record(&Event::RequestTaken { request });
                let parent = delivery.text(TRACEPARENT).and_then(TraceParent::parse);
                let span = self.tracer.span("forward", Kind::Consumer, request, parent);
                let body = delivery.take_body();
                let forwarded = self.forward(&taken, body, &span).await;
                span.end(forwarded.as_ref().err().map(Failure::to_string));
                if let Err(error) = forwarded {
                    return self.not_forwarded(&taken, &error).await;
                }
            }
            Err(dropped) => self.telemetry.record(&dropped.event()),
        }
        Settlement::Done
    }

    /// Checks whether a delivery is a request, and in time.
    fn take(&self, delivery: &Delivery) -> Result<Taken, Dropped> {
        let request = Request::parse(delivery.body()).map_err(Dropped::malformed)?;
        let reply_queue = delivery.reply_to().ok_or_else(|| Dropped::malformed("no reply-to"))?;
        let deadline = Deadline::from_unix_ms(&self.env, request.deadline_unix_ms).ok_or(DropReason::Expired)?;
        let left = deadline.at().saturating_duration_since(Instant::now());
        let answer_at = deadline.at() - ANSWER_MARGIN.min(left / 4);
        Ok(Taken { request, deadline, answer_at, reply_queue })
    }

    async fn forward(&self, taken: &Taken, body: Vec<u8>, span: &Span) -> Result<(), Failure> {
        let Taken { request, deadline, answer_at, reply_queue } = taken;
        let key = CorrelationKey::of_request(self.config.correlation, request);
        let caller = Caller { request: request.request_id, reply_queue: reply_queue.to_string() };
        let routing = &self.config.routing;
        let limits = (*deadline, *answer_at);
        let store = self.store.of(request.esl_mac);
        let ways = match store.remember_and_route(&self.env, routing, request, (key, &caller), limits).await? {
            Destination::Ways(ways) => ways,
            Destination::Outranked { newest } => return self.refuse(taken, Reply::superseded(request, newest)).await,
        };
        let gateway = match self.presence.choose(&ways, &self.mqtt) {
            Choice::To(gateway) => gateway,
            Choice::Offline(gateway) => return self.refuse(taken, Reply::gateway_offline(request, gateway)).await,
            Choice::NoRoute => return self.refuse(taken, Reply::no_route(request)).await,
        };
        let patience = (*answer_at).min(Instant::now() + CONNECTION_LIMIT);
        let left_s = deadline.left_s();
        match self.mqtt.publish(action_topic(gateway), body, None, left_s, patience, span.traceparent()).await {
            Ok(Handover::Taken) => {
                self.telemetry.record(&Event::RequestForwarded { request: request.request_id, gateway });
                Ok(())
            }
            Err(error @ MqttError::TooLarge { .. }) => {
                self.refuse(taken, Reply::too_large(request, error.to_string())).await
            }
            Err(error) => Err(error.into()),
            Ok(Handover::NoSubscribers) => self.refuse(taken, Reply::gateway_offline(request, gateway)).await,
        }
    }

    /// Answers the caller at once, in the gateway's stead.
    async fn refuse(&self, taken: &Taken, reply: Reply) -> Result<(), Failure> {
        let properties = Properties::default().correlation_id(taken.request.request_id);
        let patience = taken.deadline.at().min(Instant::now() + CONNECTION_LIMIT);
        match self.session.publish(&taken.reply_queue, &reply.to_bytes(), properties, patience).await {
            Ok(()) => Ok(()),
            Err(PublishError::Unroutable { .. }) => {
                self.telemetry.record(&Dropped::from(DropReason::CallerGone).event());
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A request that could not be passed on goes back to RabbitMQ, if that still knows it and there is time for
    /// another try. Otherwise its caller is told why, so that it does not have to guess from a silence.
    async fn not_forwarded(&self, taken: &Taken, error: &Failure) -> Settlement {
        let (detail, telemetry) = (bounded(error), self.telemetry.as_ref());
        if self.config.fwd_router.acknowledgement == Acknowledgement::Auto {
            telemetry.record(&Event::Dropped { reason: DropReason::Lost, detail: &detail });
        } else if !error.is_for_good() {
            // The last pause ends in time for one more try.
            let left = taken.answer_at.saturating_duration_since(Instant::now());
            let pause = self.rounds.pause(&taken.request.request_id).min(left.saturating_sub(LAST_TRY));
            if pause >= LAST_TRY {
                return settle::hand_back(&detail, pause, telemetry).await;
            }
        }
        let reply = Reply::not_passed_on(&taken.request, error.status(), detail);
        match self.refuse(taken, reply).await {
            Ok(()) => Settlement::Done,
            Err(error) => {
                let pause = self.rounds.pause(&taken.request.request_id);
                settle::hand_back(&error.to_string(), pause, telemetry).await
            }
        }
    }
}
