//! Why a latency moved: which causes grew, by what is committed of them beside a result (`results/<spec>/causes.json`).
//!
//! Finding causes out makes a run slower, so the gate does it only for runs whose latencies have moved, and no more
//! than [`EXPLAINED_MAX`] of them.

use super::{Judged, committed, compare::Checked};
use crate::{
    attribution::Cause,
    explain::{Band, Shares, Stretch},
    measure::Latency,
    results,
    run::{Explained, batch},
    simulate::Attribute,
    spec::Spec,
};
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

/// Runs that are explained in one check: who changes what moves all of them learns it from a few.
pub const EXPLAINED_MAX: usize = 8;
/// Largest file of causes that is read; real ones have some 6 KB.
const CAUSES_BYTES_MAX: u64 = 1 << 20;
/// Causes that are named for a latency.
const NAMED_MAX: usize = 4;
/// A cause is named if it has this share of all that its latency moved by, or more.
const NAMED_SHARE_MIN: f64 = 0.05;
/// The latencies that are explained, with the part of a task's time that they are of. Percentiles have the name of
/// their bands; the worst comes first.
const EXPLAINED: [(Latency, Stretch); 2] =
    [(Latency::EndToEnd, Stretch::EndToEnd), (Latency::DecidingTry, Stretch::DecidingTry)];
const PERCENTILES: [&str; 2] = ["p99", "p50"];

/// Where the time of a run's tasks went, as it is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Causes {
    /// Of which run.
    trace_digest: String,
    /// For each latency, the bands of its percentiles.
    latencies: BTreeMap<String, BTreeMap<String, BandCauses>>,
}

/// Tasks around a percentile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BandCauses {
    tasks: usize,
    /// Microseconds of all of them together, by cause; of a queue by `QUEUE/CAUSE`, what lies behind it.
    us: BTreeMap<String, u64>,
}

/// Which causes a latency moved by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Why {
    /// Which number, as in [`Move::figure`](super::Move::figure).
    pub figure: String,
    /// Those that moved most in its direction, the first most.
    pub causes: Vec<Grown>,
}

/// By how much a cause takes more of the mean task around a percentile, or less.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grown {
    /// Its key; of a queue with what lies behind it.
    pub cause: String,
    /// As committed.
    pub committed_ms: f64,
    /// As it is.
    pub today_ms: f64,
}

impl BandCauses {
    fn of(band: &Band) -> Self {
        let key = |(cause, why): (Cause, Option<Cause>)| {
            why.map_or(cause.key().to_owned(), |why| format!("{}/{}", cause.key(), why.key()))
        };
        Self { tasks: band.tasks, us: band.us.iter().map(|(causes, us)| (key(*causes), *us)).collect() }
    }

    fn mean_ms(&self, cause: &str) -> f64 {
        self.us.get(cause).copied().unwrap_or(0) as f64 / self.tasks.max(1) as f64 / 1e3
    }
}

impl Causes {
    /// Of a run.
    #[must_use]
    pub fn of(explained: &Explained) -> Self {
        let outcome = &explained.run.outcome;
        let bands = |(latency, stretch): (Latency, Stretch)| {
            let shares = Shares::of(&explained.attribution, outcome.warm_up_tasks, stretch);
            let bands = shares.map_or(Vec::new(), |shares| shares.bands);
            let shown = bands.iter().filter(|band| PERCENTILES.contains(&band.name));
            let bands = shown.map(|band| (band.name.to_owned(), BandCauses::of(band))).collect();
            (latency.name().to_owned(), bands)
        };
        Self { trace_digest: outcome.trace_digest.clone(), latencies: EXPLAINED.into_iter().map(bands).collect() }
    }

    fn path(results: &Path, spec: &str) -> PathBuf {
        results.join(spec).join("causes.json")
    }

    /// Those that are committed for `spec`; `None` if there are none.
    ///
    /// # Errors
    /// When they can't be read, are too large, or something else.
    pub fn read(results: &Path, spec: &str) -> anyhow::Result<Option<Self>> {
        let path = Self::path(results, spec);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        };
        let mut text = String::new();
        let read = file.take(CAUSES_BYTES_MAX + 1).read_to_string(&mut text);
        if read.with_context(|| format!("reading {}", path.display()))? as u64 > CAUSES_BYTES_MAX {
            bail!("{} has more than {CAUSES_BYTES_MAX} bytes; it can't be causes", path.display());
        }
        let hint = || format!("{} is damaged; `experiments check {spec} --bless` writes a new one", path.display());
        serde_json::from_str(&text).with_context(hint).map(Some)
    }

    /// Writes them beside the results of `spec`.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write(&self, results: &Path, spec: &str) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(self).expect("causes have nothing that JSON can't hold");
        text.push('\n');
        results::replace(&Self::path(results, spec), text.as_bytes())
    }

    /// Whether they are of the run with this digest.
    #[must_use]
    pub fn are_of(&self, trace_digest: &str) -> bool {
        self.trace_digest == trace_digest
    }

    /// What a latency moved by from the committed ones, `self`, to today's.
    fn moved(&self, today: &Self, latency: Latency, percentile: &str) -> Option<Why> {
        let band = |of: &Self| of.latencies.get(latency.name())?.get(percentile).cloned();
        let (old, new) = (band(self)?, band(today)?);
        let keys: BTreeMap<&String, f64> = old.us.keys().chain(new.us.keys()).map(|key| (key, 0.0)).collect();
        let grown = |cause: &String| Grown {
            cause: cause.clone(),
            committed_ms: old.mean_ms(cause),
            today_ms: new.mean_ms(cause),
        };
        let mut causes: Vec<Grown> = keys.into_keys().map(grown).collect();
        let moved_ms: f64 = causes.iter().map(Grown::by_ms).sum();
        causes.retain(|grown| grown.by_ms() * moved_ms > 0.0 && grown.by_ms() / moved_ms >= NAMED_SHARE_MIN);
        causes.sort_by(|a, b| b.by_ms().abs().total_cmp(&a.by_ms().abs()));
        causes.truncate(NAMED_MAX);
        (!causes.is_empty()).then(|| Why { figure: figure(latency, percentile), causes })
    }
}

