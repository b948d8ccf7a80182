//! The live world: starts everything in its order, waits for the end, and gives what came of it, as `simulate` does in
//! virtual time.

use super::{
    brokers::Brokers,
    cleanup::Cleanup,
    conditions::{Conditions, Reading},
    keys::Keys,
    options::Options,
    queues::Queues,
    router::{Launcher, Router},
    spans::{Collector, sample_ppm},
};
use crate::{
    deployment::{self, CONNECT_LIMIT, Gateways, Process, Step, Work, called_routers, run_service},
    measure::{
        HopMedians, Outcome, Recorder, RouterReports, SECOND_US, Sample,
        invariants::{self, BrokerState},
    },
    progress::Progress,
    spec::{Pod, Spec},
    workload::gateway_mac,
};
use anyhow::{Context, bail, ensure};
use backbone::{
    config::{self, Config, RoutingMode},
    env::{Env, TokioPlatform},
};
use futures_util::future::{join_all, try_join_all};
use sim::{
    Seed,
    fleet::{BusyProcessor, Gateway},
    real::{
        cgroup::{Group, Hierarchy},
        port::Port,
    },
};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// How often it is looked how far things are.
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// How long services may take to stop: longer than any of their own limits.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A live world. Dropping it ends its processes, routers before brokers.
struct World {
    spec: Arc<Spec>,
    config: Arc<Config>,
    recorder: Recorder,
    gateways: Gateways,
    start: Instant,
    /// What nothing else at the brokers is called.
    run_id: String,
    /// Where routers that answer calls listen.
    ports: BTreeMap<Pod, Port>,
    /// Dispatcher and workers.
    services: Vec<Process>,
    routers: Vec<Router>,
    /// The routers' configurations and logs.
    folder: TempDir,
    queues: Queues,
    /// What RabbitMQ showed, about once a second.
    samples: Vec<Sample>,
    /// `None`: the spec has a collector of its own.
    collector: Option<Collector>,
    brokers: Brokers,
    /// Of brokers; removed after they have ended.
    _cgroups: Vec<Group>,
    hierarchy: Option<Hierarchy>,
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
    cleanup: &mut Cleanup,
) -> anyhow::Result<(Outcome, Conditions)> {
    let start = Instant::now();
    progress.tasks_total.store(spec.workload.tasks.into(), Ordering::Relaxed);
    progress.enter("starting the brokers");
    let brokers = Brokers::start(&spec, options).await?;
    let mut conditions = Conditions::before(&brokers, quota);
    progress.enter("connecting");
    let mut world = World::build(spec.clone(), brokers, hierarchy, start, progress.clone(), cleanup).await?;
    world.take(deployment::set_up(&spec)).await?;
    progress.enter("working");
    let before = Reading::take(&world.brokers, &world.routers);
    world.work(&progress).await?;
    let after = Reading::take(&world.brokers, &world.routers);
    progress.enter("stopping");
    let outcome = world.close().await?;
    conditions.account(&before, &after, outcome.counters.rpcs_replied);
    conditions.hops = HopMedians::of(&outcome);
    Ok((outcome, conditions))
}

impl World {
    /// A world of nothing but `brokers`.
    async fn build(
        spec: Arc<Spec>,
        brokers: Brokers,
        hierarchy: Option<Hierarchy>,
        start: Instant,
        progress: Arc<Progress>,
        cleanup: &mut Cleanup,
    ) -> anyhow::Result<Self> {
        let mut cgroups = Vec::new();
        for (pod, broker) in &brokers.private {
            cgroups.extend(confine(hierarchy.as_ref(), &spec, *pod, broker.pid())?);
        }
        let run_id = run_id();
        let (mut config, ports) = config(&spec, &brokers, &run_id)?;
        let collector = match config.tracing.collector.as_str() {
            "" => Some(Collector::start(&Env::tokio()).await?),
            _ => None,
        };
        if let Some(collector) = &collector {
            config.tracing =
                config::Tracing { collector: collector.url(), sample_ppm: sample_ppm(spec.workload.tasks) };
        }
        let config = Arc::new(config);
        let queues = claim(&spec, &config, &brokers, cleanup).await?;
        Ok(Self {
            config,
            recorder: Recorder::new(&spec, progress, RouterReports::Elsewhere),
            gateways: Gateways::place(spec.clone()),
            start,
            run_id,
            ports,
            services: Vec::new(),
            routers: Vec::new(),
            folder: tempfile::tempdir().context("making a directory for the routers' configurations and logs")?,
            queues,
            samples: Vec::new(),
            collector,
            brokers,
            _cgroups: cgroups,
            hierarchy,
            spec,
        })
    }

