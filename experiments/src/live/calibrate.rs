//! Measures on real brokers what the simulator needs to know: round trips, what a reply queue costs RabbitMQ, and CPU time
//! for each request. The result is an abstract spec that others extend.

use super::{Conditions, LiveEnv, Options, brokers::Brokers};
use crate::{
    run::Run,
    spec::{Spec, load},
};
use anyhow::Context;
use backbone::env::{Env as _, Listener as _, TokioEnv};
use lapin::{
    BasicProperties, Channel, ConnectionProperties,
    options::{BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions},
    tcp::OwnedTLSConfig,
    types::FieldTable,
};
use std::{fmt::Write as _, path::Path, time::Duration};
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

/// What was measured.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// With one caller.
    pub round_trips: Vec<RoundTrip>,
    /// Of the run that measured CPU times.
    pub conditions: Conditions,
    /// The processor.
    pub cpu: String,
    /// Cores.
    pub cores: usize,
    /// The spec of that run.
    pub spec: String,
    /// Requests answered in a second, in that run.
    pub rpcs_per_s: f64,
}

/// Runs the spec `name` live for the CPU times, and measures round trips on fresh brokers.
///
/// # Errors
/// When the spec is wrong, the run fails, or a broker does not do what it is asked for.
pub fn calibrate(specs: &Path, name: &str, quiet: bool) -> anyhow::Result<Calibration> {
    let spec = load(specs, name, &[])?;
    let run = super::run(&spec, &Options::default(), quiet)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let round_trips = runtime.block_on(round_trips(&spec))?;
    let summary = crate::results::Summary::of(&spec, &run);
    let Run { machine, live, .. } = run;
    let conditions = live.context("a live run says what it rests on")?;
    let rpcs_per_s = summary.throughput.rpcs_per_s;
    Ok(Calibration { round_trips, conditions, cpu: machine.cpu, cores: machine.cores, spec: spec.name, rpcs_per_s })
}

async fn round_trips(spec: &Spec) -> anyhow::Result<Vec<RoundTrip>> {
    let brokers = Brokers::start(spec, &Options::default()).await?;
    let mut measured = vec![tcp().await?];
    measured.extend(redis(&brokers.redis_url).await?);
    measured.extend(mqtt(&brokers.mqtt).await?);
    measured.extend(amqp(&brokers.amqp_url).await?);
    Ok(measured)
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
async fn tcp() -> anyhow::Result<RoundTrip> {
    let env = LiveEnv { nodelay: true };
    let port = super::router::free_port()?;
    let mut listener = env.listen(([127, 0, 0, 1], port).into()).await.context("listening")?;
    env.spawn("echo", async move {
        let mut stream = listener.connection().await;
        let mut byte = [0];
        while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&byte).await.is_ok() {}
    });
    let mut stream = env.connect("127.0.0.1", port).await.context("connecting")?;
    sample("tcp", async || {
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

async fn redis(url: &str) -> anyhow::Result<Vec<RoundTrip>> {
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
async fn mqtt((host, port): &(String, u16)) -> anyhow::Result<Vec<RoundTrip>> {
    let mut stream = TokioEnv.connect(host, *port).await.context("connecting to the MQTT broker")?;
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

async fn amqp(url: &str) -> anyhow::Result<Vec<RoundTrip>> {
    let uri = url.parse().map_err(|_| anyhow::anyhow!("no AMQP URL"))?;
    let connection = TokioEnv.open_amqp(uri, OwnedTLSConfig::default(), ConnectionProperties::default()).await?;
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

impl Calibration {
    fn p50_us(&self, name: &str) -> u64 {
        self.round_trips.iter().find(|round_trip| round_trip.name == name).map_or(0, |round_trip| round_trip.p50_us)
    }

    /// What the begin or the end of a queue takes RabbitMQ beyond any other round trip: the mean of both.
    #[must_use]
    pub fn metadata_us(&self) -> u64 {
        let both = self.p50_us("amqp_queue_declare") + self.p50_us("amqp_queue_delete");
        (both / 2).saturating_sub(self.p50_us("amqp_qos"))
    }

    /// As an abstract spec.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let Conditions { started, kernel, brokers, cpu_us_per_rpc, others_share, .. } = &self.conditions;
        let mut out = format!(
            "# Measured by `experiments calibrate` at {started} on {} x {}, Linux {kernel}.\n# Brokers:",
            self.cores, self.cpu
        );
        for version in brokers.values() {
            let _ = write!(out, " {version};");
        }
        let _ = writeln!(
            out,
            " others used {:.0} % of the CPU meanwhile.\n#\n# Round trips with one caller:",
            others_share * 100.0
        );
        for RoundTrip { name, p50_us, p90_us } in &self.round_trips {
            let _ = writeln!(out, "#   {name:<22} p50 {p50_us:>6} us   p90 {p90_us:>6} us");
        }
        let _ =
            writeln!(out, "#\n# CPU time for each request, `{}` live, {:.0} requests/s:", self.spec, self.rpcs_per_s);
        for (name, us) in cpu_us_per_rpc {
            let _ = writeln!(out, "#   {name:<22} {us:>6.1} us");
        }
        let _ = write!(
            out,
            "abstract = true\nextends = \"loopback_base\"\n\n# Half of a declare and a delete, less a plain round trip.\n\
             [machines.amqp]\nmetadata_us = {}\n",
            self.metadata_us()
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_a_spec_that_others_can_extend() {
        let round_trip = |name, p50_us| RoundTrip { name, p50_us, p90_us: 2 * p50_us };
        let calibration = Calibration {
            round_trips: vec![
                round_trip("amqp_qos", 200),
                round_trip("amqp_queue_declare", 1_100),
                round_trip("amqp_queue_delete", 900),
            ],
            conditions: Conditions::default(),
            cpu: "a processor".into(),
            cores: 2,
            spec: "throughput".into(),
            rpcs_per_s: 1_000.0,
        };
        let specs = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| std::fs::write(specs.path().join(name), text).unwrap();
        file("calibrated.toml", &calibration.to_toml());
        file("loopback_base.toml", "abstract = true\n");
        file("mine.toml", "extends = \"calibrated\"\n");
        assert_eq!(load(specs.path(), "mine", &[]).unwrap().machines.amqp.metadata_us, 800);
    }
}
