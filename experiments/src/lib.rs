//! The bench: experiments described in TOML, run in the simulator or for real, measured, and written down.
//!
//! What the world consists of that an experiment is simulated in is the crate `sim`; what is measured is `backbone`.
//! Neither knows of the bench. As a library it serves the program of the same name and tests, so its interface follows
//! their needs.
//!
//! ```
//! use experiments::{measure::Latencies, run::run, simulate::simulate, spec::Library};
//!
//! let mut spec = Library::repository().load("smoke")?;
//! spec.workload.tasks = 20;
//! let run = run(&spec, simulate, None, true)?;
//! let latencies = Latencies::of(&run.outcome);
//! let (whole, last_try) = latencies.end_to_end.zip(latencies.deciding_try).expect("tasks were done");
//! assert_eq!(whole.count, 20);
//! assert!(last_try.p99 < 100.0 && last_try.p99 < whole.p99, "{latencies:?}");
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! Its modules stand on floors, from top to bottom; each imports only those that come after it.
//!
//! | floor | modules |
//! |---|---|
//! | the command line | [`cli`] |
//! | what is asked of runs | [`hunt`], [`gate`], [`capacity`], [`compare`], [`explain`], [`thesis`], [`calibrate`] |
//! | one of them for radio | [`roaming`] |
//! | a run for people | [`table`] |
//! | a run on disk | [`results`] |
//! | running, one or many | [`run`] |
//! | two ways to run one spec | [`simulate`], [`live`] |
//! | what both start | `deployment` |
//! | who says how many replicas there are | `autoscale` |
//! | where the time of tasks went | [`attribution`] |
//! | pictures of numbers | [`plot`] |
//! | what is seen, and what must hold | [`measure`] |
//! | what there is to do | `workload` |
//! | what an experiment is | [`spec`] |
//! | what crossed the wire | [`capture`] |
//! | ground | [`progress`], [`cost`], `digits` |

pub mod attribution;
mod autoscale;
pub mod calibrate;
pub mod capacity;
pub mod capture;
pub mod cli;
pub mod compare;
pub mod cost;
mod deployment;
mod digits;
pub mod explain;
pub mod gate;
pub mod hunt;
pub mod live;
pub mod measure;
pub mod plot;
pub mod progress;
pub mod results;
pub mod roaming;
pub mod run;
pub mod simulate;
pub mod spec;
pub mod table;
pub mod thesis;
mod workload;
