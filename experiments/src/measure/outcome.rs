//! What a run leaves behind: plain data, the same in every run of one spec and seed.

use super::{CallHops, Reached, Sample, Violation};
use crate::{spec::Target, workload::task_id};
use backbone::telemetry::{DropReason, FailReason};
use sim::fleet::RadioUse;
use std::collections::BTreeMap;

/// All that a run says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// One record for every task that the dispatcher's broker has confirmed, in order of `index`.
    pub tasks: Vec<TaskRecord>,
    /// The first so many tasks are not measured: no latency is of them.
    pub warm_up_tasks: usize,
    /// For every request that went the whole way: from a forward router taking it to a backward router having put its
    /// reply into the caller's queue, or within its HTTP router, in microseconds. In order of completion.
    pub rpc_latencies_us: Vec<u32>,
    /// The other hops of the same requests.
    pub call_hops: CallHops,
    /// How often things happened.
    pub counters: Counters,
    /// Virtual time from the start of the world to its end.
    pub virtual_us: u64,
    /// Stands for all that happened, packet by packet; in hexadecimal digits.
    pub trace_digest: String,
    /// Protocol frames that the processes of each kind have read, restarted ones since their last start; 0 for those to
    /// which a frame costs nothing, and empty for a live run.
    pub frames_read: BTreeMap<String, u64>,
    /// What brokers and pods showed, second by second.
    pub samples: Vec<Sample>,
    /// How many replicas there were, where any are scaled: a step for each change, and first those at the start.
    pub scaling: Vec<ScalingStep>,
    /// How long all pods of routers and of workers together were there, each from its being scheduled to its end, in
    /// microseconds. Empty for a live run.
    pub pods_us: BTreeMap<Target, u64>,
    /// What the radio came to; `None`: the spec has none.
    pub radio: Option<RadioUse>,
    /// How often each fault of the spec did something, in their order; empty for a live run.
    pub fault_hits: Vec<u64>,
    /// How often the run took each rare path.
    pub reached: Reached,
    /// The rules that did not hold; empty in a sound run.
    pub violations: Vec<Violation>,
}

/// How many replicas of a target there are from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalingStep {
    /// Virtual time from the start of the world.
    pub at_us: u64,
    /// Of what.
    pub target: Target,
    /// As many as the autoscaler wants.
    pub wanted: u32,
    /// As many as have all connections that they need and were not asked to stop. A replica of routers is ready when
    /// both of its pods are.
    pub ready: u32,
}

/// The life of one task. All times are virtual, counted from the start of the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskRecord {
    /// Counted from 0 in the order of dispatch.
    pub index: u32,
    /// When the producer had it to publish. If the dispatcher had no room for it, it waited with the producer.
    pub published_us: u64,
    /// When the dispatcher took it from the producer.
    pub offered_us: u64,
    /// When the broker confirmed it.
    pub dispatched_us: u64,
    /// When a worker took it for the first time.
    pub started_us: Option<u64>,
    /// When a worker took it for the last time before its end.
    pub last_try_us: Option<u64>,
    /// When it was done, or given up; if results are published, when its producer learnt of it.
    pub finished_us: Option<u64>,
    /// How long its last try took, as the worker measured it: from the moment at which it took the task to the last
    /// reply (or the failure).
    pub try_us: Option<u64>,
    /// How long its last try's calls alone took, from its first request sent to its last reply received: without the
    /// begin and end of a reply queue. `None` if it got no reply.
    pub calls_us: Option<u64>,
    /// How it ended.
    pub end: TaskEnd,
    /// Tries begun.
    pub attempts: u32,
    /// Tries that ended because no reply came in time.
    pub timeouts: u32,
}

impl TaskRecord {
    /// The task's name in logs, traces and queues.
    #[must_use]
    pub fn id(&self) -> String {
        task_id(self.index)
    }

