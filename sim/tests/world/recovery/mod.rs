//! What operators and brokers do to services that are connected: queues vanish, Redis refuses commands, rights are
//! taken away, somebody else consumes the queue. The services say so, come back by themselves, and a dead letter names
//! who refused and what it said.

mod http;
mod missing_queues;
mod readiness;
mod refusals;

use crate::malformed_input::{URI, connect, publish, serve};
use backbone::{
    admin::Admin,
    config::{Config, Mqtt, RpcKind},
    env::Env,
    message::{Mac, TASK_QUEUE},
    service::{BckRouter, FwdRouter, HttpRouter, TaskWorker},
    telemetry::{DropReason, Event, FanOut, Telemetry},
};
use futures_util::future::BoxFuture;
use lapin::{BasicProperties, Channel};
use sim::{
    Class, Cluster, Seed, Settings, Simulation,
    broker::{amqp, mqtt, redis},
    fleet::{AckOrder, BusyProcessor, Gateway, GatewayPlan, Handling, Heard, Labels, Mischiefs, Online, Work, Writes},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// The gateway hears the labels up to this one; others have no route.
const LABELS: u64 = 20;

/// What the services said.
#[derive(Default)]
pub(crate) struct Notes {
    done: Mutex<BTreeSet<String>>,
    /// When something was handed back, and why.
    handed_back: Mutex<Vec<(Instant, String)>>,
    /// Details of refusals.
    refused: Mutex<Vec<String>>,
}

impl Telemetry for Notes {
    fn record(&self, event: &Event<'_>) {
        match event {
            Event::TaskDone { task, .. } => drop(self.done.lock().unwrap().insert(task.to_string())),
            Event::Dropped { reason: DropReason::HandedBack, detail } => {
                self.handed_back.lock().unwrap().push((Instant::now(), (*detail).to_owned()));
            }
            Event::Refused { detail, .. } => self.refused.lock().unwrap().push((*detail).to_owned()),
            _ => {}
        }
    }
}

/// One worker, one router of each kind that it needs, a gateway, and what they stand on.
pub(crate) struct World {
    env: Env,
    config: Arc<Config>,
    amqp: amqp::Broker,
    mqtt: mqtt::Broker,
    redis: redis::Broker,
    worker: Admin,
    fwd_router: Admin,
    bck_router: Admin,
    http_router: Admin,
    notes: Arc<Notes>,
    channel: Channel,
    _connection: lapin::Connection,
}

/// Starts everything, the services as `tune` wants them, and runs `main` on a pod that is none of theirs.
fn run<T, F>(tune: impl FnOnce(&mut Config) + Send + 'static, main: impl FnOnce(World) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut simulation = Simulation::new(Settings { seed: 1, audit: true, ..Settings::default() });
    for (pod, class) in [("amqp", Class::Amqp), ("mqtt", Class::Mqtt), ("redis", Class::Redis)] {
        simulation.add_pod(pod, class);
    }
    simulation
        .add_pod("services", Class::Service)
        .add_pod("router", Class::Service)
        .add_pod("operator", Class::Service);
    simulation.add_pod("gateway", Class::Gateway);
    let finished = simulation.run(async move |cluster: Cluster| {
        let (env, (done, outcome)) = (cluster.env("operator"), oneshot::channel());
        let world = start(&cluster, tune);
        env.clone().spawn("operator", async move {
            let _ = done.send(main(world(env).await).await);
        });
        outcome.await.unwrap()
    });
    finished.unwrap().output
}

/// As [`run`], with an HTTP router.
fn run_over_http<T, F>(
    tune: impl FnOnce(&mut Config) + Send + 'static,
    main: impl FnOnce(World) -> F + Send + 'static,
) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let over_http = |config: &mut Config| {
        tune(config);
        (config.rpc.kind, config.rpc.routers) = (RpcKind::Http, vec!["router:8080".into()]);
    };
    run(over_http, main)
}

/// What becomes a world on the operator's pod.
type Started = Box<dyn FnOnce(Env) -> BoxFuture<'static, World> + Send>;

