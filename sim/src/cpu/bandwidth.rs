//! CFS bandwidth control of one pod, as the kernel does it (`Documentation/scheduler/sched-bwc.rst`; the functions
//! named below are of `kernel/sched/fair.c`). `kernel` holds it against a real control group.
//!
//! - A pool is filled up to the quota at the begin of each period. Each processor takes slices of it for the pod's
//!   thread that runs there. What it has in hand outlives the period.
//! - What a thread used is looked at when the timer ticks and when it starts or stops. In between it runs on, quota or
//!   not, so most bursts end at a tick. What it used too much is a debt, paid from the next pools before it runs again.
//! - A thread that sleeps gives back all but a millisecond.
//! - Periods of different pods begin at different times (since Linux 6.2), of one pod always at the same.
//!
//! Simpler than the kernel: a thread that waits gets nothing of what another one gives back meanwhile, which the kernel
//! hands out after 5 ms.

use super::Quota;
use crate::os::split_mix;

/// `CONFIG_HZ` = 250, Debian's: the scheduler looks after a running thread this often, on all processors at once.
pub(super) const TICK_NS: u64 = 4_000_000;
/// `sched_cfs_bandwidth_slice_us`, its default: what a processor takes from the pool at a time.
const SLICE_NS: i64 = 5_000_000;
/// `min_cfs_rq_runtime`: what a processor keeps when its thread sleeps.
const KEPT_NS: i64 = 1_000_000;

/// A thread and the processor that it runs on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Thread {
    /// When it has done what it was given.
    free_at_ns: u64,
    /// Whether it has run up to `free_at_ns` and was not yet seen to sleep.
    runs: bool,
    /// What its processor still has of what it took; below zero: what it owes.
    in_hand_ns: i64,
}

impl Thread {
    /// It has run for `ns`.
    fn run(&mut self, ns: u64) {
        self.runs = true;
        self.in_hand_ns -= i64::try_from(ns).expect("at most a tick");
    }
}

/// When work began, at the head of its thread, and when it was done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ran {
    pub(super) begun_ns: u64,
    pub(super) done_ns: u64,
}

/// The pool that all threads of a pod take from.
#[derive(Clone, Debug)]
pub(super) struct Bandwidth {
    quota_ns: i64,
    period_ns: u64,
    /// How long before time zero a period began.
    pub(super) phase_ns: u64,
    /// The period that the pool is of. Threads may be behind it; for them the pool is empty.
    period: u64,
    pool_ns: i64,
    /// What sleeping threads have used too much. Paid first.
    owed_ns: i64,
}

impl Bandwidth {
    pub(super) fn new(Quota { quota_us, period_us }: Quota, rng: &mut u64) -> Self {
        assert!(quota_us > 0 && period_us > 0, "a pod without any CPU time never does anything");
        let period_ns = period_us * 1_000;
        let quota_ns = i64::try_from(quota_us * 1_000).expect("a quota is far below 292 years");
        let phase_ns = split_mix(rng) % period_ns;
        Self { quota_ns, period_ns, phase_ns, period: 0, pool_ns: quota_ns, owed_ns: 0 }
    }

    /// Gives work of `cost_ns` to the thread that is free first: when it is done. `now_ns` never goes back.
    pub(super) fn run(&mut self, threads: &mut [Thread], now_ns: u64, mut cost_ns: u64) -> Ran {
        threads.iter_mut().filter(|thread| thread.free_at_ns < now_ns).for_each(|idle| self.sleep(idle));
        let thread = threads.iter_mut().min_by_key(|thread| thread.free_at_ns).expect("at least one thread");
        let begun_ns = now_ns.max(thread.free_at_ns);
        let mut at_ns = begun_ns;
        while cost_ns > 0 {
            // Work that follows upon work takes no notice of the quota: nobody looks before the tick.
            if !thread.runs || at_ns.is_multiple_of(TICK_NS) {
                at_ns = self.look(thread, at_ns);
            }
            let run_ns = cost_ns.min(TICK_NS - at_ns % TICK_NS);
            thread.run(run_ns);
            at_ns += run_ns;
            cost_ns -= run_ns;
        }
        thread.free_at_ns = at_ns;
        Ran { begun_ns, done_ns: at_ns }
    }

    /// Looks at a thread that wants to run from `at_ns` on: when it may (`__account_cfs_rq_runtime`,
    /// `throttle_cfs_rq`).
    fn look(&mut self, thread: &mut Thread, mut at_ns: u64) -> u64 {
        self.take(thread, at_ns, SLICE_NS);
        while thread.in_hand_ns <= 0 {
            at_ns = (self.period_at(at_ns) + 1) * self.period_ns - self.phase_ns;
            self.take(thread, at_ns, 1); // Just enough to be on its way (`distribute_cfs_runtime`).
        }
        at_ns
    }

    /// A thread has had nothing to do since it became free (`return_cfs_rq_runtime`).
    fn sleep(&mut self, thread: &mut Thread) {
        if !std::mem::replace(&mut thread.runs, false) {
            return;
        }
        self.take(thread, thread.free_at_ns, SLICE_NS);
        let surplus_ns = (thread.in_hand_ns - KEPT_NS).max(0);
        if self.period_at(thread.free_at_ns) == self.period {
            self.pool_ns += surplus_ns;
        }
        self.owed_ns -= thread.in_hand_ns.min(0);
        thread.in_hand_ns = thread.in_hand_ns.clamp(0, KEPT_NS);
    }

    /// Fills an empty hand up to `target_ns`, and pays what it owes, as far as the pool goes
    /// (`__assign_cfs_rq_runtime`).
    fn take(&mut self, thread: &mut Thread, at_ns: u64, target_ns: i64) {
        self.refill(at_ns);
        if thread.in_hand_ns <= 0 && self.period_at(at_ns) == self.period {
            let taken_ns = (target_ns - thread.in_hand_ns).min(self.pool_ns);
            self.pool_ns -= taken_ns;
            thread.in_hand_ns += taken_ns;
        }
    }

    fn refill(&mut self, at_ns: u64) {
        let periods = self.period_at(at_ns).saturating_sub(self.period);
        if periods > 0 {
            self.period += periods;
            let before_ns = self.quota_ns.saturating_mul(i64::try_from(periods - 1).unwrap_or(i64::MAX));
            self.owed_ns = (self.owed_ns - before_ns).max(0);
            let paid_ns = self.owed_ns.min(self.quota_ns);
            self.owed_ns -= paid_ns;
            self.pool_ns = self.quota_ns - paid_ns;
        }
    }

    fn period_at(&self, at_ns: u64) -> u64 {
        (at_ns + self.phase_ns) / self.period_ns
    }
}
