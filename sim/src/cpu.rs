//! The CPU of a pod: what its work costs, and CFS bandwidth control.
//!
//! Work is done first come, first served, by as many threads as the pod has. With a quota the pod may use so much CPU
//! time in each period, all threads together; then it is throttled until the next one. As in the kernel, a thread that
//! uses up the quota runs on until the next tick, and the pod starts the next period with that debt
//! (`Documentation/scheduler/sched-bwc.rst`).
//!
//! Plain state without a clock of its own. Where work is charged: `socket` (a frame read, a write), `cluster::on_pod`
//! (a poll of a task), `network` (the way from the kernel to the application).

use crate::os::split_mix;

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
    /// RabbitMQ's metadata store: how long the begin or the end of a queue takes, in microseconds, one after the other.
    pub metadata_us: u64,
    /// Costs vary: sigma of their logarithm, in percent. 0: they don't.
    pub spread_percent: u32,
    /// How many threads work at the same time; 0 counts as 1.
    pub threads: u32,
    /// `None`: as much as there is.
    pub quota: Option<Quota>,
}

impl CpuPlan {
    /// Whether anything costs anything.
    pub(crate) fn is_free(&self) -> bool {
        self.frame_us + self.write_us + self.wake_us + self.poll_us + self.metadata_us == 0
    }
}

/// The CPU of one incarnation of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    plan: CpuPlan,
    /// When each thread has done what it was given, in ns.
    free_at_ns: Vec<u64>,
    /// The period that `used_ns` is about.
    period: u64,
    used_ns: u64,
    /// When the metadata store has done what it was given, in ns.
    metadata_free_at_ns: u64,
    rng: u64,
    /// Periods in which the quota was used up.
    throttled: u64,
}

impl Cpu {
    pub(crate) fn new(plan: CpuPlan, rng: u64) -> Self {
        if let Some(Quota { quota_us, period_us }) = plan.quota {
            assert!(quota_us > 0 && period_us > 0, "a pod without any CPU time never does anything");
        }
        Self {
            free_at_ns: vec![0; plan.threads.max(1) as usize],
            plan,
            period: 0,
            used_ns: 0,
            metadata_free_at_ns: 0,
            rng,
            throttled: 0,
        }
    }

    pub(crate) fn plan(&self) -> CpuPlan {
        self.plan
    }

    #[cfg(test)]
    pub(crate) fn throttled(&self) -> u64 {
        self.throttled
    }

    /// A cost with median `us`, in ns: log-normal, since on shared machines most steps take their time by a factor.
    pub(crate) fn draw_ns(&mut self, us: u64) -> u64 {
        let median_ns = us * 1_000;
        if self.plan.spread_percent == 0 || us == 0 {
            return median_ns;
        }
        // Twelve even draws make a normal one that is good enough, and the same on every machine.
        let even = |bits: u64| (bits >> 11) as f64 / (1_u64 << 53) as f64;
        let normal = (0..12).map(|_| even(split_mix(&mut self.rng))).sum::<f64>() - 6.0;
        (median_ns as f64 * (f64::from(self.plan.spread_percent) / 100.0 * normal).exp()) as u64
    }

    /// Takes on work of `us` at the median: returns when it is done.
    pub(crate) fn work(&mut self, now_ns: u64, us: u64) -> u64 {
        let cost_ns = self.draw_ns(us);
        self.charge(now_ns, cost_ns)
    }

    /// A queue begins or ends: returns when the metadata store has it.
    pub(crate) fn change_metadata(&mut self, now_ns: u64) -> u64 {
        let cost_ns = self.draw_ns(self.plan.metadata_us);
        self.metadata_free_at_ns = self.metadata_free_at_ns.max(now_ns) + cost_ns;
        self.metadata_free_at_ns
    }

