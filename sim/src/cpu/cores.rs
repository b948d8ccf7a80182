//! Cores that the threads of one machine's pods share.
//!
//! As the kernel's fair scheduler does: threads that have work get equal shares of the cores. A thread that takes on work
//! while more threads are at work than there are cores is stretched by that ratio, and slows the others down by as much
//! as it takes from them. So nothing waits behind other pods' backlogs, and no core does more than a second's work in a
//! second. How many are at work is looked at once for each piece of work, when it begins.
//!
//! A thread that wakes on a busy machine mostly runs at once, in another's stead; but sometimes it has to wait until the
//! kernel looks after the running threads again, at the next tick.

use super::bandwidth::TICK_NS;
use crate::os::split_mix;
use std::ops::Range;

/// The cores of a machine on which all pods are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoresPlan {
    /// How many; 0: each thread has one of its own.
    pub count: u32,
    /// How often a thread that wakes while all cores are busy has to wait for a tick, in percent.
    pub late_percent: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    /// When it has done what it was given, in ns.
    free_at_ns: u64,
    /// By how much others have slowed it down so far, in ns.
    delayed_ns: u64,
}

/// The cores of one machine, and the threads that run on them.
#[derive(Debug)]
pub(crate) struct Cores {
    cores: u64,
    late_percent: u32,
    rng: u64,
    threads: Vec<Thread>,
}

/// A piece of work that a thread has been given.
#[derive(Debug)]
pub(crate) struct Job {
    thread: usize,
    pub(super) done_ns: u64,
    /// The thread's delay when it was given.
    delayed_ns: u64,
}

impl Job {
    /// One that nothing will slow down.
    pub(super) fn until(done_ns: u64) -> Self {
        Self { thread: 0, done_ns, delayed_ns: 0 }
    }
}

impl Cores {
    /// `rng` decides who has to wait.
    pub(crate) fn new(plan: CoresPlan, rng: u64) -> Self {
        assert!(plan.count > 0, "a machine without any core never does anything");
        Self { cores: plan.count.into(), late_percent: plan.late_percent, rng, threads: Vec::new() }
    }

    /// Cores that nobody else uses, one for each of so many threads.
    pub(super) fn one_each(threads: u32) -> Self {
        Self::new(CoresPlan { count: threads, late_percent: 0 }, 0)
    }

    /// How long a thread that wakes while all cores are busy has to wait, in ns.
    fn late_ns(&mut self) -> u64 {
        if self.late_percent > 0 && split_mix(&mut self.rng) % 100 < self.late_percent.into() {
            split_mix(&mut self.rng) % TICK_NS
        } else {
            0
        }
    }

    /// Further threads: their numbers.
    pub(super) fn add_threads(&mut self, count: u32) -> Range<usize> {
        let first = self.threads.len();
        self.threads.resize(first + count as usize, Thread::default());
        first..self.threads.len()
    }

    /// Gives work of `cost_ns` to the one of these threads that is free first.
    pub(super) fn run(&mut self, threads: Range<usize>, now_ns: u64, cost_ns: u64) -> Job {
        let own = threads.min_by_key(|thread| self.threads[*thread].free_at_ns).expect("at least one thread");
        let free_at_ns = self.threads[own].free_at_ns;
        let (mut start_ns, mut taken_ns) = (now_ns.max(free_at_ns), cost_ns);
        let is_busy = |other: &Thread| other.free_at_ns > start_ns;
        let busy = 1 + self.threads.iter().enumerate().filter(|(i, other)| *i != own && is_busy(other)).count() as u64;
        if busy > self.cores {
            let others = self.threads.iter_mut().enumerate().filter(|(i, other)| *i != own && is_busy(other));
            for (_, other) in others {
                other.free_at_ns += cost_ns / self.cores;
                other.delayed_ns += cost_ns / self.cores;
            }
            taken_ns = cost_ns * busy / self.cores;
            if free_at_ns <= now_ns {
                start_ns += self.late_ns();
            }
        }
        let thread = &mut self.threads[own];
        thread.free_at_ns = start_ns + taken_ns;
        Job { thread: own, done_ns: thread.free_at_ns, delayed_ns: thread.delayed_ns }
    }

    /// When a piece of work is done, as far as is known.
    pub(super) fn done_ns(&self, job: &Job) -> u64 {
        job.done_ns + self.threads[job.thread].delayed_ns - job.delayed_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with so many cores and so many threads.
    fn machine(cores: u32, threads: u32) -> Cores {
        let mut machine = Cores::new(CoresPlan { count: cores, late_percent: 0 }, 1);
        assert_eq!(machine.add_threads(threads), 0..threads as usize);
        machine
    }

    fn run(machine: &mut Cores, thread: usize, now_ns: u64, cost_ns: u64) -> Job {
        machine.run(thread..thread + 1, now_ns, cost_ns)
    }

    #[test]
    fn threads_with_a_core_each_do_not_disturb_each_other() {
        let mut machine = machine(2, 2);
        let (a, b) = (run(&mut machine, 0, 0, 100), run(&mut machine, 1, 0, 40));
        assert_eq!((machine.done_ns(&a), machine.done_ns(&b)), (100, 40));
    }

    #[test]
    fn two_threads_on_one_core_each_get_half_of_it() {
        let mut machine = machine(1, 2);
        let long = run(&mut machine, 0, 0, 1_000);
        let short = run(&mut machine, 1, 100, 50);
        assert_eq!(machine.done_ns(&short), 200, "it does not wait for the other to end");
        assert_eq!(machine.done_ns(&long), 1_050, "and takes from it what it needs");
    }

    #[test]
    fn work_that_waits_behind_its_own_thread_is_delayed_with_it() {
        let mut machine = machine(1, 2);
        let (first, second) = (run(&mut machine, 0, 0, 100), run(&mut machine, 0, 0, 100));
        run(&mut machine, 1, 10, 30);
        assert_eq!((machine.done_ns(&first), machine.done_ns(&second)), (130, 230));
    }

    #[test]
    fn a_machine_never_does_more_work_than_it_has_cores() {
        for (cores, threads) in [(1, 2), (2, 3), (2, 7), (3, 5)] {
            let mut machine = machine(cores, threads);
            let mut rng = 7;
            let (mut now_ns, mut work_ns) = (0, 0);
            for _ in 0..5_000 {
                let draw = crate::os::split_mix(&mut rng);
                let (thread, cost_ns) = ((draw % u64::from(threads)) as usize, 1_000 + draw / 1_000 % 50_000);
                run(&mut machine, thread, now_ns, cost_ns);
                work_ns += cost_ns;
                // Always a little less time than work: the machine never runs dry.
                now_ns += cost_ns / u64::from(cores) * 9 / 10;
            }
            let done_ns = machine.threads.iter().map(|t| t.free_at_ns).max().unwrap();
            let used = work_ns as f64 / (done_ns * u64::from(cores)) as f64;
            assert!((0.85..=1.02).contains(&used), "{used} of {cores} cores with {threads} threads");
        }
    }
}
