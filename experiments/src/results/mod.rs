//! What a run leaves on disk: `results/<spec>/summary.json`, `latency.csv`, `latency.hgrm`, and the plots.
//!
//! A summary vouches for the files beside it. So all files are first written under temporary names; when all are
//! complete the old summary goes, then the other files are replaced, and the new summary comes last. A run that is
//! interrupted before leaves the old results as they were, one that is interrupted in the middle leaves no summary.

mod latency;
mod picture;
mod summary;

pub use summary::{Rpcs, Summary, Throughput};

use crate::{measure::Outcome, plot::Figure, spec::Spec};
use anyhow::Context;
use std::{
    io::Write,
    path::{Path, PathBuf},
};
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

    /// Where live runs have theirs: below these, so that none overwrites a simulated one.
    #[must_use]
    pub fn live(&self) -> Self {
        Self { results: self.results.join("live"), plots: self.plots.join("live") }
    }
}

impl Default for Directories {
    /// `results/` and `plots/` of this repository.
    fn default() -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository");
        Self { results: repository.join("results"), plots: repository.join("plots") }
    }
}

/// Writes all files of a run and returns their paths. Files of an earlier run that this one has no content for (a plot,
/// if no task finished) are removed.
///
/// # Errors
/// When a file can't be written: then the results of earlier runs are still whole. When one can't be put into its
/// place: then there is no summary, and what is there is of two runs.
pub fn write(to: &Directories, spec: &Spec, outcome: &Outcome, summary: &Summary) -> anyhow::Result<Vec<PathBuf>> {
    let results = to.results.join(&spec.name);
    let plot = to.plots.join(format!("histogram_{}", spec.name));
    let latencies_us = outcome.task_latencies_us();
    let (mut hgrm, mut svg, mut png) = (None, None, None);
    if let Some(histogram) = picture::histogram(spec, outcome, summary) {
        hgrm = Some(latency::hgrm(&latencies_us)?);
        svg = Some(histogram.svg()?.into_bytes());
        png = Some(histogram.png()?);
    }
    let summary_path = results.join("summary.json");
    let summary_file = stage(&summary_path, summary.to_file(&summary_path).as_bytes())?;
    let mut others = Vec::new();
    for (path, content) in [
        (results.join("latency.csv"), Some(latency::csv(&outcome.tasks)?)),
        (results.join("latency.hgrm"), hgrm),
        (plot.with_extension("svg"), svg),
        (plot.with_extension("png"), png),
    ] {
        let file = content.map(|content| stage(&path, &content)).transpose()?;
        others.push((path, file));
    }
    remove(&summary_path)?;
    let mut written = vec![summary_path.clone()];
    for (path, file) in others {
        match file {
            Some(file) => {
                publish(file, &path)?;
                written.push(path);
            }
            None => remove(&path)?,
        }
    }
    publish(summary_file, &summary_path)?;
    Ok(written)
}

/// Puts `content` at `path`, whole or not at all.
///
/// # Errors
/// When it can't be written.
pub(crate) fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    publish(stage(path, content)?, path)
}

fn stage(path: &Path, content: &[u8]) -> anyhow::Result<NamedTempFile> {
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
    staged().with_context(|| format!("writing {}", path.display()))
}

fn publish(file: NamedTempFile, path: &Path) -> anyhow::Result<()> {
    file.persist(path).with_context(|| format!("replacing {}", path.display()))?;
    Ok(())
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}, which an earlier run has left", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
