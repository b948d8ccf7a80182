//! Runs experiments: each on a thread of its own, watched, and with what it costs.
//!
//! A run is simulated or live; `batch` runs many side by side, `verify` one twice.

pub mod batch;
mod verify;

pub use verify::{Divergence, first_divergence, verify};

use crate::{
    attribution::{Attribution, Details},
    cost::{self, Cost, Stopwatch},
    live::{self, Conditions},
    measure::{Oracle, Outcome, Violation, joined},
    progress::{Clock, Display, Progress},
    simulate::{Attribute, Simulate, attribute},
    spec::{FaultKind, Spec},
};
use anyhow::{Context, anyhow, bail};
use backbone::config::Correlation;
use std::{
    io::Write,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

/// How often the watching thread looks.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// A run that came to its end.
#[derive(Clone, Debug)]
pub struct Run {
    /// What the seed decided.
    pub outcome: Outcome,
    /// What it cost here.
    pub cost: Cost,
    /// For a live run: what its numbers rest on.
    pub live: Option<Conditions>,
}

/// Simulates `spec` once, showing progress unless `quiet`.
///
/// # Errors
/// When the simulation fails or panics, or when what it reports does not add up.
pub fn run(spec: &Spec, simulate: Simulate, trace: Option<Box<dyn Write + Send>>, quiet: bool) -> anyhow::Result<Run> {
    let event_log = trace.is_some();
    let progress = Arc::new(Progress::default());
    let mut display = Display::start(quiet, Clock::Virtual);
    cost::reset_peak_memory();
    let ended = run_watched(spec, simulate, trace, &progress, || display.update(&progress));
    display.finish();
    let (outcome, wall_s) = ended?;
    let cost = Cost { peak_memory_bytes: cost::peak_memory_bytes(), event_log, ..Cost::here(wall_s) };
    Ok(Run { outcome, cost, live: None })
}

/// A simulated run with where the time of its tasks went.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The run, which the looking has not changed.
    pub run: Run,
    /// Every microsecond of every task.
    pub attribution: Attribution,
}

/// Simulates `spec` once and finds out where the time of its tasks went, showing progress unless `quiet`.
///
/// # Errors
/// As [`run`].
pub fn explained(spec: &Spec, details: Details, quiet: bool) -> anyhow::Result<Explained> {
    let progress = Arc::new(Progress::default());
    let mut display = Display::start(quiet, Clock::Virtual);
    let explained = explained_watched(spec, details, attribute, &progress, || display.update(&progress));
    display.finish();
    explained
}

fn explained_watched(
    spec: &Spec,
    details: Details,
    attribute: Attribute,
    progress: &Arc<Progress>,
    look: impl FnMut(),
) -> anyhow::Result<Explained> {
    let job = {
        let (spec, progress) = (spec.clone(), Arc::clone(progress));
        move || attribute(&spec, details, &progress)
    };
    let ((outcome, attribution), wall_s) = watch(job, look)?;
    check(spec, &outcome)?;
    let run = Run { outcome, cost: Cost::here(wall_s), live: None };
    Ok(Explained { run, attribution })
}

/// Runs `spec` once for real, showing progress unless `quiet`.
///
/// # Errors
/// Those of [`live::live`], and when what the run reports does not add up.
pub fn run_live(spec: &Spec, options: &live::Options, quiet: bool) -> anyhow::Result<Run> {
    let progress = Arc::new(Progress::default());
    let mut display = Display::start(quiet, Clock::Real);
    let job = {
        let (spec, options, progress) = (spec.clone(), options.clone(), progress.clone());
        move || live::live(&spec, &options, &progress)
    };
    let ended = watch(job, || display.update(&progress));
    display.finish();
    let ((outcome, conditions), wall_s) = ended?;
    check(spec, &outcome)?;
    Ok(Run { outcome, cost: Cost::here(wall_s), live: Some(conditions) })
}

/// Runs `spec` on a fresh thread (hash seeds and the like live per thread) and calls `look` several times a second
/// meanwhile. Gives the outcome and the wall time in seconds.
fn run_watched(
    spec: &Spec,
    simulate: Simulate,
    trace: Option<Box<dyn Write + Send>>,
    progress: &Arc<Progress>,
    look: impl FnMut(),
) -> anyhow::Result<(Outcome, f64)> {
    let job = {
        let (spec, progress) = (spec.clone(), Arc::clone(progress));
        move || simulate(&spec, &progress, trace)
    };
    let (outcome, wall_s) = watch(job, look)?;
    check(spec, &outcome)?;
    Ok((outcome, wall_s))
}

/// Does `job` on a fresh thread and calls `look` several times a second meanwhile. Gives what comes out and the wall
/// time in seconds.
fn watch<T: Send + 'static>(
    job: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    mut look: impl FnMut(),
) -> anyhow::Result<(T, f64)> {
    let clock = Stopwatch::start();
    let (done, wait) = mpsc::channel::<std::convert::Infallible>();
    let thread = std::thread::Builder::new().name("experiment".into()).spawn(move || {
        let _closes_when_the_run_ends = done;
        job()
    });
    let thread = thread.context("starting the experiment's thread")?;
    while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(LOOK_PERIOD) {
        look();
    }
    let ended = thread.join();
    let wall_s = (clock.elapsed_s() * 1e3).round() / 1e3;
    let ended = ended.map_err(|panic| anyhow!("the run panicked: {}", panic_message(&*panic)))??;
    Ok((ended, wall_s))
}

/// Simulates `spec` once, and looks at nothing; its event log goes to `log`, if that is there.
///
/// # Errors
/// When the simulation fails or panics.
pub(crate) fn outcome(spec: &Spec, simulate: Simulate, log: Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome> {
    let spec = spec.clone();
    Ok(watch(move || simulate(&spec, &Arc::default(), log), || {})?.0)
}

/// A run of which an invariant does not hold must not leave results.
fn check(spec: &Spec, outcome: &Outcome) -> anyhow::Result<()> {
    let violations = violations(spec, outcome);
    if !violations.is_empty() {
        bail!("the run does not add up:\n  {}", joined(&violations, "\n  "));
    }
    Ok(())
}

/// All rules that did not hold in a run of `spec`.
#[must_use]
pub fn violations(spec: &Spec, outcome: &Outcome) -> Vec<Violation> {
    let mut violations = outcome.violations.clone();
    // With the thesis' key, concurrent calls for one label do take each other's replies; the table shows how many. The
    // worker refuses them all the same: none is given to a caller that had not asked. So it does with those of a
    // gateway that says one label's reply to be another's.
    let misrouted = outcome.counters.rpcs_misrouted;
    let gateways_lie = spec.faults.iter().any(|fault| fault.kind == FaultKind::ReplyForOther);
    if misrouted > 0 && spec.backbone.correlation == Correlation::RequestId && !gateways_lie {
        let text = format!("{misrouted} replies reached somebody who had not asked");
        violations.push(Oracle::ReplyMisrouted.broken(text));
    }
    violations
}

/// What a panic says.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}
