//! Tasks of a file that is played again.

use super::Replayed;
use backbone::message::TASK_COMMANDS_MAX;
use serde::Deserialize;
use std::{fs::File, io::Read, path::Path, sync::Arc};

/// Largest file, in bytes: rows of the most tasks that a spec may have.
const FILE_BYTES_MAX: u64 = 256 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    at_ms: u32,
    #[serde(default)]
    commands: Option<u32>,
}

/// The first `tasks` rows of the file at `path`; a row without `commands` has `commands`.
///
/// # Errors
/// What is wrong with the file, and where.
pub(super) fn read(path: &Path, tasks: u32, commands: u32) -> Result<Arc<[Replayed]>, String> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| format!("names {shown}, which can't be read: {error}"))?;
    if file.metadata().is_ok_and(|metadata| metadata.len() > FILE_BYTES_MAX) {
        return Err(format!("names {shown}, which has more than {FILE_BYTES_MAX} bytes"));
    }
    rows(file.take(FILE_BYTES_MAX), tasks, commands).map_err(|what| format!("names {shown}, {what}"))
}

fn rows(file: impl Read, tasks: u32, commands: u32) -> Result<Arc<[Replayed]>, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let mut rows: Vec<Replayed> = Vec::new();
    for row in reader.deserialize().take(tasks as usize) {
        let line = rows.len() + 2; // after the header, counted from 1
        let row: Row = row.map_err(|error| format!("of which a row makes no sense: {error}"))?;
        let commands = row.commands.unwrap_or(commands);
        if commands == 0 || commands as usize > TASK_COMMANDS_MAX {
            return Err(format!("in whose line {line} a task has {commands} commands; accepted are 1 to 1,000"));
        }
        if rows.last().is_some_and(|last| last.at_ms > row.at_ms) {
            return Err(format!("in whose line {line} time goes back to {} ms", row.at_ms));
        }
        rows.push(Replayed { at_ms: row.at_ms, commands });
    }
    if rows.len() < tasks as usize {
        return Err(format!("which has {} rows; `workload.tasks` is {tasks}", rows.len()));
    }
    Ok(rows.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, tasks: u32) -> Result<Vec<(u32, u32)>, String> {
        rows(text.as_bytes(), tasks, 2).map(|rows| rows.iter().map(|row| (row.at_ms, row.commands)).collect())
    }

    #[test]
    fn rows_are_tasks_and_those_without_a_count_have_as_many_commands_as_any() {
        assert_eq!(read("at_ms,commands\n0,5\n1500,\n1500,1\n9,9\n", 3), Ok(vec![(0, 5), (1_500, 2), (1_500, 1)]));
        assert_eq!(read("at_ms\n7\n", 1), Ok(vec![(7, 2)]));
    }

    #[test]
    fn what_is_no_row_is_named_with_its_line() {
        for (text, part) in [
            ("at_ms\n5\n4\n", "line 3 time goes back to 4 ms"),
            ("at_ms\n5\n", "has 1 rows; `workload.tasks` is 2"),
            ("at_ms,commands\n5,0\n6,1\n", "line 2 a task has 0 commands"),
            ("at_ms\nnoon\n6\n", "line: 2"),
            ("when\n5\n6\n", "at_ms"),
        ] {
            let error = read(text, 2).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
