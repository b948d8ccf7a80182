//! Single connections between services and brokers break, one after the other, while everything else lives on: by a
//! reset, by a network that swallows what is sent on one connection, and by one that swallows everything on the way
//! between a replica and a broker, new connections included.

use super::world::{Brokers, World};
use crate::MACHINE;
use backbone::config::Config;
use sim::real::relay::Relay;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// All kinds of connections that services keep.
const CONNECTIONS: [(&str, &str); 8] = [
    ("fwd-0", "amqp"),
    ("fwd-0", "mqtt"),
    ("fwd-0", "redis"),
    ("bck-0", "amqp"),
    ("bck-0", "mqtt"),
    ("bck-0", "redis"),
    ("worker-0", "amqp"),
    ("dispatcher", "amqp"),
];
/// After how long a silent peer is asked for a sign of life, in seconds; by default 20 and 30.
pub(crate) const HEARTBEAT_S: u16 = 2;

/// How long a router that is cut off from one broker may keep tasks from being done, on a busy machine: it takes some
/// seconds until it says that the connection is lost, and at most two until it leaves its work to others.
const OTHERS_TAKE_OVER: Duration = Duration::from_secs(15);

/// The relays of [`CONNECTIONS`]. What is not among them goes to its broker directly.
struct Relays(BTreeMap<(&'static str, &'static str), Relay>);

impl Relays {
    async fn start(brokers: &Brokers) -> Self {
        let mut relays = BTreeMap::new();
        for (replica, broker) in CONNECTIONS {
            let port = match broker {
                "amqp" => brokers.amqp.port(),
                "mqtt" => brokers.mqtt.port(),
                _ => brokers.redis.port(),
            };
            relays.insert((replica, broker), Relay::start(port).await.unwrap());
        }
        Self(relays)
    }

    fn config(&self, mut config: Config, replica: &'static str) -> Config {
        let port = |broker| self.0.get(&(replica, broker)).map(Relay::port);
        config.amqp.heartbeat_s = HEARTBEAT_S;
        config.mqtt.keep_alive_s = HEARTBEAT_S;
        if let Some(port) = port("amqp") {
            config.amqp.url = format!("amqp://guest:guest@127.0.0.1:{port}/%2f");
        }
        if let Some(port) = port("mqtt") {
            config.mqtt.port = port;
        }
        if let Some(port) = port("redis") {
            config.redis.url = format!("redis://127.0.0.1:{port}/0");
        }
        config
    }
}

/// One of [`CONNECTIONS`] while it breaks.
pub(crate) struct Break<'a> {
    world: &'a World,
    replica: &'static str,
    broker: &'static str,
    losses_before: u64,
    since: Instant,
}

impl<'a> Break<'a> {
    pub(crate) async fn begin(world: &'a World, (replica, broker): (&'static str, &'static str), how: &str) -> Self {
        let since = world.begin(&format!("{how}: {replica} and {broker}")).await;
        let losses_before = losses(world, replica, broker);
        Self { world, replica, broker, losses_before, since }
    }

    /// Waits until the replica has said that it lost its connection.
    pub(crate) async fn is_noticed(&self) {
        let (replica, broker) = (self.replica, self.broker);
        let noticed = |world: &World| {
            world.complaints().iter().any(|said| said.replica == replica && said.disconnected == Some(broker))
        };
        self.world.until(&format!("{replica} does not notice"), noticed).await;
    }

    /// Waits until all is well again. Meanwhile nobody else has lost a connection, and the loss is in the metrics.
    pub(crate) async fn recovers(self) {
        let Self { world, replica, broker, losses_before, since } = self;
        world.recovers(since).await;
        for said in world.complaints() {
            let is_this = said.replica == replica && said.disconnected == Some(broker);
            assert!(is_this || said.disconnected.is_none(), "broken are {replica} and {broker}, but {said:?}");
        }
        assert!(losses(world, replica, broker) > losses_before, "{}", world.metrics(replica));
    }
}

/// How many lost connections and failed dials the replica's metrics count.
fn losses(world: &World, replica: &str, broker: &str) -> u64 {
    let counter = format!("backbone_disconnects_total{{broker=\"{broker}\"}} ");
    let metrics = world.metrics(replica);
    metrics.lines().find_map(|line| line.strip_prefix(&counter)).map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_recover_from_single_broken_connections_and_lose_no_task() {
    let _alone = MACHINE.write().await;
    let Some(brokers) = Brokers::start("services_recover_from_single_broken_connections") else { return };
    let relays = Relays::start(&brokers).await;
    let direct = brokers.config();
    let world = World::start(brokers, |replica| relays.config(direct.clone(), replica));
    let since = world.begin("nothing is broken").await;
    world.recovers(since).await;

    for connection in CONNECTIONS {
        let broken = Break::begin(&world, connection, "their connection is reset").await;
        assert_eq!(relays.0[&connection].cut(), 1, "a replica keeps one connection");
        broken.is_noticed().await;
        broken.recovers().await;
    }
    for connection in [("worker-0", "amqp"), ("bck-0", "mqtt"), ("fwd-0", "redis")] {
        let broken = Break::begin(&world, connection, "their connection swallows everything").await;
        assert_eq!(relays.0[&connection].swallow(), 1, "a replica keeps one connection");
        broken.is_noticed().await;
        broken.recovers().await;
        relays.0[&connection].heal();
    }
    for connection in CONNECTIONS {
        let (replica, broker) = connection;
        let broken = Break::begin(&world, connection, "nothing passes").await;
        assert_eq!(relays.0[&connection].fall_silent(), 1, "a replica keeps one connection");
        let (who, said) = world.says_that_it_waits_for(broker).await;
        assert_eq!(who, replica, "{said}");
        eprintln!("    after {:.1} s it is {said}", broken.since.elapsed().as_secs_f64());
        if replica != "dispatcher" {
            // The other one of its kind does its work.
            world.finishes_its_tasks().await;
            let took = broken.since.elapsed();
            eprintln!("    all tasks done after {:.1} s", took.as_secs_f64());
            assert!(took < OTHERS_TAKE_OVER, "{took:?}");
        }
        broken.is_noticed().await;
        relays.0[&connection].heal();
        broken.recovers().await;
    }
    world.stop.cancel();
}
