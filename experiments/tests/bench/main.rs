//! The bench in virtual time: runs in this process, and the program's own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod autoscale;
mod baseline;
mod capacity;
mod choices;
mod cli;
mod documents;
mod explain;
mod exports;
mod faults;
mod floors;
mod hunt;
mod own_specs;
mod plot;
mod radio;
mod replay;
mod run;
mod shards;
mod style;
mod thesis;
mod workloads;
