//! The CPU of a pod: what its work costs, CFS bandwidth control, and cores that pods share.
//!
//! Work is done first come, first served, by as many threads as the pod has. How far threads of one machine disturb
//! each other is in `cores`, what a quota makes of a pod's in `bandwidth`.
//!
//! Plain state without a clock of its own. Where work is charged: `meter` (a frame read), `network` (a write, the way
//! from the kernel to the application), `process` (a poll of a task), `cluster::incarnation` (a queue that begins or
//! ends, a command that a gateway handles).

mod bandwidth;
mod cores;
#[cfg(test)]
mod kernel;
mod metadata;

pub(crate) use cores::Cores;
pub use cores::CoresPlan;
pub use metadata::MetadataPlan;

use crate::{
    observe::{Work, WorkKind},
    os::split_mix,
    seed::log_normal,
};
use bandwidth::{Bandwidth, Ran, Thread};
use cores::Share;
use metadata::MetadataStore;
use std::{cell::RefCell, ops::Range, rc::Rc};
use tokio::sync::oneshot;

const NS_PER_US: u64 = 1_000;
const BYTES_PER_KIB: u64 = 1_024;

/// CFS bandwidth control of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// CPU time in each period, in microseconds: `cpu.cfs_quota_us`, the first number of `cpu.max`.
    pub quota_us: u64,
    /// In microseconds: `cpu.cfs_period_us`, the second number of `cpu.max`.
    pub period_us: u64,
}

/// What work costs on a pod. All zero: its CPU is infinitely fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuPlan {
    /// CPU time for each protocol frame that is read, in microseconds.
    pub frame_us: u64,
    /// CPU time for each KiB of such a frame, on top of that, in microseconds.
    pub kib_us: u64,
    /// CPU time for each write to a connection whose segments are modelled, in microseconds.
    pub write_us: u64,
    /// From a segment's arrival in the kernel to the application's waking, in microseconds. Takes no CPU time.
    pub wake_us: u64,
    /// Sigma of its logarithm, in percent. 0: it is always the same.
    pub wake_spread_percent: u32,
    /// CPU time for each time that a task of the pod runs, in microseconds.
    pub poll_us: u64,
    /// Costs vary: sigma of their logarithm, in percent. 0: they don't.
    pub spread_percent: u32,
    /// RabbitMQ's metadata store.
    pub metadata: MetadataPlan,
    /// How many threads work at the same time; 0 counts as 1.
    pub threads: u32,
    /// `None`: as much as there is.
    pub quota: Option<Quota>,
}

impl CpuPlan {
    /// Whether anything costs anything.
    pub(crate) fn is_free(&self) -> bool {
        self.frame_us + self.kib_us + self.write_us + self.wake_us + self.poll_us + self.metadata.change_us == 0
    }

    /// Whether it costs anything to receive something: to read it, or to begin or end a queue because of it.
    pub(crate) fn receiving_costs(&self) -> bool {
        self.frame_us + self.kib_us + self.metadata.change_us > 0
    }
}

/// The CPU of one incarnation of a pod.
#[derive(Debug)]
pub(crate) struct Cpu {
    plan: CpuPlan,
    threads: Threads,
    metadata: MetadataStore,
    rng: u64,
    frames_read: u64,
    used_ns: u64,
}

/// A piece of work that a pod has taken on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    end: End,
    asked_ns: u64,
    cost_ns: u64,
    throttled_ns: u64,
}

#[derive(Clone, Copy, Debug)]
enum End {
    /// Done at this time, whatever else there is to do; in ns.
    Until(u64),
    /// Done when its thread has had time enough on cores that others use, too.
    Share(Share),
}

impl Job {
    /// What an observer is told when it is done.
    pub(crate) fn as_work(&self, done_ns: u64, kind: WorkKind) -> Work {
        let Self { asked_ns, cost_ns, throttled_ns, .. } = *self;
        Work { asked_ns, done_ns, cost_ns, throttled_ns, kind }
    }
}

/// The threads of a pod.
#[derive(Debug)]
enum Threads {
    /// These of the threads that run on some cores.
    On(Rc<RefCell<Cores>>, Range<usize>),
    /// With a quota for all of them together, and a core for each.
    Limited(Vec<Thread>, Bandwidth),
}

impl Cpu {
    /// `shared`: the cores that this pod's threads share with other pods'; `None`: it has a core for each thread.
    pub(crate) fn new(plan: CpuPlan, mut rng: u64, shared: Option<&Rc<RefCell<Cores>>>) -> Self {
        let count = plan.threads.max(1);
        let threads = match plan.quota {
            Some(quota) => {
                assert!(shared.is_none(), "a quota on shared cores is not modelled");
                Threads::Limited(vec![Thread::default(); count as usize], Bandwidth::new(quota, &mut rng))
            }
            None => {
                let cores = shared.cloned().unwrap_or_else(|| Rc::new(RefCell::new(Cores::one_each(count))));
                let own = cores.borrow_mut().add_threads(count);
                Threads::On(cores, own)
            }
        };
        Self { plan, threads, metadata: MetadataStore::default(), rng, frames_read: 0, used_ns: 0 }
    }

