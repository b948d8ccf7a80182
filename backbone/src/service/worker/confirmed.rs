//! Which commands of a task are confirmed: what a task takes with it from one try to the next, in a header.
//!
//! A handler sends commands in rounds. A round is known by a fingerprint of what it sent: one that sends something else
//! at the next try, because its database says something else by then, has nothing confirmed.

use crate::message::{Command, CommandOutcome, CommandResult};
use std::fmt::{self, Write as _};

/// Most rounds that are remembered; what a handler sends after so many is sent again at each try.
const ROUNDS_MAX: usize = 8;
/// Longest header, in bytes: all properties of a message must fit into a frame of 8 KB.
const HEADER_BYTES_MAX: usize = 2_048;

/// What is confirmed, round by round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Confirmed(Vec<Round>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Round {
    fingerprint: u64,
    /// A letter for each command.
    letters: Box<str>,
}

const DONE: char = 'd';
const SUPERSEDED: char = 's';
const OPEN: char = '-';

impl Confirmed {
    /// Reads the header. What makes no sense is left out: its commands are sent again.
    pub(super) fn parse(header: &str) -> Self {
        let round = |text: &str| {
            let (fingerprint, letters) = text.split_once(':')?;
            let fingerprint = u64::from_str_radix(fingerprint, 16).ok()?;
            Some(Round { fingerprint, letters: letters.into() })
        };
        Self(header.split(' ').take(ROUNDS_MAX).map_while(round).collect())
    }

    /// What a try has added up to.
    pub(super) fn after<'a>(rounds: impl Iterator<Item = &'a [CommandResult]>) -> Self {
        let letter = |line: &CommandResult| match line.outcome {
            CommandOutcome::Done => DONE,
            CommandOutcome::Superseded => SUPERSEDED,
            _ => OPEN,
        };
        let round = |lines: &[CommandResult]| Round {
            fingerprint: fingerprint(lines.iter().map(|line| (line.esl_mac.value(), line.version))),
            letters: lines.iter().map(letter).collect::<String>().into(),
        };
        Self(rounds.take(ROUNDS_MAX).map(round).collect())
    }

    /// For each command of round `index` how it is confirmed; `None`: it is not.
    pub(super) fn of_round(&self, index: usize, commands: &[Command]) -> Vec<Option<CommandOutcome>> {
        let is_of = |round: &&Round| {
            round.letters.len() == commands.len()
                && round.fingerprint == fingerprint(commands.iter().map(|c| (c.esl_mac.value(), c.version)))
        };
        let outcome = |letter| match letter {
            DONE => Some(CommandOutcome::Done),
            SUPERSEDED => Some(CommandOutcome::Superseded),
            _ => None,
        };
        match self.0.get(index).filter(is_of) {
            Some(round) => round.letters.chars().map(outcome).collect(),
            None => vec![None; commands.len()],
        }
    }

    /// The header's text; `None` if there is nothing to say.
    pub(super) fn header(&self) -> Option<String> {
        let is_any = self.0.iter().any(|round| round.letters.contains([DONE, SUPERSEDED]));
        let text = self.to_string();
        (is_any && text.len() <= HEADER_BYTES_MAX).then_some(text)
    }
}

impl fmt::Display for Confirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, round) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char(' ')?;
            }
            write!(f, "{:016x}:{}", round.fingerprint, round.letters)?;
        }
        Ok(())
    }
}

/// FNV-1a (draft-eastlake-fnv-17, section 2) with 64 bits: the same in every build, which std's hashes don't promise.
pub(super) fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.into_iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

fn fingerprint(commands: impl Iterator<Item = (u64, u64)>) -> u64 {
    fnv1a(commands.flat_map(|(mac, version)| mac.to_be_bytes().into_iter().chain(version.to_be_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Mac, Task};
    use proptest::prelude::*;

    fn commands(versions: &[u64]) -> Vec<Command> {
        let command = |version| format!(r#"{{"esl_mac":"00:00:00:00:00:01","version":{version},"body":1}}"#);
        let text: Vec<_> = versions.iter().map(command).collect();
        let text = format!(r#"{{"task_id":"t","commands":[{}]}}"#, text.join(","));
        serde_json::from_str::<Task>(&text).unwrap().commands
    }

    fn lines(commands: &[Command], outcomes: &[CommandOutcome]) -> Vec<CommandResult> {
        let line = |(command, outcome): (&Command, &CommandOutcome)| CommandResult {
            esl_mac: command.esl_mac,
            version: command.version,
            outcome: *outcome,
            detail: None,
        };
        commands.iter().zip(outcomes).map(line).collect()
    }

    #[test]
    fn what_is_confirmed_survives_the_header() {
        use CommandOutcome::{Done, NoRoute, Superseded};
        let (first, second) = (commands(&[1, 2, 3]), commands(&[4]));
        let rounds = [lines(&first, &[Done, NoRoute, Superseded]), lines(&second, &[Done])];
        let header = Confirmed::after(rounds.iter().map(Vec::as_slice)).header().unwrap();
        let confirmed = Confirmed::parse(&header);
        assert_eq!(confirmed.of_round(0, &first), [Some(Done), None, Some(Superseded)]);
        assert_eq!(confirmed.of_round(1, &second), [Some(Done)]);
        assert_eq!(confirmed.of_round(2, &second), [None]);
    }

    #[test]
    fn a_round_that_sends_something_else_has_nothing_confirmed() {
        let rounds = [lines(&commands(&[1, 2]), &[CommandOutcome::Done; 2])];
        let confirmed = Confirmed::after(rounds.iter().map(Vec::as_slice));
        assert_eq!(confirmed.of_round(0, &commands(&[1, 3])), [None, None]);
        assert_eq!(confirmed.of_round(0, &commands(&[1])), [None]);
    }

    #[test]
    fn a_try_that_confirmed_nothing_needs_no_header() {
        let rounds = [lines(&commands(&[1]), &[CommandOutcome::TimedOut])];
        assert_eq!(Confirmed::after(rounds.iter().map(Vec::as_slice)).header(), None);
    }

    #[test]
    fn the_header_of_the_largest_task_fits() {
        let commands = commands(&(0..crate::message::TASK_COMMANDS_MAX as u64).collect::<Vec<_>>());
        let outcomes = vec![CommandOutcome::Done; commands.len()];
        let rounds = [lines(&commands, &outcomes)];
        assert!(Confirmed::after(rounds.iter().map(Vec::as_slice)).header().is_some());
        assert_eq!(Mac::new(1), commands[0].esl_mac);
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic_or_confirm_the_wrong_number(header: String) {
            prop_assert_eq!(Confirmed::parse(&header).of_round(0, &commands(&[1, 2])).len(), 2);
        }
    }
}
