//! Where the time of every task went, exactly: the critical path from its publishing to its end, cut into parts that
//! add up to its latency, each with its [`Cause`].
//!
//! A reader of two streams: of what services report (`backbone::telemetry`), and of who waits for what in the simulator
//! ([`sim::observe`]). Nothing is measured twice, and nothing of a run depends on it. The path is walked from its end:
//! a task ended because its last reply came, that reply came because a router had published it, and so on, to the
//! producer. **Where several things were waited for, the one that ended last decides**: it alone kept the task.
//!
//! `state` has messages and requests that are under way, `task` what has come of tasks, `leg` a message's way from
//! process to process, `host` what a process waits for in between, `gateway_log` what those wait for who stand in a
//! gateway's queue, `fault` what was broken meanwhile. `journeys` keeps ways and calls for those who show them, `call`
//! what a replay needs.

mod call;
mod cause;
mod fault;
mod gateway_log;
mod host;
mod journeys;
mod leg;
mod span;
mod state;
mod task;

pub use call::{LastCall, Visit};
pub use cause::Cause;
pub use journeys::{Call, HOPS_MAX, Hop, Journeys, Stall};
pub use span::{Part, Span, sum_us};

use crate::{
    capture::Capture,
    measure::{Outcome, TaskRecord},
    spec::{Pod, Spec},
    workload::Workload,
};
use backbone::{
    message::{RequestId, TaskId, TaskResult},
    telemetry::{Event, Telemetry},
};
use fault::Faults;
use host::Host;
use sim::observe::{Observer, Segment, Sent, Step, Way, Work};
use state::State;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use task::Task;

/// What else is to be kept of a run. It takes memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// [`Attribution::journeys`].
    pub journeys: bool,
    /// [`Attribution::capture`].
    pub capture: bool,
    /// [`AttributedTask::calls`].
    pub calls: bool,
}

impl Details {
    /// What a replay needs.
    pub const FOR_REPLAY: Self = Self { journeys: false, capture: false, calls: true };
}

/// Looks on while a run goes on. Cheap to clone; all clones are the same one.
#[derive(Clone)]
pub(crate) struct Attributor {
    state: Arc<Mutex<State>>,
    /// Tasks have ended when their producer has their results.
    expects_results: bool,
    details: Details,
}

/// Where the time of a run's tasks went.
#[derive(Clone, Debug, Default)]
pub struct Attribution {
    /// In the order of their indices; those without an end are left out.
    pub tasks: Vec<AttributedTask>,
    /// The pods of hosts, by their numbers.
    pub pods: Vec<Pod>,
    /// When the work began, in microseconds from the start of the world: faults' times count from there.
    pub began_us: u64,
    /// The ways of all messages; empty unless asked for.
    pub journeys: Journeys,
    /// All segments; empty unless asked for.
    pub capture: Capture,
}

impl Attribution {
    /// Names of hosts, by their numbers: that of the pod, and from its second life on which one it is.
    #[must_use]
    pub fn host_names(&self) -> Vec<String> {
        let mut lives: BTreeMap<Pod, u32> = BTreeMap::new();
        let named = |pod: &Pod| {
            let life = lives.entry(*pod).or_default();
            *life += 1;
            if *life == 1 { pod.to_string() } else { format!("{pod} ({life})") }
        };
        self.pods.iter().map(named).collect()
    }
}

/// The time of one task.
#[derive(Clone, Debug)]
pub struct AttributedTask {
    /// What else is known of it.
    pub record: TaskRecord,
    /// From its publishing to its end.
    pub parts: Vec<Part>,
    /// The requests of the try that ended it; empty unless asked for ([`Details::calls`]).
    pub calls: Vec<LastCall>,
}

impl AttributedTask {
    /// Time that no cause was found for, in microseconds. Must be 0: also what is missing or too much counts.
    #[must_use]
    pub fn unexplained_us(&self) -> u64 {
        let unexplained = self.parts.iter().filter(|part| part.cause == Cause::Unexplained);
        let latency_us = self.record.end_to_end_us().unwrap_or(0);
        unexplained.map(|part| u64::from(part.us)).sum::<u64>() + sum_us(&self.parts).abs_diff(latency_us)
    }
}

