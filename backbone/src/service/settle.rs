//! How a service gives a delivery back.

use super::HAND_BACK_DELAY;
use crate::{
    amqp::Settlement,
    telemetry::{DropReason, Event, Telemetry},
};
use tokio::time::sleep;

/// The verdict on a delivery that returns to its queue because of `detail`, for this replica or another, after a
/// moment.
pub(super) async fn hand_back(detail: &str, telemetry: &dyn Telemetry) -> Settlement {
    sleep(HAND_BACK_DELAY).await;
    telemetry.record(&Event::Dropped { reason: DropReason::HandedBack, detail });
    Settlement::HandBack
}
