//! From a spec to a simulated world and back to an outcome.

use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::spec::Spec;
use std::io::Write;

/// Something that runs an experiment: [`simulate`] or, in tests, a stand-in.
///
/// It gets the spec, counters to report through while it works, and where to write the event log (a line an event), if
/// one is asked for. It is called on a thread of its own, a fresh one each time, and may use that thread as it likes.
///
/// # Errors
/// When the experiment could not be run to its end.
pub type Simulate = fn(&Spec, &Progress, Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome>;

/// Runs `spec` in the simulator.
///
/// # Errors
/// Always, until the simulator is wired up.
pub fn simulate(spec: &Spec, _: &Progress, _: Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome> {
    anyhow::bail!("running {}: the simulator is not wired up yet", spec.name)
}
