//! What routers do with what gateways publish: RSSI reports into the routing table, and the patience that goes with it.

use super::HAND_BACK_DELAY;
use crate::{
    config::Routing,
    env::Env,
    message::{Message, RssiReport, gateway_of_topic},
    mqtt::Incoming,
    store::Store,
    telemetry::{DropReason, Event, Telemetry},
};
use std::{future::Future, time::Duration};
use tokio::time::{Instant, sleep};

/// Writes a report into the routing table.
///
/// # Errors
/// Why it was dropped instead.
pub(super) async fn store_report<E: Env>(
    store: &Store<E>,
    routing: &Routing,
    telemetry: &dyn Telemetry,
    message: &Incoming,
) -> Result<(), DropReason> {
    let topic = std::str::from_utf8(&message.topic).ok();
    let gateway = topic.and_then(gateway_of_topic).ok_or_else(|| malformed(message, &"no gateway in the topic"))?;
    let report = RssiReport::parse(&message.payload).map_err(|error| malformed(message, &error))?;
    // After that no route in the report would be fresh.
    let give_up = Instant::now() + Duration::from_millis(routing.route_fresh_ms);
    retry(give_up, || store.store_report(routing, gateway, &report)).await?;
    telemetry.record(&Event::RoutesStored { gateway, labels: report.labels.len() });
    Ok(())
}

/// Tries `step` again until `give_up`. The message stays unacknowledged meanwhile, and is worthless afterwards.
pub(super) async fn retry<T, X, F>(give_up: Instant, step: impl Fn() -> F) -> Result<T, DropReason>
where
    X: std::fmt::Display,
    F: Future<Output = Result<T, X>>,
{
    loop {
        match step().await {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() + HAND_BACK_DELAY < give_up => {
                tracing::info!(%error, "trying again");
                sleep(HAND_BACK_DELAY).await;
            }
            Err(error) => {
                tracing::warn!(%error, "given up");
                return Err(DropReason::Expired);
            }
        }
    }
}

/// Says what is wrong with a message.
pub(super) fn malformed(message: &Incoming, error: &dyn std::fmt::Display) -> DropReason {
    tracing::warn!(topic = %String::from_utf8_lossy(&message.topic), %error, "a malformed message is dropped");
    DropReason::Malformed
}
