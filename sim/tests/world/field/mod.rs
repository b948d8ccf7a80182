//! What those meet who run such systems: brokers with limits, gateways with wrong clocks, gateways that are gone,
//! routers that stand still. The services as they are, on the emulated brokers, with gateways of the fleet.

mod broker_limits;
mod clocks;
mod frozen_routers;
mod presence;
mod weak_links;

use backbone::{
    config::{Config, RpcKind},
    env::{Env, Listener},
    message::{DEFAULT_ROUTE_KEY, Mac, Message as _, Task, dead_letter_queue},
    service::{BckRouter, Dispatcher, FwdRouter, HttpRouter, TaskWorker},
    telemetry::{Event, Telemetry},
};
use sim::{
    Class, Cluster, Seed, Settings, Simulation,
    broker::{amqp, mqtt, redis},
    fleet::{AckOrder, BusyProcessor, Gateway, GatewayPlan, Handling, Heard, Labels, Mischiefs, Online, Work, Writes},
};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const GATEWAYS: [&str; 2] = ["gateway-0", "gateway-1"];
/// Labels that the gateways hear: few enough for a report of less than 2,000 bytes.
const LABELS: u64 = 40;
/// Of each kind.
const ROUTERS: [&str; 6] = ["fwd-0", "fwd-1", "bck-0", "bck-1", "http-0", "http-1"];
/// How long a world may take to do what a test waits for.
const PATIENCE: Duration = Duration::from_secs(600);

/// An event of a service.
#[derive(Clone, Debug)]
struct Said {
    pod: &'static str,
    at: Instant,
    text: String,
}

/// What all services said.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<Said>>>);

struct Voice {
    pod: &'static str,
    notes: Notes,
}

impl Telemetry for Voice {
    fn record(&self, event: &Event<'_>) {
        let said = Said { pod: self.pod, at: Instant::now(), text: format!("{event:?}") };
        self.notes.0.lock().unwrap().push(said);
    }
}

/// A world with two gateways, which hear the same labels, and no services yet.
struct Field {
    cluster: Cluster,
    config: Config,
    amqp: amqp::Broker,
    labels: Labels,
    notes: Notes,
}

/// The address of a gateway, by its place in [`GATEWAYS`].
fn gateway_mac(index: usize) -> Mac {
    Mac::new(0xA0 + index as u64)
}

/// The labels that all gateways hear.
fn label(index: u64) -> Mac {
    Mac::new(1 + index)
}

