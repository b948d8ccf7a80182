//! `hunt --live`: the same on real brokers, one world after the other, beside what the simulator says of it.

use super::{Options, Sink, found};
use crate::{
    cost::Stopwatch,
    hunt::{Campaign, Tally, Verdict, judge, live, tally::Line},
    live::Stopped,
    run,
    simulate::Simulate,
    spec::Spec,
};
use sim::real::broker::RealError;

/// The world of a seed, for real brokers.
pub(super) fn world_of(base: Option<&Spec>, seed: u64) -> Spec {
    base.map_or_else(|| live::draw(seed), |base| live::with_faults(base, seed))
}

/// # Errors
/// When a signal ends it, a broker is not installed, a line can't be written, or something was found.
pub(super) fn chase(
    base: Option<&Spec>,
    campaign: &Campaign,
    options: &Options,
    simulate: Simulate,
    command: &str,
) -> anyhow::Result<()> {
    let (mut sink, mut tally) = (Sink::new(options.out.as_deref())?, Tally::default());
    for seed in campaign.seeds() {
        let (spec, clock) = (world_of(base, seed), Stopwatch::start());
        let ended = run::outcome(&spec, live::run, None);
        if ended.as_ref().is_err_and(is_no_finding) {
            return ended.map(drop);
        }
        let (real, took_s) = (Verdict::of(&spec, ended), clock.elapsed_s());
        let simulated = judge(&spec, simulate, None);
        tally.add(&real);
        tally.compare(&real, &simulated);
        if options.json {
            sink.line(&Line::beside(&real, Some(&simulated)))?;
        }
        if !options.quiet {
            eprintln!(
                "seed {seed}: live: {real}, simulated: {simulated} ({} faults, {took_s:.1} s)",
                spec.faults.len()
            );
            for finding in real.finding.iter().chain(&simulated.finding) {
                eprintln!("  {}", finding.violations[0]);
            }
        }
        if options.first && real.finding.is_some() {
            break;
        }
    }
    if options.json {
        sink.line(&Line::Summary { summary: tally.clone() })?;
        return found(&tally);
    }
    super::conclude(&tally, command, &mut sink)
}

/// Whether it says nothing of the world, and would come with the next one, too.
fn is_no_finding(error: &anyhow::Error) -> bool {
    error.is::<Stopped>() || matches!(error.downcast_ref(), Some(RealError::NotInstalled(_)))
}
