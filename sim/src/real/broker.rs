//! The real brokers as processes of their own, for tests and live runs: RabbitMQ, Mosquitto and Redis, each in a
//! temporary folder on a free port of the loopback interface.
//!
//! How to start and stop each of them is known to `scripts/brokers` alone. This is the program's side of it: a pipe to
//! the script, which ends the broker when the pipe ends. So nothing is left behind whatever becomes of this process, a
//! panic and SIGKILL included.

use super::port::Port;
use std::{
    fmt,
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
};

/// Makes a missing broker an error where it is otherwise a reason to skip a test. For a CI that has them installed.
pub const REQUIRE: &str = "SHELFWIRE_REQUIRE_BROKERS";
/// The script's exit code for what is not installed.
const NOT_INSTALLED: i32 = 3;

/// Which broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RabbitMQ, for AMQP 0-9-1.
    RabbitMq,
    /// Mosquitto, for MQTT 5 and 3.1.1.
    Mosquitto,
    /// Redis.
    Redis,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::RabbitMq => "amqp",
            Self::Mosquitto => "mqtt",
            Self::Redis => "redis",
        }
    }

    /// On how many ports it listens: RabbitMQ also for its own command line, and its port mapper.
    fn ports(self) -> usize {
        if self == Self::RabbitMq { 3 } else { 1 }
    }
}

/// Why a real broker can't be had.
#[derive(Debug, thiserror::Error)]
pub enum RealError {
    /// The program is not on this machine.
    #[error("{0}")]
    NotInstalled(String),
    /// It did not start, or died.
    #[error("the real {0:?} did not do what it was told; its messages are above")]
    Failed(Kind),
    /// The script or the pipe to it.
    #[error("talking to {script}: {error}")]
    Script {
        /// Where it should be.
        script: String,
        /// What went wrong.
        error: io::Error,
    },
}

/// A running broker. Dropping it ends the process and deletes its data.
///
/// All calls block until the broker has done what it was told, RabbitMQ's start for 5 to 20 seconds.
#[derive(Debug)]
pub struct Real {
    kind: Kind,
    script: Child,
    /// Present until the drop.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    place: Place,
    /// Nobody else's for as long as it may be started again.
    _ports: Vec<Port>,
}

/// Where a broker is, as the script says it.
#[derive(Debug, Default)]
struct Place {
    url: String,
    port: u16,
    pid: u32,
    folder: PathBuf,
}

impl Real {
    /// Starts one with its default configuration.
    ///
    /// # Errors
    /// If it is not installed or doesn't start.
    pub fn start(kind: Kind) -> Result<Self, RealError> {
        Self::start_with(kind, "")
    }

    /// As [`Real::start`], with `config` added to its configuration file (`rabbitmq.conf`, `mosquitto.conf`,
    /// `redis.conf`).
    ///
    /// # Errors
    /// If it is not installed or doesn't start.
    pub fn start_with(kind: Kind, config: &str) -> Result<Self, RealError> {
        let script_error = |error| RealError::Script { script: script().display().to_string(), error };
        let ports: Vec<Port> =
            (0..kind.ports()).map(|_| Port::claim()).collect::<Result<_, _>>().map_err(script_error)?;
        let numbers: Vec<String> = ports.iter().map(|port| port.number().to_string()).collect();
        let mut script = Command::new(script())
            .args(["run", kind.word()])
            .env("SHELFWIRE_BROKER_PORTS", numbers.join(" "))
            .env("SHELFWIRE_BROKER_CONFIG", config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Not in our group: Ctrl-C is for us, and the script then tidies up when the pipe ends.
            .process_group(0)
            .spawn()
            .map_err(script_error)?;
        let orders = script.stdin.take();
        let answers = BufReader::new(script.stdout.take().expect("was asked for"));
        let mut real = Self { kind, script, orders, answers, place: Place::default(), _ports: ports };
        match real.answer() {
            Ok(()) => Ok(real),
            Err(RealError::Failed(kind)) => {
                real.orders = None;
                let mut said = String::new();
                let mut stderr = real.script.stderr.take().expect("was asked for");
                io::Read::read_to_string(&mut stderr, &mut said).map_err(script_error)?;
                if real.script.wait().map_err(script_error)?.code() == Some(NOT_INSTALLED) {
                    return Err(RealError::NotInstalled(said.trim().to_owned()));
                }
                say(&said);
                Err(RealError::Failed(kind))
            }
            Err(error) => Err(error),
        }
    }

    /// For a test: as [`Real::start`], but a broker that is not installed is `None` and a line on stderr that `who` was
    /// skipped and why.
    ///
    /// # Panics
    /// If it doesn't start, or is not installed although [`REQUIRE`] is set.
    #[must_use]
    pub fn start_or_skip(kind: Kind, who: &str) -> Option<Self> {
        match Self::start(kind) {
            Ok(real) => Some(real),
            Err(RealError::NotInstalled(reason)) => {
                skip(who, &reason);
                None
            }
            Err(error) => panic!("{who}: {error}"),
        }
    }

    /// Its address, in the form that its clients take, login included.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.place.url
    }

