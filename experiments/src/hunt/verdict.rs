//! One run, and what is to be said of it.

use crate::{
    measure::{Oracle, Outcome, Reached, Severity, Violation},
    run,
    simulate::{NotDone, Simulate},
    spec::{Pod, Spec},
};
use sim::SimulationError;
use std::{collections::BTreeSet, io::Write};

/// Longest kind of a finding that is known by its words, in characters.
const KIND_CHARS_MAX: usize = 100;
/// Shortest word of hexadecimal digits that is an id, in characters.
const ID_CHARS_MIN: usize = 8;
/// Tasks of the simulator's own: if one of them panics, it is not a service that did.
const OWN_TASKS: [&str; 4] = ["broker", "gateway", "rssi reports", "command"];

/// What two runs have in common that show the same fault: the rule that was broken, and by whom or what. The words are
/// different in each run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    /// The rule.
    pub oracle: Oracle,
    /// The kinds of the parts that the finding names; of a backlog, the queue that it is in; of a panic, its message
    /// without its numbers.
    pub kind: String,
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind.is_empty() {
            true => write!(f, "{}", self.oracle),
            false => write!(f, "{} ({})", self.oracle, self.kind),
        }
    }
}

impl Fingerprint {
    /// That of `violation`.
    #[must_use]
    pub fn of(violation: &Violation) -> Self {
        let Violation { oracle, text } = violation;
        let kind = match oracle {
            Oracle::Panicked | Oracle::Harness | Oracle::LeftBehind => without_numbers(text),
            // Who else is not ready differs from run to run; where the tasks are stuck does not.
            Oracle::NotDrained => queue(text),
            _ => kinds(text),
        };
        Self { oracle: *oracle, kind }
    }
}

/// The kinds of the parts that `text` names.
fn kinds(text: &str) -> String {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    let kinds: BTreeSet<&str> = words.filter_map(|word| word.parse::<Pod>().ok()).map(Pod::kind).collect();
    kinds.into_iter().collect::<Vec<_>>().join(", ")
}

/// The first queue that `text` says has messages.
fn queue(text: &str) -> String {
    let name = text.split_once(" messages in queue ").and_then(|(_, rest)| rest.split([',', ';', ' ']).next());
    name.map(without_numbers).unwrap_or_default()
}

/// `text` with `#` for each number and each random id, and no longer than a line.
fn without_numbers(text: &str) -> String {
    let line: String = text.chars().take_while(|c| *c != '\n').take(KIND_CHARS_MAX).collect();
    let mut kind = String::new();
    for word in line.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let (bare, end) = match word.char_indices().last() {
            Some((at, last)) if !last.is_ascii_alphanumeric() => word.split_at(at),
            _ => (word, ""),
        };
        let is_id = bare.len() >= ID_CHARS_MIN && bare.chars().all(|c| c.is_ascii_hexdigit());
        if is_id {
            kind.push('#');
        } else {
            bare.chars().for_each(|c| match c.is_ascii_digit() {
                true if kind.ends_with('#') => {}
                true => kind.push('#'),
                false => kind.push(c),
            });
        }
        kind.push_str(end);
    }
    kind
}

/// What was found in a run: the gravest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Of the gravest.
    pub fingerprint: Fingerprint,
    /// All rules that were broken, and how.
    pub violations: Vec<Violation>,
}

impl Finding {
    /// What `violations` are together; `None` if there are none.
    #[must_use]
    pub fn of(mut violations: Vec<Violation>) -> Option<Self> {
        violations.sort_by_key(|violation| std::cmp::Reverse(violation.oracle.severity()));
        let fingerprint = Fingerprint::of(violations.first()?);
        Some(Self { fingerprint, violations })
    }

    /// How grave it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.fingerprint.oracle.severity()
    }

    /// Whether it shows this fault, perhaps among others.
    #[must_use]
    pub fn shows(&self, fingerprint: &Fingerprint) -> bool {
        self.violations.iter().any(|violation| Fingerprint::of(violation) == *fingerprint)
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its seed.
    pub seed: u64,
    /// What is wrong; `None`: nothing.
    pub finding: Option<Finding>,
    /// Stands for all that happened; empty if the run did not come to its end.
    pub digest: String,
    /// Virtual time to its end; of a live run, real time.
    pub virtual_us: u64,
    /// The rare paths that it took.
    pub reached: Reached,
    /// How many faults were in it.
    pub faults: usize,
}

