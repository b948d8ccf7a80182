//! Compares a committed summary with today's, number by number.

use super::{Committed, causes::Why};
use crate::{
    measure::{Latencies, Latency, Statistics},
    results::Summary,
    spec::{self, Change, Spec},
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What became of one spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every number is the committed one.
    Unchanged,
    /// Some numbers moved, none beyond the tolerance.
    Within,
    /// Something got better beyond the tolerance, and nothing worse; to be accepted.
    Moved,
    /// The committed result is of another spec.
    Stale,
    /// Something got worse beyond the tolerance, or a count is another one.
    Regressed,
    /// There is no committed result.
    Missing,
    /// The committed result can't be read.
    Damaged,
    /// The run did not come out as its spec expects.
    Missed,
    /// The run itself failed.
    Failed,
}

impl Verdict {
    /// Whether the gate lets it through.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(self, Self::Unchanged | Self::Within)
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Within => "within tolerance",
            Self::Moved => "moved",
            Self::Stale => "stale",
            Self::Regressed => "regressed",
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Missed => "missed its expectation",
            Self::Failed => "failed",
        }
    }
}

/// One spec's check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// The spec's name.
    pub spec: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Which causes made latencies move, if that is known.
    pub why: Vec<Why>,
    /// Numbers that are not the committed ones.
    pub moves: Vec<Move>,
    /// Where today's spec is not the one that the committed result is of.
    pub spec_changes: Vec<Change>,
    /// What else should be known.
    pub notes: Vec<String>,
    /// Today's main numbers; `None` if the run failed.
    pub today: Option<Today>,
}

/// Today's main numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Today {
    /// 99th percentile of the latency end to end; `None` if no task was done.
    pub end_to_end_p99_ms: Option<f64>,
    /// Median of the try that ended a task.
    pub try_p50_ms: Option<f64>,
    /// Its 99th percentile.
    pub try_p99_ms: Option<f64>,
    /// Tasks done in a second of virtual time.
    pub tasks_per_s: f64,
    /// Wall time of the run.
    pub wall_s: f64,
}

/// A number that is not the committed one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Move {
    /// Which number.
    pub figure: String,
    /// `None`: there was none.
    pub committed: Option<f64>,
    /// `None`: there is none.
    pub today: Option<f64>,
    /// By how much; `None` from 0, or where one side has no number.
    pub change_percent: Option<f64>,
    /// What that means.
    pub judgement: Judgement,
}

/// What a move means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Smaller than the tolerance.
    Within,
    /// Beyond the tolerance, to the good.
    Better,
    /// Beyond the tolerance, to the bad.
    Worse,
    /// A count that must be exact is not.
    Different,
}

impl Today {
    pub(super) fn of(summary: &Summary) -> Self {
        let Latencies { end_to_end, deciding_try, .. } = summary.latency_ms;
        Self {
            end_to_end_p99_ms: end_to_end.map(|latency| latency.p99),
            try_p50_ms: deciding_try.map(|latency| latency.p50),
            try_p99_ms: deciding_try.map(|latency| latency.p99),
            tasks_per_s: summary.throughput.tasks_per_s,
            wall_s: summary.cost.wall_s,
        }
    }
}

impl Checked {
    pub(super) fn failed(spec: &str, verdict: Verdict, note: String) -> Self {
        Self {
            spec: spec.to_owned(),
            verdict,
            why: Vec::new(),
            moves: Vec::new(),
            spec_changes: Vec::new(),
            notes: vec![note],
            today: None,
        }
    }
}

/// Compares; pure.
pub(super) fn compare(committed: &Committed, today: &Summary, tolerance_percent: f64) -> Checked {
    let mut moves = Vec::new();
    for (name, old, new) in latencies(&committed.latency_ms, &today.latency_ms) {
        let percentiles = |of: Option<Statistics>| of.map(|of| [of.p50, of.p99, of.max]);
        let (old, new) = (percentiles(old), percentiles(new));
        for (place, figure) in ["p50", "p99", "max"].into_iter().enumerate() {
            let at = |of: Option<[f64; 3]>| of.map(|of| of[place]);
            moves.extend(measured(&format!("{name}, {figure} ms"), at(old), at(new), Wish::Less, tolerance_percent));
        }
    }
    let (old, new) = (committed.throughput, today.throughput);
    let rates = [("tasks/s", old.tasks_per_s, new.tasks_per_s), ("RPCs/s", old.rpcs_per_s, new.rpcs_per_s)];
    for (figure, old, new) in rates {
        moves.extend(measured(figure, Some(old), Some(new), Wish::More, tolerance_percent));
    }
    moves.extend(counts(committed, today));
    let mut notes = Vec::new();
    let spec_changes = spec_changes(&committed.resolved_spec, &today.resolved_spec);
    let is_stale = !matches!(&spec_changes, Ok(changes) if changes.is_empty());
    let verdict = match () {
        () if !today.expectation.met => Verdict::Missed,
        () if is_stale => Verdict::Stale,
        () => verdict(&moves),
    };
    notes.extend(today.expectation.miss());
    let spec_changes = spec_changes.unwrap_or_else(|error| {
        notes.push(format!("the committed result is of a spec that can't be read any more: {error}"));
        Vec::new()
    });
    if committed.trace_digest != today.trace_digest && moves.is_empty() {
        notes.push("another trace digest, the same numbers: something happens in another order".to_owned());
    }
    for (library, version) in &today.versions {
        let before = committed.versions.get(library).map_or("none", String::as_str);
        if before != version {
            notes.push(format!("{library} is {version}; the committed result is of {before}"));
        }
    }
    Checked {
        spec: today.spec.clone(),
        verdict,
        why: Vec::new(),
        moves,
        spec_changes,
        notes,
        today: Some(Today::of(today)),
    }
}

