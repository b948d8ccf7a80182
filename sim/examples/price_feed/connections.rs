//! How each client library gets its connection: from the [`Env`], and never by a dial of its own. This is the whole
//! difference to a service that can't be simulated. In production the same code runs with `Env::tokio()`.

use backbone::env::{DIAL_LIMIT, Env};
use lapin::{Connection, ConnectionProperties};
use redis::{AsyncConnectionConfig, RedisConnectionInfo, aio::MultiplexedConnection};
use rumqttc::{AsyncClient, EventLoop, MqttOptions};
use std::error::Error;
use tokio::time::timeout;

/// Why something failed; whoever gets it connects anew.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Requests to rumqttc that wait for its event loop; more make their callers wait.
const REQUESTS_MAX: usize = 16;
const KEEP_ALIVE_S: u16 = 10;

/// lapin: `backbone::amqp::connect` dials by the `Env` and lets lapin's thread take turns with the simulation.
pub(crate) async fn to_rabbitmq(env: &Env) -> Result<Connection, Failure> {
    let uri = "amqp://guest:guest@rabbitmq:5672/%2f?heartbeat=10".parse()?;
    Ok(timeout(DIAL_LIMIT, backbone::amqp::connect(env, uri, None, ConnectionProperties::default())).await??)
}

/// redis-rs: takes any stream, and hands back a future that must run beside it.
pub(crate) async fn to_redis(env: &Env) -> Result<MultiplexedConnection, Failure> {
    let (login, config) = (RedisConnectionInfo::default(), AsyncConnectionConfig::new());
    let dial = async {
        let stream = env.connect("redis", 6379).await?;
        MultiplexedConnection::new_with_config(&login, stream, config).await
    };
    let (connection, driver) = timeout(DIAL_LIMIT, dial).await??;
    env.spawn("redis driver", driver);
    Ok(connection)
}

/// rumqttc: dials, and dials again, with a connector. Whoever gets the event loop has to poll it.
pub(crate) fn to_mosquitto(env: &Env) -> (AsyncClient, EventLoop) {
    let mut life = [0; 8];
    env.random(&mut life); // the seed decides; a random number of another source would give each run another digest
    let mut options = MqttOptions::new(format!("client-{:016x}", u64::from_be_bytes(life)), ("mosquitto", 1883));
    let env = env.clone();
    options.set_socket_connector(move |_address, _network| {
        let env = env.clone();
        async move { env.connect("mosquitto", 1883).await }
    });
    options.set_keep_alive(KEEP_ALIVE_S).set_clean_start(true).set_connect_timeout(DIAL_LIMIT);
    AsyncClient::builder(options).capacity(REQUESTS_MAX).build()
}
