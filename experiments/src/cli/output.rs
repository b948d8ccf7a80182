//! What the commands print.

use anyhow::Context;
use std::{
    io::{self, Write},
    path::Path,
};

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
