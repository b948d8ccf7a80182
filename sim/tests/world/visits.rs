//! The first test of the guide in README.md, word for word.

use backbone::env::Env;
use redis::{AsyncCommands as _, AsyncConnectionConfig, RedisConnectionInfo, aio::MultiplexedConnection};
use sim::{Class, Cluster, Settings, Simulation, broker::redis::Broker};
use std::time::Duration;
use tokio::{sync::oneshot, time::sleep};

/// The service. In production: `count(Env::tokio())`.
async fn count(env: Env) -> redis::RedisResult<u32> {
    let stream = env.connect("redis", 6379).await?;
    let (login, config) = (RedisConnectionInfo::default(), AsyncConnectionConfig::new());
    let (mut connection, driver) = MultiplexedConnection::new_with_config(&login, stream, config).await?;
    env.spawn("redis driver", driver);
    connection.incr("visits", 1).await
}

fn run(seed: u64) -> sim::Finished<u32> {
    let mut simulation = Simulation::new(Settings { seed, ..Settings::default() });
    simulation.add_pod("redis", Class::Redis).add_pod("shop", Class::Service);
    let finished = simulation.run(async |cluster: Cluster| {
        let redis = cluster.env("redis");
        redis.clone().spawn("redis", async move {
            let listener = redis.listen(([0, 0, 0, 0], 6379).into()).await.unwrap();
            match Broker::new().serve(redis, listener).await {}
        });
        sleep(Duration::from_millis(1)).await; // it listens
        let (tells, told) = oneshot::channel();
        let shop = cluster.env("shop");
        shop.clone().spawn("shop", async move { tells.send(count(shop).await.unwrap()).unwrap() });
        told.await.unwrap()
    });
    finished.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn one_seed_gives_one_run() {
    let (first, second, other) = (run(1), run(1), run(2));
    assert_eq!(first.output, 1);
    assert_eq!(first.digest, second.digest);
    assert_ne!(first.digest, other.digest);
}
