//! What the commands print, and where their files go.

use super::changes::quoted;
use crate::{
    results::{self, Directories},
    spec::Spec,
};
use anyhow::Context;
use clap::Args;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Where files go.
#[derive(Debug, Args)]
pub(super) struct Places {
    /// Where results go [default: results/; for a changed experiment results/trial/].
    #[arg(long, value_name = "DIR")]
    pub(super) results: Option<PathBuf>,
    /// Where plots go [default: plots/; for a changed experiment plots/trial/].
    #[arg(long, value_name = "DIR")]
    pub(super) plots: Option<PathBuf>,
}

impl Places {
    /// For a run of `spec`: the given ones. Where none is given, a run that is not of record leaves those alone that
    /// are.
    pub(super) fn of(&self, spec: &Spec) -> Directories {
        let directories = Directories::at(None, None);
        let directories = if results::is_of_record(spec) { directories } else { directories.trial() };
        Directories {
            results: self.results.clone().unwrap_or(directories.results),
            plots: self.plots.clone().unwrap_or(directories.plots),
        }
    }

    /// The options that say the same again.
    pub(super) fn replay(&self) -> String {
        let mut options = String::new();
        for (option, path) in [("--results", &self.results), ("--plots", &self.plots)] {
            if let Some(path) = path {
                options += &format!(" {option} {}", quoted(&path.display().to_string()));
            }
        }
        options
    }
}

/// `path` as seen from the working directory, if it lies below that.
pub(super) fn here(path: &Path) -> &Path {
    std::env::current_dir().ok().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path)
}

/// Prints to stdout; a reader that has had enough (`| head`) is no error.
///
/// # Errors
/// When stdout can't be written to.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("printing"),
    }
}
