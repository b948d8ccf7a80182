//! What the producer learns of its tasks, held against what their workers said and what their labels show.

use super::{Entries, Recorder};
use crate::workload::task_id;
use backbone::message::{CommandOutcome, TaskResult};
use std::num::NonZeroU64;

impl Recorder {
    /// Takes in what the producer learnt of a task. It may learn the same twice, but not two things.
    pub(crate) fn take_result(&self, now_us: u64, result: Result<TaskResult, String>) {
        let mut entries = self.entries();
        let result = match result {
            Ok(result) => result,
            Err(error) => return entries.violate(format!("the producer got a result that is none: {error}")),
        };
        let Some(id) = &result.task_id else {
            return entries.violate("the producer got a result without a task".into());
        };
        let index = Self::index_of(id);
        self.check_lines(&mut entries, index, &result);
        let known = entries.tasks[index].result;
        if let Some((_, known)) = known {
            if known.is_success() != result.outcome.is_success() {
                entries.violate(format!("the producer learnt that {id} is {known:?}, and then {:?}", result.outcome));
            }
            return;
        }
        entries.tasks[index].result = NonZeroU64::new(now_us).map(|now_us| (now_us, result.outcome));
        if entries.tasks[index].end.is_some() {
            self.finish(&mut entries, index);
        }
    }

    /// A result has a line for each command, and no line says more than the label shows.
    fn check_lines(&self, entries: &mut Entries, index: usize, result: &TaskResult) {
        let (labels, task) = (self.0.workload.labels_of(index), task_id(index as u32));
        let named = result.commands.iter().map(|line| line.esl_mac);
        if !named.eq(labels.iter().copied()) {
            entries.violate(format!("the result of {task} has other lines than the task has commands"));
        }
        if result.outcome.is_success() != result.commands.iter().all(|line| line.outcome.is_success()) {
            entries.violate(format!("the result of {task} is {:?}, but its lines say otherwise", result.outcome));
        }
        for line in result.commands.iter().filter(|line| line.outcome == CommandOutcome::Done) {
            self.check_label(entries, index, line.esl_mac);
        }
    }
}
