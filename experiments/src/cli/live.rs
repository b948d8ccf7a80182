//! `--live`, and the hidden command that makes this executable a router.

use crate::live::{LiveEnv, Options, calibrate};
use clap::Args;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Whether and how to run for real.
#[derive(Debug, Args)]
pub(super) struct LiveArgs {
    /// Runs for real: on RabbitMQ, Mosquitto and Redis, with each router as a process. Results go to live/.
    #[arg(long, conflicts_with_all = ["verify", "trace"])]
    pub(super) live: bool,
    /// With --live: this RabbitMQ instead of a private one.
    #[arg(long, value_name = "URL", requires = "live")]
    amqp: Option<String>,
    /// With --live: this MQTT broker, as mqtt://HOST:PORT, instead of a private Mosquitto.
    #[arg(long, value_name = "URL", requires = "live")]
    mqtt: Option<String>,
    /// With --live: this Redis instead of a private one.
    #[arg(long, value_name = "URL", requires = "live")]
    redis: Option<String>,
    /// With --live: without the CPU quotas that the spec asks for.
    #[arg(long, requires = "live")]
    no_quota: bool,
}

impl LiveArgs {
    /// The options that say the same again. Addresses of brokers may hold passwords.
    pub(super) fn replay(&self) -> &'static str {
        match (self.live, self.no_quota) {
            (false, _) => "",
            (true, false) => " --live",
            (true, true) => " --live --no-quota",
        }
    }

    pub(super) fn options(&self) -> Options {
        let Self { amqp, mqtt, redis, no_quota, .. } = self;
        Options { amqp: amqp.clone(), mqtt: mqtt.clone(), redis: redis.clone(), no_quota: *no_quota }
    }
}

/// What to measure, and where to write it.
#[derive(Debug, Args)]
pub(super) struct CalibrateArgs {
    /// The experiment that CPU times are taken from.
    #[arg(default_value = "throughput")]
    name: String,
    #[command(flatten)]
    specs: super::SpecsArg,
    /// The file [default: calibrated.toml beside the experiments].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Shows no progress.
    #[arg(long)]
    quiet: bool,
}

/// # Errors
/// When a measurement fails, or the file can't be written.
pub(super) fn calibrate(arguments: &CalibrateArgs) -> anyhow::Result<()> {
    let specs = arguments.specs.directory();
    let calibration = calibrate::calibrate(&specs, &arguments.name, arguments.quiet)?;
    let text = calibration.to_toml();
    super::print(&text)?;
    let path = arguments.output.clone().unwrap_or_else(|| specs.join("calibrated.toml"));
    crate::results::replace(&path, text.as_bytes())?;
    if !arguments.quiet {
        eprintln!("wrote {}", super::here(&path).display());
    }
    Ok(())
}

/// What to be.
#[derive(Debug, Args)]
pub(super) struct BackboneArgs {
    /// TCP_NODELAY on its connections.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = true)]
    nodelay: bool,
    /// The arguments of `backbone`.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// Is `backbone`, and ends at the latest when standard input does: then whoever started it has ended, however that was.
pub(super) fn backbone(arguments: BackboneArgs) -> ExitCode {
    let watch = || {
        // Nothing is ever written to it; an error is an end, too.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(1);
    };
    if let Err(error) = std::thread::Builder::new().name("parent".into()).spawn(watch) {
        eprintln!("error: starting a thread: {error}");
        return ExitCode::FAILURE;
    }
    let program = OsString::from("backbone");
    backbone::cli::main(LiveEnv { nodelay: arguments.nodelay }, std::iter::once(program).chain(arguments.arguments))
}
