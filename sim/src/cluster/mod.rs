//! Pods on hosts: deployed, crashed, powered off, cut off and restarted while an experiment runs.
//!
//! A pod's name outlives its incarnations. A restarted pod is a new host with a new address behind the old name, as in
//! Kubernetes; its peers find it because names are looked up at each connect.

mod faults;
mod incarnation;

pub use faults::{Line, Ongoing};
pub use incarnation::Incarnation;

use crate::{
    engine::with,
    host::{self, Reach},
    network::NetworkCounters,
    observe, process,
};
use backbone::env::Env;
use std::fmt;

/// The pods of the running simulation. Only one exists a simulation; it is handed to the main future.
#[derive(Debug)]
pub struct Cluster(());

impl Cluster {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// The environment of the pod's current incarnation. Becomes useless when the pod stops: a restarted pod has
    /// another one.
    ///
    /// # Panics
    /// If no pod has this name.
    #[must_use]
    pub fn env(&self, name: &str) -> Env {
        self.incarnation(name).env()
    }

    /// The pod's current incarnation.
    ///
    /// # Panics
    /// If no pod has this name.
    #[must_use]
    pub fn incarnation(&self, name: &str) -> Incarnation {
        Incarnation { host: with(|engine| engine.pods.host_of(name)) }
    }

    /// Kills the pod's process: all its tasks are dropped where they stand. Its kernel closes the sockets, and resets
    /// those with unread data; what arrives later is answered with a reset.
    pub fn crash(&self, name: &str) -> Outage {
        Self::stop(name, Reach::Crashed)
    }

    /// Takes the pod's host away without a last word: its peers hear nothing, ever again.
    pub fn power_off(&self, name: &str) -> Outage {
        Self::stop(name, Reach::PoweredOff)
    }

    fn stop(name: &str, reach: Reach) -> Outage {
        let (host, tasks) = with(|engine| {
            let host = engine.pods.host_of(name);
            let state = &mut engine.hosts[host].reach;
            assert_eq!(*state, Reach::Up, "{name} is stopped already");
            *state = reach;
            if reach == Reach::PoweredOff {
                engine.bury(host);
            } else {
                engine.pods.add_dying(host);
            }
            (host, engine.pods.take_tasks(host))
        });
        process::release(host);
        let sockets = sockets(host);
        let running = tasks.iter().filter(|task| !task.is_finished()).count();
        tasks.iter().for_each(tokio::task::AbortHandle::abort);
        record(name, format_args!("stopped: {reach:?}, {running} tasks"));
        Outage { tasks: running, sockets }
    }

    /// A new, empty incarnation of a stopped pod. The caller starts its services there.
    ///
    /// # Panics
    /// If the pod still runs, or after more restarts than the settings allow.
    #[must_use]
    pub fn restart(&self, name: &str) -> Incarnation {
        let host = with(|engine| {
            let old = engine.pods.host_of(name);
            assert!(!engine.hosts[old].is_alive(), "{name} still runs: stop it before the restart");
            let new = engine.pods.reincarnate(name);
            observe::lives(new, name);
            engine.replace_host(new, old);
            new
        });
        record(name, format_args!("restarted"));
        Incarnation { host }
    }

    /// Virtual time since the start, in microseconds.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        with(|engine| engine.now_us())
    }

    /// Sockets of the pod's current incarnation, listening ones included.
    #[must_use]
    pub fn sockets(&self, name: &str) -> usize {
        sockets(with(|engine| engine.pods.host_of(name)))
    }

    /// Protocol frames that the pod's current incarnation has read; 0 if its CPU is infinitely fast, since then nobody
    /// looks for them.
    #[must_use]
    pub fn frames_read(&self, name: &str) -> u64 {
        with(|engine| {
            let host = engine.pods.host_of(name);
            engine.hosts[host].cpu.as_ref().map_or(0, |cpu| cpu.frames_read())
        })
    }

    /// CPU time that the pod's current incarnation has taken on, in microseconds; 0 if its CPU is infinitely fast.
    #[must_use]
    pub fn cpu_used_us(&self, name: &str) -> u64 {
        with(|engine| {
            let host = engine.pods.host_of(name);
            engine.hosts[host].cpu.as_ref().map_or(0, |cpu| cpu.used_ns() / 1_000)
        })
    }

    /// What the network has done so far.
    #[must_use]
    pub fn network(&self) -> NetworkCounters {
        with(|engine| engine.network.counters)
    }
}

/// What a stopped pod had, so that a test can tell that its fault hit something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Tasks that were running.
    pub tasks: usize,
    /// Sockets that were open.
    pub sockets: usize,
}

fn sockets(host: u16) -> usize {
    turmoil_net::netstat(host::address(host)).entries.len()
}

fn record(pod: &str, event: fmt::Arguments<'_>) {
    with(|engine| engine.record(pod, event));
}
