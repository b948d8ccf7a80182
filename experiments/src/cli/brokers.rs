//! `experiments brokers`: the emulated brokers on real ports, for the `backbone` binary or any other client.

use super::output::print;
use anyhow::Context as _;
use backbone::env::{Env, Listener, TokioPlatform};
use clap::Args;
use sim::broker::{amqp, mqtt, redis};
use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// Where the emulated brokers listen, on 127.0.0.1: they let anybody in.
#[derive(Debug, Args)]
pub(super) struct BrokersArgs {
    /// The emulated RabbitMQ's port; 0 for a free one.
    #[arg(long, value_name = "PORT", default_value_t = 5672)]
    amqp: u16,
    /// The emulated Mosquitto's port; 0 for a free one.
    #[arg(long, value_name = "PORT", default_value_t = 1883)]
    mqtt: u16,
    /// The emulated Redis' port; 0 for a free one.
    #[arg(long, value_name = "PORT", default_value_t = 6379)]
    redis: u16,
    /// Largest packet that the emulated Mosquitto takes, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = mqtt::Config::default().packet_bytes_max)]
    mqtt_packet_bytes_max: u32,
}

/// A port that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listening on 127.0.0.1:{port} for {broker}: {error}; choose another port with {option}, 0 for a free one")]
pub(super) struct ListenError {
    broker: &'static str,
    option: &'static str,
    port: u16,
    error: io::Error,
}

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// [`ListenError`]; what the operating system refuses at the start.
pub(super) fn brokers(arguments: &BrokersArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: &BrokersArgs) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let (amqp_port, amqp_listener) = listen("RabbitMQ", "--amqp", arguments.amqp).await?;
    // Mosquitto leaves Nagle's algorithm on, the two others don't.
    let nagle = Env::new(TokioPlatform { accepted_nodelay: false, ..TokioPlatform::default() });
    let (mqtt_port, mqtt_listener) = listen_in(&nagle, "Mosquitto", "--mqtt", arguments.mqtt).await?;
    let (redis_port, redis_listener) = listen("Redis", "--redis", arguments.redis).await?;
    print(&instructions(amqp_port, mqtt_port, redis_port))?;
    let rabbitmq = amqp::Broker::new(amqp::Config::default());
    let packet_bytes_max = arguments.mqtt_packet_bytes_max;
    let mosquitto = mqtt::Broker::new(mqtt::Config { packet_bytes_max, ..mqtt::Config::default() });
    let redis = redis::Broker::new();
    tokio::select! {
        biased;
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        never = rabbitmq.serve(Env::tokio(), amqp_listener) => match never {},
        never = mosquitto.serve(Env::tokio(), mqtt_listener) => match never {},
        never = redis.serve(Env::tokio(), redis_listener) => match never {},
    }
}

/// A listener, and the port that it got.
async fn listen(broker: &'static str, option: &'static str, port: u16) -> Result<(u16, Listener), ListenError> {
    listen_in(&Env::tokio(), broker, option, port).await
}

async fn listen_in(
    env: &Env,
    broker: &'static str,
    option: &'static str,
    port: u16,
) -> Result<(u16, Listener), ListenError> {
    let at = |error| ListenError { broker, option, port, error };
    let listener = env.listen(([127, 0, 0, 1], port).into()).await.map_err(at)?;
    Ok((listener.addr().port(), listener))
}

fn instructions(amqp: u16, mqtt: u16, redis: u16) -> String {
    format!(
        "\
RabbitMQ   emulated, at amqp://guest:guest@127.0.0.1:{amqp}/%2f
Mosquitto  emulated, at mqtt://127.0.0.1:{mqtt} (MQTT 5 and 3.1.1)
Redis      emulated, at redis://127.0.0.1:{redis}/0

For `backbone SERVICE --config FILE` in another terminal:
export BACKBONE_AMQP__URL='amqp://guest:guest@127.0.0.1:{amqp}/%2f'
export BACKBONE_MQTT__HOST=127.0.0.1 BACKBONE_MQTT__PORT={mqtt}
export BACKBONE_REDIS__URL='redis://127.0.0.1:{redis}/0'

Ctrl-C stops them; queues, sessions and keys are gone then.
"
    )
}
