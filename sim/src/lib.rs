//! A seeded virtual world in which the backbone's services run unchanged: emulated brokers, gateways and labels, and a
//! network of real TCP segments in virtual time.
//!
//! The code under test is the production code down to the bytes on the socket: lapin, rumqttc and redis-rs run
//! unmodified; only the socket, the clock and the randomness are the simulator's. The seed alone decides what happens.
//!
//! It knows nothing of experiments and keeps no latencies: that is the bench's business. Nor is it a general network
//! simulator: it has the protocols, and of TCP the effects, that decide how a backbone behaves.
//!
//! [`Simulation`] is the way in: add pods, then run a future that starts services on them. This crate's `README.md`
//! says how to test a service of your own, and `examples/price_feed` shows it.
//!
//! ```
//! use sim::{Class, Cluster, Settings, Simulation};
//! use std::time::Duration;
//! use tokio::{
//!     io::{AsyncReadExt as _, AsyncWriteExt as _},
//!     sync::oneshot,
//!     time::sleep,
//! };
//!
//! let run = || {
//!     let mut simulation = Simulation::new(Settings::default());
//!     simulation.add_pod("server", Class::Service).add_pod("client", Class::Service);
//!     simulation.run(async |cluster: Cluster| {
//!         let (heard, hears) = oneshot::channel();
//!         let server = cluster.env("server");
//!         server.clone().spawn("server", async move {
//!             let mut listener = server.listen(([0, 0, 0, 0], 7).into()).await.unwrap();
//!             let mut line = String::new();
//!             listener.accept().await.unwrap().read_to_string(&mut line).await.unwrap();
//!             heard.send(line).unwrap();
//!         });
//!         let client = cluster.env("client");
//!         client.clone().spawn("client", async move {
//!             sleep(Duration::from_secs(3600)).await;
//!             client.connect("server", 7).await.unwrap().write_all(b"an hour has passed\n").await.unwrap();
//!         });
//!         hears.await.unwrap()
//!     })
//! };
//! let (first, second) = (run()?, run()?);
//! assert_eq!(first.output, "an hour has passed\n");
//! assert_eq!(first.virtual_us / 1_000, 3_600_000); // the line took less than a millisecond
//! assert_eq!(first.digest, second.digest);
//! # Ok::<(), sim::SimulationError>(())
//! ```
//!
//! Its modules stand on floors, from top to bottom; each imports only those that come after it. So brokers, gateways
//! and labels, which run over any [`Env`](backbone::env::Env), use nothing of the engine.
//!
//! | floor | modules |
//! |---|---|
//! | a world, put together and run | `simulation` |
//! | its pods, and what happens to them | `cluster` |
//! | the seam, simulated | `env` |
//! | how client libraries get at the network | `lapin_lockstep`, `socket` |
//! | what runs on a pod, and what reading costs it | `meter`, `process` |
//! | virtual time | `engine` |
//! | packets on their way | `network` |
//! | who is where | `pods`, `host` |
//! | real processes, beside the world | [`real`] |
//! | CPU time | `cpu` |
//! | who lives in a world | [`broker`], [`fleet`] |
//! | the record of a run | `trace` |
//! | the real machine's clocks and entropy, and its doors | `os` |
//! | what tried to get out of them | `escape` |
//! | who waits for what, for readers | [`observe`] |
//! | what is known of connections, by their names | `flows` |
//! | ground | `agenda`, `clocks`, `flow`, `seed` |

#[cfg(not(tokio_unstable))]
compile_error!(
    "the simulator needs `--cfg tokio_unstable`: .cargo/config.toml sets it, but a RUSTFLAGS variable of your own \
     overrides that file; add `--cfg tokio_unstable` to it"
);

mod agenda;
pub mod broker;
mod clocks;
mod cluster;
mod cpu;
mod engine;
mod env;
mod escape;
pub mod fleet;
mod flow;
mod flows;
mod host;
mod lapin_lockstep;
mod meter;
mod network;
pub mod observe;
mod os;
mod pods;
mod process;
pub mod real;
mod seed;
mod simulation;
mod socket;
mod trace;

pub use clocks::ClockError;
pub use cluster::{Cluster, Incarnation, Line, Ongoing, Outage};
pub use cpu::{CoresPlan, CpuPlan, MetadataPlan, Quota};
pub use host::{Class, HostPlan, Kernel};
pub use network::{Distances, Disturbance, Link, NetworkCounters};
pub use os::UNIX_START_S;
pub use process::whereabouts;
pub use seed::{Seed, log_normal};
pub use simulation::{Counters, Finished, Settings, Simulation, SimulationError};
pub use trace::Digest;
