//! The real brokers die, restart, stand still, run out of memory and refuse writes, one after the other.

use super::world::{Brokers, LABELS, LIMIT, World, task};
use crate::{MACHINE, gateway::label};
use backbone::{config::Config, env::Env, service::Dispatcher, telemetry::FanOut};
use rustix::process::{Pid, Signal, kill_process};
use sim::real::port::Port;
use std::{
    process::{Command, Stdio},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

impl Brokers {
    /// One command of Redis.
    pub(crate) async fn tell_redis(&self, words: &[&str]) {
        tell(self.redis.port(), words).await;
    }

    fn rabbitmqctl(&self, arguments: &[&str]) {
        let output = self.amqp.rabbitmqctl(arguments).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// One command of the Redis on this port.
pub(crate) async fn tell(port: u16, words: &[&str]) {
    let mut stream = Env::tokio().connect("127.0.0.1", port).await.unwrap();
    stream.write_all(format!("{}\r\n", words.join(" ")).as_bytes()).await.unwrap();
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(matches!(answer[0], b'+' | b':'), "{words:?}: {}", String::from_utf8_lossy(&answer[..read]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_recover_from_what_real_brokers_do_and_lose_no_task() {
    let _alone = MACHINE.write().await;
    let Some(brokers) = Brokers::start("services_recover_from_what_real_brokers_do") else { return };
    let config = brokers.config();
    let mut world = World::start(brokers, |_| config.clone());
    let since = world.begin("nothing is broken").await;
    world.recovers(since).await;

    world.survives_redis().await;

    let since = world.begin("Redis refuses to write").await;
    world.brokers.tell_redis(&["CONFIG", "SET", "maxmemory", "1"]).await;
    world.until("nobody speaks of Redis' refusal", |world| world.has_complaint("maxmemory")).await;
    world.brokers.tell_redis(&["CONFIG", "SET", "maxmemory", "0"]).await;
    world.recovers(since).await;

    let since = world.begin("Redis stands still").await;
    world.brokers.redis.pause().unwrap();
    sleep(Duration::from_secs(3)).await;
    world.brokers.redis.resume().unwrap();
    world.recovers(since).await;

    let since = world.begin("Redis drops its connections").await;
    world.brokers.tell_redis(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    world.recovers(since).await;

    world.survives_mosquitto().await;

    let since = world.begin("Mosquitto stands still").await;
    world.brokers.mqtt.pause().unwrap();
    sleep(Duration::from_secs(3)).await;
    world.brokers.mqtt.resume().unwrap();
    world.recovers(since).await;

    let since = world.begin("RabbitMQ stands still").await;
    world.brokers.amqp.pause().unwrap();
    sleep(Duration::from_secs(3)).await;
    world.brokers.amqp.resume().unwrap();
    world.recovers(since).await;

    let since = world.begin("RabbitMQ has no memory left: publishing is blocked").await;
    world.brokers.rabbitmqctl(&["set_vm_memory_high_watermark", "0.0001"]);
    world.says_that_it_waits_for("amqp").await;
    world.brokers.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]);
    world.recovers(since).await;

    let since = world.begin("RabbitMQ closes all connections").await;
    world.brokers.rabbitmqctl(&["close_all_connections", "an operator's wish"]);
    world.until("nobody noticed", |world| world.has_complaint("amqp")).await;
    world.recovers(since).await;

    let since = world.begin("RabbitMQ dies and comes back").await;
    world.brokers.amqp.kill().unwrap();
    world.says_that_it_waits_for("amqp").await;
    world.brokers.amqp.start_again().unwrap();
    world.recovers(since).await;

    for index in world.fed.load(Relaxed) - LABELS..world.fed.load(Relaxed) {
        assert_eq!(world.labels.version(label(index % LABELS)), Some(index + 1), "the newest content is shown");
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
    let claimed = Port::claim().unwrap();
    let port = claimed.number();
    std::fs::write(&file, format!("[admin]\nlisten = \"127.0.0.1:{port}\"\n")).unwrap();
    let mut worker = Command::new(env!("CARGO_BIN_EXE_experiments"))
        .args(["backbone", "--", "task-worker", "--config"])
        .arg(&file)
        .env("BACKBONE_AMQP__URL", world.brokers.amqp.url())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let config = Config {
        amqp: backbone::config::Amqp { url: world.brokers.amqp.url().into(), ..Default::default() },
        ..Default::default()
    };
    let telemetry = Arc::new(FanOut(Vec::new()));
    let (tasks, stop) = (futures_util::stream::iter([task(0)]), CancellationToken::new());
    Dispatcher::run(Env::tokio(), Arc::new(config), telemetry, stop, tasks).await.unwrap();
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
    let Ok(mut stream) = Env::tokio().connect("127.0.0.1", port).await else { return false };
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.contains("backbone_rpcs_in_flight 1\n")
}
