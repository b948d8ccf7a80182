//! `summary.json`: a run in numbers, small enough to be committed.

use super::RadioNumbers;
use crate::{
    cost::Cost,
    digits::grouped,
    live::Conditions,
    measure::{Expectation, Latencies, Load, Outcome, Statistics, TaskCounts, per_second},
    plot::Note,
    run::Run,
    spec::{Change, Spec},
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
    /// In what the spec that was run is not the one that its file says: what the command line has changed. Left out if
    /// it is the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// How the tasks ended.
    pub tasks: TaskCounts,
    /// What became of the requests.
    pub rpcs: Rpcs,
    /// Whether that is what the spec expects.
    pub expectation: Expectation,
    /// Latencies, by what they are of.
    pub latency_ms: Latencies,
    /// How the work came, and whether the run kept up with it. Left out if all of it was there at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Hours for which pods of each kind were there, all together: what a cloud is paid for. Left out if the work was
    /// all there at the start and nothing is scaled.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_hours: BTreeMap<String, f64>,
    /// Rates from the first task dispatched to the last one finished, in virtual time.
    pub throughput: Throughput,
    /// What the radio came to. Left out if the spec has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radio: Option<RadioNumbers>,
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
            changes: spec.origin.changes.clone(),
            tasks,
            rpcs: Rpcs {
                sent: counters.rpcs_sent,
                replied: counters.rpcs_replied,
                misrouted: counters.rpcs_misrouted,
                timed_out: counters.rpcs_timed_out,
                failed: counters.rpcs_sent.saturating_sub(counters.rpcs_replied + counters.rpcs_timed_out),
                dropped_replies: counters.replies_misdelivered(),
            },
            expectation: Expectation::of(spec, &tasks),
            latency_ms: Latencies::of(outcome),
            load: Load::of(spec, outcome),
            pod_hours: pod_hours(spec, outcome),
            throughput: Throughput {
                tasks_per_s: per_second(tasks.done, busy_us),
                rpcs_per_s: per_second(counters.rpcs_replied, busy_us),
                messages_per_s: per_second(counters.mqtt_messages, busy_us),
            },
            radio: outcome.radio.as_ref().map(|radio| RadioNumbers::of(radio, outcome.virtual_us)),
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

    /// What a reader of the numbers has to know; warnings first.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        let all = grouped(&self.tasks.dispatched.to_string());
        let of_all = |count: u64| {
            let were = if count == 1 { "was" } else { "were" };
            format!("{} of {all} tasks {were}", grouped(&count.to_string()))
        };
        let ms = |ms: f64| grouped(&format!("{ms:.2}"));
        let mut notes = Vec::new();
        notes.extend(self.expectation.miss().map(Note::warning));
        notes.extend(self.load.iter().flat_map(load_notes));
        if let Some(Statistics { count, p50, .. }) = self.latency_ms.given_up {
            let text =
                format!("{} given up, at the median after {} ms; no latency is of these", of_all(count), ms(p50));
            notes.push(if self.expectation.met { Note::remark(text) } else { Note::warning(text) });
        }
        if self.tasks.queued > 0 {
            notes.push(Note::warning(format!("{} not finished when the run ended", of_all(self.tasks.queued))));
        }
        if let Some(Statistics { count, mean, .. }) = self.latency_ms.retries {
            let text =
                format!("{} done by a later try; retries added {} ms to these at the mean", of_all(count), ms(mean));
            notes.push(Note::remark(text));
        }
        if self.live.is_none() && !self.resolved_spec.costs_cpu() {
            let text = "no work costs CPU time in this spec, so it can't tell how many replicas are needed";
            notes.push(Note::remark(text));
        }
        if !self.changes.is_empty() {
            let changes: Vec<String> = self.changes.iter().map(Change::to_string).collect();
            notes.push(Note::remark(format!("differs from the spec: {}", changes.join(", "))));
        }
        notes
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

fn pod_hours(spec: &Spec, outcome: &Outcome) -> BTreeMap<String, f64> {
    if !spec.workload.is_paced() && spec.autoscale.is_empty() {
        return BTreeMap::new();
    }
    let hours = |us: u64| (us as f64 / 3.6e9 * 1_000.0).round() / 1_000.0;
    outcome.pods_us.iter().map(|(target, us)| (target.to_string(), hours(*us))).collect()
}

/// What is wrong with how the work came, for the latencies' meaning.
fn load_notes(load: &Load) -> Vec<Note> {
    let mut notes = Vec::new();
    if !load.settled {
        notes.push(Note::warning(format!(
            "did not keep up: {} tasks in flight at the middle of the measured time, {} at its end; a longer run would \
             have larger latencies",
            grouped(&format!("{:.0}", load.in_flight_middle)),
            grouped(&format!("{:.0}", load.in_flight_end))
        )));
    }
    if load.late_tasks > 0 {
        notes.push(Note::remark(format!(
            "the dispatcher took {} tasks late, up to {} ms after their moment; their latencies count from there",
            grouped(&load.late_tasks.to_string()),
            grouped(&format!("{:.0}", load.late_ms_max))
        )));
    }
    notes
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
