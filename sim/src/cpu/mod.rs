//! The CPU of a pod: what its work costs, CFS bandwidth control, and cores that pods share.
//!
//! Work is done first come, first served, by as many threads as the pod has. With a quota the pod may use so much CPU
//! time in each period, all threads together; then it is throttled until the next one. As in the kernel, a thread that
//! uses up the quota runs on until the next tick, and the pod starts the next period with that debt
//! (`Documentation/scheduler/sched-bwc.rst`). Pods of one machine share its [`cores`].
//!
//! Plain state without a clock of its own. Where work is charged: `meter` (a frame read, a queue that begins or ends),
//! `network` (a write, the way from the kernel to the application), `cluster::on_pod` (a poll of a task).

mod cores;
mod metadata;

pub use cores::CoresPlan;
pub(crate) use cores::{Cores, Job};
pub use metadata::MetadataPlan;

use crate::os::split_mix;
use metadata::MetadataStore;
use std::{cell::RefCell, ops::Range, rc::Rc};
use tokio::sync::oneshot;

/// `CONFIG_HZ` = 250: the scheduler looks after a running thread this often.
const TICK_NS: u64 = 4_000_000;

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
    /// CPU time for each write to a connection whose segments are modelled, in microseconds.
    pub write_us: u64,
    /// From a segment's arrival in the kernel to the application's waking, in microseconds. Takes no CPU time.
    pub wake_us: u64,
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
        self.frame_us + self.write_us + self.wake_us + self.poll_us + self.metadata.change_us == 0
    }
}

/// The CPU of one incarnation of a pod.
#[derive(Debug)]
pub(crate) struct Cpu {
    plan: CpuPlan,
    cores: Rc<RefCell<Cores>>,
    /// The pod's among the threads that share these cores.
    threads: Range<usize>,
    /// The period that `used_ns` is about.
    period: u64,
    used_ns: u64,
    metadata: MetadataStore,
    rng: u64,
    /// Periods in which the quota was used up.
    throttled: u64,
}

impl Cpu {
    /// `shared`: the cores that this pod's threads share with other pods'; `None`: it has a core for each thread.
    pub(crate) fn new(plan: CpuPlan, rng: u64, shared: Option<&Rc<RefCell<Cores>>>) -> Self {
        if let Some(Quota { quota_us, period_us }) = plan.quota {
            assert!(quota_us > 0 && period_us > 0, "a pod without any CPU time never does anything");
            assert!(shared.is_none(), "a quota on shared cores is not modelled");
        }
        let threads = plan.threads.max(1);
        let cores = shared
            .cloned()
            .unwrap_or_else(|| Rc::new(RefCell::new(Cores::new(CoresPlan { count: threads, late_percent: 0 }, 0))));
        let threads = cores.borrow_mut().add_threads(threads);
        Self { plan, cores, threads, period: 0, used_ns: 0, metadata: MetadataStore::default(), rng, throttled: 0 }
    }

    pub(crate) fn plan(&self) -> CpuPlan {
        self.plan
    }

    #[cfg(test)]
    pub(crate) fn throttled(&self) -> u64 {
        self.throttled
    }

    /// A cost with median `us`, in ns: log-normal, since on shared machines most steps take their time by a factor.
    fn draw_ns(&mut self, us: u64, spread_percent: u32) -> u64 {
        let median_ns = us * 1_000;
        if spread_percent == 0 || us == 0 {
            return median_ns;
        }
        // Twelve even draws make a normal one that is good enough, and the same on every machine.
        let even = |bits: u64| (bits >> 11) as f64 / (1_u64 << 53) as f64;
        let normal = (0..12).map(|_| even(split_mix(&mut self.rng))).sum::<f64>() - 6.0;
        (median_ns as f64 * (f64::from(spread_percent) / 100.0 * normal).exp()) as u64
    }

    /// Takes on work of `us` at the median.
    pub(crate) fn work(&mut self, now_ns: u64, us: u64) -> Job {
        let cost_ns = self.draw_ns(us, self.plan.spread_percent);
        self.charge(now_ns, cost_ns)
    }

    /// When `job` is done, as far as is known now: work that others have taken on since has slowed it down.
    pub(crate) fn done_ns(&self, job: &Job) -> u64 {
        self.cores.borrow().done_ns(job)
    }

    /// A queue is to begin or to end; the receiver hears when it has. Returns when to call
    /// [`Cpu::metadata_is_due`], unless that is known already.
    pub(crate) fn change_metadata(&mut self, now_ns: u64) -> (oneshot::Receiver<()>, Option<u64>) {
        let done = self.metadata.wait();
        (done, self.next_change(now_ns))
    }

    /// The moment has come at which the metadata store may have made a change. Returns the next such moment.
    pub(crate) fn metadata_is_due(&mut self, now_ns: u64) -> Option<u64> {
        let done_ns = self.change_done_ns();
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
        Some(self.change_done_ns())
    }

    fn change_done_ns(&self) -> u64 {
        self.metadata.jobs().iter().map(|job| self.done_ns(job)).max().expect("a change is two jobs")
    }

