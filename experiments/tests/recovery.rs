//! The real brokers die, restart, stand still, run out of memory and refuse writes, one after the other, while tasks come
//! in: the services say what they wait for, recover by themselves, and no task is lost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use backbone::{
    config::Config,
    env::{Env as _, TokioEnv},
    message::{Mac, Message as _, Task},
    service::{BckRouter, Dispatcher, FwdRouter, TaskWorker},
    telemetry::{Event, Readiness, Several, Telemetry},
};
use rustix::process::{Pid, Signal, kill_process};
use sim::{
    Seed,
    broker::real::{Kind, Real},
    fleet::{AckOrder, Gateway, GatewayPlan, Heard, Labels, Online, Work},
};
use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// One after the other, so that each label is commanded again and again.
const LABELS: u64 = 10;
/// Time from one task to the next while something is broken.
const TASK_PERIOD: Duration = Duration::from_millis(25);
/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// What the services said.
#[derive(Default)]
struct Notes {
    done: Mutex<BTreeSet<String>>,
    given_up: Mutex<Vec<String>>,
    /// Reasons of lost connections, and of messages that were dropped or handed back.
    reasons: Mutex<Vec<String>>,
}

impl Telemetry for Notes {
    fn record(&self, event: &Event<'_>) {
        match event {
            Event::TaskDone { task, .. } => drop(self.done.lock().unwrap().insert(task.to_string())),
            Event::TaskDeadLettered { .. } => self.given_up.lock().unwrap().push(format!("{event:?}")),
            Event::Disconnected { .. } | Event::Dropped { .. } => {
                self.reasons.lock().unwrap().push(format!("{event:?}"));
            }
            _ => {}
        }
    }
}

struct World {
    amqp: Real,
    mqtt: Real,
    redis: Real,
    notes: Arc<Notes>,
    readiness: Vec<Arc<Readiness>>,
    labels: Labels,
    /// Tasks handed to the dispatcher.
    fed: Arc<AtomicU64>,
    /// Whether tasks come in.
    feeds: Arc<AtomicBool>,
    stop: CancellationToken,
}

