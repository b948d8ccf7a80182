//! What must hold in every run, whatever breaks: each rule by its name, and what did not keep to it.

use super::named::named;

named! {
    /// A rule that every run is held to. What the backbone promises is in backbone/README.md, and no more is asked of
    /// it here.
    Oracle {
        TaskUndispatched "task_undispatched" "Every task that its producer has is put into the task queue."
        TaskLost "task_lost" "A task that RabbitMQ has confirmed is done, a dead letter, or in a queue."
        DeadLetterMissing "dead_letter_missing" "A task that a worker gave up lies in the dead-letter queue."
        DeadLetterUnexplained "dead_letter_unexplained" "Where nothing breaks, a dead letter was given up by a worker."
        DoneNotShown "done_not_shown" "The labels of a task that is reported done show it, or something newer."
        SupersededNotShown "superseded_not_shown" "A label whose command was superseded shows something newer."
        OlderShown "older_shown" "A label never shows an older version after a newer one."
        OutrankedSent "outranked_sent" "No command is sent after a newer one for its label, unless Redis forgot."
        ReplyAstray "reply_astray" "A reply is taken in by the worker that asked, or by nobody."
        ReplyMisrouted "reply_misrouted" "With request ids, no reply comes to somebody who did not ask."
        ResultContradicts "result_contradicts" "A producer learns one outcome of a task, unless there are copies of it."
        ResultMalformed "result_malformed" "A result has a line for each command, and they say what it says."
        TakenLate "taken_late" "No router takes a request up after its deadline."
        ExecutedLate "executed_late" "No command is executed later after its deadline than gateways can hold it."
        TriedTooOften "tried_too_often" "A task is not tried more often than `task_worker.attempts_max`."
        LeftBehind "left_behind" "No queue, key, session or message stays at the brokers that was not there before."
        Unbounded "unbounded" "Queues hold no more than what can be in work, and what faults can double."
        EventStorm "event_storm" "Who lost a connection pauses before it tries again."
        Panicked "panicked" "Nothing panics."
        NotDrained "not_drained" "When nothing is broken any more, the backlog drains."
        NotReady "not_ready" "When nothing is broken any more, every service is ready again."
        GoneForGood "gone_for_good" "When nothing is broken any more, all consumers and subscriptions are there again."
        ProbeFailed "probe_failed" "When all is well again, each new task is done at its first try."
        FaultMissed "fault_missed" "A written fault hits something."
        Harness "harness" "The bench itself works."
    }
}

/// What a broken rule says of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The experiment is wrong, or the bench is.
    Harness,
    /// What should have come did not.
    Liveness,
    /// What must not happen did.
    Safety,
}

impl Severity {
    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Harness => "harness",
            Self::Liveness => "liveness",
            Self::Safety => "safety",
        }
    }
}

impl Oracle {
    /// What it says of the system if it is broken.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::NotDrained | Self::NotReady | Self::GoneForGood | Self::ProbeFailed => Severity::Liveness,
            Self::FaultMissed | Self::Harness => Severity::Harness,
            _ => Severity::Safety,
        }
    }

    /// That it was broken, and how.
    pub(crate) fn broken(self, text: impl Into<String>) -> Violation {
        Violation { oracle: self, text: text.into() }
    }
}

/// A rule that did not hold in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub oracle: Oracle,
    /// What happened, in a sentence.
    pub text: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// All of `violations` in one line.
#[must_use]
pub fn joined(violations: &[Violation], separator: &str) -> String {
    violations.iter().map(|violation| violation.text.as_str()).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_oracle_is_found_by_its_name() {
        for oracle in Oracle::ALL {
            assert_eq!(Oracle::named(oracle.name()), Some(oracle));
            assert!(oracle.means().ends_with('.'), "{oracle}");
        }
        assert_eq!(Oracle::named("no such rule"), None);
    }
}
