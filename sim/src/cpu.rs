//! The CPU of a pod: what its work costs, and CFS bandwidth control.
//!
//! Work is done first come, first served, by as many threads as the pod has, each on a processor of its own. What a quota
//! makes of that is in `bandwidth`.
//!
//! Plain state without a clock of its own. Where work is charged: `socket` (a frame read, a write), `cluster::on_pod`
//! (a poll of a task), `network` (the way from the kernel to the application).

mod bandwidth;
#[cfg(test)]
mod kernel;

use crate::os::split_mix;
use bandwidth::{Bandwidth, TICK_NS, Thread};

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
    threads: Vec<Thread>,
    /// `None`: no quota.
    bandwidth: Option<Bandwidth>,
    /// When the metadata store has done what it was given, in ns.
    metadata_free_at_ns: u64,
    rng: u64,
}

impl Cpu {
    pub(crate) fn new(plan: CpuPlan, mut rng: u64) -> Self {
        Self {
            threads: vec![Thread::default(); plan.threads.max(1) as usize],
            bandwidth: plan.quota.map(|quota| Bandwidth::new(quota, &mut rng)),
            plan,
            metadata_free_at_ns: 0,
            rng,
        }
    }

    pub(crate) fn plan(&self) -> CpuPlan {
        self.plan
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

    /// Takes on work of exactly `cost_ns`. `now_ns` never goes back.
    fn charge(&mut self, now_ns: u64, mut cost_ns: u64) -> u64 {
        if let Some(bandwidth) = &mut self.bandwidth {
            self.threads.iter_mut().filter(|thread| thread.free_at_ns < now_ns).for_each(|idle| bandwidth.sleep(idle));
        }
        let thread = self.threads.iter_mut().min_by_key(|thread| thread.free_at_ns).expect("at least one thread");
        let mut at_ns = now_ns.max(thread.free_at_ns);
        let Some(bandwidth) = &mut self.bandwidth else {
            thread.free_at_ns = at_ns + cost_ns;
            return thread.free_at_ns;
        };
        while cost_ns > 0 {
            // Work that follows upon work takes no notice of the quota: nobody looks before the tick.
            if !thread.runs || at_ns.is_multiple_of(TICK_NS) {
                at_ns = bandwidth.look(thread, at_ns);
            }
            let run_ns = cost_ns.min(TICK_NS - at_ns % TICK_NS);
            thread.run(run_ns);
            at_ns += run_ns;
            cost_ns -= run_ns;
        }
        thread.free_at_ns = at_ns;
        at_ns
    }
}

#[cfg(test)]
mod tests;
