//! Stacks for flame graphs, as Brendan Gregg's `flamegraph.pl`, inferno and speedscope read them: frames with `;`
//! between them, a blank, and a number, which is microseconds.

use super::{Stretch, sorted};
use crate::attribution::{Attribution, Part};
use std::collections::BTreeMap;

/// A line for each kind of pod, cause, and what lies behind it; over all measured tasks that were done.
#[must_use]
pub fn folded(attribution: &Attribution, warm_up_tasks: usize, stretch: Stretch) -> String {
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    for (_, _, parts) in sorted(attribution, warm_up_tasks, stretch) {
        for part in parts {
            *stacks.entry(stack(attribution, &part)).or_default() += u64::from(part.us);
        }
    }
    stacks.into_iter().map(|(stack, us)| format!("{stack} {us}\n")).collect()
}

fn stack(attribution: &Attribution, part: &Part) -> String {
    let kind = |host: u16| attribution.pods[usize::from(host)].kind();
    let place =
        if part.at == part.to { kind(part.at).to_owned() } else { format!("{} to {}", kind(part.at), kind(part.to)) };
    match part.because {
        Some(why) => format!("{place};{};{}", part.cause.name(), why.name()),
        None => format!("{place};{}", part.cause.name()),
    }
}
