//! How long a deployment takes to be at rest again after something was broken: what may be waited for before new work
//! has to be done at its first try.

use super::REPORT_MARGIN;
use crate::spec::{FaultKind, Spec};
use std::time::Duration;

/// Time for what a gateway has acknowledged and still has in hand, beside what it takes to execute.
const IN_HAND_MARGIN: Duration = Duration::from_secs(1);

/// How long connections may be silent after the last fault of `spec`: the pauses between TCP's retransmissions double,
/// so it may be as long again as the fault lasted.
pub(crate) fn silence(spec: &Spec) -> Duration {
    let longest_ms = spec.faults.iter().filter_map(|fault| fault.for_ms).max().unwrap_or(0);
    Duration::from_millis(longest_ms) + IN_HAND_MARGIN
}

/// How long it takes then until every label has a route again, and gateways have done what they had in hand.
pub(crate) fn at_rest(spec: &Spec) -> Duration {
    let (fleet, ble) = (&spec.fleet, &spec.fleet.ble_service_ms);
    let late = spec.faults.iter().filter(|fault| fault.kind == FaultKind::ReplyLate);
    let late_ms = late.filter_map(|fault| fault.strength).map(i64::unsigned_abs).max().unwrap_or(0);
    let reported_ms = u64::from(fleet.rssi_period_ms.max(fleet.rssi_heartbeat_ms));
    REPORT_MARGIN + IN_HAND_MARGIN + Duration::from_millis(reported_ms + u64::from(ble.median + ble.spread) + late_ms)
}
