//! The scheduler: a tokio runtime with a paused clock, a turmoil-net network, and an agenda of what is under way.
//!
//! tokio calls `on_thread_park` exactly when no task can run at the current virtual instant. There, once lapin's
//! threads have done what they were given to do (`simulation`), the engine
//! 1. takes what the hosts want to send onto the wire and delivers what is due,
//! 2. and if still nothing can run, moves the clock to the next packet, but never past the next whole millisecond,
//!    where tokio's timers live. With no packet under way it lets tokio park, whose paused clock then jumps to its next
//!    timer: idle time costs nothing.
//!
//! Everything happens on one thread, in an order that the seed alone decides.

use crate::{
    agenda::Agenda,
    clocks::Clocks,
    cpu::{Cores, Cpu, Job},
    flow::Flow,
    host::{Host, Hosts},
    network::{self, Moment, Network},
    observe::{self, WorkKind},
    os::{Identity, UNIX_START_S},
    pods::Pods,
    seed::Seed,
    trace::Trace,
};
use bytes::BytesMut;
use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    io,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{runtime::RuntimeMetrics, sync::oneshot, time::Instant};
use tracing::Dispatch;
use turmoil_net::{EnterGuard, Packet};

const NS_PER_MS: u64 = 1_000_000;

/// What happens at a time.
enum Step {
    /// The network comes back to something.
    Network(network::Event),
    /// CPU time that a task waited for is over.
    Wake(Waker),
    /// RabbitMQ's metadata store may have done a change.
    Metadata { host: u16 },
}

/// The simulation of this thread.
pub(crate) struct Engine {
    guard: EnterGuard,
    agenda: Agenda<Step>,
    pub(crate) network: Network,
    pub(crate) hosts: Hosts,
    pub(crate) pods: Pods,
    pub(crate) clocks: Clocks,
    pub(crate) trace: Trace,
    now_ns: u64,
    started: Instant,
    /// The last idle moment ended so: only then does tokio's clock move by itself.
    quiet: bool,
    /// Those of the one machine that all pods are on, if they are.
    cores: Option<Rc<RefCell<Cores>>>,
    seed: Seed,
    identity: Identity,
    lapin_listener: Dispatch,
    runtime: RuntimeMetrics,
    /// Reused by every pass.
    leaving: Vec<Packet>,
    turns: Turns,
}

/// What an engine is made of.
pub(crate) struct Parts {
    /// turmoil-net, entered on this thread.
    pub(crate) guard: EnterGuard,
    pub(crate) network: Network,
    pub(crate) hosts: Hosts,
    pub(crate) pods: Pods,
    pub(crate) trace: Trace,
    pub(crate) cores: Option<Rc<RefCell<Cores>>>,
    pub(crate) seed: Seed,
    pub(crate) identity: Identity,
    pub(crate) lapin_listener: Dispatch,
}

/// How often the engine did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    /// Moments at which no task could run.
    pub(crate) idle: u64,
    /// Looks at all sockets for connections that begin or end.
    pub(crate) passes: u64,
}

