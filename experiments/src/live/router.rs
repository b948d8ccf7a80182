//! A router replica as an operating-system process of its own: this executable, told to be `backbone`.

use super::cpu;
use crate::spec::Pod;
use anyhow::{Context, bail, ensure};
use backbone::{config::Config, env::Env, telemetry::DropReason};
use rustix::process::{Pid, Signal, kill_process};
use sim::real::{cgroup::Group, port::Port};
use std::{
    fs::File,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep, timeout},
};

/// How often a process is looked at.
const LOOK_PERIOD: Duration = Duration::from_millis(20);
/// Limit of one question to a router about its health or its metrics.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Largest answer to it; the metrics have some kilobytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How long a router may take to finish what it has in work: longer than any of its own limits.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How much of a router's log is worth showing, in bytes.
const LOG_BYTES_SHOWN: usize = 2_000;

/// A running router. Dropping it kills the process.
pub(super) struct Router {
    pod: Pod,
    process: Child,
    /// Of its health and metrics.
    admin: Port,
    log: std::path::PathBuf,
    /// Removed after the process has ended.
    _cgroup: Option<Group>,
}

/// What is needed to start routers.
pub(super) struct Launcher<'a> {
    /// For configurations and logs.
    pub(super) folder: &'a Path,
    /// Where the brokers are, logins included.
    pub(super) config: &'a Config,
    /// `TCP_NODELAY` on their connections.
    pub(super) nodelay: bool,
    /// Puts a process under its quota, if it has one.
    pub(super) confine: &'a dyn Fn(u32) -> anyhow::Result<Option<Group>>,
}

impl Launcher<'_> {
    /// Starts `pod`; `listen` is the port of a router that answers calls.
    ///
    /// # Errors
    /// When it can't be started.
    pub(super) fn start(&self, pod: Pod, listen: Option<u16>) -> anyhow::Result<Router> {
        let admin = Port::claim()?;
        let mut config = self.config.clone();
        config.admin.listen = format!("127.0.0.1:{}", admin.number());
        if let Some(port) = listen {
            config.http_router.listen = ([127, 0, 0, 1], port).into();
        }
        let [file, log] = ["toml", "log"].map(|extension| self.folder.join(format!("{pod}.{extension}")));
        // Written out, secrets are masked. They go through the environment.
        let text = toml::to_string(&config).context("a configuration fits into TOML")?;
        std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        let executable = std::env::current_exe().context("finding this executable, to run routers from it")?;
        let mut command = Command::new(&executable);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"BACKBONE_")) {
            command.env_remove(name);
        }
        command
            .args(["backbone", &format!("--nodelay={}", self.nodelay), "--", &pod.command()])
            .args(["--log", "warn", "--config"])
            .arg(&file)
            .env("BACKBONE_AMQP__URL", &config.amqp.url)
            .env("BACKBONE_AMQP__PASSWORD", &config.amqp.password)
            .env("BACKBONE_MQTT__PASSWORD", &config.mqtt.password)
            .env("BACKBONE_REDIS__URL", &config.redis.url)
            .env("BACKBONE_REDIS__PASSWORD", &config.redis.password)
            // It ends when this pipe does, whatever becomes of us.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log).with_context(|| format!("creating {}", log.display()))?);
        // Ctrl-C is for us.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let process = command.spawn().with_context(|| format!("starting {} as {pod}", executable.display()))?;
        // From here on a failure drops the router, and with it the process.
        let mut router = Router { pod, process, admin, log, _cgroup: None };
        router._cgroup = (self.confine)(router.process.id())?;
        Ok(router)
    }
}

impl Router {
    /// Which it is.
    pub(super) fn pod(&self) -> Pod {
        self.pod
    }

    /// CPU time that the process has used.
    pub(super) fn cpu_us(&self) -> Option<u64> {
        cpu::of_process(self.process.id())
    }

