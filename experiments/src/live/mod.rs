//! Runs an experiment for real: broker processes, each router a process of its own, and dispatcher, workers, gateways
//! and labels in this one, from the same code as in the simulation, over real TCP.
//!
//! `world` has what runs. `brokers` are private ones or the user's (`address`), a `router` is this executable told to
//! be `backbone`, `sim::real::cgroup` puts processes under their quotas, `queues` and `keys` look into RabbitMQ and
//! Redis before and after, `spans` collects the traces of requests, `cleanup` leaves brokers that are not the run's own
//! as they were, and `conditions` says what the numbers rest on. `faults` are what happens to `processes`, and to the
//! `ways` between them; `recovery` says whether all works again after it.
//!
//! Deployment, workload and measurements are those of the simulation. What a spec says about links, CPU costs and
//! kernels is the simulation's; here they are what they are.

mod address;
mod brokers;
mod cleanup;
mod conditions;
mod cpu;
mod faults;
mod keys;
mod options;
mod processes;
mod queues;
mod recovery;
mod router;
mod spans;
mod ways;
mod world;

pub use address::AddressError;
pub(crate) use brokers::Brokers;
pub(crate) use conditions::BENCH;
pub use conditions::Conditions;
pub use faults::KINDS as FAULT_KINDS;
pub use options::Options;

use crate::{measure::Outcome, progress::Progress, spec::Spec};
use anyhow::{Context, ensure};
use cleanup::Cleanup;
use sim::real::cgroup::Hierarchy;
use std::{sync::Arc, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// How long what still runs in this process may take to end once it has been dropped.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// A run that was stopped by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped by {0}; nothing was written")]
pub struct Stopped(&'static str);

/// Runs `spec` once for real. Brokers and routers end with it, also after a failure, a SIGINT or a SIGTERM.
///
/// # Errors
/// When the spec asks for what can't be had live, a part does not start, or the run takes longer than
/// `limits.virtual_s_max`.
pub fn live(spec: &Spec, options: &Options, progress: &Arc<Progress>) -> anyhow::Result<(Outcome, Conditions)> {
    let hierarchy = possible(spec, options)?;
    let quota = quota_in_words(spec, options, hierarchy.as_ref());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let mut cleanup = Cleanup::default();
    let ended = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let spec = Arc::new(spec.clone());
        tokio::select! {
            biased;
            _ = interrupt.recv() => Err(Stopped("SIGINT").into()),
            _ = terminate.recv() => Err(Stopped("SIGTERM").into()),
            done = world::run(spec, options, hierarchy, quota, progress.clone(), &mut cleanup) => done,
        }
    });
    // A worker that still lived could declare its queues again.
    runtime.shutdown_timeout(DROP_LIMIT);
    cleanup.run();
    ended
}

/// Refuses what is not possible, and finds where quotas can be set if any are needed.
fn possible(spec: &Spec, options: &Options) -> anyhow::Result<Option<Hierarchy>> {
    faults::refuse(spec, options)?;
    ensure!(spec.autoscale.is_empty(), "{} scales replicas (autoscale), which only the simulator does", spec.name);
    ensure!(
        options.mqtt.is_none() || spec.backbone.mqtt.session_expiry_s == 0,
        "{} leaves sessions at the MQTT broker (backbone.mqtt.session_expiry_s), and --mqtt names one that is not the \
         run's",
        spec.name
    );
    ensure!(
        spec.network.loss_ppm == 0,
        "{} loses segments (network.loss_ppm), which only the simulator does",
        spec.name
    );
    ensure!(
        spec.brokers.redis_shards == 1,
        "{} has several Redis servers (brokers.redis_shards), and a live run has one",
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
        "the CPU quota of {} can't be kept live, since it is no process of its own that the bench starts; --no-quota \
         runs without any",
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