/// Starts the brokers and services; the operator's own connection is still to be made.
fn start(cluster: &Cluster, tune: impl FnOnce(&mut Config)) -> Started {
    let (amqp, mqtt, redis) =
        (amqp::Broker::new(amqp::Config::default()), mqtt::Broker::new(mqtt::Config::default()), redis::Broker::new());
    let brokers = (amqp.clone(), mqtt.clone(), redis.clone());
    serve(cluster.env("amqp"), 5672, async move |env, listener| brokers.0.serve(env, listener).await);
    serve(cluster.env("mqtt"), 1883, async move |env, listener| brokers.1.serve(env, listener).await);
    serve(cluster.env("redis"), 6379, async move |env, listener| brokers.2.serve(env, listener).await);
    let mut config = Config::default();
    config.amqp.url = URI.into();
    config.mqtt.host = "mqtt".into();
    config.redis.url = "redis://redis:6379/0".into();
    tune(&mut config);
    let (config, stop, notes) = (Arc::new(config), CancellationToken::new(), Arc::<Notes>::default());
    let services = cluster.env("services");
    let start = |config: &Arc<Config>| {
        let admin = Admin::default();
        let receivers: Vec<Arc<dyn Telemetry>> = vec![notes.clone(), admin.metrics.clone(), admin.readiness.clone()];
        (services.clone(), config.clone(), Arc::new(FanOut(receivers)), stop.clone(), admin)
    };
    let (env, own, telemetry, stopped, worker) = start(&config);
    services.spawn("worker", TaskWorker::run(env, own, telemetry, stopped));
    let is_over_http = config.rpc.kind == RpcKind::Http;
    let (env, own, telemetry, stopped, fwd_router) = start(&config);
    if !is_over_http {
        services.spawn("router", FwdRouter::run(env, own, telemetry, stopped));
    }
    let (env, own, telemetry, stopped, bck_router) = start(&config);
    if !is_over_http {
        services.spawn("router", BckRouter::run(env, own, telemetry, stopped));
    }
    let (_, own, telemetry, stopped, http_router) = start(&config);
    if is_over_http {
        // On a pod of its own, which has a name for the worker.
        let (env, router) = (cluster.env("router"), HttpRouter::run(cluster.env("router"), own, telemetry, stopped));
        env.spawn("router", async move { router.await.unwrap() });
    }
    start_gateway(&cluster.env("gateway"));
    Box::new(move |env| {
        Box::pin(async move {
            sleep(Duration::from_secs(2)).await;
            let (_connection, channel) = connect(&env).await;
            World {
                env,
                config,
                amqp,
                mqtt,
                redis,
                worker,
                fwd_router,
                bck_router,
                http_router,
                notes,
                channel,
                _connection,
            }
        })
    })
}

fn start_gateway(env: &Env) {
    let plan = GatewayPlan {
        broker: Mqtt { host: "mqtt".into(), ..Mqtt::default() },
        client_id: "gateway".into(),
        mac: Mac::new(100),
        shared_mac: false,
        echoes_request_id: true,
        work: Work::Concurrent,
        order: AckOrder::ReplyFirst,
        writes: Writes::Packets,
        handling: Handling::default(),
        processor: Arc::new(BusyProcessor),
        ble_us: (0, 0),
        heard: (1..=LABELS).map(|label| Heard { label: Mac::new(label), mean_dbm: -60 }).collect(),
        mischiefs: Mischiefs::default(),
        online: Online::default(),
        tells_status: false,
        clock: |unix_ms| unix_ms,
        rssi_period: Duration::from_millis(500),
        antenna: None,
        rssi_changes: None,
    };
    let rng = Seed::new(1).stream("gateway");
    env.spawn("gateway", Gateway::run(env.clone(), plan, Labels::default(), rng));
}

impl World {
    /// Puts a task for one label into the queue.
    async fn dispatch(&self, name: &str, label: u64) {
        let label = Mac::new(label);
        let task = format!(r#"{{"task_id":"{name}","commands":[{{"esl_mac":"{label}","version":1,"body":1}}]}}"#);
        publish(&self.channel, TASK_QUEUE, task.as_bytes(), BasicProperties::default()).await;
    }

    /// Five tasks that can be done, for labels from `first` on; their names.
    async fn dispatch_five(&self, first: u64) -> Vec<String> {
        let mut names = Vec::new();
        for label in first..first + 5 {
            names.push(format!("good-{label}"));
            self.dispatch(names.last().unwrap(), label).await;
        }
        names
    }

    fn is_done(&self, task: &str) -> bool {
        self.notes.done.lock().unwrap().contains(task)
    }

    /// Waits until all of `tasks` are done.
    async fn all_done(&self, tasks: &[String], limit: Duration) {
        let missing = || tasks.iter().filter(|task| !self.is_done(task)).collect::<Vec<_>>();
        until(limit, || missing().is_empty().then_some(()).ok_or_else(|| format!("not done: {:?}", missing()))).await;
    }

    async fn delete(&self, queue: &str) {
        self.channel.queue_delete(queue.into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
        assert_eq!(self.amqp.queue_depth(queue), None);
    }
}

/// Waits until `holds`, at most `limit`.
async fn until<T>(limit: Duration, holds: impl Fn() -> Result<T, String>) -> T {
    let limit = Instant::now() + limit;
    loop {
        match holds() {
            Ok(held) => return held,
            Err(reason) => assert!(Instant::now() < limit, "{reason}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Why a replica is not ready; `None` if it is.
fn unready(admin: &Admin) -> Option<String> {
    admin.readiness.check().err().map(|unready| unready.to_string())
}

/// Waits until a replica says that it is not ready because of `reason`.
async fn becomes_unready(admin: &Admin, reason: &str) {
    let says = || {
        let said = unready(admin).unwrap_or_else(|| "ready".into());
        if said.contains(reason) { Ok(()) } else { Err(format!("it says {said:?}, not {reason:?}")) }
    };
    until(Duration::from_secs(10), says).await;
}

async fn becomes_ready(admin: &Admin) {
    until(Duration::from_secs(10), || unready(admin).map_or(Ok(()), Err)).await;
}

/// Whether a metric has at least this value.
fn counts(admin: &Admin, metric: &str, at_least: u64) {
    let text = admin.metrics.to_text();
    let value = text.lines().find_map(|line| line.strip_prefix(metric)?.trim().parse::<u64>().ok());
    assert!(value.is_some_and(|value| value >= at_least), "{metric} in {text}");
}
