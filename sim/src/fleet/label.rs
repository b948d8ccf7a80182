//! Electronic shelf labels: what each of them shows.

use backbone::message::{Mac, Status};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// All labels of a world. Cheap to clone; all clones are the same labels.
#[derive(Clone, Debug, Default)]
pub struct Labels(Arc<Mutex<BTreeMap<Mac, Label>>>);

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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The label `mac` gets a command. A label that nobody knew before answers too: the thesis' emulators answer for
    /// any address.
    pub fn execute(&self, mac: Mac, version: u64) -> Execution {
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
