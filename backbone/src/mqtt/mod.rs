//! MQTT 5, through rumqttc: one client a replica, whose event loop runs as a task of the environment.
//!
//! **Sessions.** Every life of a replica has a client id of its own, starts clean, and by default asks that its session
//! end with its connection. Nothing is lost by that. A forward router has nothing in the session that it could resume:
//! a request whose PUBACK did not come is handed back to RabbitMQ. At a backward router the session would hold replies
//! that it has not acknowledged; when the session ends the broker may give them to another member of the shared
//! subscription (MQTT 5, 4.8.2), while a session that outlives its router would keep them from everybody. A broker that
//! does not redistribute loses them, and the task's retry covers that.

mod driver;
mod limit;
mod refusal;
mod standing;
mod unsent;

use crate::{
    answers::{Answers, QUIET},
    config,
    env::{DIAL_LIMIT, Env, TaskGuard},
    needs::Needs,
    telemetry::{Ask, Telemetry},
    tls,
    trace::{TRACEPARENT, TraceParent},
};
use bytes::Bytes;
use driver::Driver;
use limit::{Limit, PacketLimit};
use rumqttc::{
    AckMode, AsyncClient, MqttOptions, PubAck, PubAckReason, PublishNoticeError, PublishOptions, PublishProperties,
    PublishResult, SubscribeFilterInput,
    mqttbytes::{QoS, v5::Publish},
};
use standing::Link;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout, timeout_at},
};
use unsent::Unsent;

/// Limit of the wait for a PUBACK. A connection that is silent for longer is given up, well before its keep-alive says
/// so.
const PUBACK_LIMIT: Duration = Duration::from_secs(10);
/// Limit of unsubscribing, and of a clean disconnect, for which acknowledgements that are still queued are sent first.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Largest packet from the broker: the largest message, an RSSI report, with its topic and properties.
const PACKET_BYTES_MAX: u32 = 288 * 1024;

/// Which life of the connection a message belongs to, counted from 1.
pub(crate) type Generation = u64;

/// One replica's MQTT connection. Dropping it drops the connection.
pub(crate) struct Mqtt {
    client: AsyncClient,
    subscriptions: Arc<Subscriptions>,
    limit: Arc<PacketLimit>,
    unsent: Arc<Unsent>,
    /// `None` while there is no connection.
    generation: watch::Receiver<Option<Generation>>,
    /// Tells the driver which connection does not answer.
    give_up: watch::Sender<Option<Generation>>,
    needs: Arc<Needs>,
    telemetry: Arc<dyn Telemetry>,
    _driver: TaskGuard,
}

/// What a replica subscribes to, on each of its connections.
struct Subscriptions {
    filters: Vec<String>,
    /// Not while it has unsubscribed.
    wanted: AtomicBool,
}

impl Subscriptions {
    fn request(&self, client: &AsyncClient) -> Result<(), String> {
        let filters = self.filters.iter().map(|filter| SubscribeFilterInput::new(filter.clone(), QoS::AtLeastOnce));
        client.try_subscribe_many(filters).map_err(|error| format!("cannot subscribe: {error}"))
    }
}

/// A message from a subscription, to be acknowledged with [`Mqtt::acknowledge`].
pub(crate) struct Incoming {
    pub(crate) topic: Bytes,
    pub(crate) payload: Bytes,
    /// What the request that is answered here asked to have back (MQTT 5, 3.3.2.3.6).
    pub(crate) correlation: Option<Bytes>,
    /// Whose child the span is that begins with it, if its sender says so.
    pub(crate) traceparent: Option<TraceParent>,
    generation: Generation,
    packet_id: u16,
    qos: QoS,
}

impl Incoming {
    /// Which connection it came by.
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }
}

/// Where the answer to a message shall go (MQTT 5, 4.10).
pub(crate) struct ReplyTo {
    /// Response topic.
    pub(crate) topic: String,
    /// Correlation data: comes back with the answer.
    pub(crate) correlation: Bytes,
}

/// What the broker said to a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handover {
    /// It has taken the message over.
    Taken,
    /// Nobody is subscribed to the topic (PUBACK reason 0x10).
    NoSubscribers,
}

/// Why a message is not known to be with the broker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MqttError {
    /// There was no connection.
    #[error("publish to `{topic}`: no connection to mqtt in time")]
    Unavailable {
        /// Where to.
        topic: String,
    },
    /// The connection was lost before the PUBACK.
    #[error("publish to `{topic}`: connection lost before the PUBACK: {source}")]
    Lost {
        /// Where to.
        topic: String,
        /// rumqttc's reason.
        source: PublishNoticeError,
    },
    /// The PUBACK did not come in time. The connection is given up.
    #[error("publish to `{topic}`: no PUBACK within {PUBACK_LIMIT:?}")]
    Unacknowledged {
        /// Where to.
        topic: String,
    },
    /// The broker refused the message.
    #[error("publish to `{topic}`: the broker refused it: {reason:?}")]
    Refused {
        /// Where to.
        topic: String,
        /// Its reason code.
        reason: PubAckReason,
    },
    /// The broker takes nothing as large as this, so it was not sent.
    #[error("publish to `{topic}`: the MQTT packet has {bytes} bytes; allowed are {limit}")]
    TooLarge {
        /// Where to.
        topic: String,
        /// Size of the packet.
        bytes: u32,
        /// What the broker takes.
        limit: Limit,
    },
}

