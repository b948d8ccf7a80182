//! One task's story: where it was from when to when, and what it waited for.

use super::{Stretch, sorted};
use crate::{
    attribution::{AttributedTask, Attribution, Part, sum_us},
    digits::grouped,
};
use std::fmt::Write as _;

/// Whose story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The task with this name.
    Named(String),
    /// The one whose latency is at this percentile, in thousandths.
    Percentile(usize),
}

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percentile = match text {
            "max" => return Ok(Self::Percentile(1_000)),
            _ => text.strip_prefix('p').and_then(|digits| digits.parse::<f64>().ok()),
        };
        match percentile {
            Some(percent) if (0.0..=100.0).contains(&percent) => Ok(Self::Percentile((percent * 10.0) as usize)),
            Some(_) => Err("a percentile is between p0 and p100".into()),
            None => Ok(Self::Named(text.to_owned())),
        }
    }
}

/// A line for each part of the task's time; `None` if there is no such task that has an end.
#[must_use]
pub fn story(attribution: &Attribution, warm_up_tasks: usize, stretch: Stretch, which: &Which) -> Option<String> {
    let task = match which {
        Which::Named(name) => attribution.tasks.iter().find(|task| task.record.id() == *name)?,
        Which::Percentile(thousandths) => {
            let tasks = sorted(attribution, warm_up_tasks, stretch);
            let place = (tasks.len() * thousandths).div_ceil(1_000).max(1);
            tasks.get(place - 1)?.1
        }
    };
    Some(told(attribution, stretch, task))
}

/// The story of one task.
pub(super) fn told(attribution: &Attribution, stretch: Stretch, task: &AttributedTask) -> String {
    let (begin_us, parts) = stretch.of(task);
    let latency_us: u64 = sum_us(&parts);
    let record = &task.record;
    let tries = if record.attempts == 1 { "try" } else { "tries" };
    let mut out = format!(
        "{}: {}, {} ms, {} after {} {tries}\n{:>14} {:>12}  {:36} why\n",
        record.id(),
        stretch,
        ms(latency_us),
        record.end.word(),
        record.attempts,
        "at, ms",
        "took, ms",
        "where",
    );
    let mut at_us = 0;
    let mut rest = parts.as_slice();
    while let Some(first) = rest.first() {
        // Of a queue: all that passed meanwhile, in one line each.
        let same = rest.iter().take_while(|part| is_same_wait(first, part)).count().max(1);
        let (now, later) = rest.split_at(same);
        let us: u64 = sum_us(now);
        let place = place(attribution, first);
        writeln!(out, "{:>14} {:>12}  {place:36} {}", ms(at_us), ms(us), first.cause.name())
            .expect("a string takes all");
        if first.because.is_some() || now.len() > 1 {
            for (name, us) in meanwhile(now) {
                writeln!(out, "{:>14} {:>12}  {:36}   meanwhile: {name}", "", ms(us), "").expect("a string takes all");
            }
        }
        at_us += us;
        rest = later;
    }
    writeln!(out, "{:>14}  (the first line is at {} ms of the run)", ms(at_us), ms(begin_us))
        .expect("a string takes all");
    out
}

fn is_same_wait(a: &Part, b: &Part) -> bool {
    (a.cause, a.at, a.to) == (b.cause, b.at, b.to)
}

/// What passed during a wait, the longest first.
fn meanwhile(parts: &[Part]) -> Vec<(&'static str, u64)> {
    let mut sums: Vec<(&'static str, u64)> = Vec::new();
    for part in parts {
        let name = part.because.map_or("(nothing that is known)", |why| why.name());
        match sums.iter_mut().find(|(other, _)| *other == name) {
            Some((_, us)) => *us += u64::from(part.us),
            None => sums.push((name, part.us.into())),
        }
    }
    sums.sort_by_key(|(_, us)| std::cmp::Reverse(*us));
    if sums.len() == 1 && parts[0].because.is_none() { Vec::new() } else { sums }
}

fn place(attribution: &Attribution, part: &Part) -> String {
    let pod = |host: u16| attribution.pods[usize::from(host)].to_string();
    if part.at == part.to { pod(part.at) } else { format!("{} -> {}", pod(part.at), pod(part.to)) }
}

fn ms(us: u64) -> String {
    format!("{}.{:03}", grouped(&(us / 1_000).to_string()), us % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_named_by_itself_or_by_a_percentile() {
        assert_eq!("p99".parse(), Ok(Which::Percentile(990)));
        assert_eq!("p99.9".parse(), Ok(Which::Percentile(999)));
        assert_eq!("max".parse(), Ok(Which::Percentile(1_000)));
        assert_eq!("task-7".parse(), Ok(Which::Named("task-7".into())));
        assert!("p101".parse::<Which>().is_err());
    }
}
