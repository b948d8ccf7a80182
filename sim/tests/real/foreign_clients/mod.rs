//! Clients that nobody here wrote, at their everyday work on real ports: Mosquitto's and Redis' own programs, and
//! Python's pika and paho-mqtt. What they do and see must be the same with the emulated brokers as with the real ones.
//!
//! A client or a real broker that is not installed is a line on stderr, unless `SHELFWIRE_REQUIRE_BROKERS` is set.
//! `scripts/brokers install` installs them.

mod mosquitto;
mod python;
mod redis;

use backbone::env::{Env, TokioPlatform};
use sim::{
    broker,
    real::broker::{Kind, Real, skip},
};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Output, Stdio},
    thread,
};

/// Longest that a client's program may take, as `timeout` has it.
const CLIENT_TIMEOUT_S: &str = "30";

/// Serves the emulated broker as long as the test runs, and gives its port.
async fn emulated(kind: Kind) -> u16 {
    // Of the three only Mosquitto leaves Nagle's algorithm on.
    let accepted_nodelay = kind != Kind::Mosquitto;
    let env = Env::new(TokioPlatform { accepted_nodelay, ..TokioPlatform::default() });
    let listener = env.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let port = listener.addr().port();
    Env::tokio().spawn("emulated broker", async move {
        match kind {
            Kind::RabbitMq => {
                match broker::amqp::Broker::new(Default::default()).serve(Env::tokio(), listener).await {}
            }
            Kind::Mosquitto => {
                match broker::mqtt::Broker::new(Default::default()).serve(Env::tokio(), listener).await {}
            }
            Kind::Redis => match broker::redis::Broker::new().serve(Env::tokio(), listener).await {},
        }
    });
    port
}

/// Lets a client `work` with the emulated broker at a port, and at the same time with the real one: such work is mostly
/// waiting. What it says must be the same. Only with the emulated one if the real one is not installed.
async fn on_both(kind: Kind, work: impl Fn(u16) -> String + Sync) {
    let port = emulated(kind).await;
    let who = format!("comparison of a client's work with the real {kind:?}");
    let (emulated, real) = tokio::task::block_in_place(|| {
        thread::scope(|scope| {
            let emulated = scope.spawn(|| work(port));
            let real = Real::start_or_skip(kind, &who);
            let seen = real.as_ref().map(|real| work(real.port()));
            (emulated.join().unwrap(), real.zip(seen))
        })
    });
    if let Some((real, seen)) = real {
        assert_eq!(emulated, seen, "left: with the emulated broker; right: with {real}");
    }
}

/// Whether `program` is there. If not, the tests that use it are skipped and say so.
fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        skip(program, "not installed; `scripts/brokers install` does it on Debian");
    }
    found
}

fn client(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.arg(CLIENT_TIMEOUT_S).arg(program).args(arguments);
    command
}

/// Standard output, standard error and exit code of a client that has got `input`.
fn run(mut command: Command, input: &str) -> (String, String, i32) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), status.code().unwrap())
}

/// A client that runs beside the test. It is killed at the end.
struct Running {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Running {
    /// `program` must not start others: only itself is killed.
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// The next line that it says; empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line
    }

    /// As a crash does: without a word to the broker.
    fn kill(mut self) {
        self.child.kill().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, which is all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
