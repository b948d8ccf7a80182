//! Two routers of each kind, or two HTTP routers, two workers, a dispatcher that is fed with tasks, and a gateway, on
//! real brokers.

use crate::gateway::{label, start_gateway};
use backbone::{
    admin::Admin,
    config::{Config, RpcKind},
    env::Env,
    message::{Message as _, Task},
    service::{BckRouter, Dispatcher, FwdRouter, HttpRouter, TaskWorker},
    telemetry::{Event, FanOut, Telemetry},
};
use sim::{
    fleet::Labels,
    real::broker::{Kind, Real, RealError, skip},
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// One after the other, so that each label is commanded again and again.
pub(crate) const LABELS: u64 = 10;
/// Time from one task to the next while something is broken.
const TASK_PERIOD: Duration = Duration::from_millis(25);
/// How long anything may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The three real brokers.
pub(crate) struct Brokers {
    pub(crate) amqp: Real,
    pub(crate) mqtt: Real,
    pub(crate) redis: Real,
}

impl Brokers {
    /// `None` if they are not installed.
    pub(crate) fn start(who: &str) -> Option<Self> {
        Self::start_with(who, "", "")
    }

    /// With more in the configurations of Redis and Mosquitto.
    pub(crate) fn start_with(who: &str, redis: &str, mosquitto: &str) -> Option<Self> {
        let start = |kind, config: &str| match Real::start_with(kind, config) {
            Ok(real) => Some(real),
            Err(RealError::NotInstalled(reason)) => {
                skip(who, &reason);
                None
            }
            Err(error) => panic!("{who}: {error}"),
        };
        let redis = start(Kind::Redis, redis)?;
        let (mqtt, amqp) = (start(Kind::Mosquitto, mosquitto)?, start(Kind::RabbitMq, "")?);
        Some(Self { amqp, mqtt, redis })
    }

    /// Another Mosquitto in place of the present one, with this configuration.
    pub(crate) fn configure_mosquitto(&mut self, config: &str) {
        self.mqtt = Real::start_with(Kind::Mosquitto, config).unwrap();
    }

    /// That of services which use them and are quick to try again.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        config.amqp.url = self.amqp.url().into();
        (config.mqtt.host, config.mqtt.port) = ("127.0.0.1".into(), self.mqtt.port());
        config.redis.url = self.redis.url().into();
        let worker = &mut config.task_worker;
        (worker.prefetch, worker.reply_timeout_ms, worker.retry_delay_ms, worker.attempts_max) = (8, 3_000, 300, 100);
        config
    }
}

/// What the services said.
#[derive(Default)]
pub(crate) struct Notes {
    done: Mutex<BTreeSet<String>>,
    pub(crate) given_up: Mutex<Vec<String>>,
    complaints: Mutex<Vec<Complaint>>,
}

/// Of a lost connection, or of a message that was dropped or handed back.
#[derive(Clone, Debug)]
pub(crate) struct Complaint {
    pub(crate) replica: &'static str,
    /// To which broker a connection was lost.
    pub(crate) disconnected: Option<&'static str>,
    /// The event.
    pub(crate) text: String,
}

/// One replica's way to the notes.
struct Voice {
    replica: &'static str,
    notes: Arc<Notes>,
}

impl Telemetry for Voice {
    fn record(&self, event: &Event<'_>) {
        let Self { replica, notes } = self;
        let disconnected = match event {
            Event::TaskDone { task, .. } => {
                notes.done.lock().unwrap().insert(task.to_string());
                return;
            }
            Event::TaskDeadLettered { .. } => return notes.given_up.lock().unwrap().push(format!("{event:?}")),
            Event::Disconnected { broker, .. } => Some(*broker),
            Event::Dropped { .. } => None,
            _ => return,
        };
        notes.complaints.lock().unwrap().push(Complaint { replica, disconnected, text: format!("{event:?}") });
    }
}

struct Replica {
    name: &'static str,
    admin: Admin,
}

