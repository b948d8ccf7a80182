//! Events as log lines.

use super::{Event, Telemetry};
use std::{collections::BTreeMap, fmt::Debug, sync::Mutex, time::Duration};
use tokio::time::Instant;

/// How long after a line others of its kind are only counted: a broker that is away must not fill the disk.
const PAUSE: Duration = Duration::from_secs(10);

/// Writes events to the log: failures as warnings, losses and connections as information, the rest at debug level. Warnings
/// and information of one kind come at most every 10 s, with the number of those that were left out.
#[derive(Debug, Default)]
pub struct LogTelemetry {
    /// By kind. Kinds are few: a name and a reason, both from fixed sets.
    lately: Mutex<BTreeMap<String, Lately>>,
}

#[derive(Debug)]
struct Lately {
    quiet_until: Instant,
    left_out: u64,
}

impl LogTelemetry {
    /// Whether a line of this kind may be written now, and how many were left out before it.
    fn may_write(&self, kind: String) -> Option<u64> {
        let now = Instant::now();
        let mut kinds = self.lately.lock().expect("no holder of this lock panics");
        match kinds.get_mut(&kind) {
            Some(lately) if now < lately.quiet_until => {
                lately.left_out += 1;
                None
            }
            Some(lately) => {
                lately.quiet_until = now + PAUSE;
                Some(std::mem::take(&mut lately.left_out))
            }
            None => {
                kinds.insert(kind, Lately { quiet_until: now + PAUSE, left_out: 0 });
                Some(0)
            }
        }
    }
}

impl Telemetry for LogTelemetry {
    fn record(&self, event: &Event<'_>) {
        let kind = |name: &str, reason: &dyn Debug| format!("{name} {reason:?}");
        let (kind, is_failure) = match event {
            Event::TaskDeadLettered { reason, .. } => (kind("dead letter", reason), true),
            Event::TaskRetried { reason, .. } => (kind("retry", reason), false),
            Event::Dropped { reason, .. } => (kind("drop", reason), reason.is_fault()),
            Event::CorruptValue { .. } => (kind("corrupt", &()), true),
            Event::Disconnected { broker, .. } => (kind("disconnected", broker), true),
            Event::Connected { broker } => (kind("connected", broker), false),
            _ => return tracing::debug!(?event),
        };
        if let Some(left_out) = self.may_write(kind) {
            match is_failure {
                true => tracing::warn!(?event, left_out),
                false => tracing::info!(?event, left_out),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn lines_of_one_kind_are_rare_and_say_how_many_were_left_out() {
        let log = LogTelemetry::default();
        assert_eq!(log.may_write("a".into()), Some(0));
        for _ in 0..1_000 {
            assert_eq!(log.may_write("a".into()), None);
        }
        assert_eq!(log.may_write("b".into()), Some(0), "another kind has its own turn");
        sleep(PAUSE).await;
        assert_eq!(log.may_write("a".into()), Some(1_000));
        sleep(PAUSE).await;
        assert_eq!(log.may_write("a".into()), Some(0));
    }
}
