//! `summary.json`: a run in numbers, small enough to be committed.

use crate::{
    cost::Cost,
    live::Conditions,
    measure::{Outcome, Statistics, TaskCounts, per_second},
    run::Run,
    spec::Spec,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// The libraries whose versions a digest rests on.
const LIBRARIES: [&str; 8] =
    ["amq-protocol", "backbone", "experiments", "lapin", "redis", "rumqttc-v5-next", "tokio", "turmoil-net"];

/// A run in numbers. In a simulated one all but [`Summary::cost`] is decided by the spec and its seed.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The spec's name.
    pub spec: String,
    /// The seed.
    pub seed: u64,
    /// How the tasks ended.
    pub tasks: TaskCounts,
    /// What became of the requests.
    pub rpcs: Rpcs,
    /// Latency of a task's last try, for all finished tasks, those that timed out included; `null` if none finished.
    pub latency_ms: Option<Statistics>,
    /// The same of its calls alone, without the begin and end of a reply queue, for the tasks that are done.
    pub calls_latency_ms: Option<Statistics>,
    /// From a forward router taking a request to a backward router having handed over its reply; or within an HTTP
    /// router.
    pub communication_latency_ms: Option<Statistics>,
    /// Rates from the first task dispatched to the last one finished, in virtual time.
    pub throughput: Throughput,
    /// Messages dropped or handed back, by reason.
    pub drops: BTreeMap<String, u64>,
    /// TCP segments delivered; 0 if live.
    pub segments: u64,
    /// Virtual time from the start of the world to its end, in seconds; if live, real time.
    pub virtual_s: f64,
    /// Stands for all that happened; empty if live.
    pub trace_digest: String,
    /// Versions of what the digest rests on.
    pub versions: BTreeMap<String, String>,
    /// The spec, resolved: this and the versions are all that is needed to run it again.
    pub resolved_spec: Spec,
    /// For a live run: what its numbers rest on, since no seed decides them. Left out if simulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Conditions>,
    /// What depends on the machine. In the file, these are the values of the run that first gave this result: see
    /// [`Summary::to_file`].
    #[serde(rename = "machine")]
    pub cost: Cost,
}

/// What became of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rpcs {
    /// Sent by workers.
    pub sent: u64,
    /// Answered in time.
    pub replied: u64,
    /// Answered to somebody who had not asked.
    pub misrouted: u64,
    /// Not answered in time.
    pub timed_out: u64,
    /// The rest of `sent`: its connection was lost, its router refused it, or its worker crashed.
    pub failed: u64,
    /// Replies that the MQTT broker gave to an HTTP router which did not wait for them, and so dropped them.
    pub dropped_replies: u64,
}

/// Rates in virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Tasks done.
    pub tasks_per_s: f64,
    /// Requests answered.
    pub rpcs_per_s: f64,
    /// Messages that the MQTT broker took in.
    pub messages_per_s: f64,
}

impl Summary {
    /// Of a run of `spec`.
    #[must_use]
    pub fn of(spec: &Spec, run: &Run) -> Self {
        let outcome = &run.outcome;
        let counters = &outcome.counters;
        let tasks = outcome.task_counts();
        let busy_us = outcome.busy_us();
        Self {
            spec: spec.name.clone(),
            seed: spec.seed,
            tasks,
            rpcs: Rpcs {
                sent: counters.rpcs_sent,
                replied: counters.rpcs_replied,
                misrouted: counters.rpcs_misrouted,
                timed_out: counters.rpcs_timed_out,
                failed: counters.rpcs_sent.saturating_sub(counters.rpcs_replied + counters.rpcs_timed_out),
                dropped_replies: counters.replies_misdelivered(),
            },
            latency_ms: Statistics::of(&outcome.task_latencies_us()),
            calls_latency_ms: Statistics::of(&outcome.calls_latencies_us()),
            communication_latency_ms: communication(outcome),
            throughput: Throughput {
                tasks_per_s: per_second(tasks.done, busy_us),
                rpcs_per_s: per_second(counters.rpcs_replied, busy_us),
                messages_per_s: per_second(counters.mqtt_messages, busy_us),
            },
            drops: counters.drops.iter().map(|(reason, times)| (format!("{reason:?}"), *times)).collect(),
            segments: counters.segments,
            virtual_s: outcome.virtual_us as f64 / 1e6,
            trace_digest: outcome.trace_digest.clone(),
            versions: versions(include_str!("../../../Cargo.lock")),
            resolved_spec: spec.clone(),
            live: run.live.clone(),
            cost: run.cost.clone(),
        }
    }

    /// As JSON for people and programs.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("a summary has nothing that JSON can't hold");
        json.push('\n');
        json
    }

    /// What belongs into the file at `path`. If the file that is there says the same apart from `machine`, its
    /// `machine` stays, so that running an unchanged experiment again leaves the committed file as it is, byte for
    /// byte; unless that is the cost of a run with an event log and this one had none.
    #[must_use]
    pub fn to_file(&self, path: &Path) -> String {
        let old = std::fs::read_to_string(path).ok().and_then(|old| {
            let value: serde_json::Value = serde_json::from_str(&old).ok()?;
            let cost: Cost = serde_json::from_value(value.get("machine")?.clone()).ok()?;
            let is_worse = cost.event_log && !self.cost.event_log;
            (!is_worse).then(|| (old, Self { cost, ..self.clone() }.to_json()))
        });
        match old {
            Some((old, same)) if old == same => old,
            _ => self.to_json(),
        }
    }
}

fn communication(outcome: &Outcome) -> Option<Statistics> {
    let mut latencies: Vec<u64> = outcome.rpc_latencies_us.iter().copied().map(u64::from).collect();
    latencies.sort_unstable();
    Statistics::of(&latencies)
}

/// The versions of [`LIBRARIES`] in a lock file.
fn versions(lock: &str) -> BTreeMap<String, String> {
    let lock: toml::Table = toml::from_str(lock).expect("cargo wrote this file");
    let packages = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten();
    let entry = |package: &toml::Value| {
        let text = |key| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        Some((text("name")?, text("version")?))
    };
    packages.filter_map(entry).filter(|(name, _)| LIBRARIES.contains(&name.as_str())).collect()
}
