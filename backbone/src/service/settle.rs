//! How a service lets go of a delivery.

use super::HAND_BACK_DELAY;
use crate::telemetry::{DropReason, Event, Telemetry};
use lapin::{
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Limit of sending an acknowledgement.
const ACK_LIMIT: Duration = Duration::from_secs(5);

/// Tells the broker that `delivery` is settled. On failure its connection is gone, and the broker delivers it again.
pub(super) async fn acknowledge(delivery: &Delivery) {
    match timeout(ACK_LIMIT, delivery.acker.ack(BasicAckOptions::default())).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false) | Err(_)) | Err(_) => tracing::info!("not acknowledged; it will be delivered again"),
    }
}

/// Gives `delivery` back to its queue because of `detail`, for this replica or another, after a moment. On failure its connection is gone, and
/// the broker requeues it by itself.
pub(super) async fn hand_back(delivery: &Delivery, detail: &str, telemetry: &dyn Telemetry) {
    sleep(HAND_BACK_DELAY).await;
    telemetry.record(&Event::Dropped { reason: DropReason::HandedBack, detail });
    let nack = delivery.acker.nack(BasicNackOptions { requeue: true, ..Default::default() });
    let _ = timeout(ACK_LIMIT, nack).await;
}