    /// Takes on work of exactly `cost_ns`.
    fn charge(&mut self, now_ns: u64, mut cost_ns: u64) -> u64 {
        let thread = self.free_at_ns.iter_mut().min().expect("at least one thread");
        let mut at_ns = now_ns.max(*thread);
        let Some(Quota { quota_us, period_us }) = self.plan.quota else {
            *thread = at_ns + cost_ns;
            return *thread;
        };
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
        *thread = at_ns;
        at_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn cpu(threads: u32, quota_us: u64) -> Cpu {
        let quota = (quota_us > 0).then_some(Quota { quota_us, period_us: 100_000 });
        Cpu::new(CpuPlan { threads, quota, ..CpuPlan::default() }, 1)
    }

    #[test]
    fn work_waits_for_the_work_before_it() {
        let mut cpu = cpu(1, 0);
        assert_eq!(cpu.charge(0, 3 * MS), 3 * MS);
        assert_eq!(cpu.charge(MS, 2 * MS), 5 * MS);
        assert_eq!(cpu.charge(9 * MS, MS), 10 * MS);
    }

    #[test]
    fn two_threads_work_side_by_side() {
        let mut cpu = cpu(2, 0);
        assert_eq!(cpu.charge(0, 3 * MS), 3 * MS);
        assert_eq!(cpu.charge(0, 2 * MS), 2 * MS);
        assert_eq!(cpu.charge(0, MS), 3 * MS, "the thread that is free first takes it");
    }

    #[test]
    fn frames_of_100_us_come_in_stairs_of_100_each_100_ms() {
        let mut cpu = cpu(1, 10_000);
        let done: Vec<u64> = (0..250).map(|_| cpu.charge(0, MS / 10)).collect();
        assert_eq!((done[0], done[99]), (MS / 10, 10 * MS));
        assert_eq!((done[100], done[199]), (100 * MS + MS / 10, 110 * MS));
        assert_eq!(done[200], 200 * MS + MS / 10);
        assert_eq!(cpu.throttled(), 2);
    }

    #[test]
    fn four_threads_burn_the_same_quota_four_times_as_fast() {
        let mut cpu = cpu(4, 10_000);
        let done: Vec<u64> = (0..100).map(|_| cpu.charge(0, MS / 10)).collect();
        assert_eq!(done.iter().max(), Some(&(25 * MS / 10)));
        assert!(cpu.charge(0, MS / 10) > 100 * MS);
    }

    #[test]
    fn a_thread_that_overruns_the_quota_owes_it_to_the_next_period() {
        let mut cpu = cpu(1, 10_000);
        // 12 ms: the tick at 12 ms stops it; 2 ms are owed, so the next period has 8.
        assert_eq!(cpu.charge(0, 13 * MS), 101 * MS);
        assert_eq!(cpu.charge(0, 7 * MS), 108 * MS);
        assert_eq!(cpu.charge(0, MS), 201 * MS);
    }

    #[test]
    fn in_the_long_run_a_pod_gets_its_quota_and_no_more() {
        for threads in [1, 3] {
            let mut cpu = cpu(threads, 10_000);
            let mut last = 0;
            for _ in 0..10_000 {
                last = last.max(cpu.charge(0, 137_000));
            }
            let share = 10_000.0 * 137_000.0 / last as f64;
            assert!((0.099..0.102).contains(&share), "{share} of a CPU with {threads} threads");
        }
    }

    #[test]
    fn an_idle_pod_saves_nothing_up() {
        let mut cpu = cpu(1, 10_000);
        assert_eq!(cpu.charge(1_000 * MS, 12 * MS), 1_012 * MS);
        assert_eq!(cpu.charge(1_000 * MS, 9 * MS), 1_201 * MS, "8 ms in this period, the rest in the next");
    }

    #[test]
    fn queues_begin_and_end_one_after_the_other_beside_all_other_work() {
        let mut cpu = Cpu::new(CpuPlan { metadata_us: 1_000, threads: 4, ..CpuPlan::default() }, 7);
        assert_eq!((cpu.change_metadata(0), cpu.change_metadata(0)), (MS, 2 * MS));
        assert_eq!(cpu.work(0, 10), MS / 100);
        assert_eq!(cpu.change_metadata(9 * MS), 10 * MS);
    }

    #[test]
    fn costs_have_the_median_that_is_asked_for() {
        let plan = CpuPlan { spread_percent: 100, ..CpuPlan::default() };
        let mut cpu = Cpu::new(plan, 7);
        let mut draws: Vec<u64> = (0..9_999).map(|_| cpu.draw_ns(10)).collect();
        draws.sort_unstable();
        assert!((9_300..10_700).contains(&draws[5_000]), "{}", draws[5_000]);
        let ratio = draws[9_000] as f64 / draws[5_000] as f64;
        assert!((3.3..3.9).contains(&ratio), "p90/p50 of a log-normal with sigma 1 is 3.6, not {ratio}");
    }
}
