//! The simulated world: brokers, gateways and services on pods of the cluster, each of which can be started again and
//! again, and what can be seen of it from outside.

use super::{
    lives::{Lives, Start},
    scaling::Scaling,
    versions::{AMQP_PORT, MQTT_PORT, REDIS_PORT, Versions},
};
use crate::{
    attribution::Attributor,
    autoscale::{self, MANAGEMENT_PORT},
    deployment::{CONNECT_LIMIT, Gateways, Process, Step, Work, brokers, routers, run_service},
    measure::{
        Outcome, Recorder, Sample,
        invariants::{self, BrokerState},
    },
    progress::Progress,
    spec::{MqttQuota, Part, Pod, Spec},
    workload::gateway_mac,
};
use anyhow::bail;
use backbone::{
    config::Config,
    env::{Env, Listener},
    message::{
        DEFAULT_ROUTE_KEY, Message as _, ROUTING_QUEUE, TASK_ID_HEADER, TASK_QUEUE, Task, dead_letter_queue,
        retry_queue,
    },
    telemetry::{FanOut, Readiness},
};
use futures_util::StreamExt as _;
use sim::{
    Cluster, Incarnation, Seed,
    broker::{amqp, mqtt, redis},
    fleet::{Gateway, Mischiefs},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fmt,
    net::SocketAddr,
    num::NonZeroU16,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// Time for brokers to listen.
const LISTEN_MARGIN: Duration = Duration::from_millis(10);
/// Time for subscriptions, and for the routers' AMQP connections, after the connections to MQTT.
const SUBSCRIBE_MARGIN: Duration = Duration::from_millis(100);

/// Whether the peers of what dies hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastWord {
    /// As when a process dies: its kernel closes the connections.
    Said,
    /// As when the power goes.
    Unsaid,
}

/// All that is needed to start any part of the world, again and again.
pub(super) struct World {
    cluster: Cluster,
    pub(super) spec: Arc<Spec>,
    /// That of the old version; most is the same in the new one.
    pub(super) config: Arc<Config>,
    /// Of services.
    pub(super) versions: Versions,
    recorder: Recorder,
    attributor: Option<Attributor>,
    progress: Arc<Progress>,
    pub(super) amqp: amqp::Broker,
    pub(super) mqtt: mqtt::Broker,
    /// All servers among which labels are divided.
    pub(super) redis: Vec<redis::Broker>,
    gateways: Gateways,
    lives: Lives,
    /// Of the services that run and work for as long as nobody stops them.
    pub(super) readiness: Mutex<BTreeMap<Pod, Arc<Readiness>>>,
    scaling: Scaling,
}

