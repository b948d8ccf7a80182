//! Electronic shelf labels: what each of them shows.

use backbone::message::{Mac, Status};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// All labels of a world. Cheap to clone; all clones are the same labels.
#[derive(Clone, Default)]
pub struct Labels(Arc<All>);

#[derive(Default)]
struct All {
    labels: Mutex<BTreeMap<Mac, Label>>,
    watcher: OnceLock<Watcher>,
    /// Held from a command to the end of its being told: on real threads the next one would overtake it.
    told: Mutex<()>,
}

/// Is told of every command that reaches a label: the label, the version, and what the label did.
type Watcher = Box<dyn Fn(Mac, u64, Execution) + Send + Sync>;

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Labels({})", self.lock().len())
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Label {
    /// The version it shows; 0: as it left the factory.
    version: u64,
    /// How many commands it has executed.
    executed: u32,
}

/// What a label did with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// It shows the new content.
    Shown,
    /// It showed this very version already.
    Repeated,
    /// It shows something newer, and keeps it.
    Superseded,
}

impl Execution {
    /// What the gateway replies.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Shown | Self::Repeated => Status::Done,
            Self::Superseded => Status::Superseded,
        }
    }
}

impl Labels {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Mac, Label>> {
        self.0.labels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `watcher` know of every command that reaches a label from now on: the label, the version, and what the
    /// label did. There is one watcher; the first stays.
    pub fn watch(&self, watcher: impl Fn(Mac, u64, Execution) + Send + Sync + 'static) {
        let _ = self.0.watcher.set(Box::new(watcher));
    }

    /// The label `mac` gets a command. A label that nobody knew before answers too: the thesis' emulators answer for
    /// any address.
    pub fn execute(&self, mac: Mac, version: u64) -> Execution {
        let _told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let execution = self.take(mac, version);
        // Without the labels' lock, since who watches may look at the labels.
        if let Some(watcher) = self.0.watcher.get() {
            watcher(mac, version, execution);
        }
        execution
    }

    fn take(&self, mac: Mac, version: u64) -> Execution {
        let mut labels = self.lock();
        let label = labels.entry(mac).or_default();
        match version.cmp(&label.version) {
            std::cmp::Ordering::Greater => {
                *label = Label { version, executed: label.executed + 1 };
                Execution::Shown
            }
            std::cmp::Ordering::Equal => Execution::Repeated,
            std::cmp::Ordering::Less => Execution::Superseded,
        }
    }

    /// The version that a label shows, if it has ever executed a command.
    #[must_use]
    pub fn version(&self, mac: Mac) -> Option<u64> {
        self.lock().get(&mac).map(|label| label.version)
    }

    /// Commands executed by all labels together; repeated and superseded ones don't count.
    #[must_use]
    pub fn executed(&self) -> u64 {
        self.lock().values().map(|label| u64::from(label.executed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_command_delivered_twice_is_executed_once() {
        let (labels, mac) = (Labels::default(), Mac::new(1));
        assert_eq!(labels.execute(mac, 5), Execution::Shown);
        assert_eq!(labels.execute(mac, 5), Execution::Repeated);
        assert_eq!(labels.executed(), 1);
    }

    #[test]
    fn a_watcher_learns_what_each_command_did_and_may_look_at_the_labels() {
        let (labels, mac) = (Labels::default(), Mac::new(1));
        let (seen, looks_at) = (Arc::new(Mutex::new(Vec::new())), labels.clone());
        let sees = seen.clone();
        labels.watch(move |mac, version, execution| {
            sees.lock().unwrap().push((version, execution, looks_at.version(mac)));
        });
        for version in [5, 5, 3] {
            labels.execute(mac, version);
        }
        let expected = [(5, Execution::Shown), (5, Execution::Repeated), (3, Execution::Superseded)];
        assert_eq!(*seen.lock().unwrap(), expected.map(|(version, execution)| (version, execution, Some(5))));
    }

    proptest! {
        #[test]
        fn a_label_ends_up_with_the_newest_version_in_any_order(versions in prop::collection::vec(1_u64..20, 1..30)) {
            let (labels, mac) = (Labels::default(), Mac::new(1));
            for version in &versions {
                let _ = labels.execute(mac, *version);
            }
            prop_assert_eq!(labels.version(mac), versions.iter().max().copied());
        }
    }
}
