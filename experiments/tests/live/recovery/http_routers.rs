//! The same over HTTP: routers lose their connections to the brokers, workers theirs to the routers, a router dies, and
//! the brokers do.

use super::{
    broken_connections::{Break, HEARTBEAT_S},
    world::{Brokers, World},
};
use crate::MACHINE;
use backbone::{
    config::{Config, Connections, RpcKind},
    env::{Env, Task},
    service::HttpRouter,
    telemetry::FanOut,
};
use sim::real::{port::Port, relay::Relay};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Where the routers are, and the ways that can be broken.
struct Places {
    /// Of the world's two routers, and of one that the test starts and kills.
    routers: [u16; 3],
    _ports: [Port; 3],
    /// From `http-0`.
    mqtt: Relay,
    /// From `http-0`.
    redis: Relay,
    /// From `worker-0` to `http-0`.
    router: Relay,
}

impl Places {
    async fn find(brokers: &Brokers) -> Self {
        let ports = [(); 3].map(|()| Port::claim().unwrap());
        let routers = ports.each_ref().map(Port::number);
        let (mqtt, redis) =
            (Relay::start(brokers.mqtt.port()).await.unwrap(), Relay::start(brokers.redis.port()).await.unwrap());
        let router = Relay::start(routers[0]).await.unwrap();
        Self { routers, _ports: ports, mqtt, redis, router }
    }

    fn config(&self, mut config: Config, replica: &'static str) -> Config {
        let [first, second, third] = self.routers;
        config.rpc.kind = RpcKind::Http;
        config.mqtt.keep_alive_s = HEARTBEAT_S;
        // One worker keeps connections to the router that others can break, the other asks the two others in turn.
        let (routers, connections) = match replica {
            "worker-0" => (vec![self.router.port()], Connections::KeepAlive),
            _ => (vec![second, third], Connections::PerRequest),
        };
        config.rpc.routers = routers.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        config.rpc.connections = connections;
        let own = match replica {
            "http-0" => first,
            "http-1" => second,
            _ => third,
        };
        config.http_router.listen = ([127, 0, 0, 1], own).into();
        if replica == "http-0" {
            config.mqtt.port = self.mqtt.port();
            config.redis.url = format!("redis://127.0.0.1:{}/0", self.redis.port());
        }
        config
    }

    fn relay(&self, broker: &str) -> &Relay {
        if broker == "mqtt" { &self.mqtt } else { &self.redis }
    }
}

fn start_third_router(config: Config) -> Task {
    let (config, telemetry) = (Arc::new(config), Arc::new(FanOut(Vec::new())));
    let router = HttpRouter::run(Env::tokio(), config, telemetry, CancellationToken::new());
    Env::tokio().spawn("router", async { router.await.unwrap() })
}

/// How many tries of a worker's tasks ended because no reply came.
fn timeouts(world: &World, worker: &str) -> u64 {
    let metrics = world.metrics(worker);
    let count = metrics.lines().find_map(|line| line.strip_prefix("backbone_tasks_retried_total{reason=\"timeout\"} "));
    count.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_routers_and_their_callers_recover_and_lose_no_task() {
    let _alone = MACHINE.write().await;
    let Some(brokers) = Brokers::start("http_routers_and_their_callers_recover") else { return };
    let places = Places::find(&brokers).await;
    let direct = brokers.config();
    let third = places.config(direct.clone(), "http-2");
    let third_router = start_third_router(third.clone());
    let mut world = World::start(brokers, |replica| places.config(direct.clone(), replica));
    let since = world.begin("nothing is broken").await;
    world.recovers(since).await;

    routers_recover_from_broken_connections(&world, &places).await;
    workers_recover_from_broken_ways_to_a_router(&world, &places).await;

    let since = world.begin("a router dies and comes back").await;
    third_router.abort();
    world.until("nobody notices", |world| world.has_complaint("broker: \"router\"")).await;
    world.finishes_its_tasks().await;
    let _third_router = start_third_router(third);
    world.recovers(since).await;

    world.survives_redis().await;

    world.survives_mosquitto().await;
    world.stop.cancel();
}

async fn routers_recover_from_broken_connections(world: &World, places: &Places) {
    for broker in ["mqtt", "redis"] {
        let relay = places.relay(broker);
        let broken = Break::begin(world, ("http-0", broker), "their connection is reset").await;
        assert_eq!(relay.cut(), 1, "a replica keeps one connection");
        broken.is_noticed().await;
        broken.recovers().await;

        let broken = Break::begin(world, ("http-0", broker), "their connection swallows everything").await;
        assert_eq!(relay.swallow(), 1, "a replica keeps one connection");
        broken.is_noticed().await;
        broken.recovers().await;
        relay.heal();

        let broken = Break::begin(world, ("http-0", broker), "nothing passes").await;
        assert_eq!(relay.fall_silent(), 1, "a replica keeps one connection");
        let (who, said) = world.says_that_it_waits_for(broker).await;
        assert_eq!(who, "http-0", "{said}");
        // A retry may go to the other worker.
        world.finishes_its_tasks().await;
        broken.is_noticed().await;
        relay.heal();
        broken.recovers().await;
    }
}

async fn workers_recover_from_broken_ways_to_a_router(world: &World, places: &Places) {
    let since = world.begin("connections of a worker to a router are reset").await;
    assert!(places.router.cut() > 0, "a worker keeps its connections");
    world.recovers(since).await;

    let since = world.begin("nothing passes from a worker to a router").await;
    let before = timeouts(world, "worker-0");
    assert!(places.router.fall_silent() > 0, "a worker keeps its connections");
    world.until("no call times out", |world| timeouts(world, "worker-0") > before).await;
    world.finishes_its_tasks().await;
    places.router.heal();
    world.recovers(since).await;
}
