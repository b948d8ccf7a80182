//! Records what the services of a run report, simulated or live: task by task and request by request, with its time.
//!
//! What can be checked at once is checked at once: a reply must reach the pod that asked, and a task that is reported
//! done must be on its labels.

mod events;
mod probes;
mod publish;
mod results;
mod watch;

use super::{
    hops::CallHops,
    oracle::{Oracle, Violation},
    outcome::{Counters, TaskEnd, TaskRecord},
    sometimes::{Reached, Sometimes},
};
use crate::{
    progress::Progress,
    spec::{Pod, Spec},
    workload::{Workload, task_id},
};
use backbone::{
    message::{Mac, RequestId, TaskId, TaskOutcome},
    telemetry::{Event, FailReason, Telemetry},
};
use events::PodTelemetry;
use rustc_hash::FxHashMap;
use sim::fleet::Labels;
use std::{
    collections::BTreeSet,
    num::NonZeroU64,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::Ordering},
};
use tokio::sync::{Notify, watch::Sender};
use watch::{Rules, Watch};

/// Violations kept in full; the first few say what is wrong.
const VIOLATIONS_MAX: usize = 20;

/// Cheap to clone; all clones are the same recorder.
#[derive(Clone)]
pub(crate) struct Recorder(Arc<Shared>);

/// Whether routers report to the recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouterReports {
    /// They do.
    Here,
    /// They are processes of their own, which count for themselves.
    Elsewhere,
}

struct Shared {
    workload: Workload,
    rules: Rules,
    routers: RouterReports,
    /// Whether a task has ended only when its producer has its result, too.
    expects_results: bool,
    labels: Labels,
    progress: Arc<Progress>,
    entries: Mutex<Entries>,
    /// When the first task came, in microseconds from the start of the world.
    began_us: OnceLock<u64>,
    /// The first task that is held back.
    held_from: usize,
    /// So many tasks may be published.
    released: Sender<usize>,
    finished: Notify,
}

#[derive(Default)]
pub(crate) struct Entries {
    pub(crate) tasks: Vec<TaskEntry>,
    /// Requests that are under way; only looked up, never walked through.
    requests: FxHashMap<RequestId, RequestEntry>,
    pub(crate) rpc_latencies_us: Vec<u32>,
    pub(crate) call_hops: CallHops,
    pub(crate) counters: Counters,
    pub(crate) violations: Vec<Violation>,
    /// Tasks that are done although a label of theirs was not asked, since a newer command was accepted for it.
    pub(crate) superseded: BTreeSet<usize>,
    watch: Watch,
    finished: usize,
}

/// Small: a run may have millions. No time is 0, because the brokers start first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TaskEntry {
    published_us: Option<NonZeroU64>,
    offered_us: Option<NonZeroU64>,
    dispatched_us: Option<NonZeroU64>,
    started_us: Option<NonZeroU64>,
    /// Begin of the present try.
    try_began_us: Option<NonZeroU64>,
    /// First request of the present try.
    sent_us: Option<NonZeroU64>,
    /// Last request of all tries.
    last_sent_us: Option<NonZeroU64>,
    /// Last reply to the present try.
    replied_us: Option<NonZeroU64>,
    /// What its worker says.
    end: Option<End>,
    /// What its producer learnt, and when first.
    result: Option<(NonZeroU64, TaskOutcome)>,
    attempts: u32,
    timeouts: u32,
}

#[derive(Clone, Copy, Debug)]
struct End {
    at_us: u64,
    last_try_us: Option<u64>,
    try_us: u64,
    calls_us: Option<u64>,
    how: TaskEnd,
}

struct RequestEntry {
    pod: Pod,
    task: usize,
    esl: Mac,
    sent_us: u64,
    taken_us: Option<u64>,
    returned_us: Option<u64>,
    received_us: Option<u64>,
    /// Who took it, in order.
    takes: Vec<Take>,
    /// A gateway has it.
    forwarded: bool,
    /// Reached its caller, and a backward router has said so.
    received: bool,
    returned: bool,
}

impl Recorder {
    /// Of a run of `spec`.
    pub(crate) fn new(spec: &Spec, progress: Arc<Progress>, routers: RouterReports) -> Self {
        let workload = Workload::draw(spec);
        let held_from = workload.len().saturating_sub(spec.expect.probe_tasks as usize);
        let entries = Entries { tasks: vec![TaskEntry::default(); workload.len()], ..Entries::default() };
        Self(Arc::new(Shared {
            workload,
            rules: Rules::of(spec),
            routers,
            expects_results: spec.backbone.results.publish,
            labels: Labels::default(),
            progress,
            entries: Mutex::new(entries),
            began_us: OnceLock::new(),
            held_from,
            released: Sender::new(held_from),
            finished: Notify::new(),
        }))
    }