impl Verdict {
    /// What is to be said of a run of `spec` that came to this.
    #[must_use]
    pub fn of(spec: &Spec, ended: anyhow::Result<Outcome>) -> Self {
        let (violations, outcome) = match ended {
            Ok(outcome) => (run::violations(spec, &outcome), outcome),
            Err(error) => (vec![failed(&error)], Outcome::default()),
        };
        let Outcome { trace_digest: digest, virtual_us, reached, .. } = outcome;
        Self {
            seed: spec.seed,
            finding: Finding::of(violations),
            digest,
            virtual_us,
            reached,
            faults: spec.faults.len(),
        }
    }

    /// `sound`, or how grave it is what was found.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.finding.as_ref().map_or("sound", |finding| finding.severity().name())
    }

    /// Whether the same rule was broken in both, or none.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        let oracle = |verdict: &Self| verdict.finding.as_ref().map(|finding| finding.fingerprint.oracle);
        oracle(self) == oracle(other)
    }
}

/// The rule that was broken, or that none was.
impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.finding {
            None => f.write_str("sound"),
            Some(finding) => finding.fingerprint.fmt(f),
        }
    }
}

/// Runs `spec` and judges it; its event log goes to `log`, if that is there.
#[must_use]
pub fn judge(spec: &Spec, simulate: Simulate, log: Option<Box<dyn Write + Send>>) -> Verdict {
    Verdict::of(spec, run::outcome(spec, simulate, log))
}

/// The rule that a run broke which has no outcome.
fn failed(error: &anyhow::Error) -> Violation {
    let (done, simulation) = (error.downcast_ref::<NotDone>(), error.downcast_ref::<SimulationError>());
    match (done, simulation) {
        (Some(not_done), _) => Oracle::NotDrained.broken(not_done.to_string()),
        (_, Some(SimulationError::Panicked { message, .. })) if is_of_a_service(message) => {
            Oracle::Panicked.broken(message.clone())
        }
        (_, Some(SimulationError::Panicked { message, .. })) => Oracle::Harness.broken(message.clone()),
        _ => Oracle::Harness.broken(format!("{error:#}")),
    }
}

/// Whether it was a service's task that panicked.
fn is_of_a_service(panic: &str) -> bool {
    let task = panic.strip_prefix("task `").and_then(|rest| rest.split('`').next());
    task.is_some_and(|task| !OWN_TASKS.contains(&task))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_names_rule_and_parts_but_not_which_of_them() {
        let of = |text: &str| Fingerprint::of(&Oracle::NotReady.broken(text)).to_string();
        assert_eq!(
            of("not ready 300 s after all; bck_router-1 is waiting for redis (refused); bck_router-0 is starting"),
            "not_ready (bck_router, redis)"
        );
        assert_eq!(Fingerprint::of(&Oracle::TaskLost.broken("task-3 has no end")).to_string(), "task_lost");
        let stuck =
            "not done 9 s after: 3 messages in queue task_queue.retry.293ms, 1 messages in queue x; mqtt is starting";
        let stuck = Fingerprint::of(&Oracle::NotDrained.broken(stuck));
        assert_eq!(stuck.to_string(), "not_drained (task_queue.retry.#ms)");
        let panic = Oracle::Panicked.broken("task `service` of bck_router-12: index 3 of 1\nat x.rs");
        let left = Oracle::LeftBehind.broken("messages stay in the MQTT session of bck-2c789ff6f70f2dd8: 3 wait");
        assert_eq!(Fingerprint::of(&left).kind, "messages stay in the MQTT session of bck-#: # wait");
        assert_eq!(Fingerprint::of(&panic).kind, "task `service` of bck_router-#: index # of #");
    }

    #[test]
    fn the_gravest_finding_comes_first() {
        let stuck = Oracle::NotDrained.broken("stuck");
        let found = Finding::of(vec![stuck.clone(), Oracle::TaskLost.broken("lost")]).unwrap();
        assert_eq!((found.severity(), found.fingerprint.oracle), (Severity::Safety, Oracle::TaskLost));
        assert!(found.shows(&Fingerprint::of(&stuck)));
        assert_eq!(Finding::of(Vec::new()), None);
    }

    #[test]
    fn a_panic_of_the_simulator_is_none_of_a_service() {
        assert!(is_of_a_service("task `service` of task_worker-0: x"));
        assert!(!is_of_a_service("task `broker` of mqtt: x") && !is_of_a_service("only what is cut is mended"));
    }
}