    /// Takes `steps`, one after the other.
    ///
    /// # Errors
    /// When a router does not start, or not everybody gets connected.
    async fn take(&mut self, steps: Vec<Step>) -> anyhow::Result<()> {
        for step in steps {
            match step {
                Step::Start(pod) => self.start(pod)?,
                Step::Connect => self.connect().await?,
                Step::Pause(time) => sleep(time).await,
            }
        }
        Ok(())
    }

    /// Starts what belongs on `pod`.
    fn start(&mut self, pod: Pod) -> anyhow::Result<()> {
        match pod {
            Pod::Gateway(_) | Pod::Store(_) => self.start_gateways(pod),
            Pod::Router(..) => self.start_router(pod)?,
            Pod::TaskWorker(_) | Pod::Dispatcher => self.start_service(pod),
            Pod::Amqp | Pod::Mqtt | Pod::Redis | Pod::RedisShard(_) => {
                unreachable!("the world was built with its brokers")
            }
            Pod::Autoscaler => unreachable!("specs that scale are refused"),
        }
        Ok(())
    }

    fn start_gateways(&self, pod: Pod) {
        let env = self.env(pod);
        for index in self.spec.fleet.gateways_on(pod) {
            let mut plan = self.gateways.plan(index, self.brokers.mqtt.clone(), Arc::new(BusyProcessor));
            // A client with the same name would be thrown out.
            plan.client_id = format!("{}-{}", self.run_id, plan.client_id);
            let rng = Seed::new(self.spec.seed).stream(&format!("gateway {index}"));
            env.spawn("gateway", Gateway::run(env.clone(), plan, self.recorder.labels(), rng));
        }
    }

    fn start_router(&mut self, pod: Pod) -> anyhow::Result<()> {
        let confine = |pid| confine(self.hierarchy.as_ref(), &self.spec, pod, pid);
        let nodelay = self.spec.machines.of(pod).nodelay;
        let launcher = Launcher { folder: self.folder.path(), config: &self.config, nodelay, confine: &confine };
        let router = launcher.start(pod, self.ports.get(&pod).map(Port::number))?;
        self.routers.push(router);
        Ok(())
    }

    fn start_service(&mut self, pod: Pod) {
        let (env, start) = (self.env(pod), self.start);
        let telemetry = self.recorder.telemetry(pod, move |_| Some(since(start)));
        let (config, recorder) = (self.config.clone(), self.recorder.clone());
        let work = Work {
            may_fall_silent: false,
            tasks: recorder.publish(move || since(start)),
            take_result: move |result| recorder.take_result(since(start), result),
        };
        self.services.push(Process::start(&env.clone(), |stop| async move {
            if let Err(error) = run_service(pod, env, config, telemetry, work, stop).await {
                tracing::error!(%error, "the dispatcher gave up");
            }
        }));
    }

    /// The environment of what runs in this process.
    fn env(&self, pod: Pod) -> Env {
        Env::new(TokioPlatform { nodelay: self.spec.machines.of(pod).nodelay, ..TokioPlatform::default() })
    }