fn any_address(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

/// Runs a broker on `port` for as long as its pod lives.
fn serve<F>(env: &Env, port: u16, broker: impl FnOnce(Env, Listener) -> F + Send + 'static)
where
    F: Future<Output = Infallible> + Send + 'static,
{
    let inside = env.clone();
    env.spawn("broker", async move {
        let listener = inside.listen(any_address(port)).await.expect("the port of a new pod is free");
        match broker(inside, listener).await {}
    });
}

fn mqtt_config(spec: &Spec) -> mqtt::Config {
    mqtt::Config {
        max_inflight: NonZeroU16::new(spec.brokers.mqtt_inflight_max).expect("a valid spec has a window of at least 1"),
        quota: match spec.brokers.mqtt_quota {
            MqttQuota::Strict => mqtt::SendQuota::Strict,
            MqttQuota::Leaky => mqtt::SendQuota::MosquittoLeaky,
        },
        // The services use no more, and the CONNACK says so.
        max_qos: mqtt::QoS::AtLeastOnce,
        ..mqtt::Config::default()
    }
}

impl World {
    /// A world in which nothing runs.
    pub(super) fn new(
        cluster: Cluster,
        spec: Arc<Spec>,
        (recorder, attributor): (Recorder, Option<Attributor>),
        progress: Arc<Progress>,
    ) -> Self {
        let life = cluster.incarnation(&Pod::Mqtt.to_string());
        recorder.watch_labels(move || life.now_us());
        let versions = Versions::of(&spec);
        Self {
            cluster,
            config: versions.old(),
            versions,
            // The committed runs' digests rest on the bytes that a connection begins with.
            amqp: amqp::Broker::new(amqp::Config::default()),
            mqtt: mqtt::Broker::new(mqtt_config(&spec)),
            redis: spec.brokers.redis().map(|_| redis::Broker::new()).collect(),
            gateways: Gateways::place(spec.clone()),
            lives: Lives::default(),
            readiness: Mutex::default(),
            scaling: Scaling::new(spec.clone()),
            spec,
            recorder,
            attributor,
            progress,
        }
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(super) fn scaling(&self) -> &Scaling {
        &self.scaling
    }

    /// Puts an event of a pod into the trace.
    pub(super) fn note(&self, pod: Pod, event: fmt::Arguments<'_>) {
        self.cluster.incarnation(&pod.to_string()).trace(event);
    }

    /// What a gateway does wrong.
    pub(super) fn mischiefs(&self, gateway: u32) -> &Mischiefs {
        self.gateways.mischiefs(gateway)
    }

    /// The gateways that a part of a fault stands for.
    pub(super) fn gateways_of(&self, part: Part) -> Range<u32> {
        part.gateways(&self.spec)
    }

    pub(super) fn gateways_online(&self) -> usize {
        self.gateways.online()
    }

    pub(super) fn pod_of_gateway(&self, index: u32) -> Pod {
        self.spec.pod_of(Pod::Gateway(index))
    }

    /// The pods that a part of a fault stands for.
    pub(super) fn pods_of(&self, part: Part) -> Vec<Pod> {
        part.pods(&self.spec)
    }

    /// Starts the brokers.
    pub(super) async fn start_brokers(&self) {
        brokers(&self.spec).for_each(|pod| self.start(pod));
        sleep(LISTEN_MARGIN).await;
    }

    /// Takes `steps`, one after the other.
    ///
    /// # Errors
    /// When not everybody gets connected.
    pub(super) async fn take(&self, steps: Vec<Step>) -> anyhow::Result<()> {
        for step in steps {
            match step {
                Step::Start(pod) => self.start(pod),
                Step::Connect => self.connect().await?,
                Step::Pause(time) => sleep(time).await,
            }
        }
        Ok(())
    }

    /// Starts what belongs on `pod`, as soon as no fault keeps it away.
    pub(super) fn start(&self, pod: Pod) {
        self.boot_if(pod, self.lives.want(pod, true));
    }

    /// A fault keeps `pod` away until [`World::let_back`], whatever else happens to it meanwhile.
    pub(super) fn keep_away(&self, pod: Pod) {
        self.lives.keep_away(pod);
    }

    /// A fault keeps `pod` away no more.
    pub(super) fn let_back(&self, pod: Pod) {
        self.boot_if(pod, self.lives.let_back(pod));
    }

    fn boot_if(&self, pod: Pod, start: Option<Start>) {
        let name = pod.to_string();
        match start {
            None => {}
            Some(Start::Here) => self.boot(pod, self.cluster.incarnation(&name)),
            Some(Start::Elsewhere) => self.boot(pod, self.cluster.restart(&name)),
        }
    }

    fn boot(&self, pod: Pod, life: Incarnation) {
        let env = &life.env();
        match pod {
            Pod::Amqp => {
                let broker = self.amqp.clone().with_metadata_cost(life.metadata_cost());
                serve(env, AMQP_PORT, |env, listener| async move { broker.serve(env, listener).await });
                if self.spec.autoscale.uses_http() {
                    let broker = self.amqp.clone();
                    let management = async move |env, listener| broker.serve_management(env, listener).await;
                    serve(env, MANAGEMENT_PORT, management);
                }
            }
            Pod::Mqtt => {
                let broker = self.mqtt.clone();
                serve(env, MQTT_PORT, |env, listener| async move { broker.serve(env, listener).await });
            }
            Pod::Redis | Pod::RedisShard(_) => {
                let broker = self.redis_on(pod).clone();
                self.configure_routes();
                serve(env, REDIS_PORT, |env, listener| async move { broker.serve(env, listener).await });
            }
            Pod::Gateway(_) | Pod::Store(_) => self.boot_gateways(life, pod),
            Pod::Router(..) | Pod::TaskWorker(_) | Pod::Dispatcher => self.boot_service(life, pod),
            Pod::Autoscaler => {
                let (spec, amqp, scales) = (self.spec.clone(), self.config.amqp.clone(), self.scaling.scales.clone());
                let process = Process::start(env, |stop| autoscale::run(life.env(), spec, amqp, scales, stop));
                self.lives.runs(pod, process);
            }
        }
    }

    pub(super) fn redis_on(&self, pod: Pod) -> &redis::Broker {
        match pod {
            Pod::RedisShard(index) => &self.redis[1 + index as usize],
            _ => &self.redis[0],
        }
    }

    /// What an operator of fixed routing sets once.
    fn configure_routes(&self) {
        self.redis[0].keyspace().set(DEFAULT_ROUTE_KEY, gateway_mac(0).to_string(), None);
    }

    fn boot_gateways(&self, life: Incarnation, pod: Pod) {
        for index in self.spec.fleet.gateways_on(pod) {
            let rng = Seed::new(self.spec.seed).stream(&format!("gateway {index} from {} us", life.now_us()));
            let plan = self.gateways.plan(index, self.config.mqtt.clone(), life.processor());
            let gateway = Gateway::run(life.env(), plan, self.recorder.labels(), rng);
            life.env().spawn("gateway", gateway);
        }
    }

    fn boot_service(&self, life: Incarnation, pod: Pod) {
        let telemetry = self.recorder.telemetry(pod, move |event| {
            life.is_alive().then(|| {
                life.trace(format_args!("{event:?}"));
                life.now_us()
            })
        });
        self.scaling.schedule(pod, life.now_us());
        let telemetry = self.with_readiness(life, pod, telemetry);
        let telemetry = match &self.attributor {
            Some(attributor) => {
                let now_ns = move || life.is_alive().then(|| life.now_ns());
                Arc::new(FanOut(vec![attributor.telemetry(life.host(), now_ns), telemetry]))
            }
            None => telemetry,
        };
        let (config, recorder) = (self.versions.config(pod).clone(), self.recorder.clone());
        let [offers, learns] = [self.attributor.clone(), self.attributor.clone()];
        let work = Work {
            may_fall_silent: !self.spec.is_faultless(),
            tasks: recorder.publish(move || life.now_us()).inspect(move |task| {
                offers.iter().for_each(|attributor| attributor.offered(&task.task_id, life.now_ns()));
            }),
            take_result: move |result| {
                if life.is_alive() {
                    learns.iter().for_each(|attributor| attributor.learnt(life.host(), &result, life.now_ns()));
                    recorder.take_result(life.now_us(), result);
                }
            },
        };
        let process = Process::start(&life.env(), |stop| async move {
            if let Err(error) = run_service(pod, life.env(), config, telemetry, work, stop).await {
                life.trace(format_args!("{error}"));
            }
        });
        self.lives.runs(pod, process);
    }

    /// Waits until every gateway and every router has its MQTT session.
    async fn connect(&self) -> anyhow::Result<()> {
        let expected = self.spec.fleet.gateways as usize + routers(&self.spec).count();
        let all_connected = async {
            while self.mqtt.clients_connected() < expected {
                let connected = self.mqtt.clients_connected();
                self.progress.enter(format!("connecting: {connected} of {expected} gateways and routers"));
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(CONNECT_LIMIT, all_connected).await.is_err() {
            let connected = self.mqtt.clients_connected();
            bail!("only {connected} of {expected} MQTT clients have connected by {} us", self.cluster.now_us());
        }
        sleep(SUBSCRIBE_MARGIN).await;
        self.progress.enter("");
        Ok(())
    }

    /// Asks the service on `pod` to stop and waits until it has, or was killed. With the process all goes that it has
    /// started, so what comes next is on a new host. Returns whether it ran.
    pub(super) async fn stop(&self, pod: Pod) -> bool {
        let Some(process) = self.lives.stops(pod) else { return false };
        self.readiness().remove(&pod);
        process.ask_to_stop();
        process.stopped().await;
        self.kill(pod, LastWord::Said);
        true
    }

    /// Kills the processes on `pod` where they stand, with a last word of their kernel or without. A broker loses what
    /// it does not keep. Returns whether there was something to kill.
    pub(super) fn kill(&self, pod: Pod, last_word: LastWord) -> bool {
        if !self.lives.dies(pod) {
            return false;
        }
        self.readiness().remove(&pod);
        let name = pod.to_string();
        let outage = match last_word {
            LastWord::Said => self.cluster.crash(&name),
            LastWord::Unsaid => self.cluster.power_off(&name),
        };
        match pod {
            Pod::Amqp => self.amqp.restart(),
            Pod::Mqtt => self.mqtt.restart(),
            Pod::Redis | Pod::RedisShard(_) => self.redis_on(pod).restart(),
            _ => {}
        }
        outage.tasks > 0 && outage.sockets > 0
    }

    /// `pod` is not to be there any more: what is left of it goes, and no fault that ends brings it back.
    pub(super) fn retire(&self, pod: Pod) {
        let _ = self.lives.want(pod, false);
        self.kill(pod, LastWord::Said);
    }

    pub(super) fn depth(&self, queue: &str) -> usize {
        self.amqp.queue_depth(queue).unwrap_or(0)
    }

    /// Where tasks are that have no end yet, those that a worker has in hand included.
    pub(super) fn task_queues(&self) -> [String; 2] {
        let retries = retry_queue(Duration::from_millis(self.config.task_worker.retry_delay_ms));
        [TASK_QUEUE.to_owned(), retries]
    }

    /// How many tasks are there.
    pub(super) fn tasks_waiting(&self) -> usize {
        self.task_queues().iter().map(|queue| self.depth(queue)).sum()
    }

    /// What the brokers show at this moment.
    pub(super) fn sample(&self) -> Sample {
        let [tasks, retries] = self.task_queues();
        let ready = |queue: &str| self.amqp.queue_ready(queue).unwrap_or(0) as u64;
        let (waiting, of_tasks) = (ready(&tasks), self.depth(&tasks) as u64);
        Sample {
            at_us: self.cluster.now_us(),
            waiting,
            in_work: Some(of_tasks - waiting),
            retrying: self.depth(&retries) as u64,
            requests: self.depth(ROUTING_QUEUE) as u64,
            dead_letters: self.depth(&dead_letter_queue()) as u64,
            mqtt_queued: Some(
                self.mqtt.sessions().iter().map(|session| (session.queued + session.in_flight) as u64).sum(),
            ),
            cpu: None,
        }
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

    /// What came of the run. The invariants hold at any moment: a task leaves a queue only when it is settled
    /// elsewhere.
    pub(super) fn outcome(&self) -> Outcome {
        let brokers = BrokerState {
            dead: self.dead_letters(),
            queued: self.queued_tasks(),
            mqtt_messages: self.mqtt.stats().publishes_received,
        };
        self.note_paths_of_brokers();
        let is_faultless = self.spec.is_faultless() && !self.scaling.has_killed();
        let (scaling, pods_us) = self.scaling.report(self.cluster.now_us());
        let outcome = invariants::check(&self.recorder, &brokers, is_faultless);
        Outcome { scaling, pods_us, radio: self.gateways.radio_use(), ..outcome }
    }
}
