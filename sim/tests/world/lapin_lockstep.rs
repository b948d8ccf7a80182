//! lapin, unmodified, on the simulated network against the emulated RabbitMQ.

use backbone::env::Env;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer,
    options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::FieldTable,
};
use sim::{Class, Cluster, Finished, Settings, Simulation, broker::amqp};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

const URI: &str = "amqp://guest:guest@rabbitmq:5672/%2f?heartbeat=10&frame_max=8192";

fn run<T, F>(seed: u64, main: impl FnOnce(Cluster, amqp::Broker) -> F + Send + 'static) -> Finished<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let mut simulation = Simulation::new(Settings { seed, audit: true, ..Settings::default() });
    simulation.add_pod("rabbitmq", Class::Amqp);
    for i in 0..4 {
        simulation.add_pod(format!("client-{i}"), Class::Service);
    }
    simulation
        .run(async move |cluster: Cluster| {
            let broker = amqp::Broker::new(amqp::Config::default());
            let (server, env) = (broker.clone(), cluster.env("rabbitmq"));
            env.clone().spawn("rabbitmq", async move {
                let listener = env.listen(SocketAddr::from(([0, 0, 0, 0], 5672))).await.unwrap();
                match server.serve(env, listener).await {}
            });
            sleep(Duration::from_millis(1)).await;
            main(cluster, broker).await
        })
        .unwrap()
}

async fn connect(env: &Env) -> (Connection, Channel) {
    let connection =
        backbone::amqp::connect(env, URI.parse().unwrap(), None, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn consume(channel: &Channel, queue: &str) -> Consumer {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
    channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default()).await.unwrap()
}

/// Publishes a number and gets it back, `rounds` times; reports each.
async fn play(env: Env, queue: String, rounds: u32, report: mpsc::UnboundedSender<u32>) {
    let (_connection, channel) = connect(&env).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut messages = consume(&channel, &queue).await;
    for round in 0..rounds {
        let body = round.to_string();
        let properties = BasicProperties::default();
        let confirm = channel
            .basic_publish(
                "".into(),
                queue.as_str().into(),
                BasicPublishOptions::default(),
                body.as_bytes(),
                properties,
            )
            .await
            .unwrap();
        assert!(confirm.await.unwrap().is_ack());
        let message = messages.next().await.unwrap().unwrap();
        message.acker.ack(BasicAckOptions::default()).await.unwrap();
        let _ = report.send(String::from_utf8_lossy(&message.data).parse().unwrap());
    }
}

async fn play_all(cluster: &Cluster) -> u64 {
    let (report, mut reports) = mpsc::unbounded_channel();
    for i in 0..4 {
        let env = cluster.env(&format!("client-{i}"));
        env.clone().spawn("player", play(env, format!("queue-{i}"), 100, report.clone()));
    }
    drop(report);
    let mut sum = 0;
    while let Some(round) = reports.recv().await {
        sum += u64::from(round);
    }
    sum
}

#[test]
fn four_clients_get_all_that_they_publish() {
    let finished = run(1, async |cluster: Cluster, _broker| play_all(&cluster).await);
    assert_eq!(finished.output, 4 * (0..100).sum::<u64>());
}

#[test]
fn runs_of_one_seed_are_equal_and_of_another_are_not() {
    let digest = |seed| run(seed, async |cluster: Cluster, _broker| play_all(&cluster).await).digest;
    let first = digest(1);
    for _ in 0..4 {
        assert_eq!(digest(1), first);
    }
    assert_ne!(digest(2), first);
}

#[test]
fn a_crashed_client_leaves_its_unacknowledged_messages_to_the_others() {
    let finished = run(1, async |cluster: Cluster, broker| {
        let (report, mut reports) = mpsc::unbounded_channel();
        let env = cluster.env("client-0");
        let held = report.clone();
        env.clone().spawn("holder", async move {
            let (_connection, channel) = connect(&env).await;
            let mut messages = consume(&channel, "shared").await;
            channel
                .basic_publish("".into(), "shared".into(), Default::default(), b"once", BasicProperties::default())
                .await
                .unwrap();
            let message = messages.next().await.unwrap().unwrap();
            held.send(message.redelivered).unwrap();
            std::future::pending::<()>().await;
        });
        let first = reports.recv().await;
        assert!(cluster.crash("client-0").tasks > 0);
        let env = cluster.env("client-1");
        env.clone().spawn("heir", async move {
            let (_connection, channel) = connect(&env).await;
            let message = consume(&channel, "shared").await.next().await.unwrap().unwrap();
            report.send(message.redelivered).unwrap();
        });
        let second = timeout(Duration::from_secs(1), reports.recv()).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        (first, second, broker.connection_count())
    });
    assert_eq!(finished.output, (Some(false), Some(true), 0));
}

#[test]
fn a_client_notices_a_broker_without_power_by_its_heartbeats() {
    let finished = run(1, async |cluster: Cluster, _broker| {
        let (report, mut reports) = mpsc::unbounded_channel();
        let env = cluster.env("client-0");
        env.clone().spawn("listener", async move {
            let (_connection, channel) = connect(&env).await;
            let mut messages = consume(&channel, "silent").await;
            report.send("listening").unwrap();
            while let Some(Ok(_)) = messages.next().await {}
            report.send("lost").unwrap();
        });
        assert_eq!(reports.recv().await, Some("listening"));
        sleep(Duration::from_secs(300)).await;
        assert!(reports.is_empty(), "heartbeats keep an idle connection alive");
        let _ = cluster.power_off("rabbitmq");
        let start_us = cluster.now_us();
        assert_eq!(reports.recv().await, Some("lost"));
        (cluster.now_us() - start_us) / 1_000_000
    });
    assert!((10..=30).contains(&finished.output), "noticed after {} s", finished.output);
}
