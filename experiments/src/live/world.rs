//! Starts everything in its order, waits for the end, and closes the book: what `simulate` does in virtual time.

use super::{
    Conditions, Options,
    brokers::Brokers,
    claims::Claims,
    conditions::Reading,
    keys::Keys,
    ledger::Ledger,
    router::{Launcher, Router, free_port},
};
use crate::{
    audit::{self, Remains},
    book::{Book, RouterReports},
    gateways::Gateways,
    outcome::Outcome,
    pods::{router_pods, worker_pods},
    progress::Progress,
    spec::{Machine, Spec},
    workload::{Workload, gateway_mac},
};
use anyhow::{Context, bail, ensure};
use backbone::{
    config::{self, Config, RoutingMode},
    env::{Env, TokioPlatform},
    service::{Dispatcher, TaskWorker},
};
use futures_util::future::{join_all, try_join_all};
use sim::{
    Seed,
    cgroup::{Group, Hierarchy},
    fleet::Gateway,
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Time for all clients to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// How long all routes take to settle after the first reports: a report's way into the table.
const REPORT_MARGIN: Duration = Duration::from_millis(500);
/// How often it is looked how far things are.
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// How long services may take to stop: longer than any of their own limits.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A live world. Dropping it ends its processes, routers before brokers.
struct World {
    spec: Arc<Spec>,
    config: Arc<Config>,
    book: Book,
    gateways: Gateways,
    start: Instant,
    routers: Vec<Router>,
    /// The routers' configurations and logs.
    folder: TempDir,
    ledger: Ledger,
    brokers: Brokers,
    /// Of brokers; removed after they have ended.
    _cages: Vec<Group>,
}

/// A service in this process.
struct Process {
    stop: CancellationToken,
    stopped: oneshot::Receiver<()>,
}

/// Runs `spec`.
///
/// # Errors
/// When a part does not start, or the run does not end.
pub(super) async fn run(
    spec: Arc<Spec>,
    options: &Options,
    hierarchy: Option<Hierarchy>,
    quota: String,
    progress: Arc<Progress>,
    claims: &mut Claims,
) -> anyhow::Result<(Outcome, Conditions)> {
    let start = Instant::now();
    progress.tasks_total.store(spec.workload.tasks.into(), Ordering::Relaxed);
    progress.enter("starting the brokers");
    let brokers = Brokers::start(&spec, options).await?;
    let mut conditions = Conditions::before(&brokers, quota);
    progress.enter("connecting");
    let world = World::build(&spec, brokers, hierarchy.as_ref(), start, progress.clone(), claims).await?;
    world.connect().await?;
    if spec.fleet.rssi_period_ms > 0 {
        sleep(Duration::from_millis(spec.fleet.rssi_period_ms.into()) + REPORT_MARGIN).await;
    }
    progress.enter("working");
    let before = Reading::take(&world.brokers, &world.routers);
    let services = world.work(&progress).await?;
    let after = Reading::take(&world.brokers, &world.routers);
    progress.enter("stopping");
    let outcome = world.close(services).await?;
    conditions.account(&before, &after, outcome.counters.rpcs_replied);
    Ok((outcome, conditions))
}

impl World {
    async fn build(
        spec: &Arc<Spec>,
        brokers: Brokers,
        hierarchy: Option<&Hierarchy>,
        start: Instant,
        progress: Arc<Progress>,
        claims: &mut Claims,
    ) -> anyhow::Result<Self> {
        let machines = spec.machines;
        let confine = |name: &str, pid: u32, machine: Machine| -> anyhow::Result<Option<Group>> {
            let Some((hierarchy, quota)) = hierarchy.zip(machine.quota()) else { return Ok(None) };
            Ok(Some(hierarchy.confine(name, pid, quota)?))
        };
        let mut cages = Vec::new();
        for (name, broker) in &brokers.private {
            let machine = match *name {
                "amqp" => machines.amqp,
                "mqtt" => machines.mqtt,
                _ => machines.redis,
            };
            cages.extend(confine(name, broker.pid(), machine)?);
        }
        let life = life();
        let (config, http_ports) = config(spec, &brokers, &life)?;
        let config = Arc::new(config);
        let ledger = claim(spec, &config, &brokers, claims).await?;
        let book = Book::new(Workload::draw(spec), progress, RouterReports::Elsewhere);
        let gateways = Gateways::place(spec.clone());
        let folder = tempfile::tempdir().context("making a directory for the routers' configurations and logs")?;
        let routers = Vec::new();
        let spec = spec.clone();
        let mut world = Self { spec, config, book, gateways, start, routers, folder, ledger, brokers, _cages: cages };
        world.start_fleet(&life);
        world.start_routers(&http_ports, &|pod, pid| confine(pod, pid, machines.router)).await?;
        Ok(world)
    }

    fn start_fleet(&self, life: &str) {
        let env = Env::new(TokioPlatform { nodelay: self.spec.machines.gateway.nodelay });
        for index in 0..self.spec.fleet.gateways {
            let mut plan = self.gateways.plan(index, self.brokers.mqtt.clone());
            // A client with the same name would be thrown out.
            plan.client_id = format!("{life}-{}", plan.client_id);
            let rng = Seed::new(self.spec.seed).stream(&format!("gateway {index}"));
            env.spawn("gateway", Gateway::run(env.clone(), plan, self.book.labels(), rng));
        }
    }

    async fn start_routers(
        &mut self,
        http_ports: &[u16],
        confine: &dyn Fn(&str, u32) -> anyhow::Result<Option<Group>>,
    ) -> anyhow::Result<()> {
        let nodelay = self.spec.machines.router.nodelay;
        let launcher = Launcher { folder: self.folder.path(), config: &self.config, nodelay, confine };
        for (index, pod) in router_pods(&self.spec).enumerate() {
            self.routers.push(launcher.start(&pod, http_ports.get(index).copied())?);
        }
        let deadline = Instant::now() + CONNECT_LIMIT;
        try_join_all(self.routers.iter_mut().map(|router| router.ready(deadline))).await?;
        Ok(())
    }

    /// Waits for the gateways; the routers are ready already.
    async fn connect(&self) -> anyhow::Result<()> {
        let expected = self.spec.fleet.gateways as usize;
        let connected = async {
            while self.gateways.online() < expected {
                sleep(LOOK_PERIOD).await;
            }
        };
        if timeout(CONNECT_LIMIT, connected).await.is_err() {
            let (online, config::Mqtt { host, port, .. }) = (self.gateways.online(), &self.brokers.mqtt);
            bail!("only {online} of {expected} gateways have subscribed at {host}:{port} after {CONNECT_LIMIT:?}");
        }
        Ok(())
    }

    /// Runs a service in this process.
    fn start<F>(&self, service: impl FnOnce(CancellationToken) -> F, env: &Env) -> Process
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let (ended, stopped) = oneshot::channel();
        let service = service(stop.clone());
        env.spawn("service", async move {
            service.await;
            let _ = ended.send(());
        });
        Process { stop, stopped }
    }

    fn start_worker(&self, pod: &str) -> Process {
        let env = Env::new(TokioPlatform { nodelay: self.spec.machines.task_worker.nodelay });
        let (config, start) = (self.config.clone(), self.start);
        let telemetry = self.book.telemetry(pod, move |_| Some(since(start)));
        self.start(|stop| TaskWorker::run(env.clone(), config, telemetry, stop), &env)
    }

    fn start_dispatcher(&self) -> Process {
        let env = Env::tokio();
        let inside = env.clone();
        let (config, start, tasks) = (self.config.clone(), self.start, self.book.workload().clone().tasks());
        let telemetry = self.book.telemetry("dispatcher", move |_| Some(since(start)));
        let service = |stop| async move {
            if let Err(error) = Dispatcher::run(inside, config, telemetry, stop, tasks).await {
                tracing::error!(%error, "the dispatcher gave up");
            }
        };
        self.start(service, &env)
    }

    /// Starts workers and dispatcher and waits until all tasks have ended.
    async fn work(&self, progress: &Progress) -> anyhow::Result<Vec<Process>> {
        let replicas = &self.spec.replicas;
        let limit_s = self.spec.limits.virtual_s_max;
        let limit = Instant::now() + Duration::from_secs(limit_s.into());
        let mut services = Vec::new();
        if replicas.all_at_once() {
            services.extend(worker_pods(&self.spec).map(|pod| self.start_worker(&pod)));
        }
        services.push(self.start_dispatcher());
        for (pod, started) in worker_pods(&self.spec).zip(1..).filter(|_| !replicas.all_at_once()) {
            services.push(self.start_worker(&pod));
            sleep(replicas.pause_after(started)).await;
        }
        while !self.book.is_finished() {
            tokio::select! {
                biased;
                () = self.book.finished() => {}
                () = sleep(LOOK_PERIOD) => progress.virtual_us.store(since(self.start), Ordering::Relaxed),
            }
            ensure!(Instant::now() < limit, "not done after {limit_s} s: {}", self.ledger.open_ends().await);
        }
        Ok(services)
    }

    /// Stops the services, asks routers and brokers what there was, and closes the book.
    async fn close(mut self, services: Vec<Process>) -> anyhow::Result<Outcome> {
        services.iter().for_each(|service| service.stop.cancel());
        let stopped = join_all(services.into_iter().map(|service| service.stopped));
        ensure!(timeout(STOP_LIMIT, stopped).await.is_ok(), "workers have not stopped within {STOP_LIMIT:?}");
        let mut counted = RouterCounts::default();
        for router in &self.routers {
            counted.take(router).await?;
        }
        let routers = std::mem::take(&mut self.routers);
        try_join_all(routers.into_iter().map(Router::stop)).await?;
        let remains = Remains { mqtt_messages: counted.mqtt_messages, ..self.ledger.remains().await? };
        let mut outcome = audit::close(&self.book, &remains, true);
        outcome.virtual_us = since(self.start);
        outcome.counters.disconnects += counted.disconnects;
        for (reason, times) in counted.drops {
            *outcome.counters.drops.entry(reason).or_default() += times;
        }
        Ok(outcome)
    }
}

