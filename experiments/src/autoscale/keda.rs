//! KEDA's rules: what a trigger measures, whether it is active, and when KEDA itself scales from and to 0.
//!
//! Source: KEDA's documentation ("RabbitMQ Queue", "ScaledObject specification") and its code as of August 2026,
//! `pkg/scalers/rabbitmq_scaler.go` (`GetMetricsAndActivity`), `pkg/scalers/scaler.go` (`quantityFromFloat64`) and
//! `pkg/scaling/executor/scale_scaledobjects.go` (`RequestScale`).

use crate::spec::{Autoscaler, Mode, Trigger};

const MICROS_PER_S: u64 = 1_000_000;

/// What RabbitMQ says of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct QueueStatus {
    /// Messages that count.
    pub(crate) messages: u64,
    /// Messages published to it, a second.
    pub(crate) publish_rate: f64,
    /// Messages delivered from it, a second.
    pub(crate) deliver_get_rate: f64,
}

/// What a trigger says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// For the HPA, in thousandths.
    pub(crate) metric_milli: u64,
    /// Whether replicas are needed at all.
    pub(crate) is_active: bool,
}

/// What `trigger` makes of the status of its queue.
pub(crate) fn reading(trigger: &Trigger, status: QueueStatus) -> Reading {
    let QueueStatus { publish_rate, deliver_get_rate, .. } = status;
    let (messages, activation) = (status.messages as f64, trigger.activation_value.as_f64());
    let nobody_takes = deliver_get_rate == 0.0;
    let (metric, is_active) = match trigger.mode {
        Mode::QueueLength => (messages, messages > activation),
        Mode::MessageRate => (publish_rate, publish_rate > activation || messages > activation),
        Mode::DeliverGetRate => (deliver_get_rate, deliver_get_rate > activation),
        Mode::PublishedToDeliveredRatio => {
            let ratio = match () {
                () if publish_rate > 0.0 && nobody_takes => activation,
                () if publish_rate > 0.0 && deliver_get_rate > 0.0 => publish_rate / deliver_get_rate,
                () => 0.0,
            };
            (ratio, ratio > activation || publish_rate > 0.0 && nobody_takes)
        }
        Mode::ExpectedQueueConsumptionTime => {
            let time = match () {
                () if status.messages == 0 => 0.0,
                () if nobody_takes => activation,
                () => (publish_rate - deliver_get_rate) / deliver_get_rate + messages / deliver_get_rate,
            };
            (time, time > activation || nobody_takes && status.messages > 0)
        }
    };
    Reading { metric_milli: milli(metric), is_active }
}

/// As KEDA hands metrics over: with three decimals, and 0 for what is none.
fn milli(number: f64) -> u64 {
    if !number.is_finite() || number < 0.0 {
        return 0;
    }
    format!("{number:.3}").replace('.', "").parse().unwrap_or(u64::MAX)
}

/// What KEDA's own loop remembers of a ScaledObject.
#[derive(Clone, Debug)]
pub(crate) struct Activation {
    created_s: u64,
    /// When a trigger was last seen active, in whole seconds, as a Kubernetes object keeps times.
    last_active_s: Option<u64>,
}

impl Activation {
    /// Of a ScaledObject that is created at `now_us`, wall-clock time.
    pub(crate) fn new(now_us: u64) -> Self {
        Self { created_s: now_us / MICROS_PER_S, last_active_s: None }
    }

    /// One look, at every polling interval. `readings`: one for each trigger, `None` for one that gave none. How many
    /// replicas there shall be from now on; `None`: as many as there are.
    pub(crate) fn look(
        &mut self,
        rules: &Autoscaler,
        now_us: u64,
        current: u32,
        readings: &[Option<Reading>],
    ) -> Option<u32> {
        let is_active = readings.iter().flatten().any(|reading| reading.is_active);
        let has_failed = readings.iter().any(Option::is_none);
        let (min, idle) = (rules.min_replica_count, rules.idle_replica_count);
        if is_active {
            let is_too_few = current == 0 || idle.is_some() && current < min;
            if is_too_few || !has_failed {
                self.last_active_s = Some(now_us / MICROS_PER_S);
            }
            return is_too_few.then_some(min.max(1));
        }
        if has_failed {
            return None;
        }
        let is_too_many = idle.is_some_and(|idle| current > idle) || current > 0 && min == 0;
        if is_too_many {
            return self.has_cooled_down(rules, now_us).then(|| idle.unwrap_or(min));
        }
        (idle.is_none() && current < min).then_some(min)
    }

    fn has_cooled_down(&self, rules: &Autoscaler, now_us: u64) -> bool {
        let (from_s, period_s) = match self.last_active_s {
            Some(last_active_s) => (last_active_s, rules.cooldown_period_s),
            None => (self.created_s, rules.initial_cooldown_period_s),
        };
        (from_s + u64::from(period_s)) * MICROS_PER_S < now_us
    }
}

#[cfg(test)]
mod tests;
