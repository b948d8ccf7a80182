//! Test a service of your own in the simulator: `cargo run -p sim --example price_feed`.
//!
//! Three files. [`connections`] is how lapin, redis-rs and rumqttc get their connections; [`service`] is a service that
//! uses all three; here is the world that it is tested in: the brokers, a head office that changes prices, a shop that
//! hears of them, and a crash of the service in the middle.

pub(crate) mod connections;
pub(crate) mod service;

use backbone::env::Env;
use connections::{Failure, to_mosquitto, to_rabbitmq, to_redis};
use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::FieldTable,
};
use redis::AsyncCommands as _;
use rumqttc::{Event, mqttbytes::QoS, mqttbytes::v5::Packet};
use service::{QUEUE, durable};
use sim::{
    Class, Cluster, Finished, Outage, Settings, Simulation, SimulationError,
    broker::{amqp, mqtt, redis as redis_broker},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

const ARTICLES: usize = 10;
/// Each change has a price of its own, so that a lost one is missed.
const CHANGES: usize = 200;
/// Virtual time; it costs nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run showed.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) before_the_crash: usize,
    pub(crate) outage: Outage,
    /// Different changes that the shop heard of.
    pub(crate) heard: usize,
    /// Changes that it heard of again.
    pub(crate) again: usize,
    /// Whether Redis has the last price of each article.
    pub(crate) redis_is_right: bool,
}

/// One world, from its pods to its report. The seed alone decides what happens in it.
pub(crate) fn run(seed: u64) -> Result<Finished<Report>, SimulationError> {
    // A pod that comes back is a new host, as in Kubernetes; how often that happens is said before.
    let mut simulation = Simulation::new(Settings { seed, restarts_max: 1, ..Settings::default() });
    for (pod, class) in [("rabbitmq", Class::Amqp), ("redis", Class::Redis), ("mosquitto", Class::Mqtt)] {
        simulation.add_pod(pod, class);
    }
    simulation.add_pod("feed", Class::Service).add_pod("office", Class::Service).add_pod("shop", Class::Gateway);
    simulation.run(story)
}

/// The main future: it starts things, breaks things, and waits. It connects to nothing itself.
async fn story(cluster: Cluster) -> Report {
    serve_brokers(&cluster);
    sleep(Duration::from_millis(1)).await; // they listen
    let (hears, mut heard) = mpsc::unbounded_channel();
    let (shop, office) = (cluster.env("shop"), cluster.env("office"));
    shop.clone().spawn("shop", listen(shop, hears));
    sleep(Duration::from_millis(100)).await; // it has subscribed
    office.clone().spawn("office", async move { change_prices(&office).await.expect("nothing breaks the office") });
    let feed = cluster.env("feed");
    feed.clone().spawn("feed", service::run(feed));

    sleep(Duration::from_millis(80)).await;
    let before_the_crash = heard.len();
    let outage = cluster.crash("feed"); // as by SIGKILL; others: power_off, freeze, disturb
    sleep(Duration::from_secs(2)).await;
    let feed = cluster.restart("feed").env(); // a new life has a new environment
    feed.clone().spawn("feed", service::run(feed));

    let (mut different, mut again) = (BTreeSet::new(), 0);
    while different.len() < CHANGES
        && let Ok(Some(change)) = timeout(PATIENCE, heard.recv()).await
    {
        again += usize::from(!different.insert(change));
    }
    let office = cluster.env("office");
    let (tells, told) = oneshot::channel();
    office.clone().spawn("auditor", async move {
        let prices = prices_in_redis(&office).await.expect("nothing breaks the office");
        let _ = tells.send(prices);
    });
    let redis_is_right = told.await.is_ok_and(|prices| prices == last_prices());
    Report { before_the_crash, outage, heard: different.len(), again, redis_is_right }
}

