//! The newest version that was accepted for each label.
//!
//! One hash a label, with a field for each version that was accepted, of which the highest counts. Whoever accepts a
//! version writes it and reads all in one step, so of two routers the one that comes later sees what the earlier wrote:
//! a command is never sent once a newer one was accepted. No transaction and no script is needed, since fields only
//! come, and only those go that a higher one outranks. What was sent at the same moment the label decides by its
//! version.

use crate::message::Mac;
use redis::Pipeline;

/// How long a version is remembered after the last command for its label, in milliseconds: a day, longer than a command
/// can be under way by far. It bounds how much is remembered, a hash for each label of a day.
const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1_000;
/// With so many outranked fields whoever reads them removes them: a round trip more for every so many versions.
const OUTRANKED_MAX: usize = 8;

pub(super) fn key(esl: Mac) -> String {
    format!("shelfwire:newest:{esl}")
}

/// Adds to `pipeline` that `version` is accepted, and the question which there are. Two answers: whether it is new, and
/// the fields.
pub(super) fn accept(pipeline: &mut Pipeline, esl: Mac, version: u64) {
    let key = key(esl);
    pipeline.cmd("HSET").arg(&key).arg(version).arg("");
    pipeline.cmd("PEXPIRE").arg(&key).arg(REMEMBERED_MS).ignore();
    pipeline.cmd("HKEYS").arg(&key);
}

/// What a label's fields say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// The highest version.
    pub(super) newest: Option<u64>,
    /// Fields to remove, if there are many: those that are outranked, and those that make no sense.
    pub(super) outranked: Vec<Vec<u8>>,
}

pub(super) fn read(fields: Vec<Vec<u8>>) -> Accepted {
    let version = |field: &Vec<u8>| std::str::from_utf8(field).ok()?.parse::<u64>().ok();
    let newest = fields.iter().filter_map(version).max();
    let mut outranked = fields;
    outranked.retain(|field| version(field).is_none_or(|version| Some(version) != newest));
    if outranked.len() < OUTRANKED_MAX {
        outranked.clear();
    }
    Accepted { newest, outranked }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn the_highest_number_is_the_newest_and_not_the_last_text() {
        assert_eq!(read(fields(&["9", "10", "x"])), Accepted { newest: Some(10), outranked: Vec::new() });
        assert_eq!(read(fields(&["18446744073709551615", "1"])).newest, Some(u64::MAX));
        assert_eq!(read(Vec::new()).newest, None);
    }

    #[test]
    fn many_outranked_fields_are_removed_and_the_newest_never_is() {
        let all = fields(&["1", "2", "3", "4", "x", "9", "6", "7", "8"]);
        let outranked = fields(&["1", "2", "3", "4", "x", "6", "7", "8"]);
        assert_eq!(read(all), Accepted { newest: Some(9), outranked });
    }
}
