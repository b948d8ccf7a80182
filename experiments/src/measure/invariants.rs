//! What must hold at the end of a run, simulated or live.

use super::{
    oracle::{Oracle, Violation},
    outcome::{Outcome, TaskEnd, TaskRecord},
    recorder::Recorder,
};
use crate::workload::{Workload, task_id};
use backbone::message::Mac;
use std::collections::BTreeSet;

/// What the brokers know when a run is over.
#[derive(Debug, Default)]
pub(crate) struct BrokerState {
    /// The tasks that lie in the dead-letter queue.
    pub(crate) dead: BTreeSet<String>,
    /// Those that wait for a worker or for their next try, or that a worker has in hand.
    pub(crate) queued: BTreeSet<String>,
    /// PUBLISH packets that the MQTT broker took in.
    pub(crate) mqtt_messages: u64,
}

/// The outcome of what was recorded, with every invariant that does not hold in its `violations`. `is_faultless`:
/// nothing broke.
pub(crate) fn check(recorder: &Recorder, brokers: &BrokerState, is_faultless: bool) -> Outcome {
    let mut entries = recorder.entries();
    let superseded = std::mem::take(&mut entries.superseded);
    let tasks = std::mem::take(&mut entries.tasks);
    let unconfirmed = tasks.iter().filter(|task| task.ended_unconfirmed()).count() as u64;
    let tasks: Vec<_> = tasks.into_iter().enumerate().filter_map(|(i, task)| task.record(i)).collect();
    let mut counters = std::mem::take(&mut entries.counters);
    counters.mqtt_messages = brokers.mqtt_messages;
    let mut outcome = Outcome {
        tasks,
        warm_up_tasks: recorder.workload().warm_up_tasks(),
        rpc_latencies_us: std::mem::take(&mut entries.rpc_latencies_us),
        call_hops: std::mem::take(&mut entries.call_hops),
        counters,
        violations: std::mem::take(&mut entries.violations),
        reached: entries.take_reached(),
        ..Outcome::default()
    };
    drop(entries);
    let counts = outcome.task_counts();
    let all = recorder.released() as u64;
    // Of a backlog that did not drain some may not even have been dispatched.
    let has_drained = outcome.violations.iter().all(|violation| violation.oracle != Oracle::NotDrained);
    if counts.dispatched + unconfirmed != all && has_drained {
        let text = format!("{all} tasks were given to the dispatcher, {} were confirmed", counts.dispatched);
        outcome.violations.push(Oracle::TaskUndispatched.broken(text));
    }
    let lost = lost_tasks(brokers, is_faultless, &outcome);
    outcome.violations.extend(lost);
    outcome.violations.extend(never_shown(recorder, &superseded, &outcome));
    outcome
}

/// Labels of tasks that were done because something newer was accepted, and which show neither. The newer one may have
/// failed, and then its own task says so.
fn never_shown(recorder: &Recorder, superseded: &BTreeSet<usize>, outcome: &Outcome) -> Vec<Violation> {
    let (workload, labels) = (recorder.workload(), recorder.labels());
    let not_done = outcome.tasks.iter().filter(|task| task.end != TaskEnd::Done);
    let excused: BTreeSet<Mac> = not_done.flat_map(|task| workload.labels_of(task.index as usize)).copied().collect();
    let done = outcome.tasks.iter().filter(|task| task.end == TaskEnd::Done);
    let done = done.map(|task| task.index as usize).filter(|index| superseded.contains(index));
    let lines = done.flat_map(|index| {
        let version = Workload::version_of(index);
        let shows_neither =
            |label: &&Mac| !excused.contains(label) && labels.version(**label).is_none_or(|shown| shown < version);
        let tell = move |label: &Mac| {
            let task = task_id(index as u32);
            let text = format!("{task} was superseded on label {label}, which shows nothing newer");
            Oracle::SupersededNotShown.broken(text)
        };
        workload.labels_of(index).iter().filter(shows_neither).map(tell).collect::<Vec<_>>()
    });
    lines.collect()
}

/// Tasks that are not where their end says: dispatched = done + dead-lettered + still queued, task by task, with what
/// is queued counted at the broker. Holds at any moment, since a task leaves a queue only when it is settled elsewhere.
fn lost_tasks(brokers: &BrokerState, is_faultless: bool, outcome: &Outcome) -> Vec<Violation> {
    let BrokerState { dead, queued, .. } = brokers;
    let mut lost: Vec<Violation> = outcome
        .tasks
        .iter()
        .filter_map(|task| {
            let id = task.id();
            match task.end {
                TaskEnd::DeadLettered(_) if !dead.contains(&id) => {
                    Some(Oracle::DeadLetterMissing.broken(format!("{id} was given up, but is no dead letter")))
                }
                TaskEnd::Queued if !queued.contains(&id) => {
                    Some(Oracle::TaskLost.broken(format!("{id} has no end, but is in no queue either")))
                }
                TaskEnd::Done | TaskEnd::DeadLettered(_) | TaskEnd::Queued => None,
            }
        })
        .collect();
    // A fault can bring a task twice to its end, once done and once not. Without one, each has one end.
    if is_faultless {
        let given_up = outcome.tasks.iter().filter(|task| matches!(task.end, TaskEnd::DeadLettered(_)));
        let given_up: BTreeSet<String> = given_up.map(TaskRecord::id).collect();
        let unexplained = |id: &String| format!("{id} is a dead letter, but was not given up");
        lost.extend(dead.difference(&given_up).map(|id| Oracle::DeadLetterUnexplained.broken(unexplained(id))));
    }
    lost
}
