//! The three brokers, a worker of choice, both routers and gateways, each on a pod of its own, and a stranger who talks
//! to them over the brokers as producers do.

use crate::malformed_input::{URI, connect, serve};
use backbone::{
    config::Config,
    env::Env,
    message::{CommandOutcome, CommandResult, Mac, Message as _, TaskResult},
    service::{BckRouter, FwdRouter, Handler, Worker},
    telemetry::{Event, Telemetry},
};
use lapin::{
    BasicProperties, Channel, Connection,
    options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions},
    types::FieldTable,
};
use sim::{
    Class, Cluster, Seed, Settings, Simulation,
    broker::{amqp, mqtt, redis},
    fleet::{AckOrder, Gateway, GatewayPlan, Handling, Heard, Labels, Mischiefs, Online, Work, Writes},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;

/// The gateways, as many as labels: each hears the label with its own number.
const GATEWAYS: u64 = 3;

/// Label `number`, which gateway `number` hears; from 1 on.
pub(crate) fn label(number: u64) -> Mac {
    Mac::new(number)
}

/// What the services said.
#[derive(Default)]
pub(crate) struct Said {
    events: Mutex<Vec<String>>,
    sent: Mutex<Vec<Mac>>,
    ages_us: Mutex<Vec<u64>>,
}

impl Said {
    /// How often a request for `label` was sent.
    pub(crate) fn sent_to(&self, label: Mac) -> usize {
        self.sent.lock().unwrap().iter().filter(|esl| **esl == label).count()
    }

    /// How old the tasks were that are done.
    pub(crate) fn ages_us(&self) -> Vec<u64> {
        self.ages_us.lock().unwrap().clone()
    }

    /// How many events there were of this name.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.events.lock().unwrap().iter().filter(|event| event.starts_with(name)).count()
    }
}

impl Telemetry for Said {
    fn record(&self, event: &Event<'_>) {
        self.events.lock().unwrap().push(format!("{event:?}"));
        match event {
            Event::RequestSent { esl, .. } => self.sent.lock().unwrap().push(*esl),
            Event::TaskDone { age_us, .. } => self.ages_us.lock().unwrap().push(*age_us),
            _ => {}
        }
    }
}

/// A running world, as its stranger sees it.
pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) config: Arc<Config>,
    pub(crate) said: Arc<Said>,
    pub(crate) labels: Labels,
    pub(crate) channel: Channel,
    _connection: Connection,
}

/// Gateway `number`, which takes `ble_ms` for a command.
fn gateway(number: u64, ble_ms: u64, cluster: &Cluster) -> GatewayPlan {
    GatewayPlan {
        broker: backbone::config::Mqtt { host: "mqtt".into(), ..Default::default() },
        client_id: format!("gateway-{number}"),
        mac: Mac::new(0x0600_0000_0000 + number),
        shared_mac: false,
        echoes_request_id: true,
        work: Work::Concurrent,
        order: AckOrder::AcknowledgeFirst,
        writes: Writes::Packets,
        handling: Handling { median_us: 0, spread_percent: 0 },
        processor: cluster.incarnation("gateways").processor(),
        ble_us: (ble_ms * 1_000, ble_ms * 1_000),
        heard: vec![Heard { label: label(number), mean_dbm: -60 }],
        mischiefs: Mischiefs::default(),
        online: Online::default(),
        tells_status: false,
        clock: |unix_ms| unix_ms,
        rssi_period: Duration::from_secs(1),
        antenna: None,
        rssi_changes: None,
    }
}

