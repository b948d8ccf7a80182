//! What a run leaves on disk: `results/<spec>/summary.json`, `latency.csv`, `latency.hgrm`, `series.csv`, and plots.
//!
//! A summary vouches for the files beside it. So all files are first written under temporary names; when all are
//! complete the old summary goes, then the other files are replaced, and the new summary comes last. A run that is
//! interrupted before leaves the old results as they were, one that is interrupted in the middle leaves no summary.

mod latency;
mod picture;
mod radio;
mod series;
mod summary;

pub use radio::RadioNumbers;
pub use summary::{Rpcs, Summary, Throughput};

use crate::{
    measure::{Latency, Outcome, samples_us},
    plot::Figure,
    spec::{self, Spec},
};
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
    /// The given ones; where none is given `results/` and `plots/`: of the repository for who works in it, else of the
    /// working directory.
    #[must_use]
    pub fn at(results: Option<&Path>, plots: Option<&Path>) -> Self {
        let home = spec::repository().unwrap_or(Path::new(""));
        let or_at_home = |given: Option<&Path>, name| given.map_or_else(|| home.join(name), Path::to_owned);
        Self { results: or_at_home(results, "results"), plots: or_at_home(plots, "plots") }
    }

    /// Makes sure, before a run that may take long, that what it leaves can be written.
    ///
    /// # Errors
    /// When it can't.
    pub fn check_writable(&self) -> anyhow::Result<()> {
        [&self.results, &self.plots].into_iter().try_for_each(|directory| check_writable(&directory.join("file")))
    }

    /// Where live runs have theirs: below these, so that none overwrites a simulated one.
    #[must_use]
    pub fn live(&self) -> Self {
        self.below("live")
    }

    /// Where runs have theirs that are not of a spec as it is: below these, so that none overwrites what others may
    /// have committed.
    #[must_use]
    pub fn trial(&self) -> Self {
        self.below("trial")
    }

    fn below(&self, name: &str) -> Self {
        Self { results: self.results.join(name), plots: self.plots.join(name) }
    }
}

/// Whether a run of `spec` is one whose results are kept under the spec's name: nothing was changed about it, and in
/// the repository it is one of its specs.
#[must_use]
pub fn is_of_record(spec: &Spec) -> bool {
    spec.origin.changes.is_empty() && (spec.origin.built_in || spec::repository().is_none())
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
    let latencies_us = samples_us(outcome, Latency::DecidingTry);
    let hgrm = if latencies_us.is_empty() { None } else { Some(latency::hgrm(&latencies_us)?) };
    let over_time = to.plots.join(format!("series_{}", spec.name));
    let [svg, png] = drawn(picture::histogram(spec, outcome, summary))?;
    let [series_svg, series_png] = drawn(series::timeline(spec, outcome))?;
    let summary_path = results.join("summary.json");
    let summary_file = stage(&summary_path, summary.to_file(&summary_path).as_bytes())?;
    let mut others = Vec::new();
    for (path, content) in [
        (results.join("latency.csv"), Some(latency::csv(&outcome.tasks)?)),
        (results.join("latency.hgrm"), hgrm),
        (results.join("series.csv"), Some(series::csv(outcome)?)),
        (plot.with_extension("svg"), svg),
        (plot.with_extension("png"), png),
        (over_time.with_extension("svg"), series_svg),
        (over_time.with_extension("png"), series_png),
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

/// The pictures of a run whose faults' times count from `began_us`, as SVG.
///
/// # Errors
/// When one can't be drawn.
pub(crate) fn figures(spec: &Spec, outcome: &Outcome, summary: &Summary, began_us: u64) -> anyhow::Result<Vec<String>> {
    let histogram = picture::histogram(spec, outcome, summary).map(|figure| figure.svg());
    let timeline = series::full_timeline(spec, outcome, began_us).map(|figure| figure.svg());
    histogram.into_iter().chain(timeline).collect()
}

/// A figure, if there is one, as SVG and PNG.
fn drawn(figure: Option<impl Figure>) -> anyhow::Result<[Option<Vec<u8>>; 2]> {
    let Some(figure) = figure else { return Ok([None, None]) };
    Ok([Some(figure.svg()?.into_bytes()), Some(figure.png()?)])
}

/// Makes sure that a file can be put at `path`, without leaving anything there.
///
/// # Errors
/// When none can: `path` is a directory, or nothing may be written where it would lie.
pub(crate) fn check_writable(path: &Path) -> anyhow::Result<()> {
    let attempt = || -> std::io::Result<()> {
        if path.is_dir() {
            return Err(std::io::ErrorKind::IsADirectory.into());
        }
        let here = Path::new(".");
        let parents = path.ancestors().skip(1).map(|parent| if parent == Path::new("") { here } else { parent });
        // Directories that are missing will be made in the nearest one that is there.
        let nearest = parents.into_iter().find(|parent| parent.exists()).unwrap_or(here);
        NamedTempFile::new_in(nearest).map(drop)
    };
    attempt().with_context(|| format!("{} can't be written", path.display()))
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
