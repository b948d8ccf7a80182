//! Room at workers: how many tasks they take at a time, since when, and how soon they are free again.

use super::{
    Assumptions,
    plan::{Job, NS_PER_US},
};
use crate::attribution::{Attribution, Cause};
use std::collections::BTreeMap;

/// A task's begin at a worker, as it was.
pub(super) struct Start {
    pub(super) worker: u16,
    /// When RabbitMQ gave it away.
    pub(super) given_us: u64,
    pub(super) try_ended_us: u64,
    /// It had waited for that.
    pub(super) waited: bool,
}

/// Finds out how many tasks workers take at a time and since when, and sets how soon each is free again.
pub(super) fn slots(starts: &[Start], at_a_time: usize, jobs: &mut [Job]) -> Vec<u64> {
    let mut workers: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (place, start) in starts.iter().enumerate() {
        workers.entry(start.worker).or_default().push(place);
    }
    let mut slots_us = Vec::new();
    let mut releases_us: Vec<(usize, u64)> = Vec::new();
    for mut begun in workers.into_values() {
        begun.sort_by_key(|place| starts[*place].given_us);
        let mut ended = begun.clone();
        ended.sort_by_key(|place| starts[*place].try_ended_us);
        for (number, start) in begun.iter().map(|place| &starts[*place]).enumerate() {
            match number.checked_sub(at_a_time) {
                None => slots_us.push(if start.waited { start.given_us } else { 0 }),
                Some(before) if start.waited => {
                    let before = ended[before];
                    releases_us.push((before, start.given_us.saturating_sub(starts[before].try_ended_us)));
                }
                Some(_) => {}
            }
        }
    }
    let mut sorted: Vec<u64> = releases_us.iter().map(|(_, us)| *us).collect();
    sorted.sort_unstable();
    let usual_us = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    jobs.iter_mut().for_each(|job| job.release_ns = usual_us * NS_PER_US);
    releases_us.into_iter().for_each(|(place, us)| jobs[place].release_ns = us * NS_PER_US);
    slots_us.sort_unstable();
    slots_us
}

/// Room at workers as it would be: there sooner if it is waited for less, and more of it if less waits.
pub(super) fn with_factors(attribution: &Attribution, assumptions: &Assumptions, slots_us: Vec<u64>) -> Vec<u64> {
    let first_us = attribution.tasks.iter().map(|task| task.record.published_us).min().unwrap_or(0);
    let there = assumptions.factor(Cause::ConsumerNotThere);
    let sooner = |us: u64| first_us + (us.saturating_sub(first_us) as f64 * there) as u64;
    let load = assumptions.factor(Cause::TaskQueue);
    let count = slots_us.len() as f64 / load.max(f64::MIN_POSITIVE);
    let count = (count as usize).clamp(slots_us.len(), attribution.tasks.len().max(slots_us.len()));
    (0..count).map(|place| sooner(slots_us[place * slots_us.len() / count]) * NS_PER_US).collect()
}
