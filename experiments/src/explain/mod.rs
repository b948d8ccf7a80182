//! `experiments explain`: why tasks took as long as they did.
//!
//! What an [`Attribution`] says of each task, for people: causes over percentile bands (`shares`), one task's story
//! (`story`), stacks for flame graphs (`folded`), a picture (`picture`), and all of it on a page (`page`) with a map
//! (`topology`). `beside` lays two runs side by side. How it would be without a cause is estimated in `what_if`. For
//! other programs: a capture (`pcap`, in the format `pcapng`), OpenTelemetry spans (`otlp`), and a trace for Perfetto
//! (`perfetto`, in the format `protobuf`).

mod beside;
mod folded;
mod otlp;
mod page;
mod pcap;
mod pcapng;
mod perfetto;
mod picture;
mod protobuf;
mod shares;
mod story;
mod topology;
pub mod what_if;

pub use beside::{Side, beside, beside_json};
pub use folded::folded;
pub use otlp::otlp;
pub use page::page;
pub use pcap::{cut as pcap_cut, pcap};
pub use perfetto::perfetto;
pub use picture::picture;
pub use shares::{Band, Shares};
pub use story::{Which, story};

use crate::{
    attribution::{AttributedTask, Attribution, Cause, Hop, Part, sum_us},
    measure::TaskEnd,
};
use std::{borrow::Cow, fmt};

const NS_PER_US: u64 = 1_000;

/// Which part of a task's time is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stretch {
    /// From its publishing to its end: `end_to_end` in summaries.
    #[default]
    EndToEnd,
    /// The try that ended it, from its worker's taking it to its last reply: `deciding_try` in summaries.
    DecidingTry,
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndToEnd => "end to end",
            Self::DecidingTry => "the try that ended it",
        })
    }
}

impl Stretch {
    /// What passed of a task's time in this stretch: when it began, in microseconds from the start of the world, and
    /// its parts, which add up to its latency.
    #[must_use]
    pub fn of(self, task: &AttributedTask) -> (u64, Vec<Part>) {
        let published_us = task.record.published_us;
        match (self, task.record.last_try_us, task.record.try_us) {
            (Self::EndToEnd, ..) => (published_us, task.parts.clone()),
            (Self::DecidingTry, Some(from_us), Some(try_us)) => {
                (from_us, between(&task.parts, from_us - published_us, from_us - published_us + try_us))
            }
            (Self::DecidingTry, ..) => (published_us, Vec::new()),
        }
    }
}

/// The parts between two moments, both counted from the first one's begin.
fn between(parts: &[Part], from_us: u64, to_us: u64) -> Vec<Part> {
    let mut at_us = 0;
    let mut inside = Vec::new();
    for part in parts {
        let (begin_us, end_us) = (at_us, at_us + u64::from(part.us));
        at_us = end_us;
        let us = end_us.min(to_us).saturating_sub(begin_us.max(from_us));
        if us > 0 {
            inside.push(Part { us: us as u32, ..*part });
        }
    }
    inside
}

/// The measured tasks that were done, by their latency in this stretch, the fastest first, with its parts.
fn sorted(attribution: &Attribution, warm_up_tasks: usize, stretch: Stretch) -> Vec<(u64, &AttributedTask, Vec<Part>)> {
    let is_measured =
        |task: &&AttributedTask| task.record.index as usize >= warm_up_tasks && task.record.end == TaskEnd::Done;
    let with_parts = |task| {
        let (_, parts) = stretch.of(task);
        (sum_us(&parts), task, parts)
    };
    let mut tasks: Vec<(u64, &AttributedTask, Vec<Part>)> =
        attribution.tasks.iter().filter(is_measured).map(with_parts).collect();
    tasks.sort_by_key(|(latency_us, task, _)| (*latency_us, task.record.index));
    tasks
}

/// All tasks in the order in which they were published.
fn tasks_in_time(attribution: &Attribution) -> impl Iterator<Item = &AttributedTask> {
    let mut tasks: Vec<&AttributedTask> = attribution.tasks.iter().collect();
    tasks.sort_by_key(|task| (task.record.published_us, task.record.index));
    tasks.into_iter()
}

/// When a task was published and when it ended, in virtual time, as its parts add up.
fn stretch_ns(task: &AttributedTask) -> (u64, u64) {
    let from_ns = task.record.published_us * NS_PER_US;
    (from_ns, from_ns + sum_us(&task.parts) * NS_PER_US)
}

/// What a wait is called, with what lies behind it.
fn wait_name(cause: Cause, because: Option<Cause>) -> Cow<'static, str> {
    match because {
        Some(why) => format!("{} ({})", cause.name(), why.name()).into(),
        None => cause.name().into(),
    }
}

/// What a hop is called: from where to where, and what it carried.
fn hop_name(attribution: &Attribution, hop: &Hop) -> String {
    let [from, to] = [hop.from, hop.to].map(|(host, _)| attribution.pods[usize::from(host)].kind());
    format!("{from} to {to}: {}", if hop.request.is_some() { "call" } else { "task" })
}