/// What is compared, with its name: every latency, what retries added, and when tasks were given up.
fn latencies(old: &Latencies, new: &Latencies) -> Vec<(&'static str, Option<Statistics>, Option<Statistics>)> {
    let defined = Latency::ALL.into_iter().map(|latency| (latency.name(), old.get(latency), new.get(latency)));
    let more = [("retries", old.retries, new.retries), ("given up after", old.given_up, new.given_up)];
    defined.chain(more).collect()
}

/// Of numbers that are of the same spec.
fn verdict(moves: &[Move]) -> Verdict {
    let any = |judgement| moves.iter().any(|moved| moved.judgement == judgement);
    if any(Judgement::Worse) || any(Judgement::Different) {
        Verdict::Regressed
    } else if any(Judgement::Better) {
        Verdict::Moved
    } else if moves.is_empty() {
        Verdict::Unchanged
    } else {
        Verdict::Within
    }
}

/// What is hoped of a number.
#[derive(Clone, Copy)]
enum Wish {
    Less,
    More,
}

fn measured(figure: &str, committed: Option<f64>, today: Option<f64>, wish: Wish, tolerance: f64) -> Option<Move> {
    if committed == today {
        return None;
    }
    let change_percent = change_percent(committed, today);
    let judgement = match (change_percent, committed, today, wish) {
        (Some(change), ..) if change.abs() <= tolerance => Judgement::Within,
        (_, Some(committed), Some(today), Wish::Less) if today < committed => Judgement::Better,
        (_, Some(committed), Some(today), Wish::More) if today > committed => Judgement::Better,
        (_, Some(_), Some(_), _) => Judgement::Worse,
        _ => Judgement::Different,
    };
    Some(Move { figure: figure.to_owned(), committed, today, change_percent, judgement })
}

fn counts(committed: &Committed, today: &Summary) -> Vec<Move> {
    let (old, new) = (&committed.tasks, &today.tasks);
    let mut pairs = vec![
        ("tasks dispatched".to_owned(), old.dispatched, new.dispatched),
        ("tasks done".to_owned(), old.done, new.done),
        ("tasks timed out".to_owned(), old.timed_out, new.timed_out),
        ("tasks retried".to_owned(), old.retried, new.retried),
        ("tasks dead-lettered".to_owned(), old.dead_lettered, new.dead_lettered),
        ("tasks queued".to_owned(), old.queued, new.queued),
    ];
    let (old, new) = (&committed.rpcs, &today.rpcs);
    pairs.extend([
        ("RPCs sent".to_owned(), old.sent, new.sent),
        ("RPCs replied".to_owned(), old.replied, new.replied),
        ("RPCs misrouted".to_owned(), old.misrouted, new.misrouted),
        ("RPCs timed out".to_owned(), old.timed_out, new.timed_out),
        ("RPCs failed".to_owned(), old.failed, new.failed),
        ("replies dropped".to_owned(), old.dropped_replies, new.dropped_replies),
    ]);
    let reasons: BTreeMap<&String, ()> =
        committed.drops.keys().chain(today.drops.keys()).map(|reason| (reason, ())).collect();
    for reason in reasons.into_keys() {
        let count = |drops: &BTreeMap<String, u64>| drops.get(reason).copied().unwrap_or(0);
        pairs.push((format!("dropped as {reason}"), count(&committed.drops), count(&today.drops)));
    }
    let moved = pairs.into_iter().filter(|(_, old, new)| old != new);
    let moved = moved.map(|(figure, old, new)| {
        let (committed, today) = (Some(old as f64), Some(new as f64));
        let change_percent = change_percent(committed, today);
        Move { figure, committed, today, change_percent, judgement: Judgement::Different }
    });
    moved.collect()
}

fn change_percent(committed: Option<f64>, today: Option<f64>) -> Option<f64> {
    let (committed, today) = (committed?, today?);
    (committed != 0.0).then(|| (today - committed) / committed * 100.0)
}

/// Where today's spec has another value. A field that the committed one lacks has its default there: it is younger than
/// the result, and by its default nothing has changed.
fn spec_changes(committed: &Value, today: &Spec) -> anyhow::Result<Vec<Change>> {
    let committed = toml::to_string(&without_nulls(committed))?;
    let committed = spec::parse(&committed).map_err(|error| anyhow::anyhow!("{}", error.message()))?;
    Ok(spec::changes(&committed, today)?)
}

/// TOML says nothing where JSON says `null`.
fn without_nulls(value: &Value) -> Value {
    let kept = |value: &&Value| !value.is_null();
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| kept(value));
            Value::Object(fields.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().filter(kept).map(without_nulls).collect()),
        other => other.clone(),
    }
}
