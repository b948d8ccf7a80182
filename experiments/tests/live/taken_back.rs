//! A RabbitMQ that takes tasks back before they can be done.

use crate::{
    MACHINE,
    gateway::{label, start_gateway_with},
};
use backbone::{
    admin::Admin,
    config::Config,
    env::Env,
    message::{Message as _, Task},
    service::{BckRouter, Dispatcher, FwdRouter, TaskWorker},
    telemetry::{FanOut, LogTelemetry, Telemetry},
};
use sim::real::broker::{Kind, Real};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const WHO: &str = "a_task_that_rabbitmq_takes_back_is_done_once";
/// It gives a consumer three seconds for a task, and looks twice a second.
const IMPATIENT: [&str; 2] = [
    "application:set_env(rabbit, consumer_timeout, 3000).",
    "application:set_env(rabbit, channel_tick_interval, 500).",
];
const BLE: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_secs(60);

fn sum(metrics: &str, name: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_rabbitmq_takes_back_while_its_label_works_is_done_and_counted_once() {
    let _machine = MACHINE.read().await;
    let start = |kind| Real::start_or_skip(kind, WHO);
    let (Some(redis), Some(mqtt), Some(amqp)) = (start(Kind::Redis), start(Kind::Mosquitto), start(Kind::RabbitMq))
    else {
        return;
    };
    for setting in IMPATIENT {
        assert!(amqp.rabbitmqctl(&["eval", setting]).unwrap().status.success(), "{setting}");
    }
    let labels = start_gateway_with(mqtt.port(), 1, BLE);
    let mut config = Config::default();
    config.amqp.url = amqp.url().into();
    (config.mqtt.host, config.mqtt.port) = ("127.0.0.1".into(), mqtt.port());
    config.redis.url = redis.url().into();
    (config.task_worker.attempts_max, config.task_worker.retry_delay_ms) = (3, 300);
    config.validate().unwrap();
    let (config, stop, admin) = (Arc::new(config), CancellationToken::new(), Admin::default());
    let telemetry =
        || -> Arc<dyn Telemetry> { Arc::new(FanOut(vec![admin.metrics.clone(), Arc::new(LogTelemetry::default())])) };
    let env = Env::tokio();
    env.spawn("worker", TaskWorker::run(env.clone(), config.clone(), telemetry(), stop.clone()));
    env.spawn("router", FwdRouter::run(env.clone(), config.clone(), telemetry(), stop.clone()));
    env.spawn("router", BckRouter::run(env.clone(), config.clone(), telemetry(), stop.clone()));
    sleep(Duration::from_secs(1)).await; // the routes
    let esl = label(0);
    let task = format!(r#"{{"task_id":"a","commands":[{{"esl_mac":"{esl}","version":7,"body":1}}]}}"#);
    let tasks = futures_util::stream::iter([Task::parse(task.as_bytes()).unwrap()]);
    // Before the dispatcher: its label is at work while that still closes its connection.
    let begin = Instant::now();
    let dispatched = Dispatcher::run(env, config, telemetry(), stop.clone(), tasks).await;
    assert_eq!(dispatched.unwrap(), 1);
    while sum(&admin.metrics.to_text(), "backbone_tasks_done_total") == 0 {
        assert!(begin.elapsed() < PATIENCE, "{}", admin.metrics.to_text());
        sleep(Duration::from_millis(50)).await;
    }
    assert!(begin.elapsed() > BLE);
    sleep(Duration::from_secs(4)).await; // for what RabbitMQ would take back once more
    let metrics = admin.metrics.to_text();
    let handed_back = sum(&metrics, "backbone_dropped_total{reason=\"handed_back\"}");
    assert!(handed_back >= 1, "RabbitMQ has not taken the task back: {metrics}");
    assert_eq!(labels.version(esl), Some(7));
    assert_eq!(sum(&metrics, "backbone_tasks_done_total"), 1, "{metrics}");
    assert_eq!(sum(&metrics, "backbone_rpcs_total"), 1, "one update: {metrics}");
    assert_eq!(sum(&metrics, "backbone_tasks_dead_lettered_total"), 0, "{metrics}");
    stop.cancel();
}
