//! A router replica as an operating-system process of its own: this executable, told to be `backbone`.

use super::{cpu, ways::Ways};
use crate::spec::{Pod, Spec};
use anyhow::{Context, bail, ensure};
use backbone::{config::Config, env::Env, telemetry::DropReason};
use rustix::process::{Pid, Signal, kill_process};
use sim::real::{
    cgroup::{Group, Hierarchy},
    port::Port,
};
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
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

/// What is needed to start routers, again and again.
pub(super) struct Launcher {
    pub(super) spec: Arc<Spec>,
    /// Where the brokers are, logins included.
    pub(super) config: Arc<Config>,
    /// Where routers that answer calls listen.
    pub(super) ports: BTreeMap<Pod, Port>,
    /// How they get to the brokers.
    pub(super) ways: Ways,
    /// For configurations and logs.
    pub(super) folder: TempDir,
    /// Where CPU quotas are set, if there are any.
    pub(super) hierarchy: Option<Hierarchy>,
}

impl Launcher {
    /// Puts process `pid` under the quota that the spec has for `pod`, if there is one and quotas can be set.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn confine(&self, pod: Pod, pid: u32) -> anyhow::Result<Option<Group>> {
        let quota = self.spec.machines.of(pod).quota();
        let Some((hierarchy, quota)) = self.hierarchy.as_ref().zip(quota) else { return Ok(None) };
        Ok(Some(hierarchy.confine(&pod.to_string(), pid, quota)?))
    }

    /// Starts `pod`.
    ///
    /// # Errors
    /// When it can't be started.
    pub(super) fn start(&self, pod: Pod) -> anyhow::Result<Router> {
        let admin = Port::claim()?;
        let mut config = (*self.config).clone();
        self.ways.lead(pod, &mut config)?;
        config.admin.listen = format!("127.0.0.1:{}", admin.number());
        if let Some(port) = self.ports.get(&pod) {
            config.http_router.listen = ([127, 0, 0, 1], port.number()).into();
        }
        let [file, log] = ["toml", "log"].map(|extension| self.folder.path().join(format!("{pod}.{extension}")));
        // Written out, secrets are masked. They go through the environment.
        let text = toml::to_string(&config).context("a configuration fits into TOML")?;
        std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        // What it said before it was started again stays.
        let stderr = OpenOptions::new().create(true).append(true).open(&log);
        let executable = std::env::current_exe().context("finding this executable, to run routers from it")?;
        let mut command = Command::new(&executable);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"BACKBONE_")) {
            command.env_remove(name);
        }
        command
            .args(["backbone", &format!("--nodelay={}", self.spec.machines.of(pod).nodelay), "--", &pod.command()])
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
            .stderr(stderr.with_context(|| format!("opening {}", log.display()))?);
        // Ctrl-C is for us.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let process = command.spawn().with_context(|| format!("starting {} as {pod}", executable.display()))?;
        // From here on a failure drops the router, and with it the process.
        let mut router = Router { pod, process, admin, log, _cgroup: None };
        router._cgroup = self.confine(pod, router.process.id())?;
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
            if let Some(end) = self.ended()? {
                bail!("{end} instead of getting ready");
            }
            let Some(said) = self.unready().await else { return Ok(()) };
            ensure!(Instant::now() < deadline, "{} does not get ready: {said}", self.pod);
            sleep(LOOK_PERIOD).await;
        }
    }

    /// Why it is not ready; `None` if it is.
    pub(super) async fn unready(&self) -> Option<String> {
        match self.ask("/health/ready").await {
            Ok((200, _)) => None,
            Ok((_, body)) => Some(body.trim().to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// How it has ended, if it has, and its last words.
    ///
    /// # Errors
    /// When the system does not say.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<String>> {
        let status = self.process.try_wait().context("looking after a process")?;
        Ok(status.map(|status| format!("{} has ended ({status}): {}", self.pod, self.log())))
    }

    /// Lets it stand still (SIGSTOP), or go on (SIGCONT).
    ///
    /// # Errors
    /// When there is no such process any more.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.process), signal)
            .with_context(|| format!("sending {signal:?} to {}", self.pod))
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
        let listens = catches(self.process.id(), Signal::TERM);
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + STOP_LIMIT;
        loop {
            match self.process.try_wait().context("looking after a process")? {
                // One that has just been started is ended by the signal itself, and has nothing in work.
                Some(status) if !listens && status.signal() == Some(Signal::TERM.as_raw()) => return Ok(()),
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

/// Whether process `pid` has a handler for `signal` (`SigCgt` of proc_pid_status(5)).
fn catches(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
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
impl Router {
    /// Any process, as if it were one of `pod`.
    pub(super) fn of(pod: Pod, process: Child) -> anyhow::Result<Self> {
        Ok(Self { pod, process, admin: Port::claim()?, log: std::path::PathBuf::new(), _cgroup: None })
    }

    /// Waits until it has ended by itself.
    pub(super) fn wait(&mut self) {
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that runs `script`, once it has said that it is at its end.
    async fn shell(script: &str) -> Router {
        let mut command = Command::new("sh");
        let mut child = command.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        Router::of(Pod::Amqp, child).unwrap()
    }

    #[tokio::test]
    async fn a_router_that_does_not_listen_for_sigterm_yet_is_ended_by_it_and_one_that_does_ends_well() {
        shell("echo; exec sleep 600").await.stop().await.unwrap();
        shell("trap 'exit 0' TERM; echo; while :; do sleep 0.01; done").await.stop().await.unwrap();
        let failed = shell("trap 'exit 3' TERM; echo; while :; do sleep 0.01; done").await.stop().await;
        assert!(failed.unwrap_err().to_string().contains("exit status: 3"));
    }

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
