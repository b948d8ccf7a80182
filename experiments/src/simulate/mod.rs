//! From a spec to a simulated world and back to an outcome.
//!
//! `deployment` says which pod runs what, `places` on which hosts, `faults` what breaks.

mod deployment;
mod faults;
mod places;

use crate::{
    book::{Book, RouterReports},
    outcome::Outcome,
    progress::Progress,
    spec::Spec,
    workload::Workload,
};
use anyhow::{Context, bail};
use deployment::Deployment;
use sim::{Cluster, CoresPlan, Settings, Simulation};
use std::{
    io::Write,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// Something that runs an experiment: [`simulate`] or, in tests, a stand-in.
///
/// It gets the spec, counters to report through while it works, and where to write the event log (a line an event), if
/// one is asked for. It is called on a thread of its own, a fresh one each time, and may use that thread as it likes.
///
/// # Errors
/// When the experiment could not be run to its end.
pub type Simulate = fn(&Spec, &Arc<Progress>, Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome>;

/// Time for all clients to connect, in virtual time: they need a few round trips.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// How long all routes take to settle after the first reports: a report's way into the table.
const REPORT_MARGIN: Duration = Duration::from_millis(500);
/// After the last task: time for acknowledgements that are on their way, and for a second delivery of a task to be seen
/// off, one reply timeout and one retry delay after another.
const QUIET_LIMIT: Duration = Duration::from_secs(300);
/// How often that is looked at, in virtual time.
const QUIET_LOOK_PERIOD: Duration = Duration::from_millis(10);
/// How often the director tells how far the clock has come, in virtual time.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Runs `spec` in the simulator.
///
/// # Errors
/// When the world panics, or is not done within `limits.virtual_s_max`.
pub fn simulate(spec: &Spec, progress: &Arc<Progress>, log: Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome> {
    let mut simulation = Simulation::new(settings(spec));
    if let Some(log) = log {
        simulation.write_trace_to(log);
    }
    for (pod, class) in deployment::pods(spec) {
        let host = places::host(spec, &pod, class);
        simulation.add_pod(pod, host);
    }
    progress.tasks_total.store(spec.workload.tasks.into(), Ordering::Relaxed);
    let (spec, progress) = (Arc::new(spec.clone()), progress.clone());
    let finished = simulation.run(move |cluster| direct(cluster, spec, progress)).context("running the world")?;
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
        distances: places::distances(&network.links),
        cores: CoresPlan { count: spec.machines.cores, late_percent: spec.machines.late_percent },
        loss_ppm: network.loss_ppm.into(),
        restarts_max: u16::try_from(spec.faults.len()).unwrap_or(u16::MAX),
        audit: spec.audit,
    }
}

/// Starts everything in its order, waits for the end, and closes the book.
async fn direct(cluster: Cluster, spec: Arc<Spec>, progress: Arc<Progress>) -> anyhow::Result<Outcome> {
    let workload = Workload::draw(&spec);
    let book = Book::new(workload, progress.clone(), RouterReports::Here);
    let deployment = Deployment::new(spec.clone(), book.clone());
    deployment.boot_brokers(&cluster);
    sleep(Duration::from_millis(10)).await;
    deployment.boot_fleet_and_routers(&cluster);
    connect(&deployment, &cluster).await?;
    if spec.fleet.rssi_period_ms > 0 {
        sleep(Duration::from_millis(spec.fleet.rssi_period_ms.into()) + REPORT_MARGIN).await;
    }
    let mut workers = std::pin::pin!(deployment.boot_workers(&cluster));
    let mut all_work = false;
    let mut faults = std::pin::pin!(faults::inject(&deployment, &cluster, &spec.faults));
    let mut faults_over = false;
    let limit = Instant::now() + Duration::from_secs(spec.limits.virtual_s_max.into());
    while !(book.is_finished() && faults_over && all_work) {
        tokio::select! {
            biased;
            () = &mut workers, if !all_work => all_work = true,
            () = book.finished(), if !book.is_finished() => {}
            () = &mut faults, if !faults_over => faults_over = true,
            () = sleep(LOOK_PERIOD) => progress.virtual_us.store(cluster.now_us(), Ordering::Relaxed),
        }
        if Instant::now() >= limit {
            let open_ends = deployment.open_ends();
            let violations = deployment.close().violations.join("; ");
            let limit_s = spec.limits.virtual_s_max;
            bail!(
                "not done after {limit_s} s of virtual time: {open_ends}{}{violations}",
                if violations.is_empty() { "" } else { "; " }
            );
        }
    }
    // A task that was delivered twice may be in work again; let that end, too.
    let quiet = async {
        while deployment.tasks_waiting() > 0 {
            sleep(QUIET_LOOK_PERIOD).await;
        }
    };
    if timeout(QUIET_LIMIT, quiet).await.is_err() {
        bail!("tasks are done but still queued {QUIET_LIMIT:?} later: {}", deployment.open_ends());
    }
    let mut outcome = deployment.close();
    for (pod, _) in deployment::pods(&spec) {
        let kind = pod.rsplit_once('-').map_or(pod.as_str(), |(kind, _)| kind);
        *outcome.frames_read.entry(kind.to_owned()).or_default() += cluster.frames_read(&pod);
    }
    Ok(outcome)
}

/// Waits until every gateway and every router has its MQTT session.
async fn connect(deployment: &Deployment, cluster: &Cluster) -> anyhow::Result<()> {
    let expected = deployment.mqtt_clients();
    let all_connected = async {
        while deployment.mqtt.clients_connected() < expected {
            sleep(Duration::from_millis(10)).await;
        }
    };
    if timeout(CONNECT_LIMIT, all_connected).await.is_err() {
        let connected = deployment.mqtt.clients_connected();
        bail!("only {connected} of {expected} MQTT clients have connected by {} us", cluster.now_us());
    }
    sleep(Duration::from_millis(100)).await; // subscriptions and the routers' AMQP connections
    Ok(())
}
