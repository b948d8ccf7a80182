//! The task that turns rumqttc's event loop: connects, subscribes, passes messages on.

use super::{Generation, Incoming, Subscriptions, limit::PacketLimit, refusal, unsent::Unsent};
use crate::{
    answers::Answers,
    backoff::Backoff,
    env::Env,
    needs::Needs,
    telemetry::{Event, Telemetry},
    trace::{TRACEPARENT, TraceParent},
};
use rumqttc::{
    AsyncClient, ConnectionError, EventLoop, SubscribeReasonCode,
    mqttbytes::v5::{ConnAck, Packet},
};
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::sync::{
    mpsc::{
        self,
        error::{SendTimeoutError, TrySendError},
    },
    watch,
};

/// A service that is behind is noted to have been answered so often, well within a second.
const STILL_ANSWERED: Duration = Duration::from_millis(500);

pub(super) struct Driver {
    pub(super) env: Env,
    pub(super) telemetry: Arc<dyn Telemetry>,
    pub(super) needs: Arc<Needs>,
    pub(super) answers: Arc<Answers>,
    pub(super) client: AsyncClient,
    pub(super) event_loop: EventLoop,
    pub(super) subscriptions: Arc<Subscriptions>,
    pub(super) limit: Arc<PacketLimit>,
    pub(super) unsent: Arc<Unsent>,
    pub(super) incoming: mpsc::Sender<Incoming>,
    pub(super) generation: watch::Sender<Option<Generation>>,
    /// Which connection does not answer.
    pub(super) give_up: watch::Receiver<Option<Generation>>,
}

impl Driver {
    /// Runs until the client disconnects.
    pub(super) async fn run(mut self) {
        let mut connections: Generation = 0;
        let mut backoff = Backoff::new();
        loop {
            self.unsent.hand_over(&self.client);
            let event = tokio::select! {
                biased;
                // Never closed: the adapter that holds the sender takes this task with it.
                Ok(()) = self.give_up.changed() => {
                    if *self.give_up.borrow_and_update() != *self.generation.borrow() {
                        continue; // it is given up already
                    }
                    Err("no answer in time".to_owned())
                }
                event = self.event_loop.poll() => match event {
                    Ok(event) => {
                        if matches!(event, rumqttc::Event::Incoming(_)) {
                            self.answers.heard();
                        }
                        Ok(event)
                    }
                    Err(ConnectionError::RequestsDone) => return,
                    Err(error) => {
                        self.limit.lost(&error);
                        Err(error.to_string())
                    }
                },
            };
            let outcome = match event {
                Ok(rumqttc::Event::Incoming(Packet::ConnAck(connack))) => {
                    let connected = self.connected(connections + 1, &connack);
                    if connected.is_ok() {
                        connections += 1;
                        if !self.subscriptions.wanted.load(Relaxed) {
                            backoff = Backoff::new();
                        }
                    }
                    connected
                }
                Ok(rumqttc::Event::Incoming(Packet::Publish(publish))) => {
                    let properties = publish.properties.unwrap_or_default();
                    let said = properties.user_properties.into_iter().find(|(name, _)| name == TRACEPARENT);
                    let message = Incoming {
                        topic: publish.topic,
                        payload: publish.payload,
                        correlation: properties.correlation_data,
                        traceparent: said.and_then(|(_, parent)| TraceParent::parse(&parent)),
                        generation: connections,
                        packet_id: publish.pkid,
                        qos: publish.qos,
                    };
                    self.pass_on(message).await;
                    Ok(())
                }
                Ok(rumqttc::Event::Incoming(Packet::SubAck(suback))) => {
                    match suback.return_codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_))) {
                        Some(code) => {
                            let detail = format!("a subscription was refused: {code:?}");
                            let reason = refusal::of_subscription(code);
                            self.telemetry.record(&Event::Refused { broker: "mqtt", reason, detail: &detail });
                            Err(detail)
                        }
                        None => {
                            // Not before: a broker that welcomes and then refuses must not be dialled ever so often.
                            backoff = Backoff::new();
                            self.needs.met(refusal::SUBSCRIPTIONS);
                            Ok(())
                        }
                    }
                }
                Ok(_) => Ok(()),
                Err(reason) => Err(reason),
            };
            if let Err(reason) = outcome {
                self.generation.send_replace(None);
                self.unsent.forget();
                self.event_loop.clean();
                self.telemetry.record(&Event::Disconnected { broker: "mqtt", reason: &reason });
                backoff.pause(&self.env).await;
            }
        }
    }

    /// Hands `message` to the service, and waits if that is behind; it gets on without this task, so the wait ends.
    async fn pass_on(&self, message: Incoming) {
        // No receiver: no service, and this task is about to be aborted.
        let Err(TrySendError::Full(mut message)) = self.incoming.try_send(message) else { return };
        while let Err(SendTimeoutError::Timeout(waiting)) = self.incoming.send_timeout(message, STILL_ANSWERED).await {
            self.answers.heard(); // what came is still here, so no more can
            message = waiting;
        }
    }

    fn connected(&self, generation: Generation, connack: &ConnAck) -> Result<(), String> {
        let properties = connack.properties.as_ref();
        if properties.is_some_and(|properties| properties.max_qos == Some(0)) {
            // It would end the connection at each message, and acknowledge none.
            return Err("the broker takes QoS 0 only, and QoS 1 is needed".to_owned());
        }
        self.limit.announced(properties);
        if self.subscriptions.wanted.load(Relaxed) {
            self.needs.lack(refusal::SUBSCRIPTIONS, "the subscriptions are not granted yet".into());
            self.subscriptions.request(&self.client)?;
        } else {
            self.needs.met(refusal::SUBSCRIPTIONS);
        }
        self.answers.connected();
        self.generation.send_replace(Some(generation));
        self.telemetry.record(&Event::Connected { broker: "mqtt" });
        Ok(())
    }
}
