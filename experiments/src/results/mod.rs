//! What a run leaves on disk: `results/<spec>/summary.json`, `latency.csv`, `latency.hgrm`, and the plots.
//!
//! Every file is first written under a temporary name beside its place, and all are renamed when all are complete: an
//! interrupted run leaves the old results as they were.

mod latency;
mod summary;

pub use summary::{Rpcs, Summary, Throughput};

use crate::outcome::Outcome;
use crate::plot;
use crate::spec::Spec;
use anyhow::Context;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Where results go.
#[derive(Clone, Debug)]
pub struct Directories {
    /// One directory a spec below this one.
    pub results: PathBuf,
    /// All plots.
    pub plots: PathBuf,
}

impl Directories {
    /// The given ones; the repository's where none is given.
    #[must_use]
    pub fn at(results: Option<&Path>, plots: Option<&Path>) -> Self {
        let defaults = Self::default();
        Self {
            results: results.map_or(defaults.results, Path::to_owned),
            plots: plots.map_or(defaults.plots, Path::to_owned),
        }
    }
}

impl Default for Directories {
    /// `results/` and `plots/` of this repository.
    fn default() -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository");
        Self { results: repository.join("results"), plots: repository.join("plots") }
    }
}

/// Writes all files of a run and returns their paths.
///
/// # Errors
/// When a file can't be written; then the results of earlier runs are still whole.
pub fn write(to: &Directories, spec: &Spec, outcome: &Outcome, summary: &Summary) -> anyhow::Result<Vec<PathBuf>> {
    let results = to.results.join(&spec.name);
    let mut staged = Vec::new();
    let path = results.join("summary.json");
    let json = summary.to_file(&path);
    staged.push(stage(path, json.as_bytes())?);
    staged.push(stage(results.join("latency.csv"), &latency::csv(&outcome.tasks)?)?);
    let latencies_us = outcome.task_latencies_us();
    if let Some(histogram) = plot::Histogram::of(spec, &latencies_us) {
        staged.push(stage(results.join("latency.hgrm"), &latency::hgrm(&latencies_us)?)?);
        let plot = to.plots.join(format!("histogram_{}", spec.name));
        staged.push(stage(plot.with_extension("svg"), histogram.svg()?.as_bytes())?);
        staged.push(stage(plot.with_extension("png"), &histogram.png()?)?);
    }
    staged.into_iter().map(publish).collect()
}

fn stage(path: PathBuf, content: &[u8]) -> anyhow::Result<(NamedTempFile, PathBuf)> {
    let directory = path.parent().expect("every result lies in a directory");
    let staged = || -> std::io::Result<NamedTempFile> {
        std::fs::create_dir_all(directory)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".partial-");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let mut file = builder.tempfile_in(directory)?;
        file.write_all(content)?;
        Ok(file)
    };
    let file = staged().with_context(|| format!("writing {}", path.display()))?;
    Ok((file, path))
}

fn publish((file, path): (NamedTempFile, PathBuf)) -> anyhow::Result<PathBuf> {
    file.persist(&path).with_context(|| format!("replacing {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests;
