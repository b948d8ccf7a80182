//! Cores that the threads of one machine's pods share.
//!
//! As the kernel's fair scheduler does: threads that have work get equal shares of the cores, none more than one core.
//! So nothing waits behind other pods' backlogs, and as long as as many threads have work as there are cores, all cores
//! work. When work will be done is known only as far as nobody takes on more: whoever waits for it asks again at that
//! time.
//!
//! A thread that wakes on a busy machine mostly runs at once, in another's stead; but sometimes it has to wait until
//! the kernel looks after the running threads again, at the next tick.

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

/// Work is counted in parts of a nanosecond of CPU time: a thread's share of two cores in a nanosecond is a fraction,
/// and must not be lost when something happens in each nanosecond.
const PARTS_PER_NS: u64 = 1_024;

#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    /// Work that it was ever given, in parts.
    given: u64,
    /// How much of that is still to be done, in parts.
    left: u64,
    /// Until when it waits for a tick.
    late_until_ns: u64,
}

/// The cores of one machine, and the threads that run on them.
#[derive(Debug)]
pub(crate) struct Cores {
    cores: u64,
    late_percent: u32,
    rng: u64,
    threads: Vec<Thread>,
    /// Up to when work has been done.
    now_ns: u64,
}

/// A piece of work: done when this thread has done so much in all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    thread: usize,
    parts: u64,
}

