//! Runs a spec twice and tells whether both runs were the same, event by event.

use super::{Run, run};
use crate::{simulate::Simulate, spec::Spec};
use anyhow::{Context, bail};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read},
    path::Path,
};

/// Longest line of an event log that is looked at, in bytes; a log without line ends must not fill the memory.
const EVENT_BYTES_MAX: u64 = 1 << 20;

/// The first place where two event logs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Counted from 1.
    pub line: u64,
    /// The event in the first log; `None` if it has ended.
    pub first: Option<String>,
    /// The event in the second log; `None` if it has ended.
    pub second: Option<String>,
}

impl std::fmt::Display for Divergence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, second] =
            [&self.first, &self.second].map(|event| event.as_deref().unwrap_or("(the log has ended)"));
        write!(f, "event {}\n  first run:  {first}\n  second run: {second}", self.line)
    }
}

/// Runs `spec` twice, each on a fresh thread, and returns the first run if the second was the same.
///
/// # Errors
/// When a run fails, or when the runs differ: then the message names the first event that diverged.
pub fn verify(spec: &Spec, simulate: Simulate, quiet: bool) -> anyhow::Result<Run> {
    let logs = tempfile::tempdir().context("making a directory for the event logs")?;
    let [first_log, second_log] = ["first", "second"].map(|name| logs.path().join(name));
    let first = logged_run(spec, simulate, &first_log, quiet)?;
    let second = logged_run(spec, simulate, &second_log, quiet)?;
    if let Some(divergence) = first_divergence(open(&first_log)?, open(&second_log)?)? {
        bail!("two runs of {} with seed {} differ, first in {divergence}", spec.name, spec.seed);
    }
    if first.outcome != second.outcome {
        let digests = [&first, &second].map(|run| run.outcome.trace_digest.as_str());
        bail!(
            "two runs of {} with seed {} differ though their event logs are equal: trace digests {} and {}, virtual \
             time {} us and {} us",
            spec.name,
            spec.seed,
            digests[0],
            digests[1],
            first.outcome.virtual_us,
            second.outcome.virtual_us
        );
    }
    Ok(first)
}

fn logged_run(spec: &Spec, simulate: Simulate, log: &Path, quiet: bool) -> anyhow::Result<Run> {
    let file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    run(spec, simulate, Some(Box::new(BufWriter::new(file))), quiet)
}

fn open(log: &Path) -> anyhow::Result<BufReader<File>> {
    Ok(BufReader::new(File::open(log).with_context(|| format!("opening {}", log.display()))?))
}

/// The first line that differs, or `None` if both logs are the same to their ends. Holds one line of each in memory.
///
/// # Errors
/// When a log can't be read.
pub fn first_divergence(mut first: impl BufRead, mut second: impl BufRead) -> io::Result<Option<Divergence>> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for line in 1.. {
        read_event(&mut first, &mut a)?;
        read_event(&mut second, &mut b)?;
        if a != b {
            return Ok(Some(Divergence { line, first: event(&a), second: event(&b) }));
        }
        if a.is_empty() {
            break;
        }
    }
    Ok(None)
}

fn read_event(log: &mut impl BufRead, into: &mut Vec<u8>) -> io::Result<()> {
    into.clear();
    log.by_ref().take(EVENT_BYTES_MAX).read_until(b'\n', into)?;
    Ok(())
}

fn event(line: &[u8]) -> Option<String> {
    (!line.is_empty()).then(|| String::from_utf8_lossy(line).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(first: &str, second: &str) -> Option<Divergence> {
        first_divergence(first.as_bytes(), second.as_bytes()).unwrap()
    }

    #[test]
    fn equal_logs_do_not_diverge() {
        assert_eq!(compare("a\nb\n", "a\nb\n"), None);
        assert_eq!(compare("", ""), None);
    }

    #[test]
    fn the_first_different_event_is_named() {
        let divergence = compare("a\nb\nc\n", "a\nx\ny\n").unwrap();
        assert_eq!(
            (divergence.line, divergence.first.as_deref(), divergence.second.as_deref()),
            (2, Some("b"), Some("x"))
        );
    }

    #[test]
    fn a_log_that_ends_early_diverges_where_it_ends() {
        let divergence = compare("a\n\nb\n", "a\n\n").unwrap();
        assert_eq!((divergence.line, divergence.first.as_deref(), divergence.second), (3, Some("b"), None));
    }
}