/// What routers count for themselves.
#[derive(Default)]
struct RouterCounts {
    /// Requests that MQTT took from them, and replies and reports that they took from it.
    mqtt_messages: u64,
    disconnects: u64,
    drops: Vec<(backbone::telemetry::DropReason, u64)>,
}

impl RouterCounts {
    async fn take(&mut self, router: &Router) -> anyhow::Result<()> {
        let metrics = router.metrics().await?;
        let over_mqtt = ["requests_forwarded", "replies_returned", "rssi_reports_stored"];
        self.mqtt_messages += over_mqtt.iter().map(|name| metrics.sum(&format!("backbone_{name}_total"))).sum::<u64>();
        self.disconnects += metrics.sum("backbone_disconnects_total");
        self.drops.extend(metrics.drops());
        Ok(())
    }
}

/// What nobody else at the brokers is called.
fn life() -> String {
    let mut random = [0; 8];
    Env::tokio().random(&mut random);
    format!("shelfwire-bench-{:016x}", u64::from_be_bytes(random))
}

/// Makes sure that nobody else uses these queues and keys, has them given back if they are not at private brokers, and names
/// the one gateway of fixed routing.
async fn claim(spec: &Spec, config: &Arc<Config>, brokers: &Brokers, claims: &mut Claims) -> anyhow::Result<Ledger> {
    let ledger = Ledger::open(config).await?;
    let mut keys = Keys::open(&config.redis).await?;
    keys.check_unused().await?;
    claims.queues = (!brokers.is_private("amqp")).then(|| config.clone());
    claims.keys = (!brokers.is_private("redis")).then(|| config.clone());
    if config.routing.mode == RoutingMode::Fixed {
        let limit = Duration::from_secs(spec.limits.virtual_s_max.into());
        keys.set_default_route(&gateway_mac(0).to_string(), limit).await?;
    }
    Ok(ledger)
}

/// The services' configuration, pointed at the brokers and at the HTTP routers, whose ports come with it.
fn config(spec: &Spec, brokers: &Brokers, life: &str) -> anyhow::Result<(Config, Vec<u16>)> {
    let mut config = spec.backbone.clone();
    config.amqp.clone_from(&brokers.amqp);
    config.mqtt.clone_from(&brokers.mqtt);
    config.redis.clone_from(&brokers.redis);
    // In another deployment's group, routers would take its messages.
    for group in [&mut config.bck_router.group, &mut config.http_router.group] {
        *group = format!("{life}-{group}");
    }
    let mut ports = Vec::new();
    if spec.is_over_http() {
        ports = router_pods(spec).map(|_| free_port()).collect::<anyhow::Result<_>>()?;
        config.rpc.routers = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    }
    config.validate().context("the services would not accept this configuration")?;
    Ok((config, ports))
}

/// Microseconds since `start`.
fn since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).expect("a run ends within 584,000 years")
}