impl Cores {
    /// `rng` decides who has to wait.
    pub(crate) fn new(plan: CoresPlan, rng: u64) -> Self {
        assert!(plan.count > 0, "a machine without any core never does anything");
        let (cores, late_percent) = (plan.count.into(), plan.late_percent);
        Self { cores, late_percent, rng, threads: Vec::new(), now_ns: 0 }
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

    /// Gives work of `cost_ns` to the one of these threads that has the least to do. `now_ns` never goes back.
    pub(super) fn run(&mut self, threads: Range<usize>, now_ns: u64, cost_ns: u64) -> Share {
        self.work_until(now_ns);
        let own = threads.min_by_key(|thread| self.threads[*thread].left).expect("at least one thread");
        if self.threads[own].left == 0 && self.at_work() >= self.cores {
            self.threads[own].late_until_ns = now_ns + self.late_ns();
        }
        let thread = &mut self.threads[own];
        thread.given += cost_ns * PARTS_PER_NS;
        thread.left += cost_ns * PARTS_PER_NS;
        Share { thread: own, parts: thread.given }
    }

    /// When a piece of work is done, or, if it isn't by now, the earliest time at which it can be.
    pub(super) fn done_ns(&mut self, now_ns: u64, Share { thread: own, parts }: Share) -> u64 {
        self.work_until(now_ns);
        let thread = &self.threads[own];
        let done = thread.given - thread.left;
        if done >= parts {
            return now_ns;
        }
        let wait_ns = thread.late_until_ns.saturating_sub(now_ns);
        now_ns + wait_ns + self.time_ns_for(own, parts - done)
    }

    /// How long a thread takes for its next `work` if all threads that are at work just finish what they have.
    fn time_ns_for(&self, own: usize, work: u64) -> u64 {
        if self.at_work() <= self.cores {
            return work.div_ceil(PARTS_PER_NS);
        }
        // While it does its work, each of the others does as much, or all that it has.
        let others = self.threads.iter().enumerate().filter(|(i, other)| *i != own && self.is_at_work(other));
        let mut ends: Vec<u64> = others.map(|(_, other)| other.left.min(work)).collect();
        ends.sort_unstable();
        let (mut time, mut done, mut at_work) = (0, 0, 1 + ends.len() as u64);
        for end in ends.into_iter().chain([work]) {
            time += (end - done) * at_work / self.cores.min(at_work);
            (done, at_work) = (end, at_work - 1);
        }
        time.div_ceil(PARTS_PER_NS)
    }

    fn is_at_work(&self, thread: &Thread) -> bool {
        thread.left > 0 && thread.late_until_ns <= self.now_ns
    }

    fn at_work(&self) -> u64 {
        self.threads.iter().filter(|thread| self.is_at_work(thread)).count() as u64
    }

    /// Lets threads work until `now_ns`, from one moment at which one stops or begins to the next.
    fn work_until(&mut self, now_ns: u64) {
        while self.now_ns < now_ns {
            let here_ns = self.now_ns;
            let (mut at_work, mut least, mut until_ns) = (0, u64::MAX, now_ns);
            for thread in self.threads.iter().filter(|thread| thread.left > 0) {
                if thread.late_until_ns <= here_ns {
                    (at_work, least) = (at_work + 1, least.min(thread.left));
                } else {
                    until_ns = until_ns.min(thread.late_until_ns);
                }
            }
            if at_work > 0 {
                let busy_cores = self.cores.min(at_work);
                let first_end_ns = here_ns + (least * at_work).div_ceil(busy_cores * PARTS_PER_NS);
                until_ns = until_ns.min(first_end_ns);
                let share = (until_ns - here_ns) * PARTS_PER_NS * busy_cores / at_work;
                for thread in self.threads.iter_mut().filter(|thread| thread.late_until_ns <= here_ns) {
                    thread.left = thread.left.saturating_sub(share);
                }
            }
            self.now_ns = until_ns;
        }
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

    fn run(machine: &mut Cores, thread: usize, now_ns: u64, cost_ns: u64) -> Share {
        machine.run(thread..thread + 1, now_ns, cost_ns)
    }

    /// When all these are done, asked as those do who wait for them.
    fn ends<const N: usize>(machine: &mut Cores, jobs: [Share; N]) -> [u64; N] {
        let mut ends = [0; N];
        let mut now_ns = machine.now_ns;
        while let Some(next_ns) = jobs.iter().map(|job| machine.done_ns(now_ns, *job)).filter(|end| *end > now_ns).min()
        {
            now_ns = next_ns;
            for (end, job) in ends.iter_mut().zip(jobs) {
                if *end == 0 && machine.done_ns(now_ns, job) <= now_ns {
                    *end = now_ns;
                }
            }
        }
        ends
    }

    #[test]
    fn threads_with_a_core_each_do_not_disturb_each_other() {
        let mut machine = machine(2, 2);
        let jobs = [run(&mut machine, 0, 0, 100), run(&mut machine, 1, 0, 40)];
        assert_eq!(ends(&mut machine, jobs), [100, 40]);
    }

    #[test]
    fn two_threads_on_one_core_each_get_half_of_it() {
        let mut machine = machine(1, 2);
        let jobs = [run(&mut machine, 0, 0, 1_000), run(&mut machine, 1, 100, 50)];
        assert_eq!(ends(&mut machine, jobs), [1_050, 200], "one does not wait for the other to end, and takes from it");
    }

    #[test]
    fn work_that_waits_behind_its_own_thread_is_delayed_with_it() {
        let mut machine = machine(1, 2);
        let jobs = [run(&mut machine, 0, 0, 100), run(&mut machine, 0, 0, 100), run(&mut machine, 1, 10, 30)];
        assert_eq!(ends(&mut machine, jobs), [130, 230, 70]);
    }

    #[test]
    fn what_others_leave_is_for_those_who_go_on() {
        let mut machine = machine(2, 3);
        let jobs = [(0, 300), (1, 300), (2, 60)].map(|(thread, cost_ns)| run(&mut machine, thread, 0, cost_ns));
        // Two thirds of a core for each until 90, when the short one is done; then a core for each.
        assert_eq!(ends(&mut machine, jobs), [330, 330, 90]);
    }

    #[test]
    fn a_time_that_is_told_is_right_if_nothing_comes_in_between() {
        let mut rng = 3;
        for _ in 0..200 {
            let mut machine = machine(2, 5);
            let jobs = [0, 1, 2, 3, 4].map(|thread| {
                let cost_ns = 1_000 + crate::os::split_mix(&mut rng) % 100_000;
                run(&mut machine, thread, 0, cost_ns)
            });
            let told = jobs.map(|job| machine.done_ns(0, job));
            let ends = ends(&mut machine, jobs);
            assert!(told.iter().zip(ends).all(|(told, end)| told.abs_diff(end) <= 5), "{told:?}, then {ends:?}");
        }
    }

    #[test]
    fn a_late_thread_leaves_the_cores_to_others_until_its_tick() {
        let mut machine = Cores::new(CoresPlan { count: 1, late_percent: 100 }, 1);
        machine.add_threads(2);
        let jobs = [run(&mut machine, 0, 0, 10 * TICK_NS), run(&mut machine, 1, 0, 100)];
        let late_ns = machine.threads[1].late_until_ns;
        assert!((1..TICK_NS).contains(&late_ns), "{late_ns}");
        assert_eq!(ends(&mut machine, jobs), [10 * TICK_NS + 100, late_ns + 200]);
    }

    #[test]
    fn cores_with_work_are_never_idle_and_never_do_more_than_they_can() {
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
            let all = (0..threads as usize).map(|thread| run(&mut machine, thread, now_ns, 0));
            let all: Vec<Share> = all.collect();
            let done_ns = all.into_iter().map(|job| machine.done_ns(now_ns, job)).max().expect("some threads");
            let used = work_ns as f64 / (done_ns * u64::from(cores)) as f64;
            assert!((0.95..=1.0).contains(&used), "{used} of {cores} cores with {threads} threads");
        }
    }
}
