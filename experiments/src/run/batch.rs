//! Runs many experiments side by side, as many at a time as there are cores; each simulation leases one.

use super::{Explained, Run, explained_watched, run_watched};
use crate::{
    attribution::Details,
    cost::Cost,
    progress::{BatchDisplay, Progress},
    simulate::{Attribute, Simulate},
    spec::Spec,
};
use anyhow::anyhow;
use std::{
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

/// How often the watching thread looks.
const LOOK_PERIOD: Duration = Duration::from_millis(200);

/// What a worker tells the watching thread.
enum Report<T> {
    Started(usize),
    Ended(usize, anyhow::Result<Box<(f64, T)>>),
}

/// Runs all `specs`, as many at a time as there are cores, and gives their runs in the order of `specs`, showing
/// progress unless `quiet`. A run that fails does not stop the others. How much memory one of them takes can't be told
/// apart, so none says.
#[must_use]
pub fn run_all(specs: &[Spec], simulate: Simulate, quiet: bool) -> Vec<anyhow::Result<Run>> {
    run_at_a_time(cores(), specs, simulate, quiet)
}

/// The same with where the time of their tasks went: gives what `of` makes of each, so that no more of that is kept.
#[must_use]
pub fn explain_all<T: Send>(
    specs: &[Spec],
    attribute: Attribute,
    quiet: bool,
    of: fn(&Explained) -> T,
) -> Vec<anyhow::Result<T>> {
    let job = |spec: &Spec, progress: &Arc<Progress>| {
        let explained = explained_watched(spec, Details::default(), attribute, progress, || {})?;
        Ok((explained.run.cost.wall_s, of(&explained)))
    };
    all(cores(), specs, &job, quiet)
}

fn cores() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// The same, `at_a_time` of them.
#[must_use]
pub fn run_at_a_time(
    at_a_time: NonZero<usize>,
    specs: &[Spec],
    simulate: Simulate,
    quiet: bool,
) -> Vec<anyhow::Result<Run>> {
    let job = |spec: &Spec, progress: &Arc<Progress>| {
        let (outcome, wall_s) = run_watched(spec, simulate, None, progress, || {})?;
        Ok((wall_s, Run { outcome, cost: Cost::here(wall_s), live: None }))
    };
    all(at_a_time, specs, &job, quiet)
}

/// Does `job` with each, and shows the wall time that it gives, in seconds.
fn all<T: Send>(
    at_a_time: NonZero<usize>,
    specs: &[Spec],
    job: &(impl Fn(&Spec, &Arc<Progress>) -> anyhow::Result<(f64, T)> + Sync),
    quiet: bool,
) -> Vec<anyhow::Result<T>> {
    let order = longest_first(specs);
    let progress: Vec<Arc<Progress>> = specs.iter().map(|_| Arc::default()).collect();
    let next = AtomicUsize::new(0);
    let workers = at_a_time.get().min(specs.len());
    let mut results: Vec<Option<anyhow::Result<T>>> = specs.iter().map(|_| None).collect();
    let mut display = BatchDisplay::start(specs.len(), quiet);
    let (report, reports) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (report, order, next, progress) = (report.clone(), &order, &next, &progress);
            scope.spawn(move || {
                while let Some(&index) = order.get(next.fetch_add(1, Relaxed)) {
                    let _ = report.send(Report::Started(index));
                    let run = job(&specs[index], &progress[index]).map(Box::new);
                    let _ = report.send(Report::Ended(index, run));
                }
            });
        }
        drop(report);
        let mut running = Vec::new();
        loop {
            match reports.recv_timeout(LOOK_PERIOD) {
                Ok(Report::Started(index)) => running.push(index),
                Ok(Report::Ended(index, run)) => {
                    let run = run.map(|run| *run);
                    running.retain(|other| *other != index);
                    let how = match &run {
                        Ok((wall_s, _)) => format!("{wall_s:.1} s"),
                        Err(error) => format!("failed: {error:#}"),
                    };
                    display.ended(&label(&specs[index]), &how);
                    results[index] = Some(run.map(|(_, run)| run));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            display.update(running.iter().map(|index| (specs[*index].name.as_str(), &*progress[*index])));
        }
    });
    display.finish();
    results.into_iter().map(|run| run.unwrap_or_else(|| Err(anyhow!("the run's thread has gone")))).collect()
}

/// A long run that starts last keeps all others waiting for it. Tasks times pods is a rough measure of length.
fn longest_first(specs: &[Spec]) -> Vec<usize> {
    let length = |spec: &Spec| {
        let pods = 100 + u64::from(spec.replicas.routers) + u64::from(spec.fleet.gateways);
        u64::from(spec.workload.tasks) * pods
    };
    let mut order: Vec<usize> = (0..specs.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(length(&specs[*index])));
    order
}

fn label(spec: &Spec) -> String {
    format!("{} seed {}", spec.name, spec.seed)
}
