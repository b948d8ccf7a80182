//! `--live`, and the hidden command that makes this executable a router.

use super::changes::quoted;
use crate::live::Options;
use backbone::{
    config::mask_url,
    env::{Env, TokioPlatform},
};
use clap::Args;
use std::{ffi::OsString, io, path::PathBuf, process::ExitCode};

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
                options += &format!(" {option} {}", quoted(&mask_url(url)));
            }
        }
        if let Some(file) = &self.ca_file {
            options += &format!(" --ca-file {}", quoted(&file.display().to_string()));
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
        eprintln!(
            "experiments backbone: standard input has ended, and with it whoever started this router; so it ends, too"
        );
        std::process::exit(1);
    };
    if let Err(error) = std::thread::Builder::new().name("parent".into()).spawn(watch) {
        eprintln!("experiments backbone: starting the thread that watches standard input: {error}");
        return ExitCode::FAILURE;
    }
    let program = OsString::from("backbone");
    let env = Env::new(TokioPlatform { nodelay: arguments.nodelay, ..TokioPlatform::default() });
    backbone::cli::main(env, std::iter::once(program).chain(arguments.arguments))
}
