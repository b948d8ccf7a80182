//! The live world: starts everything in its order, waits for the end, and gives what came of it, as `simulate` does in
//! virtual time.

use super::{
    brokers::Brokers,
    cleanup::Cleanup,
    conditions::{Conditions, Reading},
    faults,
    keys::Keys,
    options::Options,
    processes::Processes,
    queues::Queues,
    router::{Launcher, Router},
    spans::{Collector, sample_ppm},
    ways::Ways,
};
use crate::{
    deployment::{self, CONNECT_LIMIT, Gateways, Healing, Process, Step, Work, called_routers, run_service},
    measure::{
        HopMedians, Oracle, Outcome, Recorder, RouterReports, SECOND_US, Sample,
        invariants::{self, BrokerState},
    },
    progress::Progress,
    spec::{FaultKind, Pod, Spec},
};
use anyhow::{Context, bail, ensure};
use backbone::{
    config::{self, Config},
    env::{Env, TokioPlatform},
    telemetry::{FanOut, Readiness},
};
use futures_util::future::{join_all, try_join_all};
use sim::{
    Seed,
    fleet::{BusyProcessor, Gateway},
    real::{cgroup::Hierarchy, port::Port},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::oneshot::error::RecvError,
    time::{Instant, sleep, timeout},
};

/// What the faults' task ended with.
type Over = Result<anyhow::Result<Vec<u64>>, RecvError>;