impl Mqtt {
    /// Starts a client that connects, and connects again, by itself. It keeps subscriptions to `filters` (QoS 1), whose
    /// messages come out of the receiver.
    pub(crate) fn start(
        env: &Env,
        config: &config::Mqtt,
        service: &str,
        filters: Vec<String>,
        telemetry: Arc<dyn Telemetry>,
    ) -> (Self, mpsc::Receiver<Incoming>) {
        let in_flight_max = usize::from(config.in_flight_max.max(config.receive_maximum));
        let (client, event_loop) = AsyncClient::builder(options(env, config, service)).capacity(in_flight_max).build();
        // The broker has at most `receive_maximum` messages outstanding; one that sends more than it may waits.
        let (incoming, received) = mpsc::channel(usize::from(config.receive_maximum));
        let (generation, current) = watch::channel(None);
        let (give_up, given_up) = watch::channel(None);
        let needs = Arc::<Needs>::default();
        let answers = Arc::new(Answers::new(QUIET));
        let link = Link {
            env: env.clone(),
            client: client.clone(),
            generation: current.clone(),
            give_up: give_up.clone(),
            answers: answers.clone(),
            needs: needs.clone(),
        };
        let ask: Ask = Arc::new(move || link.standing());
        telemetry.keeps("mqtt", &ask);
        let wanted = AtomicBool::new(!filters.is_empty());
        let subscriptions = Arc::new(Subscriptions { filters, wanted });
        let (limit, unsent) = (Arc::<PacketLimit>::default(), Arc::<Unsent>::default());
        let driver = Driver {
            env: env.clone(),
            telemetry: telemetry.clone(),
            needs: needs.clone(),
            answers,
            client: client.clone(),
            event_loop,
            subscriptions: subscriptions.clone(),
            limit: limit.clone(),
            unsent: unsent.clone(),
            incoming,
            generation,
            give_up: given_up,
        };
        let driver = env.spawn("mqtt", driver.run()).into();
        let mqtt = Self {
            client,
            subscriptions,
            limit,
            unsent,
            generation: current,
            give_up,
            needs,
            telemetry,
            _driver: driver,
        };
        (mqtt, received)
    }

    /// Publishes with QoS 1 and waits for the PUBACK. A connection is waited for until `deadline`, the PUBACK for 10 s.
    /// The broker drops the message after `expiry_s` if it could not deliver it. Its receiver answers as `reply_to`
    /// says, if it knows how to. With `traceparent` it learns whose child its span is.
    ///
    /// # Errors
    /// [`MqttError`]; except for `Unavailable`, `Refused` and `TooLarge` the message may be with the broker all the
    /// same.
    pub(crate) async fn publish(
        &self,
        topic: String,
        payload: Vec<u8>,
        reply_to: Option<ReplyTo>,
        expiry_s: u32,
        deadline: Instant,
        traceparent: Option<TraceParent>,
    ) -> Result<Handover, MqttError> {
        let mut generation = self.generation.clone();
        // Not queued while there is no connection: a message that waits in the client would go out whenever.
        let generation = match timeout_at(deadline, generation.wait_for(Option::is_some)).await {
            Ok(Ok(generation)) => *generation,
            Ok(Err(_)) | Err(_) => return Err(MqttError::Unavailable { topic }),
        };
        let (response_topic, correlation_data) = reply_to.map(|to| (to.topic, to.correlation)).unzip();
        let message_expiry_interval = Some(expiry_s);
        let user_property = |parent: TraceParent| (TRACEPARENT.to_owned(), parent.to_string());
        let user_properties = traceparent.into_iter().map(user_property).collect();
        let properties = PublishProperties {
            message_expiry_interval,
            response_topic,
            correlation_data,
            user_properties,
            ..Default::default()
        };
        let packet = Publish::new(topic.clone(), QoS::AtLeastOnce, payload, Some(properties));
        let packet = Publish { pkid: 1, ..packet }; // for the size: rumqttc has the ids
        let _under_way = match self.limit.admit(packet.size()) {
            Ok(under_way) => under_way,
            Err((bytes, limit)) => return Err(MqttError::TooLarge { topic, bytes, limit }),
        };
        let options = PublishOptions::at_least_once().properties(packet.properties.unwrap_or_default());
        let puback = async {
            let notice = self.client.publish_tracked(topic.clone(), packet.payload, options).await;
            // The only failures are a dead event loop and a topic with wildcards, which an address has not.
            notice.map_err(|_| PublishNoticeError::Recv)?.wait_async().await
        };
        match timeout(PUBACK_LIMIT, puback).await {
            Ok(Ok(PublishResult::Qos1(PubAck { reason: PubAckReason::Success, .. }))) => {
                self.needs.met(refusal::PUBLISH);
                Ok(Handover::Taken)
            }
            Ok(Ok(PublishResult::Qos1(PubAck { reason: PubAckReason::NoMatchingSubscribers, .. }))) => {
                self.needs.met(refusal::PUBLISH);
                Ok(Handover::NoSubscribers)
            }
            Ok(Ok(PublishResult::Qos1(PubAck { reason, .. })) | Err(PublishNoticeError::V5PubAck(reason))) => {
                Err(self.refused(topic, reason))
            }
            Ok(Ok(_)) => unreachable!("a QoS 1 publish ends with a PUBACK"),
            Ok(Err(source)) => Err(MqttError::Lost { topic, source }),
            Err(_) => {
                self.give_up.send_replace(generation);
                Err(MqttError::Unacknowledged { topic })
            }
        }
    }

