//! Which pod runs what, and how it is started.

use crate::{
    audit::{self, Remains},
    book::Book,
    gateways::Gateways,
    outcome::Outcome,
    pods::{gateway_pod, gateway_pods, router_pods, worker_pods},
    spec::{Quota, Spec, Target},
    workload::gateway_mac,
};
use backbone::{
    config::Config,
    env::{Env, Listener},
    message::{DEFAULT_ROUTE_KEY, Message as _, TASK_ID_HEADER, TASK_QUEUE, Task, dead_letter_queue, retry_queue},
    service::{BckRouter, Dispatcher, FwdRouter, HttpRouter, TaskWorker},
    telemetry::Telemetry,
};
use sim::{
    Class, Cluster, Incarnation, Seed,
    broker::{amqp, mqtt, redis},
    fleet::Gateway,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::SocketAddr,
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

const AMQP_PORT: u16 = 5672;
const MQTT_PORT: u16 = 1883;
const REDIS_PORT: u16 = 6379;
/// A running service that can be asked to stop.
struct Process {
    stop: CancellationToken,
    stopped: watch::Receiver<bool>,
}

/// All that is needed to start any part of the world, again and again.
pub(super) struct Deployment {
    spec: Arc<Spec>,
    config: Arc<Config>,
    book: Book,
    pub(super) amqp: amqp::Broker,
    pub(super) mqtt: mqtt::Broker,
    redis: redis::Broker,
    gateways: Gateways,
    processes: Mutex<BTreeMap<String, Process>>,
}

/// All pods of a world.
pub(super) fn pods(spec: &Spec) -> Vec<(String, Class)> {
    let brokers = [("amqp", Class::Amqp), ("mqtt", Class::Mqtt), ("redis", Class::Redis)];
    let services = router_pods(spec).chain(worker_pods(spec)).chain(["dispatcher".to_owned()]);
    brokers
        .map(|(name, class)| (name.to_owned(), class))
        .into_iter()
        .chain(gateway_pods(spec).map(|pod| (pod, Class::Gateway)))
        .chain(services.map(|pod| (pod, Class::Service)))
        .collect()
}

fn any_address(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

/// Runs a broker on `port` for as long as its pod lives.
fn serve<F>(env: Env, port: u16, broker: impl FnOnce(Env, Listener) -> F + Send + 'static)
where
    F: Future<Output = Infallible> + Send + 'static,
{
    env.clone().spawn("broker", async move {
        let listener = env.listen(any_address(port)).await.expect("the port of a new pod is free");
        match broker(env, listener).await {}
    });
}

/// The services' configuration, pointed at the world's brokers and routers.
fn config(spec: &Spec) -> Config {
    let mut config = spec.backbone.clone();
    config.amqp.url = format!("amqp://guest:guest@amqp:{AMQP_PORT}/%2f");
    (config.mqtt.host, config.mqtt.port) = ("mqtt".into(), MQTT_PORT);
    config.redis.url = format!("redis://redis:{REDIS_PORT}/0");
    if spec.is_over_http() {
        let port = config.http_router.listen.port();
        config.rpc.routers = router_pods(spec).map(|pod| format!("{pod}:{port}")).collect();
    }
    config
}

fn mqtt_config(spec: &Spec) -> mqtt::Config {
    mqtt::Config {
        max_inflight: NonZeroU16::new(spec.brokers.mqtt_inflight_max).expect("a valid spec has a window of at least 1"),
        quota: match spec.brokers.mqtt_quota {
            Quota::Strict => mqtt::Quota::Strict,
            Quota::Leaky => mqtt::Quota::MosquittoLeaky,
        },
        // The services use no more, and the CONNACK says so.
        max_qos: mqtt::QoS::AtLeastOnce,
        // Mosquitto makes a system call for each packet.
        flush_each_packet: true,
        ..mqtt::Config::default()
    }
}

impl Deployment {
    pub(super) fn new(spec: Arc<Spec>, book: Book) -> Self {
        Self {
            config: Arc::new(config(&spec)),
            amqp: amqp::Broker::new(amqp::Config::default()),
            mqtt: mqtt::Broker::new(mqtt_config(&spec)),
            redis: redis::Broker::new(),
            gateways: Gateways::place(spec.clone()),
            processes: Mutex::default(),
            spec,
            book,
        }
    }

    pub(super) fn book(&self) -> &Book {
        &self.book
    }

    /// MQTT clients of a world in which all is well.
    pub(super) fn mqtt_clients(&self) -> usize {
        self.spec.fleet.gateways as usize + router_pods(&self.spec).count()
    }

    pub(super) fn boot_brokers(&self, cluster: &Cluster) {
        ["amqp", "mqtt", "redis"].iter().for_each(|pod| self.boot(cluster.incarnation(pod), pod));
    }

    pub(super) fn boot_fleet_and_routers(&self, cluster: &Cluster) {
        gateway_pods(&self.spec)
            .chain(router_pods(&self.spec))
            .for_each(|pod| self.boot(cluster.incarnation(&pod), &pod));
    }

    /// The workers, one after the other, and before them the dispatcher: the work begins.
    pub(super) async fn boot_workers(&self, cluster: &Cluster) {
        let replicas = &self.spec.replicas;
        if replicas.all_at_once() {
            worker_pods(&self.spec).for_each(|pod| self.boot(cluster.incarnation(&pod), &pod));
        }
        self.boot(cluster.incarnation("dispatcher"), "dispatcher");
        if !replicas.all_at_once() {
            for (pod, started) in worker_pods(&self.spec).zip(1..) {
                self.boot(cluster.incarnation(&pod), &pod);
                sleep(replicas.pause_after(started)).await;
            }
        }
    }

    /// Starts what belongs on `pod`.
    pub(super) fn boot(&self, life: Incarnation, pod: &str) {
        let telemetry = self.book.telemetry(pod, move |event| {
            life.is_alive().then(|| {
                life.trace(format_args!("{event:?}"));
                life.now_us()
            })
        });
        let env = life.env();
        let config = self.config.clone();
        match pod.rsplit_once('-').map_or(pod, |(kind, _)| kind) {
            "amqp" => {
                let broker = self.amqp.clone();
                serve(env, AMQP_PORT, |env, listener| async move { broker.serve(env, listener).await });
            }
            "mqtt" => {
                let broker = self.mqtt.clone();
                serve(env, MQTT_PORT, |env, listener| async move { broker.serve(env, listener).await });
            }
            "redis" => {
                let broker = self.redis.clone();
                self.configure_routes();
                serve(env, REDIS_PORT, |env, listener| async move { broker.serve(env, listener).await });
            }
            "gateway" | "store" => self.boot_gateways(life, pod),
            "fwd_router" => self.run(&env, pod, |stop| FwdRouter::run(env.clone(), config, telemetry, stop)),
            "bck_router" => self.run(&env, pod, |stop| BckRouter::run(env.clone(), config, telemetry, stop)),
            "http_router" => self.run(&env, pod, |stop| {
                let router = HttpRouter::run(env.clone(), config, telemetry, stop);
                async { router.await.expect("the port of a pod without a router is free") }
            }),
            "task_worker" => self.run(&env, pod, |stop| TaskWorker::run(env.clone(), config, telemetry, stop)),
            "dispatcher" => self.run(&env, pod, |stop| self.dispatch(life, telemetry, stop)),
            other => unreachable!("a pod of kind {other}"),
        }
    }

    /// What an operator of fixed routing sets once.
    fn configure_routes(&self) {
        self.redis.keyspace().set(DEFAULT_ROUTE_KEY, gateway_mac(0).to_string(), None);
    }

    fn dispatch(
        &self,
        life: Incarnation,
        telemetry: Arc<dyn Telemetry>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (config, tasks) = (self.config.clone(), self.book.workload().clone().tasks());
        async move {
            if let Err(error) = Dispatcher::run(life.env(), config, telemetry, stop, tasks).await {
                life.trace(format_args!("{error}"));
            }
        }
    }

    /// Runs a service that can be asked to stop.
    fn run<F>(&self, env: &Env, pod: &str, service: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let (ended, stopped) = watch::channel(false);
        let service = service(stop.clone());
        env.spawn("service", async move {
            service.await;
            let _ = ended.send(true);
        });
        self.processes().insert(pod.to_owned(), Process { stop, stopped });
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<String, Process>> {
        self.processes.lock().expect("nothing panics with it")
    }

    /// Asks the service on `pod` to stop and waits until it has.
    pub(super) async fn stop(&self, pod: &str) {
        let process = self.processes().remove(pod);
        let Process { stop, mut stopped } = process.expect("only a running service is stopped");
        stop.cancel();
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }

    /// The process of a crashed target is gone: a broker loses what it does not keep.
    pub(super) fn forget_process(&self, target: Target) {
        match target {
            Target::Amqp => self.amqp.restart(),
            Target::Mqtt => self.mqtt.restart(),
            Target::Redis => self.redis.restart(),
            _ => drop(self.processes().remove(&target.to_string())),
        }
    }

    /// The pod that a fault's target runs on.
    pub(super) fn pod_of(&self, target: Target) -> String {
        match target {
            Target::Gateway(index) => gateway_pod(&self.spec, index),
            other => other.to_string(),
        }
    }

    fn boot_gateways(&self, life: Incarnation, pod: &str) {
        for index in (0..self.spec.fleet.gateways).filter(|index| gateway_pod(&self.spec, *index) == pod) {
            let rng = Seed::new(self.spec.seed).stream(&format!("gateway {index} from {} us", life.now_us()));
            let plan = self.gateways.plan(index, self.config.mqtt.clone());
            let gateway = Gateway::run(life.env(), plan, self.book.labels(), rng);
            life.env().spawn("gateway", gateway);
        }
    }

    fn depth(&self, queue: &str) -> usize {
        self.amqp.queue_depth(queue).unwrap_or(0)
    }

    /// Where tasks are that have no end yet, those that a worker has in hand included.
    fn task_queues(&self) -> [String; 2] {
        let retries = retry_queue(Duration::from_millis(self.config.task_worker.retry_delay_ms));
        [TASK_QUEUE.to_owned(), retries]
    }

    /// How many tasks are there.
    pub(super) fn tasks_waiting(&self) -> usize {
        self.task_queues().iter().map(|queue| self.depth(queue)).sum()
    }

    /// Which tasks are there.
    fn queued_tasks(&self) -> BTreeSet<String> {
        let messages = self.task_queues().into_iter().flat_map(|queue| self.amqp.messages(&queue));
        messages.filter_map(|message| Some(Task::parse(message.body()).ok()?.task_id.to_string())).collect()
    }

    /// The tasks that lie in the dead-letter queue.
    fn dead_letters(&self) -> BTreeSet<String> {
        let messages = self.amqp.messages(&dead_letter_queue());
        messages.iter().filter_map(|message| message.text_header(TASK_ID_HEADER)).collect()
    }

    /// Closes the book. What must add up does so at any moment: a task leaves a queue only when it is settled elsewhere.
    pub(super) fn close(&self) -> Outcome {
        let remains = Remains {
            dead: self.dead_letters(),
            queued: self.queued_tasks(),
            mqtt_messages: self.mqtt.stats().publishes_received,
        };
        let is_faultless = self.spec.faults.is_empty() && self.spec.network.loss_ppm == 0;
        audit::close(&self.book, &remains, is_faultless)
    }

    /// For the message of a run that doesn't end.
    pub(super) fn open_ends(&self) -> String {
        let depths = self.amqp.queue_names().into_iter().filter_map(|name| {
            let depth = self.depth(&name);
            (depth > 0 && name != dead_letter_queue()).then(|| format!("{depth} messages in queue {name}"))
        });
        let depths: Vec<String> = depths.take(10).collect();
        let sessions = self.mqtt.sessions().into_iter().filter(|session| session.queued + session.in_flight > 0);
        let sessions: Vec<String> = sessions
            .take(10)
            .map(|s| format!("{} queued and {} in flight for MQTT client {}", s.queued, s.in_flight, s.client_id))
            .collect();
        let open = [depths, sessions].concat();
        if open.is_empty() { "nothing is queued anywhere".into() } else { open.join(", ") }
    }
}