    pub(crate) fn plan(&self) -> CpuPlan {
        self.plan
    }

    /// A cost with median `us`, in ns: log-normal, since on shared machines most steps take their time by a factor.
    fn draw_ns(&mut self, us: u64, spread_percent: u32) -> u64 {
        log_normal(us * NS_PER_US, spread_percent, || split_mix(&mut self.rng))
    }

    /// How long it takes until a process wakes.
    pub(crate) fn draw_wake_ns(&mut self) -> u64 {
        self.draw_ns(self.plan.wake_us, self.plan.wake_spread_percent)
    }

    /// Takes on work of `us` at the median.
    pub(crate) fn work(&mut self, now_ns: u64, us: u64) -> Job {
        let cost_ns = self.draw_ns(us, self.plan.spread_percent);
        self.charge(now_ns, cost_ns)
    }

    /// Takes on the reading of a protocol frame.
    pub(crate) fn read_frame(&mut self, now_ns: u64, len_bytes: usize) -> Job {
        self.frames_read += 1;
        let CpuPlan { frame_us, kib_us, spread_percent, .. } = self.plan;
        let median_ns = frame_us * NS_PER_US + kib_us * NS_PER_US * len_bytes as u64 / BYTES_PER_KIB;
        let cost_ns = log_normal(median_ns, spread_percent, || split_mix(&mut self.rng));
        self.charge(now_ns, cost_ns)
    }

    /// Frames whose reading it has taken on.
    pub(crate) fn frames_read(&self) -> u64 {
        self.frames_read
    }

    /// CPU time of all the work that it has taken on, in ns.
    pub(crate) fn used_ns(&self) -> u64 {
        self.used_ns
    }

    /// When `job` is done, or, if it isn't by now, the earliest time at which it can be: whoever waits for it asks
    /// again then.
    pub(crate) fn done_ns(&mut self, now_ns: u64, job: Job) -> u64 {
        match (job.end, &self.threads) {
            (End::Until(done_ns), _) => done_ns,
            (End::Share(share), Threads::On(cores, _)) => cores.borrow_mut().done_ns(now_ns, share),
            (End::Share(_), Threads::Limited(..)) => unreachable!("under a quota nothing is shared with others"),
        }
    }

    /// A queue is to begin or to end; the receiver hears when it has. Returns when to call
    /// [`Cpu::metadata_is_due`], unless that is known already.
    pub(crate) fn change_metadata(&mut self, now_ns: u64) -> (oneshot::Receiver<()>, Option<u64>) {
        let done = self.metadata.wait();
        (done, self.next_change(now_ns))
    }

    /// The moment has come at which the metadata store may have made a change. Returns the next such moment.
    pub(crate) fn metadata_is_due(&mut self, now_ns: u64) -> Option<u64> {
        let done_ns = self.change_done_ns(now_ns);
        if done_ns > now_ns {
            return Some(done_ns);
        }
        self.metadata.finish();
        self.next_change(now_ns)
    }

    fn next_change(&mut self, now_ns: u64) -> Option<u64> {
        let MetadataPlan { change_us, beside_us, spread_percent, disorder_percent } = self.plan.metadata;
        if !self.metadata.can_begin() {
            return None;
        }
        let jobs = [change_us, beside_us].map(|us| {
            let cost_ns = self.draw_ns(us, spread_percent);
            self.charge(now_ns, cost_ns)
        });
        self.metadata.begin(jobs, disorder_percent, &mut self.rng);
        Some(self.change_done_ns(now_ns))
    }

    fn change_done_ns(&mut self, now_ns: u64) -> u64 {
        let jobs = *self.metadata.jobs();
        jobs.into_iter().map(|job| self.done_ns(now_ns, job)).max().expect("a change is two jobs")
    }

    /// Takes on work of exactly `cost_ns`. `now_ns` never goes back.
    pub(crate) fn charge(&mut self, now_ns: u64, cost_ns: u64) -> Job {
        self.used_ns += cost_ns;
        let (end, throttled_ns) = match &mut self.threads {
            Threads::On(cores, own) => (End::Share(cores.borrow_mut().run(own.clone(), now_ns, cost_ns)), 0),
            Threads::Limited(threads, bandwidth) => {
                let Ran { begun_ns, done_ns } = bandwidth.run(threads, now_ns, cost_ns);
                (End::Until(done_ns), done_ns - begun_ns - cost_ns)
            }
        };
        Job { end, asked_ns: now_ns, cost_ns, throttled_ns }
    }
}

#[cfg(test)]
mod tests;
