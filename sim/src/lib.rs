//! A seeded virtual world in which the backbone's services run unchanged: emulated brokers, gateways and labels, and a
//! network of real TCP segments in virtual time.
//!
//! The code under test is the production code down to the bytes on the socket: lapin, rumqttc and redis-rs run unmodified;
//! only the socket, the clock and the randomness are the simulator's. The seed alone decides what happens.
//!
//! [`Simulation`] is the way in: add pods, then run a future that starts services on them.

#[cfg(not(tokio_unstable))]
compile_error!(
    "the simulator needs `--cfg tokio_unstable`: .cargo/config.toml sets it, but a RUSTFLAGS variable of your own overrides \
     that file; add `--cfg tokio_unstable` to it"
);

mod agenda;
pub mod broker;
pub mod cgroup;
mod cluster;
mod cpu;
mod engine;
mod env;
pub mod fleet;
mod flow;
mod host;
mod lapin_lockstep;
mod meter;
mod network;
mod os;
mod pods;
mod process;
mod seed;
mod simulation;
mod socket;
mod trace;

pub use cluster::{Cluster, Incarnation, Outage};
pub use cpu::{CoresPlan, CpuPlan, MetadataPlan, Quota};
pub use host::{Class, HostPlan, Kernel};
pub use network::{Distances, Link, NetworkCounters};
pub use seed::Seed;
pub use simulation::{Counters, Finished, Settings, Simulation, SimulationError};
pub use trace::Digest;