/// How often it is looked how far things are.
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// How long services may take to stop: longer than any of their own limits.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A live world. Dropping it ends its processes, routers before brokers.
pub(super) struct World {
    pub(super) spec: Arc<Spec>,
    config: Arc<Config>,
    pub(super) recorder: Recorder,
    pub(super) gateways: Gateways,
    start: Instant,
    /// What nothing else at the brokers is called.
    run_id: String,
    /// Dispatcher and workers.
    services: Vec<(Pod, Process)>,
    /// Of the workers.
    pub(super) readiness: BTreeMap<Pod, Arc<Readiness>>,
    pub(super) processes: Arc<Processes>,
    pub(super) queues: Queues,
    /// What RabbitMQ showed, about once a second.
    samples: Vec<Sample>,
    /// `None`: the spec has a collector of its own.
    collector: Option<Collector>,
    /// How often each fault did something.
    hits: Vec<u64>,
    brokers: Brokers,
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
    let before = Reading::take(&world.brokers, &world.processes.cpu_us().await);
    world.work(&progress).await?;
    let after = Reading::take(&world.brokers, &world.processes.cpu_us().await);
    progress.enter("stopping");
    let outcome = world.close().await?;
    conditions.account(&before, &after, outcome.counters.rpcs_replied);
    conditions.hops = HopMedians::of(&outcome);
    // What a fault has ended took the time that it used with it.
    let ended = spec.faults.iter().filter(|fault| !matches!(fault.kind, FaultKind::Freeze | FaultKind::Hold));
    for kind in ended.map(|fault| fault.target.example().kind()) {
        conditions.cpu_us_per_rpc.remove(kind);
    }
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
        let run_id = run_id();
        let (mut config, ports) = config(&spec, &brokers, &run_id)?;
        let collector = match config.tracing.collector.as_str() {
            "" => Some(Collector::start(&Env::tokio()).await?),
            _ => None,
        };
        if let Some(collector) = &collector {
            config.tracing = config::Tracing { collector: collector.url(), sample_ppm: sample_ppm(&spec) };
        }
        let config = Arc::new(config);
        let queues = claim(&config, &brokers, cleanup).await?;
        let folder = tempfile::tempdir().context("making a directory for the routers' configurations and logs")?;
        let ways = Ways::lay(&spec, &brokers).await?;
        let launcher = Launcher { spec: spec.clone(), config: config.clone(), ports, ways, folder, hierarchy };
        let processes = Processes::new(launcher, deployment::routers(&spec), &brokers.private)?;
        processes.name_gateway().await?;
        let recorder = Recorder::new(&spec, progress, RouterReports::Elsewhere);
        recorder.watch_labels(move || since(start));
        Ok(Self {
            config,
            recorder,
            gateways: Gateways::place(spec.clone()),
            start,
            run_id,
            services: Vec::new(),
            readiness: BTreeMap::new(),
            processes: Arc::new(processes),
            queues,
            samples: Vec::new(),
            collector,
            hits: Vec::new(),
            brokers,
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
                Step::Start(pod) => self.start(pod).await?,
                Step::Connect => self.connect().await?,
                Step::Pause(time) => sleep(time).await,
            }
        }
        Ok(())
    }

    /// Starts what belongs on `pod`.
    async fn start(&mut self, pod: Pod) -> anyhow::Result<()> {
        match pod {
            Pod::Gateway(_) | Pod::Store(_) => self.start_gateways(pod),
            Pod::Router(..) => self.processes.start(pod).await?,
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

    fn start_service(&mut self, pod: Pod) {
        let (env, start) = (self.env(pod), self.start);
        let readiness = Arc::new(Readiness::default());
        if pod != Pod::Dispatcher {
            self.readiness.insert(pod, readiness.clone()); // a dispatcher ends by itself
        }
        let telemetry = self.recorder.telemetry(pod, move |_| Some(since(start)));
        let telemetry = Arc::new(FanOut(vec![telemetry, readiness]));
        let (config, recorder) = (self.config.clone(), self.recorder.clone());
        let work = Work {
            may_fall_silent: !self.spec.is_faultless(),
            tasks: recorder.publish(move || since(start)),
            take_result: move |result| recorder.take_result(since(start), result),
        };
        let process = Process::start(&env.clone(), |stop| async move {
            if let Err(error) = run_service(pod, env, config, telemetry, work, stop).await {
                tracing::error!(%error, "the dispatcher gave up");
            }
        });
        self.services.push((pod, process));
    }

    /// The environment of what runs in this process.
    fn env(&self, pod: Pod) -> Env {
        Env::new(TokioPlatform { nodelay: self.spec.machines.of(pod).nodelay, ..TokioPlatform::default() })
    }

    /// Waits for the routers and then for the gateways.
    async fn connect(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + CONNECT_LIMIT;
        let mut routers = self.processes.routers().await;
        let routers = routers.iter_mut().filter_map(|router| router.as_mut());
        try_join_all(routers.map(|router| router.ready(deadline))).await?;
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

    /// Starts workers and dispatcher, breaks what is to break, and waits until all tasks have ended and, if anything
    /// broke, all is well again.
    async fn work(&mut self, progress: &Progress) -> anyhow::Result<()> {
        let limit_s = self.spec.limits.virtual_s_max;
        let limit = Instant::now() + Duration::from_secs(limit_s.into());
        let mut faults = faults::begin(self.processes.clone(), self.spec.clone(), self.recorder.clone());
        self.take(deployment::work(&self.spec)).await?;
        let mut sample_us = since(self.start).next_multiple_of(SECOND_US);
        let mut healing = None;
        while !self.recorder.is_finished() || healing.is_none() {
            tokio::select! {
                biased;
                over = &mut faults.hits, if healing.is_none() => healing = Some(self.mended(over)?),
                () = self.recorder.finished(), if !self.recorder.is_finished() => {}
                () = sleep(LOOK_PERIOD) => progress.virtual_us.store(since(self.start), Ordering::Relaxed),
            }
            if since(self.start) >= sample_us {
                self.sample().await?;
                sample_us = since(self.start).next_multiple_of(SECOND_US);
            }
            if let Some(healing) = healing
                && self.is_overdue(healing).await
            {
                return Ok(());
            }
            if Instant::now() >= limit {
                bail!("not done after {limit_s} s: {}", self.queues.open_ends().await);
            }
        }
        match healing.filter(|_| !self.spec.faults.is_empty()) {
            Some(healing) => self.recover(healing).await?,
            None => self.recorder.probe(limit - Instant::now()).await,
        }
        Ok(())
    }

    /// All faults are over.
    fn mended(&mut self, over: Over) -> anyhow::Result<Healing> {
        self.hits = over.context("the faults' task ended without a word")??;
        Ok(Healing::now(&self.spec, self.recorder.workload()))
    }

    /// Looks at RabbitMQ, which may be broken if anything breaks.
    async fn sample(&mut self) -> anyhow::Result<()> {
        let now_us = since(self.start);
        if self.spec.faults.is_empty() {
            self.samples.push(self.queues.sample(now_us).await?);
        } else {
            self.samples.extend(self.queues.glance(now_us).await);
        }
        Ok(())
    }

    /// Stops the services, asks routers and brokers what there was, and gives what came of the run.
    async fn close(mut self) -> anyhow::Result<Outcome> {
        for (pod, process) in &self.services {
            if process.has_panicked() {
                self.recorder.violate(Oracle::Panicked.broken(format!("{pod} has panicked; its message is above")));
            }
            process.ask_to_stop();
        }
        let stopped = join_all(self.services.drain(..).map(|(_, process)| process.stopped()));
        ensure!(timeout(STOP_LIMIT, stopped).await.is_ok(), "workers have not stopped within {STOP_LIMIT:?}");
        let mut counted = RouterCounts::default();
        let mut routers: Vec<Router> = self.processes.routers().await.iter_mut().filter_map(|one| one.take()).collect();
        for router in &mut routers {
            match router.ended()? {
                Some(end) => self.recorder.violate(Oracle::Panicked.broken(end)),
                None => counted.take(router).await?,
            }
        }
        let running = routers.into_iter().filter_map(|mut router| matches!(router.ended(), Ok(None)).then_some(router));
        try_join_all(running.map(Router::stop)).await?;
        let brokers = BrokerState { mqtt_messages: counted.mqtt_messages, ..self.queues.empty().await? };
        let mut outcome = invariants::check(&self.recorder, &brokers, self.spec.is_faultless());
        outcome.virtual_us = since(self.start);
        outcome.samples = self.samples;
        if let Some(collected) = self.collector.map(|collector| collector.collected()) {
            (outcome.rpc_latencies_us, outcome.call_hops) = (collected.router_to_router_us, collected.hops);
        }
        outcome.fault_hits = self.hits;
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

/// Makes sure that nobody else uses these queues and keys, and has them cleaned up if they are not at private brokers.
async fn claim(config: &Arc<Config>, brokers: &Brokers, cleanup: &mut Cleanup) -> anyhow::Result<Queues> {
    let queues = Queues::open(config).await?;
    Keys::open(&config.redis).await?.check_unused().await?;
    cleanup.queues = (!brokers.is_private(Pod::Amqp)).then(|| config.clone());
    cleanup.keys = (!brokers.is_private(Pod::Redis)).then(|| config.clone());
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

/// Microseconds since `start`.
fn since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).expect("a run ends within 584,000 years")
}
