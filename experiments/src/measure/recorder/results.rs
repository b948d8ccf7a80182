//! What the producer learns of its tasks, held against what their workers said and what their labels show.

use super::{Entries, Recorder};
use crate::{
    measure::{oracle::Oracle, sometimes::Sometimes},
    workload::task_id,
};
use backbone::message::{CommandOutcome, TaskResult};
use std::num::NonZeroU64;

impl Recorder {
    /// Takes in what the producer learnt of a task. It may learn the same twice, but not two things.
    pub(crate) fn take_result(&self, now_us: u64, result: Result<TaskResult, String>) {
        let mut entries = self.entries();
        let result = match result {
            Ok(result) => result,
            Err(error) => {
                let text = format!("the producer got a result that is none: {error}");
                return entries.violate(Oracle::ResultMalformed.broken(text));
            }
        };
        let Some(id) = &result.task_id else {
            return entries.violate(Oracle::ResultMalformed.broken("the producer got a result without a task"));
        };
        let index = Self::index_of(id);
        self.check_lines(&mut entries, index, &result);
        let known = entries.tasks[index].result;
        if let Some((_, known)) = known {
            entries.reach(Sometimes::ResultAgain);
            if known.is_success() != result.outcome.is_success() {
                let text = format!("the producer learnt that {id} is {known:?}, and then {:?}", result.outcome);
                self.contradicts(&mut entries, text);
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
            let text = format!("the result of {task} has other lines than the task has commands");
            entries.violate(Oracle::ResultMalformed.broken(text));
        }
        if result.outcome.is_success() != result.commands.iter().all(|line| line.outcome.is_success()) {
            let text = format!("the result of {task} is {:?}, but its lines say otherwise", result.outcome);
            entries.violate(Oracle::ResultMalformed.broken(text));
        }
        for line in result.commands.iter().filter(|line| line.outcome == CommandOutcome::Done) {
            self.check_label(entries, index, line.esl_mac);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        measure::{Recorder, RouterReports, joined},
        spec::{CommandedEsls, Pod, Spec},
        workload::Workload,
    };
    use backbone::{
        message::{CommandResult, RESULT_VERSION, TaskOutcome},
        telemetry::Event,
    };
    use std::sync::Arc;

    /// One task with one command, whose label shows it.
    fn recorder() -> Recorder {
        let mut spec = Spec::default();
        (spec.workload.tasks, spec.workload.commands_per_task) = (1, 1);
        spec.workload.esls = CommandedEsls::Fresh;
        let recorder = Recorder::new(&spec, Arc::default(), RouterReports::Here);
        recorder.labels().execute(recorder.workload().labels_of(0)[0], Workload::version_of(0));
        recorder
    }

    fn result(recorder: &Recorder, task: TaskOutcome, command: CommandOutcome) -> TaskResult {
        let esl_mac = recorder.workload().labels_of(0)[0];
        TaskResult {
            v: RESULT_VERSION,
            task_id: Some(task_id(0).parse().unwrap()),
            outcome: task,
            reason: None,
            detail: None,
            attempts: 1,
            published_unix_ms: None,
            started_unix_ms: None,
            ended_unix_ms: 1,
            commands: vec![CommandResult { esl_mac, version: 1, outcome: command, detail: None }],
            commands_left_out: 0,
        }
    }

    fn violations(recorder: &Recorder) -> String {
        joined(&recorder.entries().violations, "; ")
    }

    fn worker_says_done(recorder: &Recorder) {
        let worker = recorder.telemetry(Pod::TaskWorker(0), |_| Some(5));
        worker.record(&Event::TaskDone { task: &task_id(0).parse().unwrap(), attempt: 1, latency_us: 3, age_us: 3 });
    }

    #[test]
    fn a_task_has_ended_when_its_producer_knows_and_the_same_result_may_come_twice() {
        let recorder = recorder();
        let done = result(&recorder, TaskOutcome::Done, CommandOutcome::Done);
        worker_says_done(&recorder);
        assert!(!recorder.is_finished(), "the result is missing");
        recorder.take_result(9, Ok(done.clone()));
        assert!(recorder.is_finished());
        recorder.take_result(11, Ok(done));
        assert_eq!(violations(&recorder), "");
    }

    #[test]
    fn two_results_of_one_task_that_contradict_each_other_are_a_violation() {
        let recorder = recorder();
        recorder.take_result(9, Ok(result(&recorder, TaskOutcome::Done, CommandOutcome::Done)));
        recorder.take_result(9, Ok(result(&recorder, TaskOutcome::Failed, CommandOutcome::NoRoute)));
        assert!(violations(&recorder).contains("learnt that task-0 is Done, and then Failed"));
    }

    #[test]
    fn a_result_that_says_other_than_its_worker_or_its_lines_or_the_labels_is_a_violation() {
        let recorder = recorder();
        worker_says_done(&recorder);
        recorder.take_result(9, Ok(result(&recorder, TaskOutcome::Failed, CommandOutcome::NoRoute)));
        assert!(violations(&recorder).contains("task-0 ended as Done, and its producer learnt Failed"));
        recorder.take_result(9, Ok(result(&recorder, TaskOutcome::Failed, CommandOutcome::Done)));
        assert!(violations(&recorder).contains("is Failed, but its lines say otherwise"));
        let mut of_others = result(&recorder, TaskOutcome::Failed, CommandOutcome::NoRoute);
        of_others.commands.clear();
        recorder.take_result(9, Ok(of_others));
        assert!(violations(&recorder).contains("has other lines than the task has commands"));
        recorder.take_result(9, Err("nonsense".into()));
        assert!(violations(&recorder).contains("a result that is none: nonsense"));
    }
}
