//! What numbers a field may have: for the rules, and for the reference that people read.

use super::Spec;
use backbone::message::TASK_COMMANDS_MAX;
use toml::Value;

/// Most tasks: their records have to fit into memory.
const TASKS_MAX: u32 = 10_000_000;
/// Longest time in which tasks come: a week.
const DURATION_S_MAX: u32 = 7 * 86_400;
/// Largest body of a command; a request, which has little else, may have 64 KiB.
const BODY_BYTES_MAX: u32 = 60_000;
/// Steepest of Zipf's laws: with an exponent of 3, five commands of six are for the first label.
const ZIPF_PERCENT_MAX: u32 = 300;
/// Most replicas of one service, and most gateways: each costs a host in the simulated network.
const HOSTS_MAX: u32 = 20_000;
/// Most labels.
const ESLS_MAX: u32 = 5_000_000;
/// Coarsest quantum: coarser than a timer's tick, packets would be late for timers.
const QUANTUM_US_MAX: u32 = 1_000;
/// Longest cost of a step, and longest period of a quota, in us: ten seconds.
const COST_US_MAX: u32 = 10_000_000;
/// Widest spread of costs: with sigma 3, one in a thousand takes ten thousand times the median.
const SPREAD_PERCENT_MAX: u32 = 300;
/// Most threads of a pod.
const THREADS_MAX: u32 = 1_024;
/// Longest pause between the starts of two workers, in ms.
const STAGGER_MS_MAX: u32 = 60_000;
/// Longest time that an autoscaler may be told, in s: a day.
const SCALING_S_MAX: u32 = 86_400;
/// Longest stabilisation window, in s (autoscaling/v2, `HPAScalingRules.stabilizationWindowSeconds`).
const WINDOW_S_MAX: u32 = 3_600;
/// Longest median of a pod's start, in ms: ten minutes.
const START_MS_MAX: u32 = 600_000;
/// Longest time of a label or a gateway's reports, in ms: an hour, as long as a route may be fresh.
const RADIO_MS_MAX: u32 = 3_600_000;
/// Most that decibels can say here: beyond that a signal is everything or nothing.
const DB_MAX: u32 = 100;
/// Most Redis servers.
const REDIS_SHARDS_MAX: u32 = 256;
/// All segments.
const MILLION: u32 = 1_000_000;

/// A field, its least and its largest value; `*` stands for any one key. What is not here may have any value of its
/// type.
const RANGES: [(&str, u32, u32); 67] = [
    ("workload.tasks", 1, TASKS_MAX),
    ("workload.duration_s", 0, DURATION_S_MAX),
    ("workload.warm_up_s", 0, DURATION_S_MAX),
    ("workload.commands_per_task", 1, TASK_COMMANDS_MAX as u32),
    ("workload.commands_per_task_max", 0, TASK_COMMANDS_MAX as u32),
    ("workload.body_bytes_min", 0, BODY_BYTES_MAX),
    ("workload.body_bytes_max", 0, BODY_BYTES_MAX),
    ("workload.zipf_percent", 0, ZIPF_PERCENT_MAX),
    ("workload.unknown_percent", 0, 100),
    ("replicas.task_workers", 0, HOSTS_MAX),
    ("replicas.routers", 0, HOSTS_MAX),
    ("replicas.worker_stagger_ms", 0, STAGGER_MS_MAX),
    ("replicas.worker_rush_ms", 0, STAGGER_MS_MAX),
    ("fleet.gateways", 1, HOSTS_MAX),
    ("fleet.stores", 1, HOSTS_MAX),
    ("fleet.esls", 0, ESLS_MAX),
    ("fleet.gateways_in_range", 1, HOSTS_MAX),
    ("fleet.rssi_change_db", 0, DB_MAX),
    ("fleet.rssi_heartbeat_ms", 0, RADIO_MS_MAX),
    ("fleet.radio.side_m", 0, 1_000),
    ("fleet.radio.shadowing_db", 0, DB_MAX),
    ("fleet.radio.fading_db", 0, DB_MAX),
    ("fleet.radio.noise_figure_db", 0, DB_MAX),
    // What a data packet of LE holds (Core, volume 6, part B, 2.4).
    ("fleet.radio.command_bytes", 1, 251),
    ("fleet.radio.repeats_max", 0, 100),
    ("fleet.radio.repeat_ms", 0, RADIO_MS_MAX),
    ("fleet.radio.wake_period_ms", 0, RADIO_MS_MAX),
    ("fleet.radio.interference_db", 0, DB_MAX),
    ("fleet.radio.roaming_percent", 0, 100),
    ("fleet.radio.roaming_m_per_min", 0, 10_000),
    ("fleet.handling.median_us", 0, COST_US_MAX),
    ("fleet.handling.spread_percent", 0, SPREAD_PERCENT_MAX),
    ("network.quantum_us", 0, QUANTUM_US_MAX),
    ("network.loss_ppm", 0, MILLION),
    ("machines.cores", 0, THREADS_MAX),
    ("machines.late_percent", 0, 100),
    ("machines.*.frame_us", 0, COST_US_MAX),
    ("machines.*.kib_us", 0, COST_US_MAX),
    ("machines.*.write_us", 0, COST_US_MAX),
    ("machines.*.wake_us", 0, COST_US_MAX),
    ("machines.*.wake_spread_percent", 0, SPREAD_PERCENT_MAX),
    ("machines.*.poll_us", 0, COST_US_MAX),
    ("machines.*.spread_percent", 0, SPREAD_PERCENT_MAX),
    ("machines.*.threads", 1, THREADS_MAX),
    ("machines.*.cpu_quota_us", 0, COST_US_MAX),
    ("machines.*.cpu_period_us", 1_000, COST_US_MAX),
    ("machines.*.tcp_pingpong_thresh", 1, u8::MAX as u32),
    ("brokers.mqtt_inflight_max", 1, u16::MAX as u32),
    ("brokers.redis_shards", 1, REDIS_SHARDS_MAX),
    ("brokers.amqp_metadata.change_us", 0, COST_US_MAX),
    ("brokers.amqp_metadata.beside_us", 0, COST_US_MAX),
    ("brokers.amqp_metadata.spread_percent", 0, SPREAD_PERCENT_MAX),
    ("brokers.amqp_metadata.disorder_percent", 0, 100),
    ("limits.virtual_s_max", 1, u32::MAX),
    ("limits.recover_s", 1, u32::MAX),
    ("expect.done_percent_min", 0, 100),
    ("expect.done_percent_max", 0, 100),
    ("autoscale.*.polling_interval_s", 1, SCALING_S_MAX),
    ("autoscale.*.cooldown_period_s", 0, SCALING_S_MAX),
    ("autoscale.*.initial_cooldown_period_s", 0, SCALING_S_MAX),
    ("autoscale.*.idle_replica_count", 0, HOSTS_MAX),
    ("autoscale.*.min_replica_count", 0, HOSTS_MAX),
    ("autoscale.*.max_replica_count", 1, HOSTS_MAX),
    ("autoscale.*.start_ms", 0, START_MS_MAX),
    ("autoscale.*.start_spread_percent", 0, SPREAD_PERCENT_MAX),
    ("autoscale.*.grace_s", 0, SCALING_S_MAX),
    ("autoscale.*.behavior.*.stabilization_window_s", 0, WINDOW_S_MAX),
];

