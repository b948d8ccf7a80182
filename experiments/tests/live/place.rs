//! Where a test runs the bench.

use sim::real::broker::skip;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

/// A place for everything: results, plots, and the temporary folders of brokers and routers, which have its name on
/// their command lines.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.0.path().join("tmp")).unwrap();
        place
    }

    pub(crate) fn experiments(&self, arguments: &[&str]) -> Command {
        let path = |name| self.path().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
        command.args(arguments).arg("--results").arg(path("results")).arg("--plots").arg(path("plots"));
        command.env("TMPDIR", path("tmp"));
        command
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path().join(file)).unwrap()
    }

    /// Neither processes nor folders nor control groups are left.
    pub(crate) fn assert_clean(&self) {
        let name = self.path().to_str().unwrap();
        let left: Vec<String> = processes().filter(|command| command.contains(name)).collect();
        assert!(left.is_empty(), "still running: {left:?}");
        let left: Vec<_> = fs::read_dir(self.path().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// The command lines of all processes.
pub(crate) fn processes() -> impl Iterator<Item = String> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether the run found all brokers; if not, says that `who` is skipped.
pub(crate) fn has_brokers(output: &Output, who: &str) -> bool {
    let message = text(&output.stderr);
    let missing = message.contains("not installed: ");
    if missing {
        skip(who, message.trim());
    }
    !missing
}
