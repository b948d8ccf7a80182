//! Why a handler's task is not done.

use crate::{
    message::{CommandOutcome, CommandResult, Status},
    telemetry::{FailReason, bounded},
};

/// Why a task is not done, and whether it is worth another try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub(super) reason: FailReason,
    pub(super) is_final: bool,
    /// For people; bounded.
    pub(super) detail: String,
}

impl Failure {
    /// Something that may go better later: the task waits for its next try, if it has one left. `detail` is for people.
    pub fn again(detail: impl std::fmt::Display) -> Self {
        Self { reason: FailReason::Handler, is_final: false, detail: bounded(&detail) }
    }

    /// Something that no further try would mend: the task goes to the dead-letter queue. `detail` is for people.
    pub fn give_up(detail: impl std::fmt::Display) -> Self {
        Self { reason: FailReason::Handler, is_final: true, detail: bounded(&detail) }
    }

    /// The first command of `results` whose label does not show what it should, with what was said of it, and how many
    /// others there are. The task is worth another try, which will send only these.
    ///
    /// # Errors
    /// That failure, if there is one.
    pub fn unless_all_succeeded(results: &[CommandResult]) -> Result<(), Self> {
        let failed = || results.iter().filter(|line| !line.outcome.is_success());
        // One for which another try makes no sense comes last, since the try would be for the others.
        let first = failed().find(|line| !reason_of(line.outcome).is_final()).or_else(|| failed().next());
        let Some(first) = first else { return Ok(()) };
        let others = match failed().count() - 1 {
            0 => String::new(),
            others => format!("; and {others} more of {} labels", results.len()),
        };
        let reason = reason_of(first.outcome);
        let words = first.detail.as_deref();
        let said = match (reason, words) {
            (FailReason::Refused(_), Some(words)) => format!("{reason}, {words}"),
            (_, Some(words)) => words.to_owned(),
            (_, None) => reason.to_string(),
        };
        let detail = format!("label {}: {}{others}", first.esl_mac, bounded(&said));
        Err(Self { reason, is_final: reason.is_final(), detail })
    }

    /// The same once the task's time is over.
    pub(super) fn expired(self) -> Self {
        let detail = match self.detail.is_empty() {
            true => "its time was over".to_owned(),
            false => format!("its time was over; {}", self.detail),
        };
        Self { reason: FailReason::Expired, is_final: true, detail }
    }

    /// Without a try.
    pub(super) fn of(reason: FailReason, detail: String) -> Self {
        Self { reason, is_final: reason.is_final(), detail }
    }
}

/// What a command that failed means for its task.
fn reason_of(outcome: CommandOutcome) -> FailReason {
    match outcome {
        CommandOutcome::NoRoute => FailReason::Refused(Status::NoRoute),
        CommandOutcome::GatewayOffline => FailReason::Refused(Status::GatewayOffline),
        CommandOutcome::TooLarge => FailReason::Refused(Status::TooLarge),
        CommandOutcome::BrokerRefused => FailReason::Refused(Status::BrokerRefused),
        CommandOutcome::TimedOut => FailReason::Timeout,
        CommandOutcome::Expired => FailReason::Expired,
        CommandOutcome::BrokerUnavailable => FailReason::BrokerUnavailable,
        CommandOutcome::Overloaded => FailReason::Overloaded,
        CommandOutcome::Interrupted => FailReason::Interrupted,
        CommandOutcome::Done | CommandOutcome::Superseded | CommandOutcome::Failed | CommandOutcome::NotTried => {
            FailReason::Refused(Status::Failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Mac;

    fn line(number: u64, outcome: CommandOutcome, detail: Option<&str>) -> CommandResult {
        CommandResult { esl_mac: Mac::new(number), version: 1, outcome, detail: detail.map(str::to_owned) }
    }

    #[test]
    fn a_detail_names_the_label_and_what_its_gateway_said() {
        use CommandOutcome::{Done, Failed, TimedOut};
        let said = |lines: &[CommandResult]| Failure::unless_all_succeeded(lines).unwrap_err().detail;
        let late = line(3, TimedOut, Some("no reply before the deadline"));
        let battery = [line(1, Done, None), line(2, Failed, Some("battery empty")), late.clone()];
        assert_eq!(
            said(&battery),
            "label 00:00:00:00:00:02: refused_by_gateway, battery empty; and 1 more of 3 labels"
        );
        assert_eq!(said(&[line(1, Done, None), late]), "label 00:00:00:00:00:03: no reply before the deadline");
        let long = "x".repeat(20_000);
        assert!(said(&[line(1, Failed, Some(&long))]).len() < 500);
    }

    #[test]
    fn labels_that_show_it_or_something_newer_are_no_failure() {
        let lines = [line(1, CommandOutcome::Done, None), line(2, CommandOutcome::Superseded, None)];
        assert_eq!(Failure::unless_all_succeeded(&lines), Ok(()));
    }
}
