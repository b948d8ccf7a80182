//! How long a deployment takes to be at rest again after something was broken: by when all has to be well, and what may
//! be waited for before new work has to be done at its first try.

use super::REPORT_MARGIN;
use crate::{
    measure::{Oracle, Violation},
    spec::{FaultKind, Spec},
    workload::Workload,
};
use std::time::Duration;
use tokio::time::Instant;

/// Time for what a gateway has acknowledged and still has in hand, beside what it takes to execute.
const IN_HAND_MARGIN: Duration = Duration::from_secs(1);

/// When all faults were over, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Healing {
    /// That moment.
    pub(crate) at: Instant,
    /// By when all tasks have come.
    pub(crate) all_came: Instant,
    due: Instant,
}

impl Healing {
    /// All faults of `spec` are over now.
    pub(crate) fn now(spec: &Spec, workload: &Workload) -> Self {
        // Counted from now, though it began before: what comes last has not come earlier.
        let last_ms = workload.len().checked_sub(1).and_then(|last| workload.at_ms(last)).unwrap_or(0);
        let at = Instant::now();
        let all_came = at + Duration::from_millis(last_ms.into());
        Self { at, all_came, due: all_came + Duration::from_secs(spec.limits.recover_s.into()) }
    }

    /// Whether all has to be well by now.
    pub(crate) fn is_due(self) -> bool {
        Instant::now() >= self.due
    }

    /// By when all has to be well; not before `look` is over, so that somebody has had one.
    pub(crate) fn due(self, look: Duration) -> Instant {
        self.due.max(Instant::now() + look)
    }
}

/// That `what` is still so when all should be well, where messages still are, and who is not ready.
pub(crate) fn not_drained(spec: &Spec, what: &str, open_ends: &str, unready: &[String]) -> Violation {
    Oracle::NotDrained.broken(with(format!("{what} {}: {open_ends}", too_late(spec)), unready))
}

/// That services are not ready when all should be well, and which.
pub(crate) fn not_ready(spec: &Spec, unready: &[String]) -> Violation {
    Oracle::NotReady.broken(with(format!("not ready {}", too_late(spec)), unready))
}

fn too_late(spec: &Spec) -> String {
    format!("{} s after all could be well (`limits.recover_s`)", spec.limits.recover_s)
}

/// `text`, with who waits for what.
fn with(text: String, unready: &[String]) -> String {
    if unready.is_empty() { text } else { format!("{text}; {}", unready.join("; ")) }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_well_in_time_is_told_with_who_waits_for_what() {
        let mut spec = Spec::default();
        spec.limits.recover_s = 7;
        let stuck = not_drained(&spec, "tasks are not done", "3 messages in queue x", &["mqtt is starting".into()]);
        let text = "tasks are not done 7 s after all could be well (`limits.recover_s`): 3 messages in queue x; \
                    mqtt is starting";
        assert_eq!((stuck.oracle, stuck.text.as_str()), (Oracle::NotDrained, text));
        let unready = not_ready(&spec, &["a is starting".into(), "b is stopping".into()]);
        let text = "not ready 7 s after all could be well (`limits.recover_s`); a is starting; b is stopping";
        assert_eq!((unready.oracle, unready.text.as_str()), (Oracle::NotReady, text));
    }
}