impl Attributor {
    pub(crate) fn new(spec: &Spec, details: Details) -> Self {
        let retry_delay = Duration::from_millis(spec.backbone.task_worker.retry_delay_ms);
        let mut state = State::new(spec.workload.tasks as usize, retry_delay);
        state.journeys = details.journeys.then(Journeys::default);
        state.keeps_calls = details.calls;
        let expects_results = spec.backbone.results.publish;
        Self { state: Arc::new(Mutex::new(state)), expects_results, details }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work begins, and faults of `spec` happen at their times, counted from now.
    pub(crate) fn begins(&self, spec: &Spec, now_us: u64) {
        let mut state = self.state();
        (state.faults, state.began_us) = (Faults::of(spec, now_us * 1_000), now_us);
    }

    /// For the simulation.
    pub(crate) fn observer(&self) -> Box<dyn Observer> {
        Box::new(self.clone())
    }

    /// Where the services of a pod report to. `now_ns` is virtual time; `None` of a pod that is dead.
    pub(crate) fn telemetry(
        &self,
        host: u16,
        now_ns: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) -> Arc<dyn Telemetry> {
        Arc::new(PodTelemetry { attributor: self.clone(), host, now_ns })
    }

    /// The dispatcher has got a task from the producer.
    pub(crate) fn offered(&self, task: &TaskId, now_ns: u64) {
        self.state().offered(index_of(task), now_ns);
    }

    /// The producer has got a result.
    pub(crate) fn learnt(&self, host: u16, result: &Result<TaskResult, String>, now_ns: u64) {
        if let Some(task) = result.as_ref().ok().and_then(|result| result.task_id.as_ref()) {
            self.state().ended(index_of(task), host, now_ns);
        }
    }

    /// What came of a run.
    pub(crate) fn finish(self, outcome: &Outcome) -> Attribution {
        let mut state = self.state();
        let mut paths: Vec<_> = std::mem::take(&mut state.tasks).into_iter().map(Task::into_path).collect();
        let mut visits = std::mem::take(&mut state.visits);
        let dispatcher = state.hosts.iter().find(|host| host.pod == Pod::Dispatcher).map_or(0, |host| host.number);
        let before = |us: u32| Part { us, at: dispatcher, to: dispatcher, cause: Cause::Dispatcher, because: None };
        let attributed = |record: &TaskRecord| {
            record.finished_us?;
            let (path, calls) = paths[record.index as usize].take().unwrap_or_default();
            let calls = calls.into_iter().map(|(id, call)| LastCall { visit: visits.remove(&id), ..call }).collect();
            let mut before_us = record.offered_us - record.published_us;
            let mut parts = path.into_vec();
            while before_us > 0 {
                let us = u32::try_from(before_us).unwrap_or(u32::MAX);
                before_us -= u64::from(us);
                parts.insert(0, before(us));
            }
            Some(AttributedTask { record: record.clone(), parts, calls })
        };
        let tasks = outcome.tasks.iter().filter_map(attributed).collect();
        Attribution {
            tasks,
            pods: state.hosts.iter().map(|host| host.pod).collect(),
            began_us: state.began_us,
            journeys: state.journeys.take().unwrap_or_default(),
            capture: std::mem::take(&mut state.capture),
        }
    }
}

fn index_of(task: &TaskId) -> usize {
    Workload::index_of(task.as_str()).expect("all tasks of a run come from its workload")
}

impl Observer for Attributor {
    fn lives(&mut self, number: u16, pod: &str) {
        let pod = pod.parse().expect("all pods of a run are its spec's");
        let hosts = &mut self.state().hosts;
        // Spare hosts come one after the other, as those before them did.
        assert_eq!(hosts.len(), usize::from(number), "hosts are numbered in their order");
        hosts.push(Host::new(number, pod));
    }

    fn sent(&mut self, message: &Sent<'_>) -> bool {
        self.state().sent(message)
    }

    fn taken(&mut self, number: u64, way: &Way) {
        self.state().taken(number, way);
    }

    fn worked(&mut self, host: u16, work: &Work) {
        self.state().hosts[usize::from(host)].worked(*work);
    }

    fn served(&mut self, request: RequestId, step: Step, now_ns: u64) {
        self.state().served(request, step, now_ns);
    }

    fn wants_segments(&self) -> bool {
        self.details.capture
    }

    fn segment(&mut self, segment: &Segment<'_>) {
        self.state().capture.add(segment);
    }
}

struct PodTelemetry<T> {
    attributor: Attributor,
    host: u16,
    now_ns: T,
}

impl<T: Fn() -> Option<u64> + Send + Sync + 'static> Telemetry for PodTelemetry<T> {
    fn record(&self, event: &Event<'_>) {
        let Some(now_ns) = (self.now_ns)() else { return };
        let mut state = self.attributor.state();
        match *event {
            Event::TaskStarted { task, .. } => state.started(index_of(task), now_ns),
            Event::RequestSent { request, esl, task } => {
                state.requested(self.host, index_of(task), (request, esl), now_ns);
            }
            Event::ReplyReceived { request, .. } => state.replied(request, now_ns),
            Event::RequestTimedOut { request } | Event::RequestFailed { request, .. } => {
                state.unanswered(request, now_ns);
            }
            Event::TaskDone { task, .. } | Event::TaskDeadLettered { task: Some(task), .. }
                if !self.attributor.expects_results =>
            {
                state.ended(index_of(task), self.host, now_ns);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_lives_again_is_another_host() {
        let pods = vec![Pod::Redis, Pod::TaskWorker(0), Pod::TaskWorker(1), Pod::TaskWorker(0)];
        let attribution = Attribution { pods, ..Attribution::default() };
        assert_eq!(attribution.host_names(), ["redis", "task_worker-0", "task_worker-1", "task_worker-0 (2)"]);
    }
}
