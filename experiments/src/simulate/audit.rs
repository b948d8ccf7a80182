//! What must add up at the end of a run.

use super::deployment::Deployment;
use crate::outcome::{Outcome, TaskEnd, TaskRecord};
use backbone::message::{TASK_ID_HEADER, dead_letter_queue};
use std::collections::BTreeSet;

/// Closes the book: the outcome, with all that does not add up in its `violations`.
pub(super) fn close(deployment: &Deployment) -> Outcome {
    let book = deployment.book();
    let mut entries = book.entries();
    let tasks = std::mem::take(&mut entries.tasks);
    let tasks: Vec<_> = tasks.into_iter().enumerate().filter_map(|(i, task)| task.record(i)).collect();
    let mut counters = std::mem::take(&mut entries.counters);
    counters.mqtt_messages = deployment.mqtt.stats().publishes_received;
    let mut outcome = Outcome {
        tasks,
        rpc_latencies_us: std::mem::take(&mut entries.rpc_latencies_us),
        counters,
        violations: std::mem::take(&mut entries.violations),
        ..Outcome::default()
    };
    drop(entries);
    let counts = outcome.task_counts();
    let all = book.workload().len() as u64;
    if counts.dispatched != all {
        outcome
            .violations
            .push(format!("{all} tasks were given to the dispatcher, {} were confirmed", counts.dispatched));
    }
    let lost = lost_tasks(deployment, &outcome);
    outcome.violations.extend(lost);
    outcome
}

/// Tasks that are not where their end says: dispatched = done + dead-lettered + still queued, task by task, with what is
/// queued counted at the broker. Holds at any moment, since a task leaves a queue only when it is settled elsewhere.
fn lost_tasks(deployment: &Deployment, outcome: &Outcome) -> Vec<String> {
    let (dead, queued) = (dead_letters(deployment), deployment.queued_tasks());
    let mut lost: Vec<String> = outcome
        .tasks
        .iter()
        .filter_map(|task| match task.end {
            TaskEnd::Done => None,
            TaskEnd::DeadLettered(_) => {
                (!dead.contains(&task.id())).then(|| format!("{} was given up, but is no dead letter", task.id()))
            }
            TaskEnd::Queued => {
                (!queued.contains(&task.id())).then(|| format!("{} has no end, but is in no queue either", task.id()))
            }
        })
        .collect();
    // A fault can bring a task twice to its end, once done and once not. Without one, each has one end.
    if deployment.is_faultless() {
        let given_up = outcome.tasks.iter().filter(|task| matches!(task.end, TaskEnd::DeadLettered(_)));
        let given_up: BTreeSet<String> = given_up.map(TaskRecord::id).collect();
        lost.extend(dead.difference(&given_up).map(|id| format!("{id} is a dead letter, but was not given up")));
    }
    lost
}

/// The tasks that lie in the dead-letter queue.
fn dead_letters(deployment: &Deployment) -> BTreeSet<String> {
    let messages = deployment.amqp.messages(&dead_letter_queue());
    messages.iter().filter_map(|message| message.text_header(TASK_ID_HEADER)).collect()
}