thread_local! {
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
    static TOUCHED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` on this thread's engine.
///
/// # Panics
/// Outside of a simulation.
pub(crate) fn with<R>(f: impl FnOnce(&mut Engine) -> R) -> R {
    ENGINE.with_borrow_mut(|engine| f(engine.as_mut().expect("called on the thread of a running simulation")))
}

/// The same, if a simulation runs on this thread and nobody has hold of it.
pub(crate) fn try_with<R>(f: impl FnOnce(&Engine) -> R) -> Option<R> {
    ENGINE.try_with(|engine| engine.try_borrow().ok()?.as_ref().map(f)).ok().flatten()
}

/// Whether a simulation runs on this thread. While it is torn down, sockets outlive it.
pub(crate) fn is_running() -> bool {
    ENGINE.try_with(|engine| engine.try_borrow().is_ok_and(|engine| engine.is_some())).unwrap_or(false)
}

/// Some connection may begin or end: the next idle moment looks at all sockets.
pub(crate) fn touch_network() {
    TOUCHED.set(true);
}

/// Makes `parts` the simulation of this thread, within its tokio runtime.
pub(crate) fn start(parts: Parts) {
    let Parts { guard, network, hosts, pods, trace, cores, seed, identity, lapin_listener } = parts;
    let engine = Engine {
        guard,
        agenda: Agenda::new(),
        network,
        hosts,
        pods,
        clocks: Clocks::default(),
        trace,
        now_ns: 0,
        started: Instant::now(),
        quiet: false,
        cores,
        seed,
        identity,
        lapin_listener,
        runtime: tokio::runtime::Handle::current().metrics(),
        leaving: Vec::new(),
        turns: Turns::default(),
    };
    ENGINE.set(Some(engine));
}

/// From here on nothing is simulated any more. The engine is to be dropped after all sockets.
pub(crate) fn stop() -> Option<Engine> {
    ENGINE.take()
}

/// tokio's paused clock may have jumped.
pub(crate) fn sync_clock() {
    ENGINE.with_borrow_mut(|engine| engine.iter_mut().for_each(Engine::sync_clock));
}

/// How an idle moment ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Some task can run, or a millisecond has begun.
    Over,
    /// Nothing is under way: tokio jumps to its next timer.
    Quiet,
}

impl Engine {
    /// Virtual time since the start.
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Virtual time since the start, in microseconds.
    pub(crate) fn now_us(&self) -> u64 {
        self.now_ns / 1_000
    }

    /// What `host`'s wall clock shows: time since 1970.
    pub(crate) fn unix_time(&mut self, host: u16) -> Duration {
        let right = Duration::from_secs(UNIX_START_S) + Duration::from_nanos(self.now_ns);
        let ahead_ns = self.clocks.ahead_ns(self.hosts[host].pod, self.now_ns);
        let off = Duration::from_nanos(u64::try_from(ahead_ns.unsigned_abs()).unwrap_or(u64::MAX));
        if ahead_ns < 0 { right.saturating_sub(off) } else { right.saturating_add(off) }
    }

    /// How often it did what.
    pub(crate) fn turns(&self) -> Turns {
        self.turns
    }

    /// Puts an event of `pod` into the trace.
    pub(crate) fn record(&mut self, pod: &str, event: fmt::Arguments<'_>) {
        self.trace.event(self.now_us(), pod, event);
    }

    /// Makes `host` the new incarnation of the pod that was on `old`.
    pub(crate) fn replace_host(&mut self, host: u16, old: u16) {
        let Host { pod, plan, .. } = self.hosts[old];
        self.hosts[host] = Host::new(pod, plan, self.seed.of_cpu(host), self.cores.as_ref());
    }

    fn cpu(&mut self, host: u16) -> &mut Cpu {
        self.hosts[host].cpu.as_mut().expect("a pod whose work costs something has a CPU")
    }

    /// Lets the network do something now.
    fn network<R>(&mut self, f: impl FnOnce(&mut Network, &mut Moment<'_>) -> R) -> R {
        let Self { network, hosts, trace, agenda, now_ns, .. } = self;
        let mut later = |at_ns, event| agenda.put(at_ns, Step::Network(event));
        f(network, &mut Moment { ns: *now_ns, hosts, trace, later: &mut later })
    }

    /// A process of `host` reads a protocol frame.
    pub(crate) fn read_frame(&mut self, host: u16, len_bytes: usize) -> Job {
        let now_ns = self.now_ns;
        self.cpu(host).read_frame(now_ns, len_bytes)
    }

    /// A task of `host` runs.
    pub(crate) fn run_task(&mut self, host: u16) -> Job {
        let now_ns = self.now_ns;
        let cpu = self.cpu(host);
        cpu.work(now_ns, cpu.plan().poll_us)
    }

    /// A process of `host` does work that takes `cost_ns` of CPU time.
    pub(crate) fn work(&mut self, host: u16, cost_ns: u64) -> Job {
        let Self { hosts, seed, cores, now_ns, .. } = self;
        let Host { plan, cpu, .. } = &mut hosts[host];
        // Where nothing else costs anything, this is the first of it.
        let cpu = cpu.get_or_insert_with(|| Cpu::new(plan.cpu, seed.of_cpu(host), cores.as_ref()));
        cpu.charge(*now_ns, cost_ns)
    }

    /// Ready when `job` is done; until then the task is woken to the nanosecond, unlike by tokio's timers.
    pub(crate) fn poll_job(&mut self, host: u16, job: Job, cx: &Context<'_>) -> Poll<()> {
        let now_ns = self.now_ns;
        let done_ns = self.cpu(host).done_ns(now_ns, job);
        if done_ns <= now_ns {
            observe::worked(host, &job.as_work(now_ns, WorkKind::Process));
            return Poll::Ready(());
        }
        self.agenda.put(done_ns, Step::Wake(cx.waker().clone()));
        Poll::Pending
    }

    /// A queue of RabbitMQ's on `host` is to begin or to end; the receiver hears when it has.
    pub(crate) fn change_metadata(&mut self, host: u16) -> oneshot::Receiver<()> {
        let now_ns = self.now_ns;
        let (done, due_ns) = self.cpu(host).change_metadata(now_ns);
        self.expect_metadata(host, due_ns);
        done
    }

    fn expect_metadata(&mut self, host: u16, due_ns: Option<u64>) {
        if let Some(due_ns) = due_ns {
            self.agenda.put(due_ns, Step::Metadata { host });
        }
    }

    /// The application at `flow`'s source writes; see [`Network::write`].
    pub(crate) fn write(&mut self, flow: Flow, bytes: &[u8], waker: &Waker) -> Poll<io::Result<usize>> {
        self.network(|network, now| network.write(now, flow, bytes, waker))
    }

    /// The application at `flow`'s source reads; see [`Network::read`].
    pub(crate) fn read(&mut self, flow: Flow, waker: &Waker, mut take: impl FnMut(&mut BytesMut)) -> Poll<usize> {
        self.network(|network, now| network.read(now, flow, waker, &mut take))
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    pub(crate) fn lapin_listener(&self) -> Dispatch {
        self.lapin_listener.clone()
    }

    fn sync_clock(&mut self) {
        if !self.quiet {
            return;
        }
        self.quiet = false;
        let now_ns = u64::try_from(self.started.elapsed().as_nanos()).expect("virtual time stays below 584 years");
        assert!(now_ns >= self.now_ns, "tokio's clock is behind the engine's");
        self.now_ns = now_ns;
        self.identity.set_now_ns(now_ns);
        observe::set_now_ns(now_ns);
    }

    fn some_task_can_run(&self) -> bool {
        self.runtime.worker_local_queue_depth(0) > 0 || self.runtime.global_queue_depth() > 0
    }

    fn advance_to(&mut self, at_ns: u64) {
        assert!(!self.some_task_can_run(), "virtual time may move only when nothing can run");
        // `advance` moves the clock in its first poll and then yields; the yield defers the (no-op) waker, which keeps
        // tokio from parking afterwards.
        let advance = tokio::time::advance(Duration::from_nanos(at_ns - self.now_ns));
        let _ = pin!(advance).poll(&mut Context::from_waker(Waker::noop()));
        self.now_ns = at_ns;
        self.identity.set_now_ns(at_ns);
        observe::set_now_ns(at_ns);
    }

    /// Takes what the hosts' kernels have to say onto the wire. Costs a look at every socket of every host, so it is
    /// done only where a connection may begin or end.
    fn pass(&mut self) {
        if !TOUCHED.replace(false) {
            return;
        }
        self.turns.passes += 1;
        let mut leaving = std::mem::take(&mut self.leaving);
        self.guard.egress_all(&mut leaving);
        for packet in leaving.drain(..) {
            if let Some(reset) = self.network(|network, now| network.depart(now, packet)) {
                self.guard.deliver(reset);
                touch_network();
            }
        }
        self.leaving = leaving;
        // The pass above has sent the last words (FINs) of hosts that died since the one before.
        for host in self.pods.take_dying() {
            self.bury(host);
        }
        self.network.forget_closed(self.now_ns);
    }

    /// Ends the connections of a dead host.
    pub(crate) fn bury(&mut self, host: u16) {
        for reset in self.network(|network, now| network.bury(now, host)) {
            self.guard.deliver(reset);
        }
        touch_network();
    }

    fn handle(&mut self, step: Step) {
        match step {
            Step::Network(event) => {
                if let Some(packet) = self.network(|network, now| network.handle(now, event)) {
                    self.guard.deliver(packet);
                    touch_network();
                }
            }
            Step::Wake(waker) => waker.wake(),
            Step::Metadata { host } => {
                let now_ns = self.now_ns;
                let due_ns = self.cpu(host).metadata_is_due(now_ns);
                self.expect_metadata(host, due_ns);
            }
        }
    }

    /// Handles all that is due, then moves time until some task can run.
    pub(crate) fn idle(&mut self) -> Idle {
        self.turns.idle += 1;
        loop {
            self.pass();
            let mut handled = false;
            while let Some(mut due) = self.agenda.take_due(self.now_ns) {
                handled = true;
                for step in due.drain(..) {
                    self.handle(step);
                }
                self.agenda.recycle(due);
            }
            if self.some_task_can_run() {
                return Idle::Over;
            }
            if handled {
                continue; // a delivered segment may have caused an acknowledgement and woken nobody
            }
            let next_ms_ns = (self.now_ns / NS_PER_MS + 1) * NS_PER_MS;
            match self.agenda.next_ns() {
                Some(next_ns) if next_ns < next_ms_ns => self.advance_to(next_ns),
                // tokio fires the timers of this millisecond first. Also when nothing is under way: from a whole
                // millisecond on, tokio's own jumps are exact.
                Some(_) => {
                    self.advance_to(next_ms_ns);
                    return Idle::Over;
                }
                None if !self.now_ns.is_multiple_of(NS_PER_MS) => {
                    self.advance_to(next_ms_ns);
                    return Idle::Over;
                }
                None => {
                    self.quiet = true;
                    return Idle::Quiet;
                }
            }
        }
    }
}
