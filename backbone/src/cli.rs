//! The program: `backbone SERVICE --config FILE` runs one replica of one service against real brokers.
//!
//! It is part of the library so that a bench can run a replica from its own executable, in a process of its own. One
//! thread runs it all (lapin adds one of its own): a service scales by replicas, not by cores.

use crate::{
    admin::Admin,
    config::Config,
    env::Env,
    message::{Message, TASK_BYTES_MAX, Task},
    service::{BckRouter, Dispatcher, FwdRouter, HttpRouter, TaskWorker},
    telemetry::{FanOut, LogTelemetry, Sparse, Telemetry},
};
use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use futures_util::stream;
use std::{
    ffi::OsString,
    io::IsTerminal as _,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Exit code for a configuration or command line that can't be used, as clap has it.
const EXIT_USAGE: u8 = 2;
/// Exit code when a second signal cuts the shutdown short: that of a process ended by SIGTERM.
const EXIT_CUT_SHORT: i32 = 143;

/// Carries commands to electronic shelf labels and their answers back.
#[derive(Parser)]
#[command(name = "backbone", version)]
struct Arguments {
    /// What to run.
    service: Service,
    /// TOML file; the environment (BACKBONE_AMQP__URL=...) overrides it. See config.example.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What to log: `info`, `backbone=debug`, ... [default: RUST_LOG, or `info`]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Service {
    /// Puts tasks from stdin, one JSON object a line, into the task queue.
    Dispatcher,
    /// Takes tasks and calls labels.
    TaskWorker,
    /// Carries requests from RabbitMQ to MQTT.
    FwdRouter,
    /// Carries replies from MQTT to RabbitMQ, and RSSI reports into the routing table.
    BckRouter,
    /// Answers requests over HTTP, in the stead of forward and backward routers.
    HttpRouter,
}

/// Runs the service that `arguments` ask for, the program's name first, until it is told to stop. Exit codes: 0 stopped
/// as told, 1 failed, 2 a configuration or command line that can't be used, 143 cut short by a second signal.
pub fn main(env: Env, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = Arguments::parse_from(arguments);
    let config = match Config::load(&arguments.config) {
        Ok(config) => Arc::new(config),
        Err(error) => return refuse(&error),
    };
    let log = arguments.log.or_else(|| std::env::var("RUST_LOG").ok()).unwrap_or_else(|| "info".into());
    match log.parse::<Targets>() {
        Ok(filter) => {
            let colours = std::io::stderr().is_terminal();
            let lines = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
            tracing_subscriber::registry().with(lines.map_event_format(Sparse::new)).with(filter).init();
        }
        Err(error) => return refuse(&format!("--log {log}: {error}")),
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.context("cannot start the runtime").and_then(|runtime| {
        let outcome = runtime.block_on(run(env, arguments.service, config));
        // A read of stdin that is still blocked must not hold up the exit.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backbone: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(error: &impl std::fmt::Display) -> ExitCode {
    for line in error.to_string().lines() {
        eprintln!("backbone: {line}");
    }
    ExitCode::from(EXIT_USAGE)
}

async fn run(env: Env, service: Service, config: Arc<Config>) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    stop_on_signals(&env, &shutdown)?;
    let admin = Admin::default();
    let log = Arc::new(LogTelemetry::default());
    let telemetry: Arc<dyn Telemetry> = Arc::new(FanOut(vec![log, admin.metrics.clone(), admin.readiness.clone()]));
    if let Some(addr) = config.admin.address().expect("the configuration was validated") {
        let listener = env.listen(addr).await.with_context(|| format!("cannot listen on {addr} (admin.listen)"))?;
        env.spawn("admin", admin.serve(env.clone(), listener, shutdown.clone()));
    }
    match service {
        Service::Dispatcher => return dispatch(env, config, telemetry, shutdown).await,
        Service::TaskWorker => TaskWorker::run(env, config, telemetry, shutdown).await,
        Service::FwdRouter => FwdRouter::run(env, config, telemetry, shutdown).await,
        Service::BckRouter => BckRouter::run(env, config, telemetry, shutdown).await,
        Service::HttpRouter => HttpRouter::run(env, config, telemetry, shutdown).await?,
    }
    Ok(())
}

/// The first SIGTERM or SIGINT cancels `shutdown`; the second ends the process.
fn stop_on_signals(env: &Env, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let shutdown = shutdown.clone();
    env.spawn("signals", async move {
        for stop in [false, true] {
            tokio::select! {
                biased;
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop {
                std::process::exit(EXIT_CUT_SHORT);
            }
            tracing::info!("stopping; a second signal stops at once");
            shutdown.cancel();
        }
    });
    Ok(())
}

async fn dispatch(
    env: Env,
    config: Arc<Config>,
    telemetry: Arc<dyn Telemetry>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let refused = AtomicU64::new(0);
    let tasks = tasks_of(BufReader::new(tokio::io::stdin()), &refused);
    let dispatched = Dispatcher::run(env, config, telemetry, shutdown, tasks).await?;
    eprintln!("backbone: {dispatched} tasks dispatched");
    match refused.load(Relaxed) {
        0 => Ok(()),
        refused => anyhow::bail!("{refused} lines are no tasks and were skipped; see above"),
    }
}

/// The tasks in `lines`. A line that is none is reported with its number, counted in `refused`, and skipped.
fn tasks_of<R: AsyncBufRead + Unpin>(lines: R, refused: &AtomicU64) -> impl stream::Stream<Item = Task> {
    stream::unfold((lines, 0_u64), move |(mut lines, mut number)| async move {
        loop {
            number += 1;
            let problem = match next_line(&mut lines).await {
                Ok(None) => return None,
                Ok(Some(line)) if line.trim_ascii().is_empty() => continue,
                Ok(Some(line)) => match Task::parse(&line) {
                    Ok(task) => return Some((task, (lines, number))),
                    Err(error) => error.to_string(),
                },
                Err(error) => {
                    eprintln!("backbone: stdin, line {number}: cannot read: {error}");
                    refused.fetch_add(1, Relaxed);
                    return None;
                }
            };
            eprintln!("backbone: stdin, line {number}: {problem}");
            refused.fetch_add(1, Relaxed);
        }
    })
}

/// The next line without its end; of one that is too long for a task only so much that parsing refuses it.
async fn next_line<R: AsyncBufRead + Unpin>(lines: &mut R) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let bytes_max = TASK_BYTES_MAX as u64 + 2;
    let read = (&mut *lines).take(bytes_max).read_until(b'\n', &mut line).await?;
    if read as u64 == bytes_max && !line.ends_with(b"\n") {
        skip_line(lines).await?;
    } else if line.ends_with(b"\n") {
        line.pop();
    }
    Ok((read > 0).then_some(line))
}

/// Reads to the end of the line, without keeping it.
async fn skip_line<R: AsyncBufRead + Unpin>(lines: &mut R) -> std::io::Result<()> {
    loop {
        let bytes = lines.fill_buf().await?;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (skipped, done) = (end.map_or(bytes.len(), |end| end + 1), end.is_some() || bytes.is_empty());
        lines.consume(skipped);
        if done {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;

    async fn read(text: &[u8]) -> (Vec<String>, u64) {
        let refused = AtomicU64::new(0);
        let tasks = tasks_of(BufReader::new(text), &refused);
        let ids = tasks.map(|task| task.task_id.to_string()).collect().await;
        (ids, refused.load(Relaxed))
    }

    fn task(id: &str) -> String {
        format!(r#"{{"task_id":"{id}","commands":[{{"esl_mac":"00:00:00:00:00:01","version":1,"body":1}}]}}"#)
    }

    #[tokio::test]
    async fn lines_that_are_no_tasks_are_counted_and_skipped() {
        let text = format!("{}\nnonsense\n\n{}", task("a"), task("b"));
        assert_eq!(read(text.as_bytes()).await, (vec!["a".into(), "b".into()], 1));
    }

    #[tokio::test]
    async fn an_endless_line_is_refused_and_the_next_one_read() {
        let text = format!("{}\n{}\n", "x".repeat(3 * TASK_BYTES_MAX), task("a"));
        assert_eq!(read(text.as_bytes()).await, (vec!["a".into()], 1));
    }
}
