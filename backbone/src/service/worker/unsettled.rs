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
pub(super) struct Name {
    task: TaskId,
    fingerprint: u64,
}

impl Unsettled {
    pub(super) fn new(max: usize) -> Self {
        Self { tries: Mutex::default(), max }
    }

    pub(super) fn name(task: &impl TaskMessage, body: &[u8]) -> Name {
        Name { task: task.task_id().clone(), fingerprint: fnv1a(body.iter().copied()) }
    }

    /// The try of this task, if there is one; it is not remembered any longer.
    pub(super) fn take(&self, name: &Name) -> Option<Tried> {
        let mut tries = self.tries();
        let index = tries.iter().position(|(other, _)| other == name)?;
        tries.remove(index).map(|(_, tried)| tried)
    }

    pub(super) fn remember(&self, name: Name, tried: Tried) {
        let mut tries = self.tries();
        if tries.len() == self.max {
            tries.pop_front();
        }
        tries.push_back((name, tried));
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

    fn named(id: &str) -> Name {
        let text =
            format!(r#"{{"task_id":"{id}","commands":[{{"esl_mac":"00:00:00:00:00:01","version":1,"body":1}}]}}"#);
        Unsettled::name(&Task::parse(text.as_bytes()).unwrap(), text.as_bytes())
    }

    fn tried() -> Tried {
        Tried::not_tried(FailReason::Timeout, String::new(), Vec::new())
    }

    #[test]
    fn a_try_is_found_once_by_its_own_task() {
        let unsettled = Unsettled::new(2);
        unsettled.remember(named("a"), tried());
        assert!(unsettled.take(&named("b")).is_none());
        assert!(unsettled.take(&named("a")).is_some());
        assert!(unsettled.take(&named("a")).is_none());
    }

    #[test]
    fn tries_whose_tasks_never_come_again_are_bounded() {
        let unsettled = Unsettled::new(2);
        ["a", "b", "c"].into_iter().for_each(|id| unsettled.remember(named(id), tried()));
        assert!(unsettled.take(&named("a")).is_none());
        assert!(unsettled.take(&named("b")).is_some() && unsettled.take(&named("c")).is_some());
    }
}