    /// Its port on 127.0.0.1; the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.place.port
    }

    /// Its process, for measurements.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.place.pid
    }

    /// Its folder, with data and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.place.folder
    }

    /// Ends it properly (SIGTERM); its data stays for [`Real::start_again`].
    ///
    /// # Errors
    /// If the script fails.
    pub fn stop(&mut self) -> Result<(), RealError> {
        self.order("stop")
    }

    /// Ends it at once (SIGKILL), as a crash does; what it has on disk stays for [`Real::start_again`].
    ///
    /// # Errors
    /// If the script fails.
    pub fn kill(&mut self) -> Result<(), RealError> {
        self.order("kill")
    }

    /// Starts it after [`Real::stop`] or [`Real::kill`], on the same port and with its data.
    ///
    /// # Errors
    /// If it doesn't start.
    pub fn start_again(&mut self) -> Result<(), RealError> {
        self.order("start")
    }

    /// Lets it stand still (SIGSTOP): connections stay open and nobody answers.
    ///
    /// # Errors
    /// If the script fails.
    pub fn pause(&mut self) -> Result<(), RealError> {
        self.order("pause")
    }

    /// Lets it go on after [`Real::pause`].
    ///
    /// # Errors
    /// If the script fails.
    pub fn resume(&mut self) -> Result<(), RealError> {
        self.order("resume")
    }

    /// Runs RabbitMQ's command line on it. Takes a second or two.
    ///
    /// # Errors
    /// If the program can't be run; that it failed is in the output.
    ///
    /// # Panics
    /// If this is no RabbitMQ.
    pub fn rabbitmqctl(&self, arguments: &[&str]) -> io::Result<Output> {
        assert_eq!(self.kind, Kind::RabbitMq, "rabbitmqctl is RabbitMQ's");
        Command::new(script())
            .arg("rabbitmqctl")
            .args(arguments)
            .env("SHELFWIRE_AMQP_FOLDER", &self.place.folder)
            .stdin(Stdio::null())
            .output()
    }

    fn order(&mut self, order: &str) -> Result<(), RealError> {
        let orders = self.orders.as_mut().expect("present until the drop");
        orders
            .write_all(format!("{order}\n").as_bytes())
            .map_err(|error| RealError::Script { script: script().display().to_string(), error })?;
        self.answer()
    }

    /// Reads up to the end of the script's answer.
    fn answer(&mut self) -> Result<(), RealError> {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.answers.read_line(&mut line);
            if read.map_err(|error| RealError::Script { script: script().display().to_string(), error })? == 0 {
                return Err(RealError::Failed(self.kind));
            }
            match line.trim_end().split_once('=') {
                Some(("url", url)) => self.place.url = url.to_owned(),
                Some(("port", port)) => self.place.port = port.parse().expect("the script writes a number"),
                Some(("pid", pid)) => self.place.pid = pid.parse().expect("the script writes a number"),
                Some(("folder", folder)) => self.place.folder = folder.into(),
                _ => return Ok(()),
            }
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.orders = None;
        if let Err(error) = self.script.wait() {
            tracing::warn!(%error, kind = ?self.kind, "waiting for the script that runs a real broker failed");
        }
    }
}

impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.kind, self.place.url)
    }
}

/// Says on stderr that `who`, a test, is skipped for `reason`: past the test harness, which shows nothing of tests that
/// pass.
///
/// # Panics
/// If [`REQUIRE`] is set.
pub fn skip(who: &str, reason: &str) {
    assert!(std::env::var_os(REQUIRE).is_none(), "{who}: {reason} ({REQUIRE} is set)");
    say(&format!("SKIPPED {who}: {reason}\n"));
}

/// Writes to stderr past the test harness.
pub(crate) fn say(text: &str) {
    // A closed stderr leaves nobody to tell.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/brokers")
}
