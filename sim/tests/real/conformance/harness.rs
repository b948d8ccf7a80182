//! Scenarios and how they are run.

use crate::conformance::compare::{self, Difference};
use backbone::env::Env;
use futures_util::{StreamExt, stream};
use sim::real::broker::{Kind, Real, RealError, skip};
use std::{
    fmt,
    io::Write,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// Longest that one scenario may take; the slowest wait for a session or a queue to expire.
const SCENARIO_TIMEOUT: Duration = Duration::from_secs(40);
/// Scenarios at a time, against one broker. They mostly wait.
const CONCURRENT: usize = 8;

/// What is compared for one protocol.
pub(crate) struct Protocol {
    /// Name and version of the real broker, as in the document's headings.
    pub(crate) real: &'static str,
    /// Added to the real broker's configuration.
    pub(crate) config: &'static str,
    /// In the order of the document.
    pub(crate) scenarios: &'static [Scenario],
}

/// One course of events at a broker.
pub(crate) struct Scenario {
    /// Unique within its protocol; begins all names of queues, clients, topics and keys that it uses.
    pub(crate) name: &'static str,
    /// What is checked, in a line of the document.
    pub(crate) about: &'static str,
    pub(crate) run: fn(At) -> Pin<Box<dyn Future<Output = ()> + Send>>,
    /// How the emulated broker differs, and why that is so.
    pub(crate) differences: &'static [Difference],
}

/// `scenario!(function, "what is checked")`, and after that the known differences, if there are any.
macro_rules! scenario {
    ($function:path, $about:expr $(, $difference:expr)* $(,)?) => {
        $crate::conformance::harness::Scenario {
            name: stringify!($function),
            about: $about,
            run: |at| Box::pin($function(at)),
            differences: &[$($difference),*],
        }
    };
}
pub(crate) use scenario;

/// Where a scenario runs, and where it notes what it sees. It can't tell which broker it has.
#[derive(Clone)]
pub(crate) struct At {
    /// On 127.0.0.1.
    pub(crate) port: u16,
    name: &'static str,
    lines: Arc<Mutex<Vec<String>>>,
}

impl At {
    /// Notes a line. It must not hold what changes from run to run: times, ports, generated names, [`At::name`].
    pub(crate) fn note(&self, line: impl fmt::Display) {
        let line = line.to_string().replace(self.name, "~");
        self.lines.lock().unwrap().push(line);
    }

    /// `name` within this scenario.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }
}

/// What a scenario noted, and how it ended if not well.
struct Transcript {
    lines: Vec<String>,
    failure: Option<String>,
}

/// Runs all scenarios against the emulated broker at `emulated_port` and a real one.
///
/// # Panics
/// If the two differ otherwise than listed, or the real one doesn't start.
pub(crate) async fn compare_with_real(kind: Kind, emulated_port: u16, protocol: &Protocol) {
    let wanted = std::env::var("SHELFWIRE_SCENARIO").unwrap_or_default();
    let scenarios = || protocol.scenarios.iter().filter(|scenario| scenario.name.contains(&wanted));
    let who = format!("comparison with {}", protocol.real);
    // Starting and, at the end, stopping a broker blocks.
    let real = match tokio::task::block_in_place(|| Real::start_with(kind, protocol.config)) {
        Ok(real) => real,
        Err(RealError::NotInstalled(reason)) => return skip(&who, &reason),
        Err(error) => panic!("{who}: {error}"),
    };
    let (emulated, real) = tokio::join!(run_all(scenarios(), emulated_port), run_all(scenarios(), real.port()));
    let mut report = String::new();
    for (scenario, (emulated, real)) in scenarios().zip(emulated.into_iter().zip(real)) {
        if !wanted.is_empty() {
            let lines = format!("{}\n  real\n{}\n  emulated\n{}", scenario.name, shown(&real), shown(&emulated));
            std::io::stderr().lock().write_all(lines.as_bytes()).unwrap();
        }
        for (broker, transcript) in [("real", &real), ("emulated", &emulated)] {
            if let Some(failure) = &transcript.failure {
                report += &format!("\n{}: failed against the {broker} broker: {failure}\n", scenario.name);
                report += &shown(transcript);
            }
        }
        if let Err(difference) = compare::compare(&real.lines, &emulated.lines, scenario.differences) {
            report += &format!("\n{}: {difference}", scenario.name);
        }
    }
    assert!(report.is_empty(), "{}:\n{report}", protocol.real);
}

fn shown(transcript: &Transcript) -> String {
    transcript.lines.iter().map(|line| format!("    {line}\n")).collect()
}

async fn run_all(scenarios: impl Iterator<Item = &'static Scenario>, port: u16) -> Vec<Transcript> {
    stream::iter(scenarios).map(|scenario| run(scenario, port)).buffered(CONCURRENT).collect().await
}

async fn run(scenario: &'static Scenario, port: u16) -> Transcript {
    let at = At { port, name: scenario.name, lines: Arc::default() };
    let (ended, end) = oneshot::channel();
    let running = (scenario.run)(at.clone());
    // A task of its own, so that a panic ends the scenario and not the suite.
    let task = Env::tokio().spawn("scenario", async move {
        running.await;
        let _ = ended.send(());
    });
    let failure = match timeout(SCENARIO_TIMEOUT, end).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some("it panicked; the message is above".to_owned()),
        Err(_) => Some(format!("it took more than {SCENARIO_TIMEOUT:?}")),
    };
    task.abort();
    let lines = std::mem::take(&mut *at.lines.lock().unwrap());
    Transcript { lines, failure }
}
