//! Setting up a simulation, running it on a thread of its own, and what comes back from it.

use crate::{
    cluster::Cluster,
    cpu::{Cores, CoresPlan},
    engine::{self, Idle, Turns, is_running, with},
    escape::{Attempt, Escape},
    host::{self, Class, Host, HostPlan},
    lapin_lockstep,
    network::{Distances, Network, NetworkCounters},
    observe::{self, Observer},
    os,
    pods::Pods,
    process::{assert_spawned_through_env, first_panic, has_panicked, message_of},
    seed::Seed,
    trace::{Digest, Trace},
};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
    thread,
};
use tokio::runtime::{Builder, LocalRuntime, RngSeed, UnhandledPanic};
use turmoil_net::{KernelConfig, Net};

thread_local! {
    /// Wakes the main future.
    static ROOT: RefCell<Option<Waker>> = const { RefCell::new(None) };
    /// [`Settings::audit`].
    static AUDIT: Cell<bool> = const { Cell::new(false) };
}

/// The simulation thread polls deep futures of three client libraries.
const STACK_BYTES: usize = 16 << 20;
/// Connections that may wait to be accepted. turmoil-net drops a SYN beyond it, and thousands of gateways may connect
/// at one instant.
const ACCEPT_BACKLOG: usize = 60_000;

/// Who it was that tried to leave, if nobody knows better: in the end tasks are dropped without their pods.
const OUTSIDE_OF_TASKS: &str = "something outside of any task (a destructor?)";

/// What a run depends on beside the code.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Packets arrive at multiples of this many microseconds, rounded up, so that one look at the sockets serves many
    /// of them. 1: as exact as it gets.
    pub quantum_us: u64,
    /// How far hosts are from each other.
    pub distances: Distances,
    /// The cores that all pods share, if they do.
    pub cores: CoresPlan,
    /// Lost segments per million, everywhere.
    pub loss_ppm: u64,
    /// How many times pods may be restarted: a restarted pod is a new host, and hosts can't be added later.
    pub restarts_max: u16,
    /// Proves at every quiet moment that no call into lapin was overlooked. For tests: costs two context switches for
    /// each AMQP connection.
    pub audit: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            quantum_us: 50,
            distances: Distances::default(),
            cores: CoresPlan::default(),
            loss_ppm: 0,
            restarts_max: 0,
            audit: false,
        }
    }
}

/// What a run has cost and done, below the services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The wire.
    pub network: NetworkCounters,
    /// Moments at which no task could run.
    pub idle_moments: u64,
    /// Looks at all sockets.
    pub passes: u64,
    /// Turns given to lapin's threads.
    pub lapin_turns: u64,
    /// Those in which lapin had nothing to do.
    pub lapin_idle_turns: u64,
    /// Packets and events in the digest.
    pub trace_records: u64,
}

/// A run that came to its end.
#[derive(Debug)]
pub struct Finished<T> {
    /// What the main future returned.
    pub output: T,
    /// Equal for equal runs.
    pub digest: Digest,
    /// Virtual time at the end, in microseconds.
    pub virtual_us: u64,
    /// Costs.
    pub counters: Counters,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// A task or the main future panicked; what runs in the world is expected not to.
    #[error("the simulation (seed {seed}) panicked: {message}")]
    Panicked {
        /// To replay it.
        seed: u64,
        /// The panic's message.
        message: String,
    },
    /// Something in the world reached past its [`Env`](backbone::env::Env), for the real machine. It was refused.
    #[error("the simulation (seed {seed}) ended, since something tried to leave it: {who} {what}; {instead}")]
    Escaped {
        /// To replay it.
        seed: u64,
        /// The task and its pod.
        who: String,
        /// What was done: begins with a verb.
        what: &'static str,
        /// What is right: an imperative.
        instead: &'static str,
    },
    /// The event log that [`Simulation::write_trace_to`] asked for is not complete.
    #[error("the event log could not be written: {0}")]
    Log(io::Error),
    /// The operating system gave no thread.
    #[error("cannot start the simulation's thread: {0}")]
    Thread(io::Error),
}

