//! Tasks that are held back until all is well again: each shows that the services work as they did before.

use super::{Recorder, TaskEntry};
use crate::{
    measure::{oracle::Oracle, outcome::TaskEnd},
    workload::task_id,
};
use std::time::Duration;
use tokio::time::timeout;

impl Recorder {
    /// So many tasks may be published.
    pub(crate) fn released(&self) -> usize {
        *self.0.released.borrow()
    }

    /// Waits until task `index` may be published. Returns whether it was held back.
    pub(super) async fn wait_for_release(&self, index: usize) -> bool {
        if index < self.0.held_from {
            return false;
        }
        let mut released = self.0.released.subscribe();
        // The sender lives as long as the recorder does.
        let _ = released.wait_for(|released| *released > index).await;
        true
    }

    /// Lets the tasks that were held back come, one after the other: each has to be done at its first try, and to end
    /// within `limit`.
    pub(crate) async fn probe(&self, limit: Duration) {
        for index in self.released()..self.0.workload.len() {
            self.0.released.send_replace(index + 1);
            let ended = async {
                while !self.is_finished() {
                    self.finished().await;
                }
            };
            let is_over = timeout(limit, ended).await.is_ok();
            let entry = self.entries().tasks[index];
            if let Some(how) = fault_of(&entry, is_over) {
                let text = format!("{}, published when nothing was broken any more, {how}", task_id(index as u32));
                self.violate(Oracle::ProbeFailed.broken(text));
                return;
            }
        }
    }
}

/// What is wrong with a task that came when all was well.
fn fault_of(entry: &TaskEntry, is_over: bool) -> Option<String> {
    let TaskEntry { attempts, timeouts, end, .. } = *entry;
    match end.map(|end| end.how) {
        Some(TaskEnd::Done) if attempts == 1 && is_over => None,
        Some(how) if is_over => Some(format!("ended as {how:?} after {attempts} tries and {timeouts} timeouts")),
        Some(how) => Some(format!("ended as {how:?}, of which its producer has not heard")),
        None => Some(format!("has no end after {attempts} tries and {timeouts} timeouts")),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        measure::{Oracle, Recorder, RouterReports},
        spec::{CommandedEsls, Pod, Spec},
        workload::{Workload, task_id},
    };
    use backbone::telemetry::Event;
    use futures_util::{FutureExt as _, StreamExt as _};
    use std::{pin::pin, sync::Arc, time::Duration};

    const LIMIT: Duration = Duration::from_secs(60);

    /// Two tasks, of which the second is held back, of one command each.
    fn recorder() -> Recorder {
        let mut spec = Spec::default();
        (spec.workload.tasks, spec.workload.commands_per_task, spec.expect.probe_tasks) = (2, 1, 1);
        (spec.workload.esls, spec.backbone.results.publish) = (CommandedEsls::Fresh, false);
        Recorder::new(&spec, Arc::default(), RouterReports::Here)
    }

    fn begin(recorder: &Recorder, index: u32, attempt: u32) {
        let task = task_id(index).parse().unwrap();
        recorder.telemetry(Pod::TaskWorker(0), |_| Some(5)).record(&Event::TaskStarted { task: &task, attempt });
    }

    fn end(recorder: &Recorder, index: u32) {
        let label = recorder.workload().labels_of(index as usize)[0];
        recorder.labels().execute(label, Workload::version_of(index as usize));
        let task = task_id(index).parse().unwrap();
        let worker = recorder.telemetry(Pod::TaskWorker(0), |_| Some(9));
        worker.record(&Event::TaskDone { task: &task, attempt: 1, latency_us: 3, age_us: 3 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_held_back_comes_when_it_is_released_and_the_others_do_not_wait_for_it() {
        let recorder = recorder();
        let mut tasks = pin!(recorder.publish(|| 7));
        assert_eq!(tasks.next().await.unwrap().task_id.as_str(), "task-0");
        assert!(tasks.next().now_or_never().is_none(), "it is held back");
        begin(&recorder, 0, 1);
        end(&recorder, 0);
        assert!(recorder.is_finished());
        let work = async {
            assert_eq!(tasks.next().await.unwrap().task_id.as_str(), "task-1");
            begin(&recorder, 1, 1);
            end(&recorder, 1);
        };
        tokio::join!(recorder.probe(LIMIT), work);
        assert!(recorder.is_finished() && recorder.entries().violations.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_needs_two_tries_or_does_not_end_shows_that_not_all_is_well() {
        for (tries, expected) in [(2, "after 2 tries and 0 timeouts"), (0, "has no end after 0 tries")] {
            let recorder = recorder();
            end(&recorder, 0);
            let work = async {
                (1..=tries).for_each(|attempt| begin(&recorder, 1, attempt));
                if tries > 0 {
                    end(&recorder, 1);
                }
            };
            tokio::join!(recorder.probe(LIMIT), work);
            let found = recorder.entries().violations.clone();
            assert!(found[0].oracle == Oracle::ProbeFailed && found[0].text.contains(expected), "{found:?}");
        }
    }
}
