//! The base of what was found: a folder each, with the world that shows it, what it shows, and its story. What was
//! fixed stays, and is run again and again: it must not come back.

use super::verdict::{Finding, Fingerprint, judge};
use crate::{
    measure::Oracle,
    simulate::Simulate,
    spec::{Spec, parse},
};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The world, resolved, with its faults: it is the same when worlds are drawn in another way.
const SPEC_FILE: &str = "spec.toml";
/// What it shows.
const BUG_FILE: &str = "bug.toml";
/// What happened, in order.
const STORY_FILE: &str = "story.txt";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// What was wrong, in a few sentences.
    pub what: String,
    /// Whether it still is.
    pub state: State,
    /// The rule that was broken.
    pub oracle: String,
    /// By whom or what: see [`Fingerprint::kind`].
    pub kind: String,
    /// The commit at which it was found.
    pub commit: String,
}

/// Whether something that was found is still so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is.
    Open,
    /// It must not come back.
    Fixed,
}

/// One folder of the base.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The folder's name.
    pub name: String,
    /// What was found.
    pub bug: Bug,
    /// The world that shows it.
    pub spec: Spec,
}

/// What became of something that was found, today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Today {
    /// As its file says: it is fixed, or it still shows.
    AsTold,
    /// It was fixed, and something is found in its world again.
    Back(Finding),
    /// It is said to be open, and does not show any more.
    Gone,
}

impl Bug {
    /// What it shows.
    ///
    /// # Errors
    /// When there is no such rule.
    pub fn fingerprint(&self) -> anyhow::Result<Fingerprint> {
        let oracle = Oracle::named(&self.oracle).with_context(|| format!("there is no rule `{}`", self.oracle))?;
        Ok(Fingerprint { oracle, kind: self.kind.clone() })
    }
}

impl Entry {
    /// All entries of the base in `folder`, by name.
    ///
    /// # Errors
    /// When a file can't be read, or makes no sense.
    pub fn all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let entries = std::fs::read_dir(folder).with_context(|| format!("looking for bugs in {}", folder.display()))?;
        let mut folders = Vec::new();
        for entry in entries {
            let path = entry.with_context(|| format!("looking for bugs in {}", folder.display()))?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
        folders.sort();
        folders.iter().map(|folder| Self::read(folder)).collect()
    }

    /// The entry in `folder`.
    ///
    /// # Errors
    /// The same.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let bug: Bug = toml::from_str(&text(&folder.join(BUG_FILE))?)
            .with_context(|| format!("reading {}", folder.join(BUG_FILE).display()))?;
        bug.fingerprint().with_context(|| format!("reading {}", folder.join(BUG_FILE).display()))?;
        let path = folder.join(SPEC_FILE);
        let mut spec: Spec = parse(&text(&path)?).with_context(|| format!("reading {}", path.display()))?;
        spec.name.clone_from(&name);
        spec.check().map_err(anyhow::Error::msg).with_context(|| path.display().to_string())?;
        Ok(Self { name, bug, spec })
    }

    /// Writes it, with its story, to a folder of its name in `base`. Gives the folder.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn write(&self, base: &Path, story: &str) -> anyhow::Result<PathBuf> {
        let folder = base.join(&self.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let bug = toml::to_string_pretty(&self.bug).context("writing what was found as TOML")?;
        for (name, text) in [(SPEC_FILE, self.spec.to_toml()), (BUG_FILE, bug), (STORY_FILE, story.to_owned())] {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(folder)
    }

    /// Runs its world, and says whether all is as its file says.
    ///
    /// # Errors
    /// When there is no such rule.
    pub fn today(&self, simulate: Simulate) -> anyhow::Result<Today> {
        let fingerprint = self.bug.fingerprint()?;
        let finding = judge(&self.spec, simulate, None).finding;
        Ok(match (self.bug.state, finding) {
            (State::Open, Some(finding)) if finding.shows(&fingerprint) => Today::AsTold,
            (State::Open, _) => Today::Gone,
            (State::Fixed, None) => Today::AsTold,
            (State::Fixed, Some(finding)) => Today::Back(finding),
        })
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hunt::world, measure::Outcome, progress::Progress};
    use std::{io::Write, sync::Arc};

    fn loses(_: &Spec, _: &Arc<Progress>, _: Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome> {
        Ok(Outcome { violations: vec![Oracle::TaskLost.broken("task-1 is nowhere")], ..Outcome::default() })
    }

    fn sound(_: &Spec, _: &Arc<Progress>, _: Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome> {
        Ok(Outcome::default())
    }

    fn entry(state: State) -> Entry {
        let bug = Bug {
            what: "A task was lost.".into(),
            state,
            oracle: "task_lost".into(),
            kind: String::new(),
            commit: "abc".into(),
        };
        Entry { name: "lost".into(), bug, spec: world::draw(1) }
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let base = tempfile::tempdir().unwrap();
        let written = entry(State::Fixed);
        written.write(base.path(), "what happened").unwrap();
        let read = Entry::all(base.path()).unwrap();
        assert_eq!((read.len(), &read[0].bug), (1, &written.bug));
        assert_eq!(read[0].spec.to_toml(), written.spec.to_toml());
        assert_eq!(std::fs::read_to_string(base.path().join("lost/story.txt")).unwrap(), "what happened");
    }

    #[test]
    fn a_fixed_bug_must_not_come_back_and_an_open_one_must_show() {
        assert_eq!(entry(State::Fixed).today(sound).unwrap(), Today::AsTold);
        assert!(matches!(entry(State::Fixed).today(loses).unwrap(), Today::Back(_)));
        assert_eq!(entry(State::Open).today(loses).unwrap(), Today::AsTold);
        assert_eq!(entry(State::Open).today(sound).unwrap(), Today::Gone);
    }
}
