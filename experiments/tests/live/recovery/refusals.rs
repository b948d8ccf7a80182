//! The real brokers live, and refuse: queues vanish, somebody else consumes one alone, Redis is a replica, lacks rights
//! or is part of a cluster, Mosquitto lets nobody write.

use super::{
    broken_brokers::tell,
    world::{Brokers, World, task},
};
use crate::MACHINE;
use backbone::{
    env::Env,
    message::{Message as _, ROUTING_QUEUE, TASK_QUEUE, dead_letter_queue, retry_queue},
};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use sim::real::broker::{Kind, Real};
use std::{net::TcpListener, time::Duration};

/// A connection of somebody who is none of the services.
async fn connect(world: &World) -> (Connection, Channel) {
    let uri = world.brokers.amqp.url().parse().unwrap();
    let connection = backbone::amqp::connect(&Env::tokio(), uri, None, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_name_what_real_brokers_refuse_and_come_back_when_it_is_over() {
    let _alone = MACHINE.write().await;
    let Some(brokers) = Brokers::start("services_name_what_real_brokers_refuse") else { return };
    let config = brokers.config();
    let retries = retry_queue(Duration::from_millis(config.task_worker.retry_delay_ms));
    let world = World::start(brokers, |_| config.clone());
    let since = world.begin("nothing is broken").await;
    world.recovers(since).await;
    let (_connection, channel) = connect(&world).await;

    for queue in [&dead_letter_queue(), &retries, ROUTING_QUEUE, TASK_QUEUE] {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
        if *queue == *dead_letter_queue() {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            channel.basic_publish("".into(), TASK_QUEUE.into(), options, b"nonsense", properties).await.unwrap();
        }
        let since = world.begin(&format!("{queue} was deleted")).await;
        if *queue == *dead_letter_queue() {
            world.until("no dead letter", |world| world.given_up().len() == 1).await;
            world.forget_dead_letters();
        }
        world.recovers(since).await;
    }

    somebody_else_consumes_the_queue(&world, &channel).await;

    let since = world.begin("Redis becomes a replica").await;
    world.brokers.tell_redis(&["REPLICAOF", "127.0.0.1", "1"]).await;
    world.is_not_ready_because_of("READONLY").await;
    world.brokers.tell_redis(&["REPLICAOF", "NO", "ONE"]).await;
    world.recovers(since).await;

    let since = world.begin("Redis takes a right away").await;
    world.brokers.tell_redis(&["ACL", "SETUSER", "default", "-set"]).await;
    world.is_not_ready_because_of("NOPERM").await;
    world.brokers.tell_redis(&["ACL", "SETUSER", "default", "+set"]).await;
    world.recovers(since).await;
    world.stop.cancel();
}

async fn somebody_else_consumes_the_queue(world: &World, channel: &Channel) {
    eprintln!("somebody else consumes the task queue alone");
    channel.queue_delete(TASK_QUEUE.into(), QueueDeleteOptions::default()).await.unwrap();
    channel.queue_declare(TASK_QUEUE.into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
    let exclusive = BasicConsumeOptions { exclusive: true, ..Default::default() };
    let consume = channel.basic_consume(TASK_QUEUE.into(), "alone".into(), exclusive, FieldTable::default());
    let _consumer = consume.await.unwrap(); // ends when it is dropped
    world.is_not_ready_because_of("in exclusive use").await;
    channel.basic_cancel("alone".into(), BasicCancelOptions::default()).await.unwrap();
    let since = world.begin("and stops").await;
    world.recovers(since).await;
}

/// Runs tasks of one try until one is a dead letter; the event.
async fn first_dead_letter(brokers: Brokers, is_prepared: impl Fn(&World) -> bool) -> (World, String) {
    let mut config = brokers.config();
    config.task_worker.attempts_max = 1;
    let world = World::start(brokers, |_| config.clone());
    let (_connection, channel) = connect(&world).await;
    channel.queue_declare(TASK_QUEUE.into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
    world.until("not prepared", is_prepared).await;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish("".into(), TASK_QUEUE.into(), options, &task(1).to_bytes(), properties).await.unwrap();
    world.until("no dead letter", |world| !world.given_up().is_empty()).await;
    let letter = world.given_up()[0].clone();
    (world, letter)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_says_that_mosquitto_lets_nobody_write() {
    let _alone = MACHINE.write().await;
    let folder = tempfile::tempdir().unwrap();
    let rights = folder.path().join("rights");
    // Of everybody, since nobody logs in.
    let text = "topic read #\ntopic write /gw/+/response\ntopic write /gw/+/rssi\n";
    std::fs::write(&rights, text).unwrap();
    // Mosquitto may run as a user of its own.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let config = format!("acl_file {}\n", rights.display());
    let Some(brokers) = Brokers::start_with("a_dead_letter_says_that_mosquitto_lets_nobody_write", "", &config) else {
        return;
    };
    let has_routes = |world: &World| {
        ["bck-0", "bck-1"].iter().any(|name| !world.metrics(name).contains("backbone_routes_stored_total 0"))
    };
    let (world, letter) = first_dead_letter(brokers, has_routes).await;
    assert!(letter.contains("Refused(BrokerRefused)") && letter.contains("NotAuthorized"), "{letter}");
    world.is_not_ready_because_of("NotAuthorized").await;
    world.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_says_that_redis_is_part_of_a_cluster() {
    let _alone = MACHINE.write().await;
    let who = "a_dead_letter_says_that_redis_is_part_of_a_cluster";
    let buses = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    let [config, of_other] =
        buses.map(|bus| format!("cluster-enabled yes\ncluster-port {bus}\ncluster-require-full-coverage no\n"));
    let Some(brokers) = Brokers::start_with(who, &config, "") else { return };
    // All keys belong to another server.
    let other = Real::start_with(Kind::Redis, &of_other).unwrap();
    tell(other.port(), &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    let (port, bus) = (other.port().to_string(), buses[1].to_string());
    brokers.tell_redis(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
    let (world, letter) = first_dead_letter(brokers, |_| true).await;
    assert!(letter.contains("Refused(BrokerRefused)") && letter.contains("part of a cluster"), "{letter}");
    world.is_not_ready_because_of("MOVED ").await;
    world.stop.cancel();
}