/// A world before it starts: its settings and its pods.
pub struct Simulation {
    settings: Settings,
    pods: Vec<(String, HostPlan)>,
    log: Option<Box<dyn Write + Send>>,
    observer: Option<Box<dyn Observer>>,
}

impl Simulation {
    /// A world without pods.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, pods: Vec::new(), log: None, observer: None }
    }

    /// Adds a pod: a host with this name. Nothing runs on it until something is spawned there. A [`Class`] alone is a
    /// host that costs nothing.
    pub fn add_pod(&mut self, name: impl Into<String>, host: impl Into<HostPlan>) -> &mut Self {
        self.pods.push((name.into(), host.into()));
        self
    }

    /// Writes the event log to `log`, a line for each delivered packet and each event.
    pub fn write_trace_to(&mut self, log: Box<dyn Write + Send>) -> &mut Self {
        self.log = Some(log);
        self
    }

    /// Reports to `observer` who waits for what. The run stays the same, to the last digit of its digest.
    pub fn observe(&mut self, observer: Box<dyn Observer>) -> &mut Self {
        self.observer = Some(observer);
        self
    }

    /// Runs `main` until it returns. It orchestrates: it owns no socket and calls no client library itself, but spawns
    /// services on the pods of its [`Cluster`].
    ///
    /// # Errors
    /// See [`SimulationError`]; a failing assertion anywhere in the world is one.
    pub fn run<T, F>(self, main: impl FnOnce(Cluster) -> F + Send + 'static) -> Result<Finished<T>, SimulationError>
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        let seed = self.settings.seed;
        // A fresh thread, so that std draws the thread's hash keys from the seed.
        let thread = thread::Builder::new()
            .name("simulation".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let run = catch_unwind(AssertUnwindSafe(|| self.run_here(main)));
                // Where something escaped, a panic is what it led to.
                match (os::take_escape(), first_panic(), run) {
                    (Some(escape), ..) => Err(escaped(seed, escape)),
                    (None, Some(message), _) => Err(SimulationError::Panicked { seed, message }),
                    (None, None, Ok(finished)) => finished.map_err(SimulationError::Log),
                    (None, None, Err(panic)) => {
                        Err(SimulationError::Panicked { seed, message: message_of(&*panic).to_owned() })
                    }
                }
            })
            .map_err(SimulationError::Thread)?;
        thread.join().expect("panics are caught")
    }

    fn run_here<T, F: Future<Output = T>>(mut self, main: impl FnOnce(Cluster) -> F) -> io::Result<Finished<T>> {
        let _core = os::lease_core();
        observe::begin(self.observer.take());
        self.pods.iter().zip(0..).for_each(|((pod, _), host)| observe::lives(host, pod));
        let seed = Seed::new(self.settings.seed);
        let identity = os::Identity::new(self.settings.seed);
        identity.join();
        let lapin_listener = lapin_lockstep::listener();
        let _listens = tracing::dispatcher::set_default(&lapin_listener);
        let hosts_max = self.pods.len() + usize::from(self.settings.restarts_max);
        assert!(hosts_max < usize::from(u16::MAX), "at most 65,534 hosts fit into 192.168.0.0/16");
        let mut net =
            Net::with_config(KernelConfig::default().retx_threshold(u32::MAX).default_backlog(ACCEPT_BACKLOG));
        let host_ids = (0..hosts_max).map(|i| net.add_host(format!("host-{i}").as_str())).collect();
        for i in 0..hosts_max {
            let index = u16::try_from(i).expect("checked above");
            assert_eq!(net.lookup(&format!("host-{i}")), host::address(index), "turmoil-net numbers hosts in order");
        }
        let guard = net.enter();
        let runtime = build_runtime(self.settings.seed);
        let finished = runtime.block_on(async {
            let settings = self.settings;
            let cores = (settings.cores.count > 0)
                .then(|| Rc::new(RefCell::new(Cores::new(settings.cores, seed.number("cores")))));
            let plans = self.pods.iter().map(|(_, plan)| *plan).chain(std::iter::repeat(Class::Service.into()));
            let hosts = plans
                .take(hosts_max)
                .zip(0..)
                .map(|(plan, host)| Host::new(host, plan, seed.of_cpu(host), cores.as_ref()))
                .collect();
            engine::start(engine::Parts {
                guard,
                network: Network::new(
                    settings.distances,
                    settings.quantum_us,
                    settings.loss_ppm,
                    seed.number("network"),
                ),
                hosts,
                pods: Pods::new(&self.pods, host_ids, seed),
                trace: Trace::new(self.log),
                cores,
                seed,
                identity,
                lapin_listener,
            });
            AUDIT.set(settings.audit);
            let mut main = pin!(main(Cluster::new()));
            let output = std::future::poll_fn(|cx| {
                ROOT.set(Some(cx.waker().clone()));
                if has_panicked() {
                    return Poll::Ready(None);
                }
                let polled = main.as_mut().poll(cx);
                os::assert_no_escape(|| "the main future".into());
                if with(|engine| engine.trace.has_failed()) { Poll::Ready(None) } else { polled.map(Some) }
            })
            .await;
            conclude(output)
        });
        ROOT.set(None);
        let engine = engine::stop();
        observe::end();
        drop(runtime); // drops the tasks, which drop their sockets, which need the network
        drop(engine);
        finished
    }
}

