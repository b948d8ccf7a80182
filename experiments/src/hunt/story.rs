//! What happened in a run, in order, with the parts by their names: the faults, and the events of the tasks that a
//! finding is about.

use super::verdict::{Verdict, judge};
use crate::{measure::Violation, simulate::Simulate, spec::Spec};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

/// Longest story, in lines; what is longer is told from both ends.
const LINES_MAX: usize = 100;
/// So many of them are of its begin, and the others of its end, where it goes wrong.
const BEGIN_LINES: usize = 20;
/// Longest line of it, in characters.
const CHARS_MAX: usize = 200;
/// Words of the simulator for what breaks and what is mended.
const BREAKS: [&str; 4] = ["stopped: ", "restarted", "breaks: ", "mended: "];

/// Runs `spec` once more, and tells what happened in it.
#[must_use]
pub fn tell(spec: &Spec, simulate: Simulate) -> (Verdict, String) {
    let events = Events::default();
    let verdict = judge(spec, simulate, Some(Box::new(events.clone())));
    let violations = verdict.finding.as_ref().map_or(&[][..], |finding| &finding.violations);
    let story = story(&events.take(), violations);
    (verdict, story)
}

/// Takes in an event log, and keeps no packets.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    begun: Vec<u8>,
    events: Vec<Event>,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    at_us: u64,
    pod: String,
    what: String,
}

impl Event {
    /// `12 event mqtt stopped: Crashed, 3 tasks digest=0123`
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        let at_us = words.next()?.parse().ok()?;
        (words.next()? == "event").then_some(())?;
        let (pod, rest) = (words.next()?, words.next()?);
        let what = rest.rsplit_once(" digest=").map_or(rest, |(what, _)| what);
        Some(Self { at_us, pod: pod.to_owned(), what: what.to_owned() })
    }

    fn breaks(&self) -> bool {
        BREAKS.iter().any(|word| self.what.starts_with(word))
    }
}

impl Events {
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).events)
    }
}

impl Write for Events {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            log.begun.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut log.begun);
                log.events.extend(Event::parse(String::from_utf8_lossy(&line).trim_end()));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The events that matter for `violations`, as lines.
fn story(events: &[Event], violations: &[Violation]) -> String {
    let names = names(events, violations);
    let matters = |event: &&Event| {
        event.breaks()
            || is_of_a_service(event) && (names.is_empty() || names.iter().any(|name| has(&event.what, name)))
    };
    let lines: Vec<String> = events.iter().filter(matters).map(line).collect();
    let mut out = String::new();
    let left_out = lines.len().saturating_sub(LINES_MAX);
    let (begin, end) = lines.split_at(lines.len().min(BEGIN_LINES));
    begin.iter().for_each(|line| out += line);
    if left_out > 0 {
        let _ = writeln!(out, "           … {left_out} more …");
    }
    end[left_out.min(end.len())..].iter().for_each(|line| out += line);
    for violation in violations {
        let _ = writeln!(out, "{}: {violation}", violation.oracle);
    }
    out
}

/// Events of the backbone are named as its variants are.
fn is_of_a_service(event: &Event) -> bool {
    event.what.starts_with(|c: char| c.is_ascii_uppercase()) && !event.what.starts_with("RoutesStored")
}

/// The tasks, requests and labels that `violations` name, and the requests of the tasks.
fn names(events: &[Event], violations: &[Violation]) -> BTreeSet<String> {
    let words = |text: &str| -> Vec<String> {
        let split = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == ':'));
        split.map(str::to_owned).collect()
    };
    let is_name = |word: &String| {
        word.strip_prefix("task-").is_some_and(|index| index.parse::<u32>().is_ok())
            || word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let mut names: BTreeSet<String> = violations.iter().flat_map(|v| words(&v.text)).filter(is_name).collect();
    let sent = events.iter().filter(|event| event.what.starts_with("RequestSent"));
    let of_them: Vec<String> = sent
        .filter(|event| names.iter().any(|name| has(&event.what, name)))
        .flat_map(|event| words(&event.what).into_iter().filter(|word| word.len() == 32))
        .collect();
    names.extend(of_them);
    names
}

/// Whether `text` has `name`, and not as the beginning of a longer one.
fn has(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| !text[at + name.len()..].starts_with(|c: char| c.is_ascii_alphanumeric()))
}

fn line(event: &Event) -> String {
    let Event { at_us, pod, what } = event;
    let what: String = what.chars().take(CHARS_MAX).collect();
    format!("{:>7}.{:03} s  {pod:<14} {what}\n", at_us / 1_000_000, at_us / 1_000 % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Oracle;

    #[test]
    fn a_story_has_the_faults_and_the_events_of_the_tasks_that_it_is_about() {
        let id = "c023faacde02f7134fa6ce1381acf12e";
        let log = format!(
            "1 packet 192.168.0.1:1 A seq=1 digest=00\n\
             2000 event mqtt stopped: Crashed, 3 tasks digest=01\n\
             3000 event task_worker-0 TaskStarted {{ task: TaskId(\"task-1\"), attempt: 1 }} digest=02\n\
             3000 event task_worker-0 TaskStarted {{ task: TaskId(\"task-12\"), attempt: 1 }} digest=03\n\
             3001 event task_worker-0 RequestSent {{ request: {id}, esl: 02:00:00:00:00:09, task: TaskId(\"task-1\") \
             }} digest=04\n\
             4000500 event fwd_router-1 RequestTaken {{ request: {id} }} digest=05\n"
        );
        let mut events = Events::default();
        let (first, second) = log.as_bytes().split_at(100); // in the middle of a line
        events.write_all(first).unwrap();
        events.write_all(second).unwrap();
        let story = story(&events.take(), &[Oracle::TaskLost.broken("task-1 has no end, but is in no queue either")]);
        let lines: Vec<&str> = story.lines().collect();
        assert_eq!(lines.len(), 5, "{story}");
        assert_eq!(lines[0], "      0.002 s  mqtt           stopped: Crashed, 3 tasks");
        assert_eq!(lines[3], format!("      4.000 s  fwd_router-1   RequestTaken {{ request: {id} }}"));
        assert_eq!(lines[4], "task_lost: task-1 has no end, but is in no queue either");
    }

    #[test]
    fn a_long_story_is_told_from_both_ends() {
        let event = |at_us| Event { at_us, pod: "mqtt".into(), what: "mended: it goes on".into() };
        let events: Vec<Event> = (0..500).map(|s| event(s * 1_000_000)).collect();
        let story = story(&events, &[]);
        assert_eq!(story.lines().count(), LINES_MAX + 1);
        assert!(story.contains("… 400 more …") && story.contains("    499.000 s"), "{story}");
    }
}
