//! What must add up at the end of a run.

use super::deployment::Deployment;
use crate::outcome::{Outcome, TaskEnd};
use std::collections::BTreeSet;

/// Header of a dead letter that names its task.
const TASK_ID_HEADER: &str = "x-task-id";

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
    let waiting = deployment.tasks_waiting() as u64;
    if counts.dispatched != counts.done + counts.dead_lettered + waiting {
        outcome.violations.push(format!(
            "{} tasks dispatched, but {} done + {} dead-lettered + {waiting} in the queues",
            counts.dispatched, counts.done, counts.dead_lettered
        ));
    }
    let dead = dead_letters(deployment);
    for task in &outcome.tasks {
        if matches!(task.end, TaskEnd::DeadLettered(_)) && !dead.contains(&task.id()) {
            outcome.violations.push(format!("{} was given up, but is no dead letter", task.id()));
        }
    }
    outcome
}

/// The tasks that lie in the dead-letter queue.
fn dead_letters(deployment: &Deployment) -> BTreeSet<String> {
    let queue = backbone::message::dead_letter_queue();
    let messages = deployment.amqp.messages(&queue);
    messages.iter().filter_map(|message| message.text_header(TASK_ID_HEADER)).collect()
}
