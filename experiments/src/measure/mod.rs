//! What runs are measured by: a recorder of what the services report, the invariants that must hold, the outcome that
//! comes of both, and the numbers drawn from it.

mod distribution;
mod expectation;
pub(crate) mod invariants;
mod latency;
mod outcome;
mod recorder;
mod statistics;

pub use distribution::{BINS, Bins, Distribution};
pub use expectation::Expectation;
pub use latency::{Latencies, Latency, last_tries_us, samples_us};
pub use outcome::{Counters, Outcome, ScalingStep, TaskCounts, TaskEnd, TaskRecord};
pub(crate) use recorder::{Recorder, RouterReports};
pub(crate) use statistics::percentile;
pub use statistics::{Statistics, ms, per_second};
