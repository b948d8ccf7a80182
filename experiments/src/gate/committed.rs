//! Reads committed summaries.

use crate::{
    measure::{Latencies, TaskCounts},
    results::{Rpcs, Throughput},
};
use anyhow::{Context, bail};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

/// Largest summary that is read; real ones have some 4 KB.
const SUMMARY_BYTES_MAX: u64 = 1 << 20;

/// What a committed `summary.json` says, as far as the gate compares it.
#[derive(Clone, Debug, Deserialize)]
pub struct Committed {
    /// How the tasks ended.
    pub tasks: TaskCounts,
    /// What became of the requests.
    pub rpcs: Rpcs,
    /// Latencies, by what they are of.
    pub latency_ms: Latencies,
    /// Rates in virtual time.
    pub throughput: Throughput,
    /// Messages dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Stands for all that happened.
    pub trace_digest: String,
    /// Versions of the libraries.
    pub versions: BTreeMap<String, String>,
    /// The spec that was run, as it is written there: one of an older program need not be one of today's.
    pub resolved_spec: serde_json::Value,
}

/// Where the summary of `spec` lies.
#[must_use]
pub fn path(results: &Path, spec: &str) -> PathBuf {
    results.join(spec).join("summary.json")
}

/// The specs that have a summary below `results`, by name. Live runs' and the thesis report are elsewhere there.
///
/// # Errors
/// When the directory can't be read.
pub fn committed_specs(results: &Path) -> anyhow::Result<Vec<String>> {
    let entries = match std::fs::read_dir(results) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let entries = entries.with_context(|| format!("listing {}", results.display()))?;
    let mut specs: Vec<String> = entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    specs.retain(|spec| path(results, spec).is_file());
    specs.sort();
    Ok(specs)
}

/// The committed summary of `spec`; `None` if there is none.
///
/// # Errors
/// When it can't be read, is too large, or is no summary.
pub(super) fn read(results: &Path, spec: &str) -> anyhow::Result<Option<Committed>> {
    let path = path(results, spec);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
    };
    let mut text = String::new();
    let read = file.take(SUMMARY_BYTES_MAX + 1).read_to_string(&mut text);
    if read.with_context(|| format!("reading {}", path.display()))? as u64 > SUMMARY_BYTES_MAX {
        bail!("{} has more than {SUMMARY_BYTES_MAX} bytes; it can't be a summary", path.display());
    }
    let committed = serde_json::from_str(&text);
    let hint = || {
        format!(
            "{} is damaged, or of an older version; `experiments check {spec} --bless` writes a new one",
            path.display()
        )
    };
    committed.with_context(hint).map(Some)
}
