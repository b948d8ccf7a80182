//! Measures on real brokers what the simulator needs to know: round trips, what a reply queue costs RabbitMQ, and CPU time
//! for each request. The result is an abstract spec that others extend.

use super::{Conditions, LiveEnv, Options, brokers::Brokers};
use crate::{
    machine::Machine,
    run::Run,
    spec::{Spec, load},
};
use anyhow::Context;
use backbone::env::{Env as _, Listener as _, TokioEnv};
use futures_util::future::try_join_all;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
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
/// Callers that begin and end queues at the same time, each over a connection of its own: as many as the thesis' workers.
const LOAD_CALLERS: usize = 50;
/// Queues that each of them begins and ends.
const LOAD_QUEUES: usize = 100;

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

/// The time between two answers of a broker that is never without work, in microseconds: what one takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Mean.
    pub mean_us: f64,
    /// Standard deviation over the mean.
    pub variation: f64,
}

impl Pace {
    /// Of the moments of the answers, from the first on.
    fn of(answers: &[Instant]) -> anyhow::Result<Self> {
        let gaps_us: Vec<f64> =
            answers.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_nanos() as f64 / 1e3).collect();
        let count = gaps_us.len() as f64;
        let mean_us = gaps_us.iter().sum::<f64>() / count;
        anyhow::ensure!(mean_us > 0.0, "a broker's pace needs two answers at different times");
        let variance = gaps_us.iter().map(|gap| (gap - mean_us).powi(2)).sum::<f64>() / count;
        Ok(Self { mean_us, variation: variance.sqrt() / mean_us })
    }

    /// Sigma of a log-normal distribution with this variation.
    fn sigma(self) -> f64 {
        self.variation.powi(2).ln_1p().sqrt()
    }

    /// Median of a log-normal distribution with this mean and variation.
    fn median_us(self) -> f64 {
        self.mean_us * (-self.sigma().powi(2) / 2.0).exp()
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// With one caller.
    pub round_trips: Vec<RoundTrip>,
    /// Begins and ends of reply queues, with 50 callers.
    pub queues: Pace,
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
    let (round_trips, queues) = runtime.block_on(measure(&spec))?;
    let summary = crate::results::Summary::of(&spec, &run);
    let Run { machine, live, .. } = run;
    let conditions = live.context("a live run says what it rests on")?;
    let rpcs_per_s = summary.throughput.rpcs_per_s;
    let Machine { cpu, cores, .. } = machine;
    Ok(Calibration { round_trips, queues, conditions, cpu, cores, spec: spec.name, rpcs_per_s })
}

