//! A gateway's MQTT connection: rumqttc with an event loop that connects, subscribes and connects again.

use super::writes::Writes;
use backbone::{
    config,
    env::{DIAL_LIMIT, Env, TaskGuard},
    tls,
};
use bytes::Bytes;
use rumqttc::{
    AckMode, AsyncClient, Event, EventLoop, MqttOptions, PublishOptions, PublishProperties,
    mqttbytes::{
        QoS,
        v5::{LastWill, Packet, Publish},
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};

/// Seconds without traffic after which a gateway pings its broker.
const KEEP_ALIVE_S: u16 = 60;
/// Commands that a gateway reads ahead. How many the broker may have under way to it is the broker's choice: a receive
/// maximum would replace Mosquitto's `max_inflight_messages`, whatever that is.
const READ_AHEAD_MAX: usize = 100;
/// Messages of its own that a gateway has under way.
const IN_FLIGHT_MAX: u16 = 100;
/// Limit of the wait for a PUBACK: then the connection is as good as gone, and is dropped. A command that waits behind
/// it for its own acknowledgement would otherwise fill a place of the broker's window for ever.
const PUBACK_LIMIT: Duration = Duration::from_secs(10);
/// Pause before the next dial: evenly from this range, so that gateways don't come back all at once.
const REDIAL_MS: std::ops::Range<u64> = 100..1_000;

/// A message that has not been acknowledged yet.
pub(super) struct Incoming {
    publish: Publish,
    /// Which connection it came by: packet ids mean nothing in another one.
    generation: u64,
}

impl Incoming {
    pub(super) fn payload(&self) -> &Bytes {
        &self.publish.payload
    }

    /// Where the sender wants the answer, if it says so, and what it wants back with it (MQTT 5, 4.10).
    pub(super) fn reply_to(&self) -> Option<ReplyTo> {
        let properties = self.publish.properties.as_ref()?;
        let topic = properties.response_topic.clone()?;
        Some(ReplyTo { topic, correlation: properties.correlation_data.clone() })
    }
}

/// Where an answer goes, by the properties of the message that it answers.
pub(super) struct ReplyTo {
    pub(super) topic: String,
    pub(super) correlation: Option<Bytes>,
}

/// How many gateways can be reached: those whose subscription the broker has confirmed. Cheap to clone; all clones
/// count together.
#[derive(Clone, Debug, Default)]
pub struct Online(Arc<AtomicUsize>);

impl Online {
    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts a gateway for as long as it lives.
struct CountedOnline(Online);

impl CountedOnline {
    fn new(online: Online) -> Self {
        online.0.fetch_add(1, Ordering::Relaxed);
        Self(online)
    }
}

impl Drop for CountedOnline {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Which connection stands, if one does. Changes as soon as it is lost, so that nothing that came by it is acknowledged
/// on the next one.
#[derive(Default)]
struct ConnectionState {
    /// Goes up when a connection begins and when it ends: odd while one stands.
    generation: AtomicU64,
    /// The connection is to be dropped.
    give_up: Notify,
}

impl ConnectionState {
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    fn is_connected(generation: u64) -> bool {
        generation % 2 == 1
    }

    fn set_connected(&self, connected: bool) {
        if Self::is_connected(self.generation()) != connected {
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Clone)]
pub(super) struct Connection {
    client: AsyncClient,
    state: Arc<ConnectionState>,
    _driver: Arc<TaskGuard>,
}

impl Connection {
    /// Starts to connect to `broker` and to subscribe to `filter`; messages come out of the receiver. With a
    /// `status_topic` it says there that it is online, retained, and has a will there.
    pub(super) fn start(
        env: &Env,
        broker: &config::Mqtt,
        client_id: String,
        filter: String,
        status_topic: Option<String>,
        writes: Writes,
        online: Online,
    ) -> (Self, mpsc::Receiver<Incoming>) {
        let mut options = options(env, broker, client_id, writes);
        if let Some(topic) = &status_topic {
            options.set_last_will(LastWill::new(topic.as_str(), "offline", QoS::AtLeastOnce, true, None));
        }
        let (client, events) = AsyncClient::builder(options).capacity(IN_FLIGHT_MAX.into()).build();
        // The broker's window bounds what is in it, so the event loop does not wait for room unless the broker
        // overruns.
        let (incoming, received) = mpsc::channel(READ_AHEAD_MAX);
        let state = Arc::new(ConnectionState::default());
        let driver =
            drive(env.clone(), client.clone(), events, (filter, status_topic), (incoming, state.clone()), online);
        let driver = Arc::new(TaskGuard::from(env.spawn("gateway's mqtt", driver)));
        (Self { client, state, _driver: driver }, received)
    }

    /// Publishes with QoS 1, with correlation data if there is any; returns whether the broker has taken the message. A
    /// connection on which it has not, in time, is dropped, and the event loop makes another one.
    pub(super) async fn publish(&self, topic: String, correlation: Option<Bytes>, payload: Vec<u8>) -> bool {
        let mut options = PublishOptions::at_least_once();
        if correlation.is_some() {
            let properties = PublishProperties { correlation_data: correlation, ..Default::default() };
            options = options.properties(properties);
        }
        let published = async {
            let notice = self.client.publish_tracked(topic, payload, options).await.ok()?;
            notice.wait_completion_async().await.ok()
        };
        let generation = self.state.generation();
        let taken = timeout(PUBACK_LIMIT, published).await.ok().flatten().is_some();
        // A younger connection has not had its time yet.
        if !taken && ConnectionState::is_connected(generation) && self.state.generation() == generation {
            self.state.give_up.notify_one();
        }
        taken
    }

    /// Whether a message's connection still stands; if not, the broker has given it to somebody else or will again.
    pub(super) fn is_current(&self, message: &Incoming) -> bool {
        self.state.generation() == message.generation
    }

    /// Tells the broker that `message` is taken.
    pub(super) async fn acknowledge(&self, message: &Incoming) {
        if self.is_current(message) {
            // Fails only when the event loop is gone, and with it this gateway.
            let _ = self.client.ack(&message.publish).await;
            // rumqttc takes what is to be published before what is to be acknowledged; let this go out on its own.
            tokio::task::yield_now().await;
        }
    }
}

fn options(env: &Env, broker: &config::Mqtt, client_id: String, writes: Writes) -> MqttOptions {
    let mut options = MqttOptions::new(client_id, (broker.host.clone(), broker.port));
    let (env, host, port, tls) = (env.clone(), broker.host.clone(), broker.port, broker.tls());
    options.set_socket_connector(move |_address: String, _network| {
        let (env, host, tls) = (env.clone(), host.clone(), tls.clone());
        async move { tls::connect(&env, &host, port, tls.as_ref()).await.map(|stream| writes.on(stream)) }
    });
    if !broker.username.is_empty() {
        options.set_credentials(broker.username.clone(), broker.password.clone());
    }
    options
        .set_keep_alive(KEEP_ALIVE_S)
        .set_clean_start(true)
        .set_connect_timeout(DIAL_LIMIT)
        // Without a limit rumqttc looks through 65,535 slots at each flush.
        .set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX)
        .set_ack_mode(AckMode::Manual);
    options
}

async fn drive(
    env: Env,
    client: AsyncClient,
    mut events: EventLoop,
    (filter, status_topic): (String, Option<String>),
    (incoming, state): (mpsc::Sender<Incoming>, Arc<ConnectionState>),
    online: Online,
) {
    let mut subscribed = None;
    loop {
        let event = tokio::select! {
            biased;
            () = state.give_up.notified() => Err("no PUBACK in time".to_owned()),
            event = events.poll() => event.map_err(|error| error.to_string()),
        };
        match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                state.set_connected(true);
                if let Err(error) = client.try_subscribe(filter.as_str(), QoS::AtLeastOnce) {
                    tracing::warn!(%error, %filter, "a gateway could not subscribe");
                }
                if let Some(topic) = &status_topic {
                    let retained = PublishOptions::at_least_once().retain(true);
                    if let Err(error) = client.try_publish(topic.as_str(), "online", retained) {
                        tracing::warn!(%error, %topic, "a gateway could not say that it is online");
                    }
                }
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => subscribed = Some(CountedOnline::new(online.clone())),
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                let message = Incoming { publish, generation: state.generation() };
                if incoming.send(message).await.is_err() {
                    return; // the gateway is gone
                }
            }
            Ok(_) => {}
            Err(reason) => {
                state.set_connected(false);
                drop(subscribed.take());
                events.clean();
                tracing::debug!(%reason, "a gateway lost its broker");
                let mut random = [0; 2];
                env.random(&mut random);
                let span = REDIAL_MS.end - REDIAL_MS.start;
                sleep(Duration::from_millis(REDIAL_MS.start + u64::from(u16::from_le_bytes(random)) % span)).await;
            }
        }
    }
}
