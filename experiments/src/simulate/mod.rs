//! From a spec to a simulated world and back to an outcome.
//!
//! `world` has what runs, `hosts` on what it runs, `lives` whether it does, `faults` what breaks, `recovery` whether it
//! works again after that, `leftovers` what is still at the brokers, `scaling` what comes and goes, `versions` how it
//! is configured, `sampling` what is seen of it.

mod faults;
mod hosts;
mod leftovers;
mod lives;
mod recovery;
mod sampling;
mod scaling;
mod versions;
mod world;

use crate::{
    attribution::{Attribution, Attributor, Details},
    deployment,
    measure::{Outcome, Recorder, RouterReports, joined},
    progress::Progress,
    spec::Spec,
};
use anyhow::Context;
use recovery::Recovery;
use sampling::Samples;
use sim::{Cluster, CoresPlan, Settings, Simulation};
use std::{
    io::Write,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use world::World;

/// Something that runs an experiment: [`simulate`] or, in tests, a stand-in.
///
/// It gets the spec, counters to report through while it works, and where to write the event log (a line an event), if
/// one is asked for. It is called on a thread of its own, a fresh one each time, and may use that thread as it likes.
///
/// # Errors
/// When the experiment could not be run to its end.
pub type Simulate = fn(&Spec, &Arc<Progress>, Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome>;

/// The same with where the time of each task went: [`attribute`] or, in tests, a stand-in.
///
/// # Errors
/// When the experiment could not be run to its end.
pub type Attribute = fn(&Spec, Details, &Arc<Progress>) -> anyhow::Result<(Outcome, Attribution)>;

/// How often the director tells how far the clock has come, in virtual time.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// What a run was asked to do takes longer than it may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not done after {limit_s} s of virtual time: {open_ends}")]
pub struct NotDone {
    /// `limits.virtual_s_max`.
    pub limit_s: u32,
    /// What was still to do.
    pub open_ends: String,
}

/// Runs `spec` in the simulator.
///
/// # Errors
/// When the world panics, or is not done within `limits.virtual_s_max`.
pub fn simulate(spec: &Spec, progress: &Arc<Progress>, log: Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome> {
    simulate_with(spec, progress, log, None)
}

/// Runs `spec` in the simulator and finds out where the time of each task went, and the `details` that are asked for.
/// The outcome is the same.
///
/// # Errors
/// As [`simulate`].
pub fn attribute(spec: &Spec, details: Details, progress: &Arc<Progress>) -> anyhow::Result<(Outcome, Attribution)> {
    let attributor = Attributor::new(spec, details);
    let outcome = simulate_with(spec, progress, None, Some(attributor.clone()))?;
    let attribution = attributor.finish(&outcome);
    Ok((outcome, attribution))
}

fn simulate_with(
    spec: &Spec,
    progress: &Arc<Progress>,
    log: Option<Box<dyn Write + Send>>,
    attributor: Option<Attributor>,
) -> anyhow::Result<Outcome> {
    let mut simulation = Simulation::new(settings(spec));
    if let Some(attributor) = &attributor {
        simulation.observe(attributor.observer());
    }
    if let Some(log) = log {
        simulation.write_trace_to(log);
    }
    for pod in deployment::pods(spec) {
        simulation.add_pod(pod.to_string(), hosts::host(spec, pod));
    }
    progress.tasks_total.store(spec.workload.tasks.into(), Ordering::Relaxed);
    let (spec, progress) = (Arc::new(spec.clone()), progress.clone());
    let finished =
        simulation.run(move |cluster| direct(cluster, spec, progress, attributor)).context("running the world")?;
    let mut outcome = finished.output?;
    outcome.virtual_us = finished.virtual_us;
    outcome.trace_digest = finished.digest.to_string();
    outcome.counters.segments = finished.counters.network.segments;
    tracing::info!(counters = ?finished.counters, "the engine's counters");
    Ok(outcome)
}

fn settings(spec: &Spec) -> Settings {
    let network = &spec.network;
    Settings {
        seed: spec.seed,
        quantum_us: network.quantum_us.into(),
        distances: hosts::distances(&network.links),
        cores: CoresPlan { count: spec.machines.cores, late_percent: spec.machines.late_percent },
        loss_ppm: network.loss_ppm.into(),
        restarts_max: u16::try_from(spec.restarts_by_faults())
            .unwrap_or(u16::MAX)
            .saturating_add(scaling::restarts_max(spec)),
        audit: spec.audit,
    }
}

/// Starts everything in its order, waits for the end, and gives what came of it.
async fn direct(
    cluster: Cluster,
    spec: Arc<Spec>,
    progress: Arc<Progress>,
    attributor: Option<Attributor>,
) -> anyhow::Result<Outcome> {
    let recorder = Recorder::new(&spec, progress.clone(), RouterReports::Here);
    let world = World::new(cluster, spec.clone(), (recorder.clone(), attributor.clone()), progress.clone());
    world.start_brokers().await;
    world.take(deployment::set_up(&spec)).await?;
    let mut recovery = Recovery::of(&world);
    let mut work = std::pin::pin!(world.take(deployment::work(&spec)));
    let mut all_work = false;
    if let Some(attributor) = &attributor {
        attributor.begins(&spec, world.cluster().now_us());
    }
    let mut faults = std::pin::pin!(faults::inject(&world, &spec));
    let mut hits = None;
    let samples = Samples::of(&world, &spec);
    let mut sampling = std::pin::pin!(samples.take());
    let mut scaling = std::pin::pin!(scaling::follow(&world, &spec));
    let limit = Instant::now() + Duration::from_secs(spec.limits.virtual_s_max.into());
    while !(recorder.is_finished() && hits.is_some() && all_work) {
        tokio::select! {
            biased;
            started = &mut work, if !all_work => {
                started?;
                all_work = true;
            }
            () = recorder.finished(), if !recorder.is_finished() => {}
            over = &mut faults, if hits.is_none() => {
                hits = Some(over);
                recovery.begin();
            }
            never = &mut sampling => match never {},
            failed = &mut scaling => return failed.map(|never| match never {}),
            () = sleep(LOOK_PERIOD) => {
                progress.virtual_us.store(world.cluster().now_us(), Ordering::Relaxed);
                recovery.look();
            }
        }
        if recovery.is_overdue() {
            break;
        }
        if Instant::now() >= limit {
            let open_ends = world.open_ends();
            let violations = joined(&world.outcome().violations, "; ");
            let limit_s = spec.limits.virtual_s_max;
            let separator = if violations.is_empty() { "" } else { "; " };
            return Err(NotDone { limit_s, open_ends: format!("{open_ends}{separator}{violations}") }.into());
        }
    }
    tokio::select! {
        biased;
        () = recovery.end() => {}
        failed = &mut scaling => return failed.map(|never| match never {}),
    }
    samples.look();
    let mut outcome = world.outcome();
    outcome.samples.clone_from(&samples.seen());
    outcome.fault_hits = hits.unwrap_or_default();
    for pod in deployment::pods(&spec) {
        *outcome.frames_read.entry(pod.kind().to_owned()).or_default() += world.cluster().frames_read(&pod.to_string());
    }
    Ok(outcome)
}