fn escaped(seed: u64, escape: Escape) -> SimulationError {
    let Escape { attempt: Attempt { what, instead }, who } = escape;
    let who = who.unwrap_or_else(|| OUTSIDE_OF_TASKS.into());
    SimulationError::Escaped { seed, who, what, instead }
}

/// `output` is missing if the log has failed, or if a task has panicked, which then counts.
fn conclude<T>(output: Option<T>) -> io::Result<Finished<T>> {
    with(|engine| {
        engine.trace.finish()?;
        let output = output.ok_or_else(|| io::Error::other("a task has panicked"))?;
        let (Turns { idle, passes }, lapin) = (engine.turns(), lapin_lockstep::turns());
        Ok(Finished {
            output,
            digest: engine.trace.digest(),
            virtual_us: engine.now_us(),
            counters: Counters {
                network: engine.network.counters,
                idle_moments: idle,
                passes,
                lapin_turns: lapin.all,
                lapin_idle_turns: lapin.idle,
                trace_records: engine.trace.records(),
            },
        })
    })
}

fn build_runtime(seed: u64) -> LocalRuntime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(RngSeed::from_bytes(&seed.to_le_bytes()))
        .unhandled_panic(UnhandledPanic::ShutdownRuntime)
        .on_task_spawn(|_| assert_spawned_through_env())
        .on_thread_park(on_idle)
        .on_thread_unpark(engine::sync_clock)
        .build_local(Default::default())
        .expect("a runtime without IO needs nothing that the system could refuse")
}

/// tokio's `on_thread_park`: no task can run.
fn on_idle() {
    if !is_running() {
        return;
    }
    if has_panicked() {
        return ROOT.with_borrow(|root| root.iter().for_each(Waker::wake_by_ref)); // the main future ends the run
    }
    os::assert_no_escape(|| OUTSIDE_OF_TASKS.into());
    if with(|engine| engine.trace.has_failed()) {
        return ROOT.with_borrow(|root| root.iter().for_each(Waker::wake_by_ref)); // the main future ends the run
    }
    if lapin_lockstep::settle_dirty() {
        // lapin's threads did something at this instant; look again before time moves.
        return ROOT.with_borrow(|root| root.iter().for_each(Waker::wake_by_ref));
    }
    if with(|engine| engine.idle()) == Idle::Quiet && AUDIT.get() {
        lapin_lockstep::assert_none_was_missed();
    }
}
