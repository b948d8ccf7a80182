//! How a backward router steps aside while it can't hand messages over.
//!
//! It unsubscribes and publishes what it holds once more, for another router to take: what a router leaves
//! unacknowledged stays in its session, and Mosquitto gives it to nobody else even when that ends. It returns when
//! RabbitMQ and Redis answer.
//!
//! Where no other router takes the messages, all are in the same trouble: then it returns at once and holds on to its
//! messages as long as they are worth something. So there is always one whose subscription keeps replies at the broker.

use super::{BckRouter, is_report};
use crate::{
    amqp::{Properties, PublishError, QueueName},
    backoff::Backoff,
    config::Config,
    message::RequestId,
    mqtt::{Handover, Incoming},
    store::CorrelationKey,
};
use futures_util::future::try_join_all;
use std::time::Duration;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

/// After this long with one message a router takes it that it can't hand over. Longer than a healthy broker takes: a
/// confirm comes within a second even when RabbitMQ syncs to disk, a lost segment within 600 ms.
const HANDOVER_LIMIT: Duration = Duration::from_secs(2);
/// How long one try to give a message to another router may wait for a connection to the MQTT broker.
const HAND_BACK_LIMIT: Duration = Duration::from_secs(2);
/// No queue has this name: publishing to it shows that RabbitMQ answers.
const NO_QUEUE: &str = "shelfwire.no_queue";

/// Where a router and its messages in work meet.
pub(super) struct Aside {
    /// Whether the router has stepped aside.
    away: watch::Sender<bool>,
    /// A message is not handed over in time.
    late: Notify,
    /// Nobody took a message.
    alone: Notify,
}

impl Default for Aside {
    fn default() -> Self {
        Self { away: watch::Sender::new(false), late: Notify::new(), alone: Notify::new() }
    }
}

impl BckRouter {
    /// Steps aside whenever a message is late. Never ends.
    pub(super) async fn step_aside(&self) {
        let Aside { away, late, alone } = &self.aside;
        loop {
            late.notified().await;
            tracing::warn!(limit = ?HANDOVER_LIMIT, "messages can't be handed over: leaving them to the other routers");
            self.mqtt.unsubscribe().await;
            away.send_replace(true);
            let is_alone = tokio::select! {
                biased;
                () = self.answers() => false,
                () = alone.notified() => true,
            };
            away.send_replace(false);
            self.mqtt.subscribe();
            if is_alone {
                tracing::warn!("no other router takes them; waiting with them");
                self.answers().await;
            }
            tracing::info!("messages can be handed over again");
            // What was said meanwhile is out of date.
            for stale in [late, alone] {
                let _ = timeout(Duration::ZERO, stale.notified()).await;
            }
        }
    }

    /// Ends when another router has `message`. Gets to that only while the router is aside; reports if it ought to be.
    pub(super) async fn hand_back(&self, message: &Incoming) {
        let Aside { away, late, alone } = &self.aside;
        let mut away = away.subscribe();
        let give_up = Instant::now() + worth(&self.config, &message.topic);
        if timeout(HANDOVER_LIMIT, is(true, &mut away)).await.is_err() {
            late.notify_one();
        }
        loop {
            is(true, &mut away).await;
            let topic = String::from_utf8_lossy(&message.topic).into_owned();
            let left_s = give_up.saturating_duration_since(Instant::now()).as_secs();
            let left_s = u32::try_from(left_s).unwrap_or(u32::MAX).max(1);
            let patience = Instant::now() + HAND_BACK_LIMIT;
            let payload = message.payload.to_vec();
            match self.mqtt.publish(topic, payload, None, left_s, patience, message.traceparent).await {
                Ok(Handover::Taken) => return,
                Ok(Handover::NoSubscribers) => alone.notify_one(),
                Err(error) => tracing::info!(%error, "a message stays here"),
            }
            is(false, &mut away).await;
        }
    }

    /// Ends when both RabbitMQ and Redis have answered.
    async fn answers(&self) {
        let mut backoff = Backoff::new();
        loop {
            backoff.pause(&self.env).await;
            let nobody = CorrelationKey::RequestId(RequestId::draw(&self.env));
            if let Err(error) = try_join_all(self.store.all().map(|store| store.caller(nobody))).await {
                tracing::info!(%error, "can't hand over yet");
                continue;
            }
            let (queue, limit) = (QueueName::from(NO_QUEUE), Instant::now() + HANDOVER_LIMIT);
            match self.session.publish(&queue, b"", Properties::default(), limit).await {
                Ok(()) | Err(PublishError::Unroutable { .. }) => return,
                Err(error) => tracing::info!(%error, "can't hand over yet"),
            }
        }
    }
}

/// For how long a message is worth something to another router: a reply as long as anybody may wait for it, a report as
/// long as it may be written. The broker drops it then, and nobody is told; a gateway that reports changes only would
/// not say again what was in it.
fn worth(config: &Config, topic: &[u8]) -> Duration {
    Duration::from_millis(match is_report(topic) {
        true => config.routing.route_fresh_ms / 2,
        false => config.task_worker.reply_timeout_ms,
    })
}

async fn is(wanted: bool, away: &mut watch::Receiver<bool>) {
    away.wait_for(|away| *away == wanted).await.expect("the router holds the sender as long as its messages");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_is_handed_back_lives_as_long_as_it_may_be_written_and_a_reply_as_long_as_it_is_waited_for() {
        let mut config = Config::default();
        (config.routing.route_fresh_ms, config.task_worker.reply_timeout_ms) = (3_600_000, 25_000);
        assert_eq!(worth(&config, b"/gw/00:00:00:00:00:01/rssi"), Duration::from_secs(1_800));
        assert_eq!(worth(&config, b"/gw/00:00:00:00:00:01/response"), Duration::from_secs(25));
    }
}
