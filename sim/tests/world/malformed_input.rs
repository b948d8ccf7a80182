//! What is no message of ours ends where it should, with its reason, and the services go on: a task in the dead-letter
//! queue, everything else dropped and counted.

use backbone::{
    admin::Admin,
    config::Config,
    env::{Env, Listener},
    message::{ROUTING_QUEUE, TASK_BYTES_MAX, TASK_QUEUE, dead_letter_queue},
    service::{BckRouter, FwdRouter, TaskWorker},
    telemetry::{DropReason, Event, FanOut, Telemetry},
};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions},
    types::AMQPValue,
};
use sim::{
    Class, Cluster, Settings, Simulation,
    broker::{amqp, mqtt, redis},
};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::oneshot,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

pub(crate) const URI: &str = "amqp://guest:guest@amqp:5672/%2f";

/// The details of all drops, and the metrics.
#[derive(Default)]
struct Notes {
    dropped: Mutex<Vec<String>>,
    admin: Admin,
}

impl Telemetry for Notes {
    fn record(&self, event: &Event<'_>) {
        if let Event::Dropped { reason: DropReason::Malformed, detail } = event {
            self.dropped.lock().unwrap().push((*detail).to_owned());
        }
    }
}

pub(crate) fn serve<F>(env: Env, port: u16, broker: impl FnOnce(Env, Listener) -> F + Send + 'static)
where
    F: Future<Output = Infallible> + Send + 'static,
{
    env.clone().spawn("broker", async move {
        let listener = env.listen(SocketAddr::from(([0, 0, 0, 0], port))).await.unwrap();
        match broker(env, listener).await {}
    });
}

/// The three brokers and one worker and router of each kind.
async fn start(cluster: &Cluster, notes: &Arc<Notes>) {
    serve(cluster.env("amqp"), 5672, async |env, listener| {
        amqp::Broker::new(amqp::Config::default()).serve(env, listener).await
    });
    serve(cluster.env("mqtt"), 1883, async |env, listener| {
        mqtt::Broker::new(mqtt::Config::default()).serve(env, listener).await
    });
    serve(cluster.env("redis"), 6379, async |env, listener| redis::Broker::new().serve(env, listener).await);
    let mut config = Config::default();
    config.amqp.url = URI.into();
    config.mqtt.host = "mqtt".into();
    config.redis.url = "redis://redis:6379/0".into();
    let (config, stop) = (Arc::new(config), CancellationToken::new());
    let env = cluster.env("services");
    let telemetry = || -> Arc<dyn Telemetry> { Arc::new(FanOut(vec![notes.clone(), notes.admin.metrics.clone()])) };
    env.spawn("worker", TaskWorker::run(env.clone(), config.clone(), telemetry(), stop.clone()));
    env.spawn("router", FwdRouter::run(env.clone(), config.clone(), telemetry(), stop.clone()));
    env.spawn("router", BckRouter::run(env.clone(), config, telemetry(), stop));
    sleep(Duration::from_secs(2)).await;
}

/// Starts everything and hands over a pod that is none of the services.
fn run<T, F>(main: impl FnOnce(Env, Arc<Notes>) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut simulation = Simulation::new(Settings { seed: 1, audit: true, ..Settings::default() });
    for (pod, class) in [("amqp", Class::Amqp), ("mqtt", Class::Mqtt), ("redis", Class::Redis)] {
        simulation.add_pod(pod, class);
    }
    simulation.add_pod("services", Class::Service);
    simulation.add_pod("stranger", Class::Service);
    let finished = simulation.run(async move |cluster: Cluster| {
        let notes = Arc::default();
        start(&cluster, &notes).await;
        let (env, (done, outcome)) = (cluster.env("stranger"), oneshot::channel());
        let work = main(env.clone(), notes);
        env.spawn("stranger", async move {
            let _ = done.send(work.await);
        });
        outcome.await.unwrap()
    });
    finished.unwrap().output
}

pub(crate) async fn connect(env: &Env) -> (Connection, Channel) {
    let connect = backbone::amqp::connect(env, URI.parse().unwrap(), None, ConnectionProperties::default());
    let connection = connect.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    (connection, channel)
}

pub(crate) async fn publish(channel: &Channel, queue: &str, body: &[u8], properties: BasicProperties) {
    let options = BasicPublishOptions::default();
    let confirm = channel.basic_publish("".into(), queue.into(), options, body, properties).await.unwrap();
    assert!(confirm.await.unwrap().is_ack());
}

/// Publishes over MQTT 3.1.1 with QoS 0; two bytes are enough for the length of any message here.
async fn publish_over_mqtt(env: &Env, messages: &[(&str, &[u8])]) {
    let mut stream = env.connect("mqtt", 1883).await.unwrap();
    stream.write_all(b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0").await.unwrap();
    stream.read_exact(&mut [0; 4]).await.unwrap();
    for (topic, payload) in messages {
        let (topic_len, len) = (u8::try_from(topic.len()).unwrap(), 2 + topic.len() + payload.len());
        let head = [0x30, (len % 128) as u8 | 128, u8::try_from(len / 128).unwrap(), 0, topic_len];
        stream.write_all(&[&head, topic.as_bytes(), payload].concat()).await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
}

/// The next dead letter: its body, and its headers by name.
pub(crate) async fn dead_letter(channel: &Channel) -> (Vec<u8>, impl Fn(&str) -> String + use<>) {
    let get = channel.basic_get(dead_letter_queue().into(), BasicGetOptions { no_ack: true });
    let letter = get.await.unwrap().unwrap().delivery;
    let headers = letter.properties.headers().clone().unwrap();
    let header = move |name: &str| match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    (letter.data, header)
}

#[test]
fn a_malformed_task_is_a_dead_letter_with_what_is_wrong_with_it() {
    const UNKNOWN_KEY: &str =
        r#"{"task_id":"a","commands":[{"esl_mac":"00:00:00:00:00:01","version":1,"body":1}],"hurry":true}"#;
    let too_large = "x".repeat(TASK_BYTES_MAX + 1);
    let tasks = [
        ("nonsense".to_owned(), "expected ident"),
        (r#"{"task_id":"a","commands":[]}"#.to_owned(), "has 0 items"),
        (UNKNOWN_KEY.to_owned(), "unknown field `hurry`"),
        (too_large, "bytes"),
    ];
    run(async move |env, notes| {
        let (_connection, channel) = connect(&env).await;
        for (body, _) in &tasks {
            publish(&channel, TASK_QUEUE, body.as_bytes(), BasicProperties::default()).await;
        }
        sleep(Duration::from_secs(2)).await;
        for (body, problem) in &tasks {
            let (data, header) = dead_letter(&channel).await;
            assert_eq!(data, body.as_bytes());
            assert_eq!(header("x-reason"), "malformed");
            assert!(header("x-detail").contains(problem), "{}", header("x-detail"));
        }
        let metrics = notes.admin.metrics.to_text();
        assert!(metrics.contains("backbone_tasks_dead_lettered_total{reason=\"malformed\"} 4"), "{metrics}");
    });
}

#[test]
fn malformed_requests_replies_and_reports_are_dropped_with_their_reason_and_counted() {
    let (dropped, metrics) = run(async |env, notes| {
        let (_connection, channel) = connect(&env).await;
        publish(&channel, ROUTING_QUEUE, b"nonsense", BasicProperties::default()).await;
        let request = br#"{"request_id":"00000000000000000000000000000001","esl_mac":"00:00:00:00:00:01","version":1,
            "deadline_unix_ms":99999999999999,"body":1}"#;
        publish(&channel, ROUTING_QUEUE, request, BasicProperties::default()).await;
        let messages: [(&str, &[u8]); 3] = [
            ("/gw/00:00:00:00:00:64/response", b"nonsense"),
            ("/gw/nobody/rssi", b"{}"),
            ("/gw/00:00:00:00:00:64/rssi", b"{}"),
        ];
        publish_over_mqtt(&env, &messages).await;
        let queued = channel.basic_get(ROUTING_QUEUE.into(), BasicGetOptions::default()).await.unwrap();
        assert!(queued.is_none(), "what was dropped is acknowledged");
        (notes.dropped.lock().unwrap().clone(), notes.admin.metrics.to_text())
    });
    let expected = [
        "expected ident",
        "no reply-to",
        "/gw/00:00:00:00:00:64/response: ",
        "no gateway in the topic",
        "/gw/00:00:00:00:00:64/rssi: ",
    ];
    assert_eq!(dropped.len(), expected.len(), "{dropped:?}");
    for problem in expected {
        assert!(dropped.iter().any(|detail| detail.contains(problem)), "{problem} in {dropped:?}");
    }
    assert!(metrics.contains("backbone_dropped_total{reason=\"malformed\"} 5"), "{metrics}");
}

#[test]
fn what_is_good_in_a_gateways_report_counts_and_what_is_not_is_counted_by_its_name() {
    let (dropped, metrics) = run(async |env, notes| {
        let report = format!(
            r#"{{"heard_unix_ms":{},"labels":[["00:00:00:00:00:01",-60],["00:00:00:00:00:02",127]],"v":1}}"#,
            env.unix_ms()
        );
        publish_over_mqtt(&env, &[("/gw/00:00:00:00:00:64/rssi", report.as_bytes())]).await;
        (notes.dropped.lock().unwrap().clone(), notes.admin.metrics.to_text())
    });
    assert_eq!(dropped, Vec::<String>::new());
    assert!(metrics.contains("backbone_routes_stored_total 1"), "{metrics}");
    assert!(metrics.contains("backbone_gateway_parts_left_out_total{gateway=\"00:00:00:00:00:64\"} 2"), "{metrics}");
}

#[test]
fn a_dead_letter_names_the_label_that_failed_and_what_was_said_of_it() {
    run(async |env, _notes| {
        let (_connection, channel) = connect(&env).await;
        let task = br#"{"task_id":"a","commands":[{"esl_mac":"00:00:00:00:00:01","version":1,"body":1}]}"#;
        publish(&channel, TASK_QUEUE, task, BasicProperties::default()).await;
        sleep(Duration::from_secs(60)).await; // all tries and the pauses between them
        let (data, header) = dead_letter(&channel).await;
        assert_eq!(data, task);
        let detail = header("x-detail");
        assert!(detail.starts_with("label 00:00:00:00:00:01: "), "{detail}");
        assert!(detail.ends_with(", no gateway has heard the label lately"), "{detail}");
    });
}
