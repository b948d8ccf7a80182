//! The bench: experiments described in TOML, run in the simulator, measured, and written down.
//!
//! What lives here: what an experiment is ([`spec`]), what a run says about itself ([`outcome`]), the numbers drawn from
//! it ([`statistics`]), and their ways to people and files ([`table`], [`results`], [`plot`]). The world that an
//! experiment runs in is the crate `sim`.

mod audit;
pub mod batch;
mod book;
pub mod cli;
pub mod compare;
mod digits;
pub mod distribution;
pub mod gate;
mod gateways;
pub mod live;
pub mod machine;
pub mod outcome;
pub mod plot;
mod pods;
pub mod progress;
pub mod results;
pub mod run;
pub mod simulate;
pub mod spec;
pub mod statistics;
pub mod table;
pub mod thesis;
pub mod verify;
mod workload;