pub(crate) struct World {
    pub(crate) brokers: Brokers,
    pub(crate) notes: Arc<Notes>,
    replicas: Vec<Replica>,
    pub(crate) labels: Labels,
    /// Tasks handed to the dispatcher.
    pub(crate) fed: Arc<AtomicU64>,
    /// Whether tasks come in.
    feeds: Arc<AtomicBool>,
    pub(crate) stop: CancellationToken,
}

/// The task of this number; the labels of tasks that follow each other differ.
pub(crate) fn task(index: u64) -> Task {
    let (label, version) = (label(index % LABELS), index + 1);
    let task =
        format!(r#"{{"task_id":"task-{index}","commands":[{{"esl_mac":"{label}","version":{version},"body":1}}]}}"#);
    Task::parse(task.as_bytes()).unwrap()
}

impl World {
    /// Starts the services, each replica with the configuration that `config` has for it; which routers, that of
    /// `worker-0` says.
    pub(crate) fn start(brokers: Brokers, config: impl Fn(&'static str) -> Config) -> Self {
        let labels = start_gateway(brokers.mqtt.port(), LABELS);
        let (notes, replicas, stop) = (Arc::default(), Vec::new(), CancellationToken::new());
        let (fed, feeds) = (Arc::default(), Arc::default());
        let mut world = Self { brokers, notes, replicas, labels, fed, feeds, stop };
        let with = |world: &mut Self, name| {
            let config = config(name);
            config.validate().unwrap();
            (Env::tokio(), Arc::new(config), world.telemetry(name), world.stop.clone())
        };
        let is_over_http = config("worker-0").rpc.kind == RpcKind::Http;
        let only_if = |wanted: bool, names: [&'static str; 2]| names.into_iter().filter(move |_| wanted);
        for name in only_if(!is_over_http, ["fwd-0", "fwd-1"]) {
            let (env, config, telemetry, stop) = with(&mut world, name);
            Env::tokio().spawn("router", FwdRouter::run(env, config, telemetry, stop));
        }
        for name in only_if(!is_over_http, ["bck-0", "bck-1"]) {
            let (env, config, telemetry, stop) = with(&mut world, name);
            Env::tokio().spawn("router", BckRouter::run(env, config, telemetry, stop));
        }
        for name in only_if(is_over_http, ["http-0", "http-1"]) {
            let (env, config, telemetry, stop) = with(&mut world, name);
            Env::tokio().spawn("router", async move { HttpRouter::run(env, config, telemetry, stop).await.unwrap() });
        }
        for name in ["worker-0", "worker-1"] {
            let (env, config, telemetry, stop) = with(&mut world, name);
            Env::tokio().spawn("worker", TaskWorker::run(env, config, telemetry, stop));
        }
        let (feed, tasks) = mpsc::channel(1_000);
        let tasks = futures_util::stream::unfold(tasks, |mut tasks| async { Some((tasks.recv().await?, tasks)) });
        let (env, config, telemetry, stop) = with(&mut world, "dispatcher");
        Env::tokio().spawn("dispatcher", async move {
            // Stopped in the end, it complains that there may be more tasks.
            let _ = Dispatcher::run(env, config, telemetry, stop, tasks).await;
        });
        let (fed, feeds) = (world.fed.clone(), world.feeds.clone());
        Env::tokio().spawn("feeder", async move {
            loop {
                sleep(TASK_PERIOD).await;
                if feeds.load(Relaxed) && feed.send(task(fed.fetch_add(1, Relaxed))).await.is_err() {
                    return;
                }
            }
        });
        world
    }

    /// Where one replica reports to.
    fn telemetry(&mut self, name: &'static str) -> Arc<FanOut> {
        let admin = Admin::default();
        let voice = Arc::new(Voice { replica: name, notes: self.notes.clone() });
        let receivers: Vec<Arc<dyn Telemetry>> = vec![voice, admin.metrics.clone(), admin.readiness.clone()];
        self.replicas.push(Replica { name, admin });
        Arc::new(FanOut(receivers))
    }

    /// Asks until `holds`, and panics with `what` if that never comes.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !holds(self) {
            assert!(Instant::now() < limit, "{what}; {}", self.state());
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn state(&self) -> String {
        let done = self.notes.done.lock().unwrap().len();
        format!("{done} of {} tasks are done; replicas that are not ready: {:?}", self.fed.load(Relaxed), self.waits())
    }

    /// What replicas wait for, each with its name.
    fn waits(&self) -> Vec<(&'static str, String)> {
        let wait = |replica: &Replica| Some((replica.name, replica.admin.readiness.check().err()?.to_string()));
        self.replicas.iter().filter_map(wait).collect()
    }

    /// Waits until some replica says that it waits for `broker`; gives its name and words.
    pub(crate) async fn says_that_it_waits_for(&self, broker: &str) -> (&'static str, String) {
        let prefix = format!("waiting for {broker} (");
        let said = || self.waits().into_iter().find(|(_, said)| said.contains(&prefix));
        self.until(&format!("nobody says that it waits for {broker}"), |_| said().is_some()).await;
        said().expect("what is broken stays so until it is repaired")
    }

    /// Lets tasks come in, so that something is under way when the fault comes.
    pub(crate) async fn begin(&self, name: &str) -> Instant {
        eprintln!("{name}");
        self.notes.complaints.lock().unwrap().clear();
        self.feeds.store(true, Relaxed);
        sleep(8 * TASK_PERIOD).await;
        Instant::now()
    }

    /// Lets no more tasks come in, and waits until all are done.
    pub(crate) async fn finishes_its_tasks(&self) {
        sleep(4 * TASK_PERIOD).await; // work after the fault, too
        self.feeds.store(false, Relaxed);
        sleep(2 * TASK_PERIOD).await;
        let all_done = |world: &Self| world.notes.done.lock().unwrap().len() as u64 == world.fed.load(Relaxed);
        self.until("not all tasks get done", all_done).await;
        assert_eq!(*self.notes.given_up.lock().unwrap(), [] as [String; 0]);
    }

    /// As [`World::finishes_its_tasks`], and waits until all replicas are ready.
    pub(crate) async fn recovers(&self, since: Instant) {
        self.finishes_its_tasks().await;
        self.until("not recovered", |world| world.waits().is_empty()).await;
        eprintln!("    recovered after {:.1} s; {}", since.elapsed().as_secs_f64(), self.state());
    }

    /// Redis dies with all that it knew, and comes back empty.
    pub(crate) async fn survives_redis(&mut self) {
        let since = self.begin("Redis dies with all that it knew, and comes back empty").await;
        self.brokers.redis.kill().unwrap();
        self.says_that_it_waits_for("redis").await;
        self.brokers.redis.start_again().unwrap();
        self.recovers(since).await;
    }

    /// Mosquitto dies with all sessions, and comes back.
    pub(crate) async fn survives_mosquitto(&mut self) {
        let since = self.begin("Mosquitto dies and comes back").await;
        self.brokers.mqtt.kill().unwrap();
        self.says_that_it_waits_for("mqtt").await;
        self.brokers.mqtt.start_again().unwrap();
        self.recovers(since).await;
    }

    /// The dead letters, as events.
    pub(crate) fn given_up(&self) -> Vec<String> {
        self.notes.given_up.lock().unwrap().clone()
    }

    pub(crate) fn forget_dead_letters(&self) {
        self.notes.given_up.lock().unwrap().clear();
    }

    /// Waits until some replica says that it is not ready because of `reason`.
    pub(crate) async fn is_not_ready_because_of(&self, reason: &str) {
        let said = |world: &Self| world.waits().iter().any(|(_, said)| said.contains(reason));
        self.until(&format!("nobody says {reason:?}"), said).await;
    }

    /// What replicas complained of since the fault began.
    pub(crate) fn complaints(&self) -> Vec<Complaint> {
        self.notes.complaints.lock().unwrap().clone()
    }

    pub(crate) fn has_complaint(&self, text: &str) -> bool {
        self.complaints().iter().any(|complaint| complaint.text.contains(text))
    }

    /// A replica's metrics.
    pub(crate) fn metrics(&self, name: &str) -> String {
        let replica = self.replicas.iter().find(|replica| replica.name == name).unwrap();
        replica.admin.metrics.to_text()
    }
}