    /// Waits until it has its connections, at most until `deadline`.
    ///
    /// # Errors
    /// When it ends, or says at the deadline what it still waits for.
    pub(super) async fn ready(&mut self, deadline: Instant) -> anyhow::Result<()> {
        loop {
            if let Some(status) = self.process.try_wait().context("looking after a process")? {
                bail!("{} has ended ({status}) instead of getting ready: {}", self.pod, self.log());
            }
            let said = match self.ask("/health/ready").await {
                Ok((200, _)) => return Ok(()),
                Ok((_, body)) => body.trim().to_owned(),
                Err(error) => error.to_string(),
            };
            ensure!(Instant::now() < deadline, "{} does not get ready: {said}", self.pod);
            sleep(LOOK_PERIOD).await;
        }
    }

    /// What it counted.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) async fn metrics(&self) -> anyhow::Result<Metrics> {
        let asking = || format!("asking {} for its metrics", self.pod);
        match self.ask("/metrics").await.with_context(asking)? {
            (200, text) => Ok(Metrics(text)),
            (status, _) => bail!("{}: HTTP status {status}", asking()),
        }
    }

    /// Status and body of what it answers to a GET of `path`.
    async fn ask(&self, path: &str) -> std::io::Result<(u16, String)> {
        let answer = async {
            let mut stream = Env::tokio().connect("127.0.0.1", self.admin.number()).await?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
            let parts = answer.split_once("\r\n\r\n");
            let status = |head: &str| head.split(' ').nth(1)?.parse().ok();
            let parts = parts.and_then(|(head, body)| Some((status(head)?, body.to_owned())));
            parts.ok_or_else(|| std::io::Error::other("that is no HTTP"))
        };
        timeout(ANSWER_LIMIT, answer).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }

    /// Asks it to stop, as an operator does, and waits until it has.
    ///
    /// # Errors
    /// When it fails or takes too long.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::TERM).with_context(|| format!("sending SIGTERM to {}", self.pod))?;
        let deadline = Instant::now() + STOP_LIMIT;
        loop {
            match self.process.try_wait().context("looking after a process")? {
                Some(status) => return self.check(status),
                None if Instant::now() < deadline => sleep(LOOK_PERIOD).await,
                None => bail!("{} has not stopped {STOP_LIMIT:?} after SIGTERM", self.pod),
            }
        }
    }

    fn check(&self, status: ExitStatus) -> anyhow::Result<()> {
        ensure!(status.success(), "{} ended with {status} after SIGTERM: {}", self.pod, self.log());
        Ok(())
    }

    /// The end of its log.
    fn log(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let start = log.len().saturating_sub(LOG_BYTES_SHOWN);
        log.get(start..).unwrap_or(&log).trim().to_owned()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // Both fail only if it has ended and was waited for already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A router's metrics as it gives them out.
pub(super) struct Metrics(String);

impl Metrics {
    /// The sum of a counter over all its labels.
    pub(super) fn sum(&self, name: &str) -> u64 {
        self.values(name).map(|(_, value)| value).sum()
    }

    /// What the replica dropped or handed back, by reason.
    pub(super) fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        self.values("backbone_dropped_total").filter_map(|(labels, value)| {
            let name = labels.strip_prefix("{reason=\"")?.strip_suffix("\"}")?;
            Some((DropReason::ALL.into_iter().find(|reason| reason.name() == name)?, value))
        })
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        self.0.lines().filter_map(move |line| {
            let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
            (labels.is_empty() || labels.starts_with('{')).then_some(())?;
            Some((labels, value.parse().ok()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_with_and_without_labels() {
        let text = "backbone_requests_taken_total 7\nbackbone_dropped_total{reason=\"expired\"} 2\n\
                    backbone_dropped_total{reason=\"lost\"} 3\n# EOF\n";
        let metrics = Metrics(text.into());
        assert_eq!((metrics.sum("backbone_requests_taken_total"), metrics.sum("backbone_dropped_total")), (7, 5));
        let drops: Vec<_> = metrics.drops().collect();
        assert_eq!(drops, [(DropReason::Expired, 2), (DropReason::Lost, 3)]);
    }
}
