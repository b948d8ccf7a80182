//! The newest version that was accepted for each label.
//!
//! One hash a label, with a field for each version: how many times it was accepted and not taken back. The highest one
//! that was counts. Whoever accepts a version adds to its field and reads all in one step, so of two routers the one
//! that comes later sees what the earlier wrote: a command is never sent once a newer one was accepted. No transaction
//! and no script is needed, since sums come out the same in any order: what takes a version back may be on its way for
//! long, through a connection that was given up, and still undoes no other try's acceptance. What was sent at the same
//! moment the label decides by its version.

use crate::message::Mac;
use redis::Pipeline;
use std::str::FromStr;

/// How long a version is remembered after the last command for its label, in milliseconds: a day, longer than a command
/// can be under way by far. It bounds how much is remembered, a hash for each label of a day.
const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1_000;
/// With so many outranked fields whoever reads them removes them: a round trip more for every so many versions.
const OUTRANKED_MAX: usize = 8;
/// With so many fields of which all is taken back, those of a label that no gateway hears, they are removed, too. One
/// of them may be accepted again at that very moment, and then be forgotten; its label still knows better.
const TAKEN_BACK_MAX: usize = 64;

pub(super) fn key(esl: Mac) -> String {
    format!("shelfwire:versions:{esl}")
}

/// Adds to `pipeline` that `version` is accepted once more, and the question which there are: one answer, all fields
/// with their values.
pub(super) fn accept(pipeline: &mut Pipeline, esl: Mac, version: u64) {
    let key = key(esl);
    pipeline.cmd("HINCRBY").arg(&key).arg(version).arg(1).ignore();
    pipeline.cmd("PEXPIRE").arg(&key).arg(REMEMBERED_MS).ignore();
    pipeline.cmd("HGETALL").arg(&key);
}

/// Adds to `pipeline` that `version` was accepted once less.
pub(super) fn take_back(pipeline: &mut Pipeline, esl: Mac, version: u64) {
    let key = key(esl);
    pipeline.cmd("HINCRBY").arg(&key).arg(version).arg(-1).ignore();
    // Redis may have forgotten all of it meanwhile.
    pipeline.cmd("PEXPIRE").arg(&key).arg(REMEMBERED_MS).ignore();
}

/// What a label's fields say.
#[derive(Debug)]
pub(super) struct Versions(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    field: Vec<u8>,
    /// `None`: the field makes no sense.
    version: Option<u64>,
    is_accepted: bool,
}

impl Versions {
    pub(super) fn read(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        fn number<T: FromStr>(text: &[u8]) -> Option<T> {
            std::str::from_utf8(text).ok()?.parse().ok()
        }
        let entry = |(field, times): (Vec<u8>, Vec<u8>)| Entry {
            version: number(&field),
            is_accepted: number(&times).is_some_and(|times: i64| times > 0),
            field,
        };
        Self(fields.into_iter().map(entry).collect())
    }

    /// The highest version that is accepted.
    pub(super) fn newest(&self) -> Option<u64> {
        self.0.iter().filter(|entry| entry.is_accepted).filter_map(|entry| entry.version).max()
    }

    /// What can be removed now that `version` is accepted for good, if it is much. What only another try has accepted
    /// outranks nothing here: it may be taken back yet.
    pub(super) fn outranked_by(self, version: u64) -> Vec<Vec<u8>> {
        self.more_than(OUTRANKED_MAX - 1, |entry| entry.version.is_none_or(|other| other < version))
    }

    /// What can be removed of a label that can't be reached, if it is much.
    pub(super) fn taken_back(self) -> Vec<Vec<u8>> {
        self.more_than(TAKEN_BACK_MAX, |entry| !entry.is_accepted)
    }

    /// The fields of those that `is_meant`, or nothing if they are few.
    fn more_than(self, few: usize, is_meant: impl Fn(&Entry) -> bool) -> Vec<Vec<u8>> {
        let meant: Vec<_> = self.0.into_iter().filter(is_meant).map(|entry| entry.field).collect();
        if meant.len() > few { meant } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(all: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
        all.iter().map(|(field, times)| (field.as_bytes().to_vec(), times.as_bytes().to_vec())).collect()
    }

    #[test]
    fn the_highest_number_that_is_accepted_is_the_newest_and_not_the_last_text() {
        let newest = |all| Versions::read(fields(all)).newest();
        assert_eq!(newest(&[("9", "1"), ("10", "2"), ("x", "1")]), Some(10));
        assert_eq!(newest(&[("9", "1"), ("10", "0"), ("11", "-1"), ("12", "")]), Some(9), "those are taken back");
        assert_eq!(newest(&[("18446744073709551615", "1"), ("1", "1")]), Some(u64::MAX));
        assert_eq!(newest(&[]), None);
    }

    #[test]
    fn many_fields_that_a_sent_version_outranks_are_removed_and_nothing_from_it_on() {
        let few = [("1", "1"), ("2", "1"), ("3", "0"), ("4", "1"), ("x", "1"), ("9", "1"), ("6", "1"), ("7", "1")];
        assert!(Versions::read(fields(&few)).outranked_by(9).is_empty());
        let many = [&few[..], &[("8", "1"), ("10", "0"), ("11", "1")]].concat();
        let expected = ["1", "2", "3", "4", "x", "6", "7", "8"].map(|field| field.as_bytes().to_vec());
        assert_eq!(Versions::read(fields(&many)).outranked_by(9), expected);
        assert!(Versions::read(fields(&many)).outranked_by(4).is_empty(), "they are few again");
    }

    #[test]
    fn of_a_label_that_nobody_hears_many_fields_are_removed_unless_they_are_accepted() {
        let names: Vec<String> = (0..70).map(|version| version.to_string()).collect();
        let mut all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "0")).collect();
        all[5].1 = "1";
        assert!(Versions::read(fields(&all[..TAKEN_BACK_MAX])).taken_back().is_empty());
        let removed = Versions::read(fields(&all)).taken_back();
        assert!(removed.len() == 69 && !removed.contains(&b"5".to_vec()));
    }
}