    /// The labels that done tasks are checked against.
    pub(crate) fn labels(&self) -> Labels {
        self.0.labels.clone()
    }

    pub(crate) fn workload(&self) -> &Workload {
        &self.0.workload
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every task that is not held back is done or given up, and its producer knows.
    pub(crate) fn is_finished(&self) -> bool {
        self.entries().finished >= self.released()
    }

    /// Waits for that.
    pub(crate) async fn finished(&self) {
        self.0.finished.notified().await;
    }

    /// Where a pod's services report to. `time_us` gives the time of an event, counted from the start of the world, or
    /// `None` for one that does not count, since its pod is dead.
    pub(crate) fn telemetry(
        &self,
        pod: Pod,
        time_us: impl Fn(&Event<'_>) -> Option<u64> + Send + Sync + 'static,
    ) -> Arc<dyn Telemetry> {
        Arc::new(PodTelemetry::new(self.clone(), time_us, pod))
    }

    pub(crate) fn violate(&self, violation: Violation) {
        self.entries().violate(violation);
    }

    /// All faults of `spec` are over, and did something so often: one that did nothing is a mistake, or is counted.
    pub(crate) fn note_hits(&self, spec: &Spec, hits: &[u64]) {
        for (fault, _) in spec.faults.iter().zip(hits).filter(|(_, hits)| **hits == 0) {
            if spec.expect.every_fault_hits {
                let text = format!("the fault `{} {}` hit nothing", fault.kind, fault.target);
                self.violate(Oracle::FaultMissed.broken(text));
            } else {
                self.entries().reach(Sometimes::FaultMissed);
            }
        }
    }

    fn index_of(task: &TaskId) -> usize {
        Workload::index_of(task.as_str()).expect("all tasks of a run come from its workload")
    }

    /// A task reported done must show on all its labels, unless something newer does, or will.
    fn check_labels(&self, entries: &mut Entries, index: usize) {
        if entries.superseded.contains(&index) {
            return; // see `invariants`
        }
        for label in self.0.workload.labels_of(index) {
            self.check_label(entries, index, *label);
        }
    }

    fn check_label(&self, entries: &mut Entries, index: usize, label: Mac) {
        let (version, shown) = (Workload::version_of(index), self.0.labels.version(label));
        if shown.is_none_or(|shown| shown < version) {
            let task = task_id(index as u32);
            let text = format!("{task} is done, but label {label} shows {shown:?} instead of {version}");
            entries.violate(Oracle::DoneNotShown.broken(text));
        }
    }

    fn end(&self, entries: &mut Entries, now_us: u64, index: usize, try_us: u64, how: TaskEnd) {
        let task = &mut entries.tasks[index];
        if task.end.is_some() {
            return; // delivered twice; the first end counts
        }
        // Where two workers have a copy each, a reply to the one may come before the other has asked.
        let calls_us =
            task.replied_us.zip(task.sent_us).and_then(|(replied, sent)| replied.get().checked_sub(sent.get()));
        let last_try_us = task.try_began_us.map(NonZeroU64::get);
        task.end = Some(End { at_us: now_us, last_try_us, try_us, calls_us, how });
        if !self.0.expects_results || task.result.is_some() {
            self.finish(entries, index);
        }
    }

    /// A task is said to have ended in two ways.
    fn contradicts(&self, entries: &mut Entries, text: String) {
        match self.0.rules.has_copies {
            true => entries.reach(Sometimes::ResultContradicted),
            false => entries.violate(Oracle::ResultContradicts.broken(text)),
        }
    }

    /// All is known of this task: it ended when its producer learnt of it, if it does.
    fn finish(&self, entries: &mut Entries, index: usize) {
        let task = &mut entries.tasks[index];
        let Some(end) = &mut task.end else { return };
        if let Some((at_us, result)) = task.result {
            end.at_us = at_us.get();
            if (end.how == TaskEnd::Done) != result.is_success() {
                let (task, how) = (task_id(index as u32), end.how);
                self.contradicts(entries, format!("{task} ended as {how:?}, and its producer learnt {result:?}"));
            }
        }
        let at_us = entries.tasks[index].end.map_or(0, |end| end.at_us);
        entries.finished += 1;
        self.0.progress.tasks_done.store(entries.finished as u64, Ordering::Relaxed);
        self.0.progress.virtual_us.store(at_us, Ordering::Relaxed);
        if entries.finished >= self.released() {
            self.0.finished.notify_one();
        }
    }
}

impl Entries {
    fn violate(&mut self, violation: Violation) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    /// How often the run took each rare path so far.
    pub(crate) fn take_reached(&mut self) -> Reached {
        self.watch.take_reached()
    }

    fn count_timeout(&mut self, index: usize, reason: FailReason) {
        self.tasks[index].timeouts += u32::from(reason == FailReason::Timeout);
    }

    /// Forgets a request about which nothing more will be heard.
    fn settle(&mut self, request: RequestId) {
        let is_over = |entry: &RequestEntry| entry.received && entry.returned;
        let Some(entry) = self.requests.get(&request).filter(|entry| is_over(entry)) else { return };
        if let RequestEntry { sent_us, taken_us: Some(taken_us), returned_us: Some(returned_us), .. } = *entry
            && let Some(received_us) = entry.received_us
        {
            self.call_hops.add((sent_us, taken_us), (returned_us, received_us));
        }
        self.requests.remove(&request);
    }
}

/// A router has taken a request.
#[derive(Clone, Copy)]
struct Take {
    by: Pod,
    /// A newer command for its label had been sent by then.
    outranked: bool,
}

impl RequestEntry {
    fn sent(pod: Pod, task: usize, esl: Mac, sent_us: u64, returned: bool) -> Self {
        let (takes, received, forwarded) = (Vec::new(), false, false);
        let (taken_us, returned_us, received_us) = (None, None, None);
        Self { pod, task, esl, sent_us, taken_us, returned_us, received_us, takes, forwarded, received, returned }
    }
}

impl TaskEntry {
    /// Whether it ended before its dispatcher heard that RabbitMQ has it.
    pub(crate) fn ended_unconfirmed(&self) -> bool {
        self.dispatched_us.is_none() && self.end.is_some()
    }

    /// The record of a task whose dispatch was confirmed.
    pub(crate) fn record(self, index: usize) -> Option<TaskRecord> {
        Some(TaskRecord {
            index: u32::try_from(index).expect("a spec has fewer tasks"),
            published_us: self.published_us?.get(),
            offered_us: self.offered_us?.get(),
            dispatched_us: self.dispatched_us?.get(),
            started_us: self.started_us.map(NonZeroU64::get),
            last_try_us: self.end.and_then(|end| end.last_try_us),
            finished_us: self.end.map(|end| end.at_us),
            try_us: self.end.map(|end| end.try_us),
            calls_us: self.end.and_then(|end| end.calls_us),
            end: self.end.map_or(TaskEnd::Queued, |end| end.how),
            attempts: self.attempts,
            timeouts: self.timeouts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;
    use backbone::{config::RouterKind, env::Env};

    #[test]
    fn a_task_that_is_delivered_again_after_its_end_was_not_retried() {
        let mut spec = Spec::default();
        (spec.workload.tasks, spec.backbone.results.publish) = (1, false);
        let recorder = Recorder::new(&spec, Arc::default(), RouterReports::Here);
        let worker = recorder.telemetry(Pod::TaskWorker(0), |_| Some(5));
        let task: TaskId = task_id(0).parse().unwrap();
        let started = || worker.record(&Event::TaskStarted { task: &task, attempt: 1 });
        started();
        started();
        worker.record(&Event::TaskDone { task: &task, attempt: 1, latency_us: 3, age_us: 3 });
        started();
        assert_eq!(recorder.entries().tasks[0].attempts, 2);
    }

    #[test]
    fn a_router_is_not_blamed_for_what_it_took_before_a_newer_command_was_sent() {
        let mut spec = Spec::default();
        spec.workload.tasks = 2;
        let recorder = Recorder::new(&spec, Arc::default(), RouterReports::Here);
        let worker = recorder.telemetry(Pod::TaskWorker(0), |_| Some(5));
        let [first, second] =
            [0, 1].map(|index| recorder.telemetry(Pod::Router(RouterKind::Forward, index), |_| Some(5)));
        let (esl, gateway) = (Mac::new(1), Mac::new(2));
        let [older, newer] = [0, 1].map(|index| {
            let (request, task) = (RequestId::draw(&Env::tokio()), task_id(index).parse().unwrap());
            worker.record(&Event::RequestSent { request, esl, task: &task });
            request
        });
        let violations = || recorder.entries().violations.len();
        first.record(&Event::RequestTaken { request: older });
        second.record(&Event::RequestTaken { request: newer });
        second.record(&Event::RequestForwarded { request: newer, gateway });
        second.record(&Event::RequestTaken { request: older });
        first.record(&Event::RequestForwarded { request: older, gateway });
        assert_eq!(violations(), 0, "it was on its way when the newer one was sent");
        second.record(&Event::RequestForwarded { request: older, gateway });
        assert_eq!(violations(), 1);
    }
}