/// Runs `main` beside the services, which have `config`, with `handler` for the tasks. Gateways take `ble_ms`.
pub(crate) fn run<T, F, H: Handler>(
    mut config: Config,
    handler: H,
    ble_ms: u64,
    main: impl FnOnce(World) -> F + Send + 'static,
) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut simulation = Simulation::new(Settings { seed: 1, audit: true, ..Settings::default() });
    for (pod, class) in [("amqp", Class::Amqp), ("mqtt", Class::Mqtt), ("redis", Class::Redis)] {
        simulation.add_pod(pod, class);
    }
    for pod in ["services", "gateways", "stranger"] {
        simulation.add_pod(pod, Class::Service);
    }
    let finished = simulation.run(async move |cluster: Cluster| {
        serve(cluster.env("amqp"), 5672, async |env, listener| {
            amqp::Broker::new(amqp::Config::default()).serve(env, listener).await
        });
        serve(cluster.env("mqtt"), 1883, async |env, listener| {
            mqtt::Broker::new(mqtt::Config::default()).serve(env, listener).await
        });
        serve(cluster.env("redis"), 6379, async |env, listener| redis::Broker::new().serve(env, listener).await);
        config.amqp.url = URI.into();
        config.mqtt.host = "mqtt".into();
        config.redis.url = "redis://redis:6379/0".into();
        let (config, stop, env) = (Arc::new(config), CancellationToken::new(), cluster.env("services"));
        let said = Arc::new(Said::default());
        let telemetry = || -> Arc<dyn Telemetry> { said.clone() };
        env.spawn("worker", Worker::new(handler).run(env.clone(), config.clone(), telemetry(), stop.clone()));
        env.spawn("router", FwdRouter::run(env.clone(), config.clone(), telemetry(), stop.clone()));
        env.spawn("router", BckRouter::run(env.clone(), config.clone(), telemetry(), stop));
        let (labels, gateways) = (Labels::default(), cluster.env("gateways"));
        for number in 1..=GATEWAYS {
            let rng = Seed::new(1).stream(&format!("gateway {number}"));
            let plan = gateway(number, ble_ms, &cluster);
            gateways.spawn("gateway", Gateway::run(gateways.clone(), plan, labels.clone(), rng));
        }
        sleep(Duration::from_secs(3)).await;
        let (env, (done, outcome)) = (cluster.env("stranger"), oneshot::channel());
        env.clone().spawn("stranger", async move {
            let (connection, channel) = connect(&env).await;
            let world = World { env, config, said, labels, channel, _connection: connection };
            let _ = done.send(main(world).await);
        });
        outcome.await.unwrap()
    });
    finished.unwrap().output
}

/// The line of a result for a label, without what was said.
pub(crate) fn line(esl_mac: Mac, version: u64, outcome: CommandOutcome) -> CommandResult {
    CommandResult { esl_mac, version, outcome, detail: None }
}

impl World {
    /// Publishes `body` to `queue`, confirmed.
    pub(crate) async fn publish(&self, queue: &str, body: &str, properties: BasicProperties) {
        let options = BasicPublishOptions::default();
        let confirm = self.channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), properties).await;
        assert!(confirm.unwrap().await.unwrap().is_ack());
    }

    /// A queue of the stranger's own, for answers.
    pub(crate) async fn own_queue(&self, name: &str) {
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        self.channel.queue_declare(name.into(), options, FieldTable::default()).await.unwrap();
    }

    /// The next message in `queue`, if there is one: its body and its properties.
    pub(crate) async fn next(&self, queue: &str) -> Option<(Vec<u8>, BasicProperties)> {
        let message = self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap()?;
        Some((message.delivery.data, message.delivery.properties))
    }

    /// The next result in `queue`, without what was said of its commands, which is for people.
    pub(crate) async fn result(&self, queue: &str) -> TaskResult {
        let (body, _) = self.next(queue).await.expect("a result");
        TaskResult::parse(&body).unwrap()
    }
}

/// The JSON of a task with a command for each of `labels`.
pub(crate) fn task(id: &str, labels: &[u64], version: u64) -> String {
    let command = |number: &u64| format!(r#"{{"esl_mac":"{}","version":{version},"body":1}}"#, label(*number));
    let commands: Vec<String> = labels.iter().map(command).collect();
    format!(r#"{{"task_id":"{id}","commands":[{}]}}"#, commands.join(","))
}