/// A task for one label, whose command has so many bytes of content.
fn task(name: &str, label: Mac, bytes: usize) -> Task {
    let content = "x".repeat(bytes);
    let text = format!(r#"{{"task_id":"{name}","commands":[{{"esl_mac":"{label}","version":1,"body":"{content}"}}]}}"#);
    Task::parse(text.as_bytes()).unwrap()
}

/// Runs a story in a world with brokers, with a Mosquitto of this configuration.
fn run<F>(mosquitto: mqtt::Config, config: Config, story: impl FnOnce(Field) -> F + Send + 'static)
where
    F: Future<Output = ()>,
{
    let mut simulation = Simulation::new(Settings { restarts_max: 4, ..Settings::default() });
    for (pod, class) in [("rabbitmq", Class::Amqp), ("redis", Class::Redis), ("mosquitto", Class::Mqtt)] {
        simulation.add_pod(pod, class);
    }
    for pod in ROUTERS.into_iter().chain(["worker", "dispatcher", "monitor"]) {
        simulation.add_pod(pod, Class::Service);
    }
    for pod in GATEWAYS {
        simulation.add_pod(pod, Class::Gateway);
    }
    let main = async move |cluster: Cluster| story(Field::new(cluster, mosquitto, config).await).await;
    simulation.run(main).unwrap();
}

impl Field {
    async fn new(cluster: Cluster, mosquitto: mqtt::Config, mut config: Config) -> Self {
        let (amqp, redis) = (amqp::Broker::new(amqp::Config::default()), redis::Broker::new());
        let mqtt = mqtt::Broker::new(mosquitto);
        serve(&cluster.env("rabbitmq"), 5672, {
            let broker = amqp.clone();
            |env, listener| async move { broker.serve(env, listener).await }
        });
        serve(&cluster.env("redis"), 6379, {
            let broker = redis.clone();
            |env, listener| async move { broker.serve(env, listener).await }
        });
        serve(&cluster.env("mosquitto"), 1883, |env, listener| async move { mqtt.serve(env, listener).await });
        sleep(Duration::from_millis(10)).await;
        redis.keyspace().set(DEFAULT_ROUTE_KEY, gateway_mac(0).to_string(), None);
        config.amqp.url = "amqp://guest:guest@rabbitmq:5672/%2f".into();
        config.redis.url = "redis://redis:6379/0".into();
        config.mqtt.host = "mosquitto".into();
        config.rpc.routers = vec!["http-0:8080".into(), "http-1:8080".into()];
        let (labels, notes) = (Labels::default(), Notes::default());
        Self { cluster, config, amqp, labels, notes }
    }

    /// Starts a gateway; `change` says how it differs from others.
    fn start_gateway(&self, index: usize, change: impl FnOnce(&mut GatewayPlan)) {
        let name = GATEWAYS[index];
        let heard = (0..LABELS).map(|i| Heard { label: label(i), mean_dbm: -50 - 20 * index as i8 }).collect();
        let mut plan = GatewayPlan {
            broker: self.config.mqtt.clone(),
            client_id: name.into(),
            mac: gateway_mac(index),
            shared_mac: false,
            echoes_request_id: true,
            tells_status: false,
            clock: |unix_ms| unix_ms,
            work: Work::Concurrent,
            order: AckOrder::ReplyFirst,
            writes: Writes::Packets,
            handling: Handling::default(),
            processor: Arc::new(BusyProcessor),
            ble_us: (0, 0),
            heard,
            mischiefs: Mischiefs::default(),
            online: Online::default(),
            rssi_period: Duration::from_secs(2),
            antenna: None,
            rssi_changes: None,
        };
        change(&mut plan);
        let env = self.cluster.env(name);
        env.clone().spawn("gateway", Gateway::run(env, plan, self.labels.clone(), Seed::new(1).stream(name)));
    }

    /// Starts all services, and gives them and the gateways time to connect and to report.
    async fn start_services(&self) {
        let stop = CancellationToken::new();
        let with = |pod| {
            let telemetry = Arc::new(Voice { pod, notes: self.notes.clone() });
            (self.cluster.env(pod), Arc::new(self.config.clone()), telemetry, stop.clone())
        };
        for pod in ROUTERS {
            let (env, config, telemetry, stop) = with(pod);
            let spawner = env.clone();
            match (pod.split_once('-').unwrap().0, self.config.rpc.kind) {
                ("fwd", RpcKind::Queue) => spawner.spawn("router", FwdRouter::run(env, config, telemetry, stop)),
                ("bck", RpcKind::Queue) => spawner.spawn("router", BckRouter::run(env, config, telemetry, stop)),
                ("http", RpcKind::Http) => spawner.spawn("router", async move {
                    HttpRouter::run(env, config, telemetry, stop).await.unwrap();
                }),
                _ => continue,
            };
        }
        let (env, config, telemetry, stop) = with("worker");
        env.clone().spawn("worker", TaskWorker::run(env, config, telemetry, stop));
        sleep(Duration::from_secs(5)).await;
    }

    /// Puts tasks into the queue.
    fn dispatch(&self, tasks: Vec<Task>) {
        let env = self.cluster.env("dispatcher");
        let telemetry = Arc::new(Voice { pod: "dispatcher", notes: self.notes.clone() });
        let (config, stop) = (Arc::new(self.config.clone()), CancellationToken::new());
        env.clone().spawn("dispatcher", async move {
            let tasks = futures_util::stream::iter(tasks);
            Dispatcher::run(env, config, telemetry, stop, tasks).await.unwrap();
        });
    }

    /// All events with this in their text.
    fn said(&self, what: &str) -> Vec<Said> {
        self.notes.0.lock().unwrap().iter().filter(|said| said.text.contains(what)).cloned().collect()
    }

    /// Waits until so many events have this in their text; the last of them.
    async fn until_said(&self, what: &str, times: usize) -> Said {
        let limit = Instant::now() + PATIENCE;
        loop {
            let said = self.said(what);
            if let Some(last) = said.get(times - 1) {
                return last.clone();
            }
            assert!(
                Instant::now() < limit,
                "{} of {times} times {what}; {} retries",
                said.len(),
                self.said("Retried").len()
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// What dead letters say about themselves.
    fn dead_letters(&self) -> Vec<String> {
        let said = |header: &'static str| move |message: &Arc<amqp::Message>| message.text_header(header);
        let messages = self.amqp.messages(&dead_letter_queue());
        messages
            .iter()
            .filter_map(|message| Some(said("x-reason")(message)? + ": " + &said("x-detail")(message)?))
            .collect()
    }
}

/// Runs a broker on `port`.
fn serve<F>(env: &Env, port: u16, broker: impl FnOnce(Env, Listener) -> F + Send + 'static)
where
    F: Future<Output = Infallible> + Send + 'static,
{
    let inside = env.clone();
    env.spawn("broker", async move {
        let listener = inside.listen(([0, 0, 0, 0], port).into()).await.unwrap();
        match broker(inside, listener).await {}
    });
}