fn task(index: u64) -> Task {
    let (label, version) = (Mac::new(1 + index % LABELS), index + 1);
    let task =
        format!(r#"{{"task_id":"task-{index}","commands":[{{"esl_mac":"{label}","version":{version},"body":1}}]}}"#);
    Task::parse(task.as_bytes()).unwrap()
}

impl World {
    fn start() -> Option<Self> {
        let start = |kind| Real::start_or_skip(kind, "recovery");
        let (redis, mqtt, amqp) = (start(Kind::Redis)?, start(Kind::Mosquitto)?, start(Kind::RabbitMq)?);
        let mut config = Config::default();
        config.amqp.url = amqp.url().into();
        (config.mqtt.host, config.mqtt.port) = ("127.0.0.1".into(), mqtt.port());
        config.redis.url = redis.url().into();
        let worker = &mut config.task_worker;
        (worker.prefetch, worker.reply_timeout_ms, worker.retry_delay_ms, worker.attempts_max) = (8, 3_000, 300, 100);
        config.validate().unwrap();
        let mut world = Self {
            amqp,
            mqtt,
            redis,
            notes: Arc::default(),
            readiness: Vec::new(),
            labels: Labels::default(),
            fed: Arc::default(),
            feeds: Arc::default(),
            stop: CancellationToken::new(),
        };
        world.start_services(&Arc::new(config));
        world.start_gateway();
        Some(world)
    }

    fn start_services(&mut self, config: &Arc<Config>) {
        let (env, stop) = (TokioEnv, self.stop.clone());
        let with = || (env, config.clone(), stop.clone());
        for _ in 0..2 {
            let ((env, config, stop), telemetry) = (with(), self.telemetry());
            env.spawn("router", FwdRouter::run(env, config, telemetry, stop));
            let ((env, config, stop), telemetry) = (with(), self.telemetry());
            env.spawn("router", BckRouter::run(env, config, telemetry, stop));
            let ((env, config, stop), telemetry) = (with(), self.telemetry());
            env.spawn("worker", TaskWorker::run(env, config, telemetry, stop));
        }
        let (feed, tasks) = mpsc::channel(1_000);
        let tasks = futures_util::stream::unfold(tasks, |mut tasks| async { Some((tasks.recv().await?, tasks)) });
        let (config, telemetry) = (config.clone(), self.telemetry());
        env.spawn("dispatcher", async move {
            // Stopped in the end, it complains that there may be more tasks.
            let _ = Dispatcher::run(env, config, telemetry, stop, tasks).await;
        });
        let (fed, feeds) = (self.fed.clone(), self.feeds.clone());
        env.spawn("feeder", async move {
            loop {
                sleep(TASK_PERIOD).await;
                if feeds.load(Relaxed) && feed.send(task(fed.fetch_add(1, Relaxed))).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Where one replica reports to.
    fn telemetry(&mut self) -> Arc<Several> {
        let readiness = Arc::new(Readiness::default());
        self.readiness.push(readiness.clone());
        Arc::new(Several(vec![self.notes.clone(), readiness]))
    }

    fn start_gateway(&self) {
        let plan = GatewayPlan {
            broker: ("127.0.0.1".into(), self.mqtt.port()),
            client_id: "gateway".into(),
            mac: Mac::new(100),
            shared_mac: false,
            echoes_request_id: true,
            work: Work::Concurrent,
            order: AckOrder::ReplyFirst,
            ble_us: (0, 0),
            heard: (0..LABELS).map(|i| Heard { label: Mac::new(1 + i), mean_dbm: -60 }).collect(),
            online: Online::default(),
            rssi_period: Duration::from_millis(300),
        };
        let rng = Seed::new(1).stream("gateway");
        TokioEnv.spawn("gateway", Gateway::run(TokioEnv, plan, self.labels.clone(), rng));
    }

    /// Asks until `holds`, and panics with `what` if that never comes.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !holds(self) {
            assert!(Instant::now() < limit, "{what}; {}", self.state());
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn state(&self) -> String {
        let waits: Vec<_> = self.readiness.iter().filter_map(|readiness| readiness.check().err()).collect();
        let waits: Vec<String> = waits.iter().map(ToString::to_string).collect();
        let done = self.notes.done.lock().unwrap().len();
        format!("{done} of {} tasks are done; replicas that are not ready: {waits:?}", self.fed.load(Relaxed))
    }

    /// Waits until some replica says that it waits for `broker`.
    async fn says_that_it_waits_for(&self, broker: &str) {
        let waits = format!("waiting for {broker} (");
        let says = |world: &Self| {
            let unready = world.readiness.iter().filter_map(|readiness| readiness.check().err());
            unready.into_iter().any(|unready| unready.to_string().contains(&waits))
        };
        self.until(&format!("nobody says that it waits for {broker}"), says).await;
    }

    /// Lets tasks come in, so that something is under way when the fault comes.
    async fn begin(&self, name: &str) -> Instant {
        eprintln!("{name}");
        self.notes.reasons.lock().unwrap().clear();
        self.feeds.store(true, Relaxed);
        sleep(8 * TASK_PERIOD).await;
        Instant::now()
    }

    /// Lets no more tasks come in, and waits until all are done and all replicas ready.
    async fn recovers(&self, since: Instant) {
        sleep(4 * TASK_PERIOD).await; // work after the fault, too
        self.feeds.store(false, Relaxed);
        sleep(2 * TASK_PERIOD).await;
        self.until("not recovered", |world| {
            let all_done = world.notes.done.lock().unwrap().len() as u64 == world.fed.load(Relaxed);
            all_done && world.readiness.iter().all(|readiness| readiness.check().is_ok())
        })
        .await;
        assert_eq!(*self.notes.given_up.lock().unwrap(), [] as [String; 0]);
        eprintln!("    recovered after {:.1} s; {}", since.elapsed().as_secs_f64(), self.state());
    }

    /// One command of Redis.
    async fn redis(&self, words: &[&str]) {
        let mut stream = TokioEnv.connect("127.0.0.1", self.redis.port()).await.unwrap();
        stream.write_all(format!("{}\r\n", words.join(" ")).as_bytes()).await.unwrap();
        let mut answer = [0; 64];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(matches!(answer[0], b'+' | b':'), "{words:?}: {}", String::from_utf8_lossy(&answer[..read]));
    }

    fn rabbitmqctl(&self, arguments: &[&str]) {
        let output = self.amqp.rabbitmqctl(arguments).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn has_reason(&self, text: &str) -> bool {
        self.notes.reasons.lock().unwrap().iter().any(|reason| reason.contains(text))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_recover_from_what_real_brokers_do_and_lose_no_task() {
    let Some(mut world) = World::start() else { return };
    let since = world.begin("nothing is broken").await;
    world.recovers(since).await;

    let since = world.begin("Redis dies with all that it knew, and comes back empty").await;
    world.redis.kill().unwrap();
    world.says_that_it_waits_for("redis").await;
    world.redis.start_again().unwrap();
    world.recovers(since).await;

    let since = world.begin("Redis refuses to write").await;
    world.redis(&["CONFIG", "SET", "maxmemory", "1"]).await;
    world.until("nobody speaks of Redis' refusal", |world| world.has_reason("maxmemory")).await;
    world.redis(&["CONFIG", "SET", "maxmemory", "0"]).await;
    world.recovers(since).await;

    let since = world.begin("Redis stands still").await;
    world.redis.pause().unwrap();
    sleep(Duration::from_secs(3)).await;
    world.redis.resume().unwrap();
    world.recovers(since).await;

    let since = world.begin("Redis drops its connections").await;
    world.redis(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    world.recovers(since).await;

    let since = world.begin("Mosquitto dies and comes back").await;
    world.mqtt.kill().unwrap();
    world.says_that_it_waits_for("mqtt").await;
    world.mqtt.start_again().unwrap();
    world.recovers(since).await;

    let since = world.begin("Mosquitto stands still").await;
    world.mqtt.pause().unwrap();
    sleep(Duration::from_secs(3)).await;
    world.mqtt.resume().unwrap();
    world.recovers(since).await;

    let since = world.begin("RabbitMQ stands still").await;
    world.amqp.pause().unwrap();
    sleep(Duration::from_secs(3)).await;
    world.amqp.resume().unwrap();
    world.recovers(since).await;

    let since = world.begin("RabbitMQ has no memory left: publishing is blocked").await;
    world.rabbitmqctl(&["set_vm_memory_high_watermark", "0.0001"]);
    world.says_that_it_waits_for("amqp").await;
    world.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]);
    world.recovers(since).await;

    let since = world.begin("RabbitMQ closes all connections").await;
    world.rabbitmqctl(&["close_all_connections", "an operator's wish"]);
    world.until("nobody noticed", |world| world.has_reason("amqp")).await;
    world.recovers(since).await;

    let since = world.begin("RabbitMQ dies and comes back").await;
    world.amqp.kill().unwrap();
    world.says_that_it_waits_for("amqp").await;
    world.amqp.start_again().unwrap();
    world.recovers(since).await;

    for index in world.fed.load(Relaxed) - LABELS..world.fed.load(Relaxed) {
        assert_eq!(world.labels.version(Mac::new(1 + index % LABELS)), Some(index + 1), "the newest content is shown");
    }
    a_second_signal_ends_a_worker_at_once(&world).await;
    world.stop.cancel();
}

/// On the program itself: with work in hand that nobody finishes, the first SIGTERM is waited for, the second is not.
async fn a_second_signal_ends_a_worker_at_once(world: &World) {
    world.stop.cancel(); // no routers, and no other workers
    sleep(Duration::from_secs(1)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.toml");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::fs::write(&file, format!("[admin]\nlisten = \"127.0.0.1:{port}\"\n")).unwrap();
    let mut worker = Command::new(env!("CARGO_BIN_EXE_experiments"))
        .args(["backbone", "--", "task-worker", "--config"])
        .arg(&file)
        .env("BACKBONE_AMQP__URL", world.amqp.url())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let config = Config {
        amqp: backbone::config::Amqp { url: world.amqp.url().into(), ..Default::default() },
        ..Default::default()
    };
    let (tasks, stop) = (futures_util::stream::iter([task(0)]), CancellationToken::new());
    Dispatcher::run(TokioEnv, Arc::new(config), world.notes.clone(), stop, tasks).await.unwrap();
    // Waiting for a child closes the pipe to it, and this one would end with that.
    let _pipe = worker.stdin.take();
    let limit = Instant::now() + LIMIT;
    while !in_flight(port).await {
        assert!(Instant::now() < limit, "the worker did not take the task");
        sleep(Duration::from_millis(50)).await;
    }
    kill_process(Pid::from_child(&worker), Signal::TERM).unwrap();
    sleep(Duration::from_millis(500)).await;
    assert!(worker.try_wait().unwrap().is_none(), "the first signal lets it finish its work");
    let since = Instant::now();
    kill_process(Pid::from_child(&worker), Signal::TERM).unwrap();
    let status = worker.wait().unwrap();
    assert_eq!(status.code(), Some(143));
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
}

/// Whether the worker waits for a reply.
async fn in_flight(port: u16) -> bool {
    let Ok(mut stream) = TokioEnv.connect("127.0.0.1", port).await else { return false };
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.contains("backbone_rpcs_in_flight 1\n")
}
