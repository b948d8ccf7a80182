//! The hunt: for each seed a world drawn from it, with faults at any time and of any kind, and then none; held to every
//! rule that a run knows ([`Oracle`](crate::measure::Oracle)).
//!
//! [`world`] draws what there is and how it is configured, [`schedule`] what breaks, [`verdict`] runs it and says what
//! did not hold, [`campaign`] does that for many seeds side by side, and [`tally`] adds them up. A seed says
//! everything: the same one gives the same verdict in any order, on any number of threads, on any machine.
//!
//! [`live`] draws worlds for real brokers, so that what the simulator says is held against them.
//!
//! What was found is made small by [`shrink`](shrink()), told by [`story`], and kept in the base of [`bugs`].

pub mod bugs;
pub mod campaign;
mod dice;
pub mod live;
pub mod schedule;
mod shrink;
pub mod story;
pub mod tally;
pub mod verdict;
pub mod world;

pub use campaign::{Campaign, Shard};
pub use shrink::{Shrunk, shrink};
pub use tally::Tally;
pub use verdict::{Finding, Fingerprint, Verdict, judge};