/// The three emulated brokers, each on its pod. They are state behind a handle: what is in a queue outlives a crash of
/// its pod if the same handle serves again.
fn serve_brokers(cluster: &Cluster) {
    let any = |port| ([0, 0, 0, 0], port).into();
    let (rabbitmq, redis, mosquitto) = (cluster.env("rabbitmq"), cluster.env("redis"), cluster.env("mosquitto"));
    rabbitmq.clone().spawn("rabbitmq", async move {
        let listener = rabbitmq.listen(any(5672)).await.expect("the port is free");
        match amqp::Broker::new(amqp::Config::default()).serve(rabbitmq, listener).await {}
    });
    redis.clone().spawn("redis", async move {
        let listener = redis.listen(any(6379)).await.expect("the port is free");
        match redis_broker::Broker::new().serve(redis, listener).await {}
    });
    mosquitto.clone().spawn("mosquitto", async move {
        let listener = mosquitto.listen(any(1883)).await.expect("the port is free");
        match mqtt::Broker::new(mqtt::Config::default()).serve(mosquitto, listener).await {}
    });
}

fn change(number: usize) -> (String, String) {
    (format!("article-{}", number % ARTICLES), number.to_string())
}

fn last_prices() -> BTreeMap<String, String> {
    (0..CHANGES).map(change).collect()
}

/// The head office: publishes all changes, one after the other, and waits until RabbitMQ has each.
async fn change_prices(env: &Env) -> Result<(), Failure> {
    let connection = to_rabbitmq(env).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.queue_declare(QUEUE.into(), durable(), FieldTable::default()).await?;
    for (article, cents) in (0..CHANGES).map(change) {
        let text = format!("{article} {cents}");
        let (options, persistent) = (BasicPublishOptions::default(), BasicProperties::default().with_delivery_mode(2));
        channel.basic_publish("".into(), QUEUE.into(), options, text.as_bytes(), persistent).await?.await?;
    }
    Ok(())
}

/// A shop: hears of prices and reports them.
async fn listen(env: Env, hears: mpsc::UnboundedSender<String>) {
    let (mqtt, mut events) = to_mosquitto(&env);
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                mqtt.try_subscribe("price/+", QoS::AtLeastOnce).expect("there is room for the first request");
            }
            Ok(Event::Incoming(Packet::Publish(price))) => {
                let _ = hears.send(String::from_utf8_lossy(&price.payload).into_owned());
            }
            Ok(_) => {}
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    }
}

async fn prices_in_redis(env: &Env) -> Result<BTreeMap<String, String>, Failure> {
    let mut redis = to_redis(env).await?;
    let mut prices = BTreeMap::new();
    for article in last_prices().into_keys() {
        let cents = redis.get(format!("price:{article}")).await?;
        prices.insert(article, cents);
    }
    Ok(prices)
}

#[expect(clippy::disallowed_methods, reason = "how long a run takes is no part of it")]
pub(crate) fn main() -> Result<(), Failure> {
    let mut digests = Vec::new();
    for seed in [1, 1, 2] {
        let started = Instant::now();
        let Finished { output, digest, virtual_us, .. } = run(seed)?;
        let Report { before_the_crash, outage, heard, again, redis_is_right } = output;
        println!("seed {seed}: {} ms of virtual time in {:?}", virtual_us / 1_000, started.elapsed());
        let Outage { tasks, sockets } = outage;
        println!("  crashed `feed` after {before_the_crash} changes, with {tasks} tasks and {sockets} sockets");
        println!("  {heard} of {CHANGES} changes reached the shop, {again} of them twice");
        println!("  Redis has the last prices: {redis_is_right}");
        println!("  digest {digest}");
        if !(1..CHANGES).contains(&before_the_crash) || heard < CHANGES || !redis_is_right {
            return Err("a change was lost, or the crash hit nothing".into());
        }
        digests.push(digest);
    }
    if digests[0] != digests[1] || digests[0] == digests[2] {
        return Err("the digest must follow the seed".into());
    }
    println!("the two runs of seed 1 were equal to the last packet; that of seed 2 was another one");
    Ok(())
}
