//! RabbitMQ's metadata store: queues begin and end in it one after the other.
//!
//! It does not always take the one that has waited longest. RabbitMQ 3.10 keeps queues in Mnesia, whose transactions
//! start again when they meet another's lock; `experiments calibrate` measures how often one overtakes another.

use super::Job;
use crate::os::split_mix;
use tokio::sync::oneshot;

/// What the begin or the end of a queue costs. All zero: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetadataPlan {
    /// CPU time of the store itself, in microseconds: the next change begins when it is over.
    pub change_us: u64,
    /// CPU time that the change takes on another thread at the same time, in microseconds. It is made when both are
    /// over.
    pub beside_us: u64,
    /// Both vary: sigma of their logarithm, in percent.
    pub spread_percent: u32,
    /// How often the next change is any of those that wait, in percent; else it is the one that has waited longest.
    pub disorder_percent: u32,
}

/// Changes that wait, and the one that is made.
#[derive(Debug, Default)]
pub(super) struct MetadataStore {
    /// One for each connection at most.
    waiting: Vec<oneshot::Sender<()>>,
    making: Option<([Job; 2], oneshot::Sender<()>)>,
}

impl MetadataStore {
    pub(super) fn wait(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.push(sender);
        receiver
    }

    pub(super) fn can_begin(&self) -> bool {
        self.making.is_none() && !self.waiting.is_empty()
    }

    /// Takes the next change up; it is made when both jobs are done.
    pub(super) fn begin(&mut self, jobs: [Job; 2], disorder_percent: u32, rng: &mut u64) {
        assert!(self.can_begin(), "one change at a time");
        let any = disorder_percent > 0 && split_mix(rng) % 100 < disorder_percent.into();
        let next = if any { (split_mix(rng) % self.waiting.len() as u64) as usize } else { 0 };
        self.making = Some((jobs, self.waiting.remove(next)));
    }

    /// The work of the change that is being made.
    pub(super) fn jobs(&self) -> &[Job; 2] {
        &self.making.as_ref().expect("a change is being made").0
    }

    /// It is made. Nobody may be there any more to hear it.
    pub(super) fn finish(&mut self) {
        let (_, done) = self.making.take().expect("a change is being made");
        let _ = done.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Cpu, CpuPlan};

    const MS: u64 = 1_000_000;

    /// In which order so many changes that come together end, and when.
    fn order(plan: MetadataPlan, changes: usize) -> Vec<(usize, u64)> {
        let mut cpu = Cpu::new(CpuPlan { metadata: plan, threads: 4, ..CpuPlan::default() }, 7, None);
        let (mut due_ns, mut waiting) = (None, Vec::new());
        for i in 0..changes {
            let (done, due) = cpu.change_metadata(0);
            waiting.push((i, done));
            due_ns = due_ns.or(due);
        }
        let mut ended = Vec::new();
        while let Some(now_ns) = due_ns {
            due_ns = cpu.metadata_is_due(now_ns);
            let done = waiting.iter_mut().position(|(_, done)| done.try_recv().is_ok()).expect("a change has ended");
            ended.push((waiting.remove(done).0, now_ns));
        }
        ended
    }

    #[test]
    fn queues_begin_and_end_one_after_the_other() {
        let plan = MetadataPlan { change_us: 1_000, ..MetadataPlan::default() };
        assert_eq!(order(plan, 3), [(0, MS), (1, 2 * MS), (2, 3 * MS)]);
    }

    #[test]
    fn a_change_takes_two_threads_and_other_work_another() {
        let plan = MetadataPlan { change_us: 500, beside_us: 1_000, ..MetadataPlan::default() };
        let mut cpu = Cpu::new(CpuPlan { metadata: plan, threads: 3, ..CpuPlan::default() }, 7, None);
        let (_first, due_ns) = cpu.change_metadata(0);
        let (_second, none) = cpu.change_metadata(0);
        assert_eq!((due_ns, none), (Some(MS), None));
        let job = cpu.work(0, 10);
        assert_eq!(cpu.done_ns(0, job), MS / 100);
    }

    #[test]
    fn with_disorder_some_overtake_others_and_none_is_forgotten() {
        let plan = MetadataPlan { change_us: 1_000, disorder_percent: 40, ..MetadataPlan::default() };
        let ended = order(plan, 400);
        let overtaken: usize =
            (0..400).map(|i| ended[i + 1..].iter().filter(|(other, _)| *other < ended[i].0).count()).sum();
        // One of n overtakes (n - 1) / 2 if any may be next: with 400 at the beginning and none at the end, 100 at the
        // mean.
        let mean = overtaken as f64 / 400.0;
        assert!((32.0..48.0).contains(&mean), "{mean} instead of 40 % of 100");
        let mut all: Vec<usize> = ended.iter().map(|(i, _)| *i).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..400));
    }
}