/// The least and the largest value of the field at `path`; `None` if its type says it all.
#[must_use]
pub fn range(path: &str) -> Option<(u32, u32)> {
    RANGES.iter().find(|(pattern, ..)| is_like(path, pattern)).map(|(_, min, max)| (*min, *max))
}

/// The first field of `spec` that is out of its range, by path, with its value and its range.
pub(super) fn out_of_range(spec: &Spec) -> Option<(String, i64, (u32, u32))> {
    let table = toml::Table::try_from(spec).expect("a spec came from TOML, so it fits into TOML");
    first("", &Value::Table(table))
}

fn first(path: &str, value: &Value) -> Option<(String, i64, (u32, u32))> {
    match value {
        Value::Table(table) => table.iter().find_map(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            first(&path, value)
        }),
        Value::Integer(value) => {
            let (min, max) = range(path)?;
            let is_within = (i64::from(min)..=i64::from(max)).contains(value);
            (!is_within).then(|| (path.to_owned(), *value, (min, max)))
        }
        _ => None,
    }
}

fn is_like(path: &str, pattern: &str) -> bool {
    let (keys, patterns) = (path.split('.'), pattern.split('.'));
    let alike = |(key, pattern): (&str, &str)| pattern == "*" || key == pattern;
    keys.clone().count() == patterns.clone().count() && keys.zip(patterns).all(alike)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Autoscaler, Behavior, Radio, ScalingRules};

    #[test]
    fn every_range_is_that_of_a_field_and_holds_its_default() {
        let mut spec = Spec::default();
        (spec.expect.done_percent_min, spec.expect.done_percent_max) = (Some(0), Some(100));
        let rules = ScalingRules { stabilization_window_s: Some(0), ..ScalingRules::default() };
        let behavior = Some(Behavior { scale_up: rules.clone(), scale_down: rules });
        spec.autoscale.routers = Some(Autoscaler { idle_replica_count: Some(0), behavior, ..Autoscaler::default() });
        spec.fleet.radio = Some(Radio::default());
        assert_eq!(out_of_range(&spec), None);
        let table = toml::Table::try_from(&spec).unwrap();
        for (pattern, min, max) in RANGES {
            assert!(min < max, "{pattern}");
            let mut here = Some(Value::Table(table.clone()));
            for key in pattern.split('.') {
                let any = ["router", "routers", "scale_up"];
                let keys = if key == "*" { any.as_slice() } else { &[key] };
                here = here.and_then(|value| keys.iter().find_map(|key| value.get(*key).cloned()));
            }
            assert!(matches!(here, Some(Value::Integer(_))), "{pattern} is no number of a spec");
        }
    }

    #[test]
    fn a_field_out_of_its_range_is_found_wherever_it_is() {
        let mut spec = Spec::default();
        spec.machines.router.threads = 0;
        assert_eq!(out_of_range(&spec), Some(("machines.router.threads".into(), 0, (1, 1_024))));
    }
}