    /// Which connection is the present one, if there is one.
    pub(crate) fn generation(&self) -> Option<Generation> {
        *self.generation.borrow()
    }

    /// Sends the PUBACK for `message`. Without effect if it came over an earlier connection: the broker then gives it
    /// to somebody again.
    pub(crate) fn acknowledge(&self, message: &Incoming) {
        // rumqttc takes an acknowledgement of an earlier connection's message for a fault and drops the connection.
        if message.qos == QoS::AtLeastOnce && self.is_current(message) {
            self.unsent.send(&self.client, message.packet_id);
        }
    }

    /// Whether `message` came over the present connection. One that did not is delivered again, here or elsewhere.
    pub(crate) fn is_current(&self, message: &Incoming) -> bool {
        *self.generation.borrow() == Some(message.generation)
    }

    /// Subscribes again after [`Mqtt::unsubscribe`].
    pub(crate) fn subscribe(&self) {
        self.subscriptions.wanted.store(true, Relaxed);
        // Without a connection the next one subscribes; so it does if there is no room for the request.
        if self.generation.borrow().is_some() && self.subscriptions.request(&self.client).is_err() {
            self.give_up.send_replace(*self.generation.borrow());
        }
    }

    /// Asks the broker for no more messages and waits until it agrees, at most a second. What it has sent before still
    /// comes, and can be acknowledged.
    pub(crate) async fn unsubscribe(&self) {
        self.subscriptions.wanted.store(false, Relaxed);
        let unsubscribed = async {
            if self.generation.borrow().is_some()
                && let Ok(notice) = self.client.unsubscribe_many_tracked(self.subscriptions.filters.iter()).await
            {
                // A lost connection has ended the subscriptions, too.
                let _ = notice.wait_async().await;
            }
        };
        let _ = timeout(CLOSE_LIMIT, unsubscribed).await;
    }

    /// Disconnects cleanly.
    pub(crate) async fn close(&mut self) {
        let disconnect = async {
            if self.generation.borrow().is_some() && self.client.disconnect().await.is_ok() {
                // The driver ends, and with it the sender.
                while self.generation.changed().await.is_ok() {}
            }
        };
        // A broker that does not take the goodbye learns of it from the closed socket.
        let _ = timeout(CLOSE_LIMIT, disconnect).await;
    }
}

fn options(env: &Env, config: &config::Mqtt, service: &str) -> MqttOptions {
    let mut life = [0; 8];
    env.random(&mut life);
    let id = format!("{service}-{:016x}", u64::from_be_bytes(life));
    let mut options = MqttOptions::new(id, (config.host.as_str(), config.port));
    let (env, host, port, tls) = (env.clone(), config.host.clone(), config.port, config.tls());
    options.set_socket_connector(move |_, _| {
        let (env, host, tls) = (env.clone(), host.clone(), tls.clone());
        async move { tls::connect(&env, &host, port, tls.as_ref()).await }
    });
    if !config.username.is_empty() {
        options.set_credentials(config.username.clone(), config.password.clone());
    }
    options
        .set_keep_alive(config.keep_alive_s)
        .set_clean_start(true)
        .set_connect_timeout(DIAL_LIMIT)
        .set_max_packet_size(Some(PACKET_BYTES_MAX))
        .set_session_expiry_interval(Some(config.session_expiry_s))
        .set_receive_maximum(Some(config.receive_maximum))
        // Without a limit rumqttc looks through 65,535 slots at each flush.
        .set_outgoing_inflight_upper_limit(config.in_flight_max)
        .set_ack_mode(AckMode::Manual);
    options
}

#[cfg(test)]
mod tests;