    /// Waits for the routers and then for the gateways.
    async fn connect(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + CONNECT_LIMIT;
        try_join_all(self.routers.iter_mut().map(|router| router.ready(deadline))).await?;
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

    /// Starts workers and dispatcher and waits until all tasks have ended.
    async fn work(&mut self, progress: &Progress) -> anyhow::Result<()> {
        let limit_s = self.spec.limits.virtual_s_max;
        let limit = Instant::now() + Duration::from_secs(limit_s.into());
        self.take(deployment::work(&self.spec)).await?;
        let mut sample_us = since(self.start).next_multiple_of(SECOND_US);
        while !self.recorder.is_finished() {
            tokio::select! {
                biased;
                () = self.recorder.finished() => {}
                () = sleep(LOOK_PERIOD) => progress.virtual_us.store(since(self.start), Ordering::Relaxed),
            }
            if since(self.start) >= sample_us {
                self.samples.push(self.queues.sample(since(self.start)).await?);
                sample_us = since(self.start).next_multiple_of(SECOND_US);
            }
            ensure!(Instant::now() < limit, "not done after {limit_s} s: {}", self.queues.open_ends().await);
        }
        self.recorder.probe(limit - Instant::now()).await;
        Ok(())
    }

    /// Stops the services, asks routers and brokers what there was, and gives what came of the run.
    async fn close(mut self) -> anyhow::Result<Outcome> {
        self.services.iter().for_each(Process::ask_to_stop);
        let stopped = join_all(self.services.drain(..).map(Process::stopped));
        ensure!(timeout(STOP_LIMIT, stopped).await.is_ok(), "workers have not stopped within {STOP_LIMIT:?}");
        let mut counted = RouterCounts::default();
        for router in &self.routers {
            counted.take(router).await?;
        }
        let routers = std::mem::take(&mut self.routers);
        try_join_all(routers.into_iter().map(Router::stop)).await?;
        let brokers = BrokerState { mqtt_messages: counted.mqtt_messages, ..self.queues.empty().await? };
        let mut outcome = invariants::check(&self.recorder, &brokers, true);
        outcome.virtual_us = since(self.start);
        outcome.samples = self.samples;
        if let Some(collected) = self.collector.map(|collector| collector.collected()) {
            (outcome.rpc_latencies_us, outcome.call_hops) = (collected.router_to_router_us, collected.hops);
        }
        outcome.radio = self.gateways.radio_use();
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

/// What nothing else at the brokers is called.
fn run_id() -> String {
    let mut random = [0; 8];
    Env::tokio().random(&mut random);
    format!("shelfwire-bench-{:016x}", u64::from_be_bytes(random))
}

/// Makes sure that nobody else uses these queues and keys, has them cleaned up if they are not at private brokers, and
/// names the one gateway of fixed routing.
async fn claim(spec: &Spec, config: &Arc<Config>, brokers: &Brokers, cleanup: &mut Cleanup) -> anyhow::Result<Queues> {
    let queues = Queues::open(config).await?;
    let mut keys = Keys::open(&config.redis).await?;
    keys.check_unused().await?;
    cleanup.queues = (!brokers.is_private(Pod::Amqp)).then(|| config.clone());
    cleanup.keys = (!brokers.is_private(Pod::Redis)).then(|| config.clone());
    if config.routing.mode == RoutingMode::Fixed {
        let limit = Duration::from_secs(spec.limits.virtual_s_max.into());
        keys.set_default_route(&gateway_mac(0).to_string(), limit).await?;
    }
    Ok(queues)
}

/// The services' configuration, pointed at the brokers and at the routers that answer calls, whose ports come with it.
fn config(spec: &Spec, brokers: &Brokers, run_id: &str) -> anyhow::Result<(Config, BTreeMap<Pod, Port>)> {
    let mut config = spec.backbone.clone();
    config.amqp.clone_from(&brokers.amqp);
    config.mqtt.clone_from(&brokers.mqtt);
    config.redis.clone_from(&brokers.redis);
    // In another deployment's group, routers would take its messages.
    for group in [&mut config.bck_router.group, &mut config.http_router.group] {
        *group = format!("{run_id}-{group}");
    }
    let ports =
        called_routers(spec).map(|pod| Ok((pod, Port::claim()?))).collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    if !ports.is_empty() {
        config.rpc.routers = ports.values().map(|port| format!("127.0.0.1:{}", port.number())).collect();
    }
    config.validate().context("the services would not accept this configuration")?;
    Ok((config, ports))
}

/// Puts process `pid` under the quota that `spec` has for `pod`, if there is one and quotas can be set.
fn confine(hierarchy: Option<&Hierarchy>, spec: &Spec, pod: Pod, pid: u32) -> anyhow::Result<Option<Group>> {
    let Some((hierarchy, quota)) = hierarchy.zip(spec.machines.of(pod).quota()) else { return Ok(None) };
    Ok(Some(hierarchy.confine(&pod.to_string(), pid, quota)?))
}

/// Microseconds since `start`.
fn since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).expect("a run ends within 584,000 years")
}
