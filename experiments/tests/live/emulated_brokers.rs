//! `experiments brokers` as a process: the `backbone` binary works on the emulated brokers as on any others.

use crate::{
    MACHINE,
    gateway::{label, start_gateway},
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};
use tokio::time::{Instant, sleep};

const VERSION: u64 = 7;
const PATIENCE: Duration = Duration::from_secs(30);

fn experiments(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
    command.arg("brokers").args(arguments);
    command
}

/// A process that ends with the test, however that ends.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    async fn stop(mut self) -> ExitStatus {
        let killed = Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        assert!(killed.success());
        self.end().await
    }

    async fn end(&mut self) -> ExitStatus {
        let limit = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < limit, "it does not end");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, which is all the same.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The emulated brokers, and the environment that their output asks for.
fn start_brokers() -> (Process, Vec<(String, String)>) {
    let mut command = experiments(&["--amqp", "0", "--mqtt", "0", "--redis", "0"]);
    let mut brokers = Process::start(command.stdout(Stdio::piped()));
    let mut environment = Vec::new();
    for line in BufReader::new(brokers.0.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(exports) = line.strip_prefix("export ") {
            let variables = exports.split(' ').map(|export| export.split_once('=').unwrap());
            environment.extend(variables.map(|(name, value)| (name.into(), value.trim_matches('\'').into())));
        }
        if line.starts_with("Ctrl-C") {
            break;
        }
    }
    assert_eq!(environment.len(), 4, "{environment:?}");
    (brokers, environment)
}

/// The binary of the workspace's other crate: `cargo test --workspace` puts it beside ours.
fn backbone(service: &str, environment: &[(String, String)]) -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_experiments")).with_file_name("backbone");
    assert!(path.exists(), "{} is not built; run `cargo build -p backbone`", path.display());
    let mut command = Command::new(path);
    command.args([service, "--config", "/dev/null", "--log", "warn"]).envs(environment.iter().cloned());
    command
}

#[tokio::test]
async fn the_backbone_binary_does_a_task_on_the_emulated_brokers() {
    let _machine = MACHINE.read().await;
    let (brokers, environment) = start_brokers();
    let services = ["fwd-router", "bck-router", "task-worker"].map(|service| {
        Process::start(backbone(service, &environment).env("BACKBONE_TASK_WORKER__RETRY_DELAY_MS", "200"))
    });
    let (_, mqtt_port) = environment.iter().find(|(name, _)| name == "BACKBONE_MQTT__PORT").unwrap();
    let labels = start_gateway(mqtt_port.parse().unwrap(), 1);
    let mut dispatcher = Process::start(backbone("dispatcher", &environment).stdin(Stdio::piped()));
    let task = format!(r#"{{"task_id":"a","commands":[{{"esl_mac":"{}","version":{VERSION},"body":1}}]}}"#, label(0));
    dispatcher.0.stdin.take().unwrap().write_all(task.as_bytes()).unwrap();
    assert!(dispatcher.end().await.success());
    let limit = Instant::now() + PATIENCE;
    while labels.version(label(0)) != Some(VERSION) {
        assert!(Instant::now() < limit, "the label shows {:?}", labels.version(label(0)));
        sleep(Duration::from_millis(20)).await;
    }
    for service in services {
        assert!(service.stop().await.success());
    }
    assert!(brokers.stop().await.success());
}

/// A Python that has the clients of the examples. If none has, the test is skipped and says so.
fn python() -> Option<&'static str> {
    let has = |python: &&str| {
        let import = Command::new(python).args(["-c", "import pika, paho.mqtt.client"]).output();
        import.is_ok_and(|import| import.status.success())
    };
    // Debian's packages are for its own Python, whatever else is in PATH.
    let python = ["/usr/bin/python3", "python3"].into_iter().find(has);
    if python.is_none() {
        let why = "no Python with pika and paho-mqtt; `scripts/brokers install` installs them on Debian";
        assert!(std::env::var_os("SHELFWIRE_REQUIRE_BROKERS").is_none(), "{why}");
        eprintln!("skipped: {why}");
    }
    python
}

#[tokio::test]
async fn the_examples_in_python_change_prices_and_learn_what_became_of_them() {
    let Some(python) = python() else { return };
    let _machine = MACHINE.read().await;
    let (brokers, environment) = start_brokers();
    let value = |name| &environment.iter().find(|(known, _)| known == name).unwrap().1;
    let example = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../backbone/examples").join(name);
        let mut command = Command::new(python);
        command.arg(path).env("AMQP_URL", value("BACKBONE_AMQP__URL")).env("MQTT_HOST", "127.0.0.1");
        command.env("MQTT_PORT", value("BACKBONE_MQTT__PORT")).stdout(Stdio::piped());
        command
    };
    let services = ["fwd-router", "bck-router", "task-worker"].map(|service| {
        Process::start(backbone(service, &environment).env("BACKBONE_TASK_WORKER__RETRY_DELAY_MS", "200"))
    });
    let mut gateway = Process::start(&mut example("gateway.py"));
    // The second is no label of the gateway's.
    let changes = ["00:00:00:00:00:01=12.90", "00:00:00:00:00:09=1.00"];
    let mut producer = Process::start(example("producer.py").args(changes));
    assert!(producer.end().await.success());
    let mut printed = String::new();
    producer.0.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    let mut lines: Vec<&str> = printed.lines().collect();
    lines.sort_unstable();
    assert!(lines[0].starts_with("00:00:00:00:00:01 done  after "), "{printed}");
    let no_route = "00:00:00:00:00:09 no_route no gateway has heard the label lately after ";
    assert!(lines[1].starts_with(no_route) && lines.len() == 2, "{printed}");
    gateway.0.kill().unwrap();
    let mut printed = String::new();
    gateway.0.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(printed, "00:00:00:00:00:01 shows {'price': '12.90'}\n");
    for service in services {
        assert!(service.stop().await.success());
    }
    assert!(brokers.stop().await.success());
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_option_that_chooses_another() {
    let _machine = MACHINE.read().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = experiments(&["--amqp", "0", "--mqtt", "0", "--redis", &port]);
    let mut brokers = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    assert_eq!(brokers.end().await.code(), Some(2));
    let (mut said, mut complained) = (String::new(), String::new());
    brokers.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    brokers.0.stderr.take().unwrap().read_to_string(&mut complained).unwrap();
    assert_eq!(said, "");
    assert!(complained.contains(&format!("127.0.0.1:{port}")) && complained.contains("--redis"), "{complained}");
}
