//! What the field reports, where the broker decides: its limits, its idea of who is there, its patience with a member
//! of a shared subscription that stands still.

use super::{
    broken_connections::HEARTBEAT_S,
    world::{Brokers, LIMIT, World},
};
use crate::{MACHINE, gateway::label};
use backbone::{
    config::{Config, Presence},
    env::{Env, Stream},
    message::{Mac, Message as _, RssiReport, Task, action_topic, rssi_topic, status_topic},
    service::Dispatcher,
    telemetry::FanOut,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// Puts a task for one label into the queue.
async fn dispatch(config: &Config, name: &str, label: Mac, bytes: usize) {
    let body = "x".repeat(bytes);
    let text =
        format!(r#"{{"task_id":"{name}","commands":[{{"esl_mac":"{label}","version":1000000,"body":"{body}"}}]}}"#);
    let tasks = futures_util::stream::iter([Task::parse(text.as_bytes()).unwrap()]);
    let (config, telemetry) = (Arc::new(config.clone()), Arc::new(FanOut(Vec::new())));
    Dispatcher::run(Env::tokio(), config, telemetry, CancellationToken::new(), tasks).await.unwrap();
}

/// The sum of a counter with this label over both workers.
fn retries(world: &World, reason: &str) -> u64 {
    let counter = format!("backbone_tasks_retried_total{{reason=\"{reason}\"}} ");
    let of = |worker: &str| {
        let metrics = world.metrics(worker);
        metrics.lines().find_map(|line| line.strip_prefix(&counter)).map_or(0, |count| count.parse::<u64>().unwrap())
    };
    of("worker-0") + of("worker-1")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_too_large_for_the_real_mosquitto_is_refused_alone() {
    let _alone = MACHINE.write().await;
    // The first is announced; of the second, each forward router learns from one refusal.
    for (limit, losses_max) in [("max_packet_size 2000", 0), ("message_size_limit 2000", 2)] {
        let Some(mut brokers) = Brokers::start("a_command_that_is_too_large_for_the_real_mosquitto") else { return };
        brokers.configure_mosquitto(limit);
        let config = brokers.config();
        let world = World::start(brokers, |_| config.clone());
        let since = world.begin(limit).await;
        world.recovers(since).await;
        world.begin(&format!("{limit}: three commands are too large")).await;
        for i in 0..3 {
            dispatch(&config, &format!("large-{i}"), label(0), 3_000).await;
        }
        world.until("not refused", |world| world.notes.given_up.lock().unwrap().len() == 3).await;
        for said in world.notes.given_up.lock().unwrap().drain(..) {
            assert!(said.contains("TooLarge") && said.contains("MQTT packet has 31"), "{said}");
        }
        world.finishes_its_tasks().await;
        let lost = world.complaints().into_iter().filter(|said| said.disconnected.is_some());
        let lost: Vec<_> = lost.map(|said| said.text).collect();
        assert!(lost.len() <= losses_max, "{lost:?}");
        world.stop.cancel();
    }
}

/// A text as MQTT writes it.
fn text(text: &[u8]) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat()
}

/// A packet of less than 16,384 bytes.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    let length =
        if length < 128 { vec![length as u8] } else { vec![(length & 0x7F) as u8 | 0x80, (length >> 7) as u8] };
    [vec![kind], length, body.to_vec()].concat()
}

fn publish(id: u8, topic: &str, retain: bool, payload: &[u8]) -> Vec<u8> {
    packet(0x32 | u8::from(retain), &[text(topic.as_bytes()), vec![0, id, 0], payload.to_vec()].concat())
}

/// Connects a client with a will, if it has one, and a subscription.
async fn client(port: u16, id: &str, will: Option<(&str, &str)>, filter: &str) -> Stream {
    let mut stream = Env::tokio().connect("127.0.0.1", port).await.unwrap();
    let flags = if will.is_some() { 0b10_1110 } else { 0b10 };
    let will = will.map(|(topic, word)| [vec![0], text(topic.as_bytes()), text(word.as_bytes())].concat());
    let connect = [text(b"MQTT"), vec![5, flags, 0, 60, 0], text(id.as_bytes()), will.unwrap_or_default()].concat();
    let subscribe = [vec![0, 9, 0], text(filter.as_bytes()), vec![1]].concat();
    stream.write_all(&[packet(0x10, &connect), packet(0x82, &subscribe)].concat()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_gone_is_known_by_its_will_though_a_monitor_subscribes_to_everything() {
    let _alone = MACHINE.write().await;
    let Some(brokers) = Brokers::start("a_gateway_that_is_gone_is_known_by_its_will") else { return };
    let (port, mut config) = (brokers.mqtt.port(), brokers.config());
    config.routing.presence = Presence::Status;
    let world = World::start(brokers, |_| config.clone());
    let since = world.begin("nothing is broken").await;
    world.recovers(since).await;
    let mut monitor = client(port, "monitor", None, "#").await;
    Env::tokio().spawn("monitor", async move {
        let mut buf = vec![0; 1 << 16];
        while monitor.read(&mut buf).await.unwrap_or(0) > 0 {}
    });
    let (gateway, alone) = (Mac::new(200), Mac::new(2_000));
    let status = status_topic(gateway);
    let mut stream = client(port, "mute", Some((&status, "offline")), &action_topic(gateway)).await;
    let report = RssiReport { heard_unix_ms: Env::tokio().unix_ms(), labels: vec![(alone, -50)] };
    let says = [publish(1, &status, true, b"online"), publish(2, &rssi_topic(gateway), false, &report.to_bytes())];
    stream.write_all(&says.concat()).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    drop(stream); // without a DISCONNECT
    sleep(Duration::from_millis(300)).await;
    let (begin, before) = (Instant::now(), retries(&world, "gateway_offline"));
    dispatch(&config, "for-nobody", alone, 1).await;
    world.until("not refused", |world| retries(world, "gateway_offline") > before).await;
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(retries(&world, "timeout"), 0);
    world.stop.cancel();
}

/// Waits until a service with this port for its health is ready.
async fn is_ready(port: u16) {
    let limit = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < limit, "the router does not get ready");
        sleep(Duration::from_millis(50)).await;
        let Ok(mut stream) = Env::tokio().connect("127.0.0.1", port).await else { continue };
        stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        if answer.starts_with("HTTP/1.1 200") {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backward_router_that_stands_still_costs_tries_until_mosquitto_drops_it_and_no_task() {
    let _alone = MACHINE.write().await;
    let Some(brokers) = Brokers::start("a_backward_router_that_stands_still") else { return };
    let mut config = brokers.config();
    config.mqtt.keep_alive_s = HEARTBEAT_S;
    let world = World::start(brokers, |_| config.clone());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.toml");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mqtt = format!("host = \"127.0.0.1\"\nport = {}\nkeep_alive_s = {HEARTBEAT_S}", config.mqtt.port);
    std::fs::write(&file, format!("[admin]\nlisten = \"127.0.0.1:{port}\"\n[mqtt]\n{mqtt}\n")).unwrap();
    let mut router = Command::new(env!("CARGO_BIN_EXE_experiments"))
        .args(["backbone", "--", "bck-router", "--config"])
        .arg(&file)
        .env("BACKBONE_AMQP__URL", &config.amqp.url)
        .env("BACKBONE_REDIS__URL", &config.redis.url)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = router.stdin.take();
    is_ready(port).await;
    let since = world.begin("nothing is broken").await;
    world.recovers(since).await;

    let before = retries(&world, "timeout");
    let since = world.begin("one of three backward routers stands still").await;
    kill_process(Pid::from_child(&router), Signal::STOP).unwrap();
    // One and a half keep-alives, and Mosquitto looks every 5 s.
    sleep(Duration::from_millis(1_500 * u64::from(HEARTBEAT_S) + 6_000)).await;
    world.recovers(since).await;
    let lost = retries(&world, "timeout") - before;
    assert!(lost > 0, "it had a share of the replies");
    let since = world.begin("it still does, and the broker knows").await;
    sleep(Duration::from_secs(2)).await;
    world.recovers(since).await;
    assert_eq!(retries(&world, "timeout"), before + lost);

    let since = world.begin("it goes on").await;
    kill_process(Pid::from_child(&router), Signal::CONT).unwrap();
    sleep(Duration::from_secs(2)).await;
    is_ready(port).await;
    world.recovers(since).await;
    assert_eq!(retries(&world, "timeout"), before + lost);
    kill_process(Pid::from_child(&router), Signal::TERM).unwrap();
    assert!(router.wait().unwrap().success());
    drop(pipe);
    world.stop.cancel();
}
