//! `--live`, and the hidden command that makes this executable a router.

use crate::live::{Options, calibrate};
use crate::simulate::Simulate;
use backbone::{
    config::mask_url,
    env::{Env, TokioPlatform},
};
use clap::Args;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Whether and how to run for real.
#[derive(Clone, Args)]
pub(super) struct LiveArgs {
    /// Runs for real: on RabbitMQ, Mosquitto and Redis, with each router as a process. Results go to live/.
    #[arg(long, conflicts_with_all = ["verify", "trace"])]
    pub(super) live: bool,
    /// With --live: this RabbitMQ instead of a private one, amqp://USER:PASSWORD@HOST:PORT/VHOST or amqps://.
    #[arg(long, value_name = "URL", requires = "live")]
    amqp: Option<String>,
    /// With --live: this MQTT broker instead of a private Mosquitto, mqtt://USER:PASSWORD@HOST:PORT or mqtts://.
    #[arg(long, value_name = "URL", requires = "live")]
    mqtt: Option<String>,
    /// With --live: this Redis instead of a private one, redis://USER:PASSWORD@HOST:PORT/DB or rediss://.
    #[arg(long, value_name = "URL", requires = "live")]
    redis: Option<String>,
    /// With amqps://, mqtts:// or rediss://: file with the certificates, in PEM, of those who may sign the brokers'.
    #[arg(long, value_name = "FILE", requires = "live")]
    ca_file: Option<PathBuf>,
    /// With --live: without the CPU quotas that the spec asks for.
    #[arg(long, requires = "live")]
    no_quota: bool,
}

impl LiveArgs {
    /// The options that say the same again, with `***` in the place of passwords.
    pub(super) fn replay(&self) -> String {
        let mut options = if self.live { " --live".to_owned() } else { String::new() };
        for (option, url) in [("--amqp", &self.amqp), ("--mqtt", &self.mqtt), ("--redis", &self.redis)] {
            if let Some(url) = url {
                options += &format!(" {option} '{}'", mask_url(url));
            }
        }
        if let Some(file) = &self.ca_file {
            options += &format!(" --ca-file '{}'", file.display());
        }
        if self.no_quota {
            options += " --no-quota";
        }
        options
    }

    pub(super) fn options(&self) -> Options {
        let Self { amqp, mqtt, redis, ca_file, no_quota, .. } = self.clone();
        Options { amqp, mqtt, redis, ca_file, no_quota }
    }
}

/// What to measure, and where to write it.
#[derive(Debug, Args)]
pub(super) struct CalibrateArgs {
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
pub(super) fn calibrate(arguments: &CalibrateArgs, simulate: Simulate) -> anyhow::Result<()> {
    let specs = arguments.specs.directory();
    let calibration = calibrate::calibrate(&specs, simulate, arguments.quiet)?;
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
    let env = Env::new(TokioPlatform { nodelay: arguments.nodelay });
    backbone::cli::main(env, std::iter::once(program).chain(arguments.arguments))
}
