//! Tries that ended when their task could not be settled any more: the worker's connection was gone, or RabbitMQ had
//! taken the task back. The task comes again, and what became of it is known.

use super::{confirmed::fnv1a, ending::Tried};
use crate::message::{TaskId, TaskMessage};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};

/// The tries of one worker that wait for their tasks to come again. They may come to another worker, and then these
/// wait in vain: the oldest make room.
pub(super) struct Unsettled {
    tries: Mutex<VecDeque<(Name, Tried)>>,
    /// Most of them: as many tasks as a worker has in work, which is what it can lose at once.
    max: usize,
}

/// What a task is known by: a producer may use a task id twice, but not for the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    task: TaskId,
    fingerprint: u64,
}

impl Name {
    fn of(task: &impl TaskMessage, body: &[u8]) -> Self {
        Self { task: task.task_id().clone(), fingerprint: fnv1a(body.iter().copied()) }
    }
}

impl Unsettled {
    pub(super) fn new(max: usize) -> Self {
        Self { tries: Mutex::default(), max }
    }

    /// The try of this task, whose message is `body`, if there is one; it is not remembered any longer.
    pub(super) fn take(&self, task: &impl TaskMessage, body: &[u8]) -> Option<Tried> {
        let mut tries = self.tries();
        if tries.is_empty() {
            return None; // as nearly always
        }
        let name = Name::of(task, body);
        let index = tries.iter().position(|(other, _)| *other == name)?;
        tries.remove(index).map(|(_, tried)| tried)
    }

    pub(super) fn remember(&self, task: &impl TaskMessage, body: &[u8], tried: Tried) {
        let mut tries = self.tries();
        if tries.len() == self.max {
            tries.pop_front();
        }
        tries.push_back((Name::of(task, body), tried));
    }

    fn tries(&self) -> MutexGuard<'_, VecDeque<(Name, Tried)>> {
        self.tries.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        message::{Message, Task},
        telemetry::FailReason,
    };

    fn task(id: &str) -> (Task, Vec<u8>) {
        let text =
            format!(r#"{{"task_id":"{id}","commands":[{{"esl_mac":"00:00:00:00:00:01","version":1,"body":1}}]}}"#);
        (Task::parse(text.as_bytes()).unwrap(), text.into_bytes())
    }

    fn remember(unsettled: &Unsettled, id: &str) {
        let (task, body) = task(id);
        unsettled.remember(&task, &body, Tried::not_tried(FailReason::Timeout, String::new(), Vec::new()));
    }

    fn has(unsettled: &Unsettled, id: &str) -> bool {
        let (task, body) = task(id);
        unsettled.take(&task, &body).is_some()
    }

    #[test]
    fn a_try_is_found_once_by_its_own_task() {
        let unsettled = Unsettled::new(2);
        remember(&unsettled, "a");
        assert!(!has(&unsettled, "b"));
        let (another, _) = task("a");
        assert!(unsettled.take(&another, b"the same name for something else").is_none());
        assert_eq!([has(&unsettled, "a"), has(&unsettled, "a")], [true, false]);
    }

    #[test]
    fn tries_whose_tasks_never_come_again_are_bounded() {
        let unsettled = Unsettled::new(2);
        ["a", "b", "c"].into_iter().for_each(|id| remember(&unsettled, id));
        assert_eq!(["a", "b", "c"].map(|id| has(&unsettled, id)), [false, true, true]);
    }
}