impl Grown {
    fn by_ms(&self) -> f64 {
        self.today_ms - self.committed_ms
    }

    /// For people.
    pub(super) fn told(&self) -> String {
        let name = |key| Cause::with_key(key).map_or("a cause that is none any more", Cause::name);
        let (cause, behind) = self.cause.split_once('/').map_or((self.cause.as_str(), None), |(a, b)| (a, Some(b)));
        let behind = behind.map_or(String::new(), |behind| format!(", meanwhile {}", name(behind)));
        let Self { committed_ms, today_ms, .. } = self;
        format!("{}{behind}: {committed_ms:.3} -> {today_ms:.3} ms ({:+.3})", name(cause), self.by_ms())
    }
}

fn figure(latency: Latency, percentile: &str) -> String {
    format!("{}, {percentile} ms", latency.name())
}

/// The percentiles that have moved and can be explained.
fn explainable(checked: &Checked) -> Vec<(Latency, &'static str)> {
    let all = PERCENTILES.into_iter().flat_map(|percentile| EXPLAINED.map(|(latency, _)| (latency, percentile)));
    all.filter(|(latency, percentile)| checked.moves.iter().any(|moved| moved.figure == figure(*latency, percentile)))
        .collect()
}

/// Finds out of those whose latencies moved which causes did, and says it in their verdicts. Those beyond the tolerance
/// come first.
pub fn explain(specs: &[Spec], judged: &mut [Judged], results: &Path, attribute: Attribute, quiet: bool) {
    let mut moved: Vec<usize> = (0..judged.len()).filter(|at| !explainable(&judged[*at].checked).is_empty()).collect();
    moved.sort_by_key(|place| judged[*place].checked.verdict.passes());
    let mut known = Vec::new();
    for place in moved {
        let checked = &mut judged[place].checked;
        let of_committed = |causes: &Causes| {
            let digest = committed::read(results, &checked.spec).ok().flatten().map(|committed| committed.trace_digest);
            digest.is_some_and(|digest| causes.are_of(&digest))
        };
        match Causes::read(results, &checked.spec) {
            Ok(Some(causes)) if of_committed(&causes) && known.len() < EXPLAINED_MAX => known.push((place, causes)),
            Ok(Some(causes)) if of_committed(&causes) => {
                checked.notes.push(format!("`experiments check {}` says why it moved", checked.spec));
            }
            Ok(_) => checked.notes.push("no causes are committed for this result, so why it moved is not told".into()),
            Err(error) => checked.notes.push(format!("why it moved is not told: {error:#}")),
        }
    }
    let moved: Vec<Spec> = known.iter().map(|(place, _)| specs[*place].clone()).collect();
    for ((place, old), run) in known.iter().zip(batch::explain_all(&moved, attribute, quiet, Causes::of)) {
        let checked = &mut judged[*place].checked;
        match run {
            Ok(today) => {
                let why = |(latency, percentile)| old.moved(&today, latency, percentile);
                checked.why = explainable(checked).into_iter().filter_map(why).collect();
            }
            Err(error) => checked.notes.push(format!("why it moved is not told: {error:#}")),
        }
    }
}

/// Writes the causes of runs that were accepted, where none are there or those of another run.
///
/// # Errors
/// When a run fails, or a file can't be written.
pub fn write_causes(specs: &[&Spec], digests: &[&str], results: &Path, attribute: Attribute) -> anyhow::Result<()> {
    let is_known = |spec: &Spec, digest: &str| {
        Causes::read(results, &spec.name).ok().flatten().is_some_and(|causes| causes.are_of(digest))
    };
    let new = specs.iter().zip(digests).filter(|(spec, digest)| !is_known(spec, digest));
    let new: Vec<Spec> = new.map(|(spec, _)| (*spec).clone()).collect();
    for (spec, run) in new.iter().zip(batch::explain_all(&new, attribute, true, Causes::of)) {
        let causes = run.with_context(|| format!("finding out the causes of {}", spec.name))?;
        causes.write(results, &spec.name)?;
    }
    Ok(())
}
