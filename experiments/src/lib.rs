//! The bench: experiments described in TOML, run in the simulator or for real, measured, and written down.
//!
//! The world that an experiment is simulated in is the crate `sim`. The modules here stand on each other, and import
//! downwards only:
//!
//! | floor | modules |
//! |---|---|
//! | the command line | [`cli`] |
//! | what is asked of runs | [`thesis`], [`gate`], [`compare`], [`calibrate`] |
//! | a run for people | [`table`] |
//! | a run on disk | [`results`] |
//! | running, one or many | [`run`] |
//! | two ways to run one spec | [`simulate`], [`live`] |
//! | what both start | `deployment` |
//! | pictures of numbers | [`plot`] |
//! | what is seen, and what must hold | [`measure`] |
//! | what there is to do | `workload` |
//! | what an experiment is | [`spec`] |
//! | ground | [`cost`], [`progress`] |

pub mod calibrate;
pub mod cli;
pub mod compare;
pub mod cost;
mod deployment;
pub mod gate;
pub mod live;
pub mod measure;
pub mod plot;
pub mod progress;
pub mod results;
pub mod run;
pub mod simulate;
pub mod spec;
pub mod table;
pub mod thesis;
mod workload;