async fn measure(spec: &Spec) -> anyhow::Result<(Vec<RoundTrip>, Pace)> {
    let brokers = Brokers::start(spec, &Options::default()).await?;
    let mut measured = vec![tcp().await?];
    measured.extend(redis(&brokers.redis.url).await?);
    measured.extend(mqtt(&brokers.mqtt.host, brokers.mqtt.port).await?);
    measured.extend(amqp(&brokers.amqp.url).await?);
    let queues = timeout(LIMIT, queues_under_load(&brokers.amqp.url)).await;
    let queues = queues.with_context(|| format!("reply queues under load: not done within {LIMIT:?}"))??;
    Ok((measured, queues))
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
async fn mqtt(host: &str, port: u16) -> anyhow::Result<Vec<RoundTrip>> {
    let mut stream = TokioEnv.connect(host, port).await.context("connecting to the MQTT broker")?;
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

/// RabbitMQ's pace when all of [`LOAD_CALLERS`] always wait for the begin or the end of a reply queue.
async fn queues_under_load(url: &str) -> anyhow::Result<Pace> {
    let mut connections = Vec::new();
    for _ in 0..LOAD_CALLERS {
        let uri = url.parse().map_err(|_| anyhow::anyhow!("no AMQP URL"))?;
        connections.push(TokioEnv.open_amqp(uri, OwnedTLSConfig::default(), ConnectionProperties::default()).await?);
    }
    let answers = try_join_all(connections.iter().map(begin_and_end_queues)).await?;
    for connection in connections {
        connection.close(200, "OK".into()).await?;
    }
    // Only the time in which all of them were at work.
    let begin = answers.iter().filter_map(|own| own.first()).max().copied().context("every caller had answers")?;
    let end = answers.iter().filter_map(|own| own.last()).min().copied().context("every caller had answers")?;
    let mut answers: Vec<Instant> = answers.into_iter().flatten().filter(|at| (begin..=end).contains(at)).collect();
    answers.sort_unstable();
    Pace::of(&answers)
}

/// What a task worker does with a queue a call, without the calls. Gives the moments at which a queue was there or gone.
async fn begin_and_end_queues(connection: &Connection) -> anyhow::Result<Vec<Instant>> {
    let options = QueueDeclareOptions { auto_delete: true, ..Default::default() };
    let consume = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut answers = Vec::with_capacity(2 * LOAD_QUEUES);
    for _ in 0..LOAD_QUEUES {
        let channel = connection.create_channel().await?;
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let _consumer = channel.basic_consume(queue.name().clone(), "".into(), consume, FieldTable::default()).await?;
        answers.push(Instant::now());
        channel.queue_delete(queue.name().clone(), QueueDeleteOptions::default()).await?;
        answers.push(Instant::now());
        channel.close(200, "OK".into()).await?;
    }
    Ok(answers)
}

impl Calibration {
    /// What the begin or the end of a queue takes RabbitMQ's metadata store: the median, and sigma in percent.
    #[must_use]
    pub fn metadata(&self) -> (u64, u32) {
        (self.queues.median_us().round() as u64, (100.0 * self.queues.sigma()).round() as u32)
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
        let Pace { mean_us, variation } = self.queues;
        let _ = writeln!(
            out,
            "#\n# {LOAD_CALLERS} callers that begin and end reply queues: an answer every {mean_us:.0} us at the mean, standard \
             deviation\n# {variation:.2} of that."
        );
        let _ =
            writeln!(out, "#\n# CPU time for each request, `{}` live, {:.0} requests/s:", self.spec, self.rpcs_per_s);
        for (name, us) in cpu_us_per_rpc {
            let _ = writeln!(out, "#   {name:<22} {us:>6.1} us");
        }
        let (metadata_us, spread_percent) = self.metadata();
        let _ = write!(
            out,
            "abstract = true\n\n# The begin or the end of a reply queue, one after the other: log-normal with that mean and \
             deviation.\n[machines.amqp]\nmetadata_us = {metadata_us}\nspread_percent = {spread_percent}\n",
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(gaps_us: &[u64]) -> Pace {
        let mut at = Instant::now();
        let mut answers = vec![at];
        for gap_us in gaps_us {
            at += Duration::from_micros(*gap_us);
            answers.push(at);
        }
        Pace::of(&answers).unwrap()
    }

    #[test]
    fn a_pace_is_told_by_the_time_between_answers() {
        let even = pace(&[1_000; 50]);
        assert!((even.mean_us - 1_000.0).abs() < 1e-6 && even.variation < 1e-6, "{even:?}");
        assert!((even.median_us() - 1_000.0).abs() < 1e-3);
        // Two at a time: the same pace, with a deviation as large as the mean. exp(sigma^2) = 2.
        let pairs = pace(&[0, 2_000].repeat(50));
        assert!((pairs.mean_us - 1_000.0).abs() < 1e-6 && (pairs.variation - 1.0).abs() < 1e-6, "{pairs:?}");
        assert!((pairs.sigma() - 0.8326).abs() < 1e-3 && (pairs.median_us() - 707.1).abs() < 0.1);
    }

    #[test]
    fn the_file_is_a_spec_that_others_can_extend() {
        let calibration = Calibration {
            round_trips: vec![RoundTrip { name: "amqp_qos", p50_us: 200, p90_us: 300 }],
            queues: pace(&[0, 2_000].repeat(50)),
            conditions: Conditions::default(),
            cpu: "a processor".into(),
            cores: 2,
            spec: "throughput".into(),
            rpcs_per_s: 1_000.0,
        };
        let specs = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| std::fs::write(specs.path().join(name), text).unwrap();
        file("calibrated.toml", &calibration.to_toml());
        file("mine.toml", "extends = \"calibrated\"\n");
        let amqp = load(specs.path(), "mine", &[]).unwrap().machines.amqp;
        assert_eq!((amqp.metadata_us, amqp.spread_percent), (707, 83));
    }
}
