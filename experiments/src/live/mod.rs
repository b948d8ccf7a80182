//! Runs an experiment for real: broker processes, each router a process of its own, and dispatcher, workers, gateways and
//! labels in this one, from the same code as in the simulation, over real TCP.
//!
//! `brokers` are private ones or the user's (`address`), a `router` is this executable told to be `backbone`,
//! `sim::cgroup` puts processes under their quotas, `ledger` and `keys` look into RabbitMQ and Redis before and after,
//! `claims` gives back what a run has taken of brokers that are not its own, and `conditions` says what the numbers rest
//! on.
//! Book, audit, results and plots are those of the simulation. What a spec says about links, CPU costs and kernels is the
//! simulation's; here they are what they are.

mod address;
mod brokers;
pub mod calibrate;
mod claims;
mod conditions;
mod cpu;
mod keys;
mod ledger;
mod router;
mod world;

pub use address::AddressError;
pub use conditions::Conditions;

use crate::{
    machine::Machine,
    outcome::Outcome,
    progress::{Clock, Display, Progress},
    run::{self, Run},
    spec::Spec,
};
use anyhow::{Context, bail, ensure};
use claims::Claims;
use sim::cgroup::Hierarchy;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// How to run live.
#[derive(Clone, Default)]
pub struct Options {
    /// RabbitMQ to use instead of a private one: `amqp://…` or `amqps://…`.
    pub amqp: Option<String>,
    /// MQTT broker to use: `mqtt://…` or `mqtts://…`.
    pub mqtt: Option<String>,
    /// Redis to use: `redis://…` or `rediss://…`.
    pub redis: Option<String>,
    /// Certificates, in PEM, of those who may sign the brokers' certificates.
    pub ca_file: Option<PathBuf>,
    /// Run without the spec's CPU quotas.
    pub no_quota: bool,
}

/// Runs `spec` once for real, showing progress unless `quiet`. Brokers and routers end with it, also after a failure, a
/// SIGINT or a SIGTERM.
///
/// # Errors
/// When the spec asks for what can't be had live, a part does not start, the run takes longer than `limits.virtual_s_max`,
/// or when what it reports does not add up.
pub fn run(spec: &Spec, options: &Options, quiet: bool) -> anyhow::Result<Run> {
    let hierarchy = possible(spec, options)?;
    let quota = quota_in_words(spec, options, hierarchy.as_ref());
    let progress = Arc::new(Progress::default());
    let mut display = Display::start(quiet, Clock::Real);
    let job = {
        let (spec, options, progress) = (Arc::new(spec.clone()), options.clone(), progress.clone());
        move || perform(spec, &options, hierarchy, quota, &progress)
    };
    let ended = run::watch(job, || display.update(&progress));
    display.finish();
    let ((outcome, conditions), wall_s) = ended?;
    run::check(spec, &outcome)?;
    Ok(Run { outcome, machine: Machine::here(wall_s), live: Some(conditions) })
}

/// Refuses what is not possible, and finds where quotas can be set if any are needed.
fn possible(spec: &Spec, options: &Options) -> anyhow::Result<Option<Hierarchy>> {
    ensure!(spec.faults.is_empty(), "{} has faults, which only the simulator injects", spec.name);
    ensure!(
        options.mqtt.is_none() || spec.backbone.mqtt.session_expiry_s == 0,
        "{} leaves sessions at the MQTT broker (backbone.mqtt.session_expiry_s), and --mqtt names one that is not the run's",
        spec.name
    );
    ensure!(
        spec.network.loss_ppm == 0,
        "{} loses segments (network.loss_ppm), which only the simulator does",
        spec.name
    );
    let machines = &spec.machines;
    let here = [("task_worker", machines.task_worker), ("gateway", machines.gateway)];
    let wanted: Vec<&str> =
        here.iter().filter(|(_, machine)| machine.cpu_quota_us > 0).map(|(name, _)| *name).collect();
    let given = [("amqp", machines.amqp, &options.amqp), ("mqtt", machines.mqtt, &options.mqtt)];
    let given = given.into_iter().chain([("redis", machines.redis, &options.redis)]);
    let given = given.filter(|(_, machine, url)| machine.cpu_quota_us > 0 && url.is_some()).map(|(name, ..)| name);
    let beyond: Vec<&str> = wanted.into_iter().chain(given).collect();
    if options.no_quota || !has_quota(spec) {
        return Ok(None);
    }
    ensure!(
        beyond.is_empty(),
        "the CPU quota of {} can't be kept live, since it is no process of its own that the bench starts; --no-quota runs \
         without any",
        beyond.join(" and ")
    );
    Ok(Some(Hierarchy::find().context("--no-quota runs without quotas")?))
}

fn has_quota(spec: &Spec) -> bool {
    let machines = &spec.machines;
    let all = [machines.amqp, machines.redis, machines.mqtt, machines.gateway, machines.router, machines.task_worker];
    all.iter().any(|machine| machine.cpu_quota_us > 0)
}

fn quota_in_words(spec: &Spec, options: &Options, hierarchy: Option<&Hierarchy>) -> String {
    match hierarchy {
        Some(hierarchy) => format!("as in the spec ({})", hierarchy.name()),
        None if options.no_quota && has_quota(spec) => "NOT those of the spec: unlimited, as --no-quota says".into(),
        None => "none in the spec".into(),
    }
}

/// How long what still runs in this process may take to end once it has been dropped.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// Runs the world on a runtime of its own until it is done or a signal comes, and gives back what it has claimed.
fn perform(
    spec: Arc<Spec>,
    options: &Options,
    hierarchy: Option<Hierarchy>,
    quota: String,
    progress: &Arc<Progress>,
) -> anyhow::Result<(Outcome, Conditions)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let mut claims = Claims::default();
    let ended = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        tokio::select! {
            biased;
            _ = interrupt.recv() => bail!("stopped by SIGINT; nothing was written"),
            _ = terminate.recv() => bail!("stopped by SIGTERM; nothing was written"),
            done = world::run(spec, options, hierarchy, quota, progress.clone(), &mut claims) => done,
        }
    });
    // A worker that still lived could declare its queues again.
    runtime.shutdown_timeout(DROP_LIMIT);
    claims.release();
    ended
}