    /// Takes on work of exactly `cost_ns`.
    fn charge(&mut self, now_ns: u64, mut cost_ns: u64) -> Job {
        let cores = self.cores.clone();
        let mut cores = cores.borrow_mut();
        let thread = cores.first_free(self.threads.clone());
        let Some(Quota { quota_us, period_us }) = self.plan.quota else {
            return cores.run(thread, now_ns, cost_ns);
        };
        let mut at_ns = now_ns.max(cores.free_at_ns(thread));
        let (quota_ns, period_ns) = (quota_us * 1_000, period_us * 1_000);
        while cost_ns > 0 {
            let period = at_ns / period_ns;
            if period > self.period {
                let refilled_ns = quota_ns.saturating_mul(period - self.period);
                self.used_ns = self.used_ns.saturating_sub(refilled_ns);
                self.period = period;
            }
            if self.used_ns >= quota_ns || period < self.period {
                self.throttled += u64::from(period == self.period);
                at_ns = (self.period + u64::from(self.used_ns >= quota_ns)) * period_ns;
                continue;
            }
            let slice_ns = cost_ns.min(TICK_NS - at_ns % TICK_NS);
            self.used_ns += slice_ns;
            at_ns += slice_ns;
            cost_ns -= slice_ns;
        }
        cores.occupy(thread, at_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn cpu(threads: u32, quota_us: u64) -> Cpu {
        let quota = (quota_us > 0).then_some(Quota { quota_us, period_us: 100_000 });
        Cpu::new(CpuPlan { threads, quota, ..CpuPlan::default() }, 1, None)
    }

    fn done(cpu: &mut Cpu, now_ns: u64, cost_ns: u64) -> u64 {
        let job = cpu.charge(now_ns, cost_ns);
        cpu.done_ns(&job)
    }

    #[test]
    fn work_waits_for_the_work_before_it() {
        let mut cpu = cpu(1, 0);
        assert_eq!(done(&mut cpu, 0, 3 * MS), 3 * MS);
        assert_eq!(done(&mut cpu, MS, 2 * MS), 5 * MS);
        assert_eq!(done(&mut cpu, 9 * MS, MS), 10 * MS);
    }

    #[test]
    fn two_threads_work_side_by_side() {
        let mut cpu = cpu(2, 0);
        assert_eq!(done(&mut cpu, 0, 3 * MS), 3 * MS);
        assert_eq!(done(&mut cpu, 0, 2 * MS), 2 * MS);
        assert_eq!(done(&mut cpu, 0, MS), 3 * MS, "the thread that is free first takes it");
    }

    #[test]
    fn frames_of_100_us_come_in_stairs_of_100_each_100_ms() {
        let mut cpu = cpu(1, 10_000);
        let stairs: Vec<u64> = (0..250).map(|_| done(&mut cpu, 0, MS / 10)).collect();
        assert_eq!((stairs[0], stairs[99]), (MS / 10, 10 * MS));
        assert_eq!((stairs[100], stairs[199]), (100 * MS + MS / 10, 110 * MS));
        assert_eq!(stairs[200], 200 * MS + MS / 10);
        assert_eq!(cpu.throttled(), 2);
    }

    #[test]
    fn four_threads_burn_the_same_quota_four_times_as_fast() {
        let mut cpu = cpu(4, 10_000);
        let ends: Vec<u64> = (0..100).map(|_| done(&mut cpu, 0, MS / 10)).collect();
        assert_eq!(ends.iter().max(), Some(&(25 * MS / 10)));
        assert!(done(&mut cpu, 0, MS / 10) > 100 * MS);
    }

    #[test]
    fn a_thread_that_overruns_the_quota_owes_it_to_the_next_period() {
        let mut cpu = cpu(1, 10_000);
        // 12 ms: the tick at 12 ms stops it; 2 ms are owed, so the next period has 8.
        assert_eq!(done(&mut cpu, 0, 13 * MS), 101 * MS);
        assert_eq!(done(&mut cpu, 0, 7 * MS), 108 * MS);
        assert_eq!(done(&mut cpu, 0, MS), 201 * MS);
    }

    #[test]
    fn in_the_long_run_a_pod_gets_its_quota_and_no_more() {
        for threads in [1, 3] {
            let mut cpu = cpu(threads, 10_000);
            let mut last = 0;
            for _ in 0..10_000 {
                last = last.max(done(&mut cpu, 0, 137_000));
            }
            let share = 10_000.0 * 137_000.0 / last as f64;
            assert!((0.099..0.102).contains(&share), "{share} of a CPU with {threads} threads");
        }
    }

    #[test]
    fn an_idle_pod_saves_nothing_up() {
        let mut cpu = cpu(1, 10_000);
        assert_eq!(done(&mut cpu, 1_000 * MS, 12 * MS), 1_012 * MS);
        assert_eq!(done(&mut cpu, 1_000 * MS, 9 * MS), 1_201 * MS, "8 ms in this period, the rest in the next");
    }

    #[test]
    fn costs_have_the_median_that_is_asked_for() {
        let mut cpu = Cpu::new(CpuPlan::default(), 7, None);
        let mut draws: Vec<u64> = (0..9_999).map(|_| cpu.draw_ns(10, 100)).collect();
        draws.sort_unstable();
        assert!((9_300..10_700).contains(&draws[5_000]), "{}", draws[5_000]);
        let ratio = draws[9_000] as f64 / draws[5_000] as f64;
        assert!((3.3..3.9).contains(&ratio), "p90/p50 of a log-normal with sigma 1 is 3.6, not {ratio}");
    }
}
