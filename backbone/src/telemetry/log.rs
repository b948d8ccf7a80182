//! Events as log lines.

use super::{
    Event, Telemetry,
    sparse::{EVENTS, Ration},
};
use std::fmt::Debug;

/// Writes events to the log: failures as warnings, losses and connections as information, the rest at debug level.
/// Warnings and information of one kind come at most every 10 s, with the number of those that were left out.
#[derive(Debug)]
pub struct LogTelemetry {
    /// By a name and a reason.
    ration: Ration<String>,
}

impl Default for LogTelemetry {
    fn default() -> Self {
        Self { ration: Ration::new(1) }
    }
}

impl Telemetry for LogTelemetry {
    fn record(&self, event: &Event<'_>) {
        let kind = |name: &str, reason: &dyn Debug| format!("{name} {reason:?}");
        let (kind, is_failure) = match event {
            Event::TaskDeadLettered { reason, .. } => (kind("dead letter", reason), true),
            Event::TaskRetried { reason, .. } => (kind("retry", reason), false),
            Event::Dropped { reason, .. } => (kind("drop", reason), reason.is_fault()),
            Event::LeftOut { .. } => (kind("left out", &()), true),
            Event::ClockOff { .. } => (kind("clock", &()), true),
            Event::CorruptValue { .. } => (kind("corrupt", &()), true),
            Event::Refused { broker, reason, .. } => (kind("refused", &(broker, reason)), true),
            Event::QueueMissing { queue } => (kind("queue missing", queue), true),
            Event::SpansDropped { .. } => (kind("spans dropped", &()), true),
            Event::Disconnected { broker, .. } => (kind("disconnected", broker), true),
            Event::Connected { broker } => (kind("connected", broker), false),
            _ => return tracing::debug!(target: EVENTS, ?event),
        };
        if let Some(left_out) = self.ration.may_write(kind) {
            match is_failure {
                true => tracing::warn!(target: EVENTS, ?event, left_out),
                false => tracing::info!(target: EVENTS, ?event, left_out),
            }
        }
    }
}