    /// See [`Latency::EndToEnd`](super::Latency::EndToEnd); of a task that was given up, the time until then.
    #[must_use]
    pub fn end_to_end_us(&self) -> Option<u64> {
        Some(self.finished_us?.saturating_sub(self.published_us))
    }

    /// See [`Latency::Waiting`](super::Latency::Waiting).
    #[must_use]
    pub fn waiting_us(&self) -> Option<u64> {
        Some(self.started_us?.saturating_sub(self.published_us))
    }

    /// What retries added: from the begin of the first try to that of the last one; 0 for a task with one try.
    #[must_use]
    pub fn retries_us(&self) -> Option<u64> {
        Some(self.last_try_us?.saturating_sub(self.started_us?))
    }
}

/// How a task ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskEnd {
    /// All its labels have confirmed.
    Done,
    /// Given up for this reason, and kept in the dead-letter queue.
    DeadLettered(FailReason),
    /// Still in a queue, or with a worker, when the run ended.
    #[default]
    Queued,
}

impl TaskEnd {
    /// The word for it in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::DeadLettered(_) => "dead_lettered",
            Self::Queued => "queued",
        }
    }
}

/// How often things happened in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that workers sent.
    pub rpcs_sent: u64,
    /// Requests that were answered in time.
    pub rpcs_replied: u64,
    /// Replies that reached the queue of somebody who had not asked, and were refused there. Must be 0 if replies are
    /// matched by request id.
    pub rpcs_misrouted: u64,
    /// Requests that nobody answered in time.
    pub rpcs_timed_out: u64,
    /// PUBLISH packets that the MQTT broker took in, from routers and gateways.
    pub mqtt_messages: u64,
    /// Connections that services lost, or could not make.
    pub disconnects: u64,
    /// TCP segments delivered.
    pub segments: u64,
    /// Messages dropped or handed back, by reason.
    pub drops: BTreeMap<DropReason, u64>,
}

impl Counters {
    /// Replies that the MQTT broker gave to an HTTP router which did not wait for them: each ends a call in a timeout.
    #[must_use]
    pub fn replies_misdelivered(&self) -> u64 {
        self.drops.get(&DropReason::ReplyMisdelivered).copied().unwrap_or(0)
    }
}

/// How many tasks ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TaskCounts {
    /// Confirmed by the dispatcher's broker; the sum of `done`, `dead_lettered` and `queued`.
    pub dispatched: u64,
    /// All labels confirmed.
    pub done: u64,
    /// With at least one try that got no reply in time; some of them may be done by a later try.
    pub timed_out: u64,
    /// Done, but not by the first try.
    pub retried: u64,
    /// Given up.
    pub dead_lettered: u64,
    /// Not finished when the run ended.
    pub queued: u64,
}

impl Outcome {
    /// Counts the tasks.
    #[must_use]
    pub fn task_counts(&self) -> TaskCounts {
        let mut counts = TaskCounts::default();
        for task in &self.tasks {
            counts.dispatched += 1;
            counts.timed_out += u64::from(task.timeouts > 0);
            match task.end {
                TaskEnd::Done => {
                    counts.done += 1;
                    counts.retried += u64::from(task.attempts > 1);
                }
                TaskEnd::DeadLettered(_) => counts.dead_lettered += 1,
                TaskEnd::Queued => counts.queued += 1,
            }
        }
        counts
    }

    /// The tasks that are measured.
    pub fn measured(&self) -> impl Iterator<Item = &TaskRecord> {
        self.tasks.iter().filter(|task| task.index as usize >= self.warm_up_tasks)
    }

    /// The span that rates refer to: from the first task dispatched to the last one finished.
    #[must_use]
    pub fn busy_us(&self) -> u64 {
        let first = self.tasks.iter().map(|task| task.dispatched_us).min();
        let last = self.tasks.iter().filter_map(|task| task.finished_us).max();
        match (first, last) {
            (Some(first), Some(last)) => last.saturating_sub(first),
            _ => 0,
        }
    }
}
