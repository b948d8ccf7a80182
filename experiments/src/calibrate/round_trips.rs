//! Round trips of one caller to each broker.

use anyhow::Context;
use backbone::env::Env;
use lapin::{
    BasicProperties, Channel, ConnectionProperties,
    options::{BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use sim::real::port::Port;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout},
};

/// How often each round trip is made; the median of so many is steady to a few percent.
const ROUNDS: usize = 500;
/// Rounds before that, not counted: connections and caches warm up.
const WARM_UP: usize = 50;
/// Limit of all round trips of one kind together.
const LIMIT: Duration = Duration::from_secs(60);

/// The round trip that asks no broker.
pub(super) const TCP: &str = "tcp";

/// Round trips with one caller, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// What is asked for.
    pub name: &'static str,
    /// Median.
    pub p50_us: u64,
    /// 90th percentile.
    pub p90_us: u64,
}

/// Median and 90th percentile of what `once` takes.
async fn sample(
    name: &'static str,
    mut once: impl AsyncFnMut() -> anyhow::Result<Duration>,
) -> anyhow::Result<RoundTrip> {
    let rounds = async {
        let mut taken = Vec::with_capacity(ROUNDS);
        for round in 0..WARM_UP + ROUNDS {
            let time = once().await?;
            if round >= WARM_UP {
                taken.push(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
            }
        }
        anyhow::Ok(taken)
    };
    let mut taken = timeout(LIMIT, rounds).await.with_context(|| format!("{name}: not done within {LIMIT:?}"))??;
    taken.sort_unstable();
    Ok(RoundTrip { name, p50_us: taken[ROUNDS / 2 - 1], p90_us: taken[ROUNDS * 9 / 10 - 1] })
}

async fn timed<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<Duration> {
    let start = Instant::now();
    work.await?;
    Ok(start.elapsed())
}

/// A byte there and back between two tasks of this process.
pub(super) async fn tcp() -> anyhow::Result<RoundTrip> {
    let env = Env::tokio();
    let port = Port::claim()?;
    let mut listener = env.listen(([127, 0, 0, 1], port.number()).into()).await.context("listening")?;
    env.spawn("echo", async move {
        let mut stream = listener.connection().await;
        let mut byte = [0];
        while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&byte).await.is_ok() {}
    });
    let mut stream = env.connect("127.0.0.1", port.number()).await.context("connecting")?;
    sample(TCP, async || {
        timed(async {
            stream.write_all(&[1]).await?;
            let mut byte = [0];
            stream.read_exact(&mut byte).await?;
            Ok(())
        })
        .await
    })
    .await
}

pub(super) async fn redis(url: &str) -> anyhow::Result<Vec<RoundTrip>> {
    let client = redis::Client::open(url).map_err(|_| anyhow::anyhow!("no Redis URL"))?;
    let mut connection = client.get_multiplexed_async_connection().await.context("connecting to Redis")?;
    let mut of = async |name, command: redis::Cmd| {
        sample(name, async || timed(async { Ok(command.exec_async(&mut connection).await?) }).await).await
    };
    let mut set = redis::cmd("SET");
    set.arg("calibration").arg("x".repeat(64)).arg("PX").arg(60_000);
    let mut get = redis::cmd("GET");
    get.arg("calibration");
    Ok(vec![of("redis_set", set).await?, of("redis_get", get).await?])
}

/// With bytes of our own: the broker's time, not a client's.
pub(super) async fn mqtt(host: &str, port: u16) -> anyhow::Result<Vec<RoundTrip>> {
    let mut stream = Env::tokio().connect(host, port).await.context("connecting to the MQTT broker")?;
    // CONNECT of MQTT 5: clean start, no keep-alive, no properties, client id `cal`.
    stream.write_all(b"\x10\x10\0\x04MQTT\x05\x02\0\0\0\0\x03cal").await?;
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    anyhow::ensure!(head[0] == 0x20, "the MQTT broker does not answer with a CONNACK");
    stream.read_exact(&mut vec![0; usize::from(head[1])]).await?;
    let ping = sample("mqtt_ping", async || timed(packet(&mut stream, b"\xc0\0")).await).await?;
    // PUBLISH, QoS 1, topic `t`, packet id 1, no properties; nobody is subscribed.
    let publish = b"\x32\x08\0\x01t\0\x01\0xx";
    let publish = sample("mqtt_publish_qos1", async || timed(packet(&mut stream, publish)).await).await?;
    Ok(vec![ping, publish])
}

/// Writes a packet and reads the one that answers it.
async fn packet<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    stream: &mut S,
    packet: &[u8],
) -> anyhow::Result<()> {
    stream.write_all(packet).await?;
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    stream.read_exact(&mut vec![0; usize::from(head[1])]).await?;
    Ok(())
}

pub(super) async fn amqp(url: &str) -> anyhow::Result<Vec<RoundTrip>> {
    let uri = url.parse().map_err(|_| anyhow::anyhow!("no AMQP URL"))?;
    let connection = backbone::amqp::connect(&Env::tokio(), uri, None, ConnectionProperties::default()).await?;
    let channel: Channel = connection.create_channel().await?;
    let qos = async || timed(async { Ok(channel.basic_qos(1, BasicQosOptions::default()).await?) }).await;
    let round_trip = sample("amqp_qos", qos).await?;
    let options = QueueDeclareOptions { auto_delete: true, ..Default::default() };
    let mut names = Vec::new();
    let declare = sample("amqp_queue_declare", async || {
        let start = Instant::now();
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let taken = start.elapsed();
        names.push(queue.name().clone());
        Ok(taken)
    })
    .await?;
    let target = names.pop().context("some queue was declared")?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let publish = sample("amqp_publish_confirm", async || {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let publish = channel.basic_publish("".into(), target.clone(), options, &[b'x'; 150], properties);
        timed(async { Ok(publish.await?.await?) }).await
    })
    .await?;
    names.push(target);
    // As many as were declared.
    let delete = sample("amqp_queue_delete", async || {
        let name = names.pop().context("a queue for each round")?;
        timed(async { Ok(channel.queue_delete(name, QueueDeleteOptions::default()).await?) }).await
    })
    .await?;
    Ok(vec![round_trip, publish, declare, delete])
}
