//! What runs are measured by: a recorder of what the services report, the invariants that must hold, the outcome that
//! comes of both, and the numbers drawn from it.

mod distribution;
mod expectation;
mod hops;
pub(crate) mod invariants;
mod latency;
mod load;
mod named;
mod oracle;
mod outcome;
mod quantity;
mod recorder;
mod series;
mod sometimes;
mod statistics;
mod utilisation;

pub use distribution::{BINS, Bins, Distribution};
pub use expectation::Expectation;
pub use hops::{CallHops, HopMedians};
pub use latency::{Latencies, Latency, last_tries_us, samples_us};
pub use load::Load;
pub use oracle::{Oracle, Severity, Violation, joined};
pub use outcome::{Counters, Outcome, ScalingStep, TaskCounts, TaskEnd, TaskRecord};
pub use quantity::{Quantity, Statistic, UnknownQuantity};
pub(crate) use recorder::{Recorder, RouterReports};
pub use series::{CpuUsed, Replicas, Row, SECOND_US, Sample, Series};
pub use sometimes::{Reached, Sometimes};
pub(crate) use statistics::percentile;
pub use statistics::{Statistics, ms, per_second};
pub use utilisation::Utilisation;
