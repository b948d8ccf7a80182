//! The gate's result for people, for GitHub, and for programs.

use super::{
    causes::Why,
    compare::{Checked, Judgement, Move, Verdict},
};
use crate::spec::Change;
use serde::Serialize;
use std::{fmt::Write as _, path::Path};

/// Most lines of details a spec; more say nothing new.
const DETAILS_MAX: usize = 20;

/// A table for people: a line a spec, and below it what moved by how much.
#[must_use]
pub fn table(all: &[Checked], tolerance_percent: f64) -> String {
    let width = all.iter().map(|checked| checked.spec.len()).max().unwrap_or(0).max(4);
    let mut out = format!(
        "  {:<width$}{:>16}{:>12}{:>12}{:>12}{:>9}  verdict\n",
        "spec", "end-to-end p99", "try p50 ms", "try p99 ms", "tasks/s", "wall s"
    );
    for checked in all {
        let _ = write!(out, "  {:<width$}", checked.spec);
        match checked.today {
            Some(today) => {
                let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
                let _ = write!(out, "{:>16}", number(today.end_to_end_p99_ms));
                for value in [today.try_p50_ms, today.try_p99_ms, Some(today.tasks_per_s)] {
                    let _ = write!(out, "{:>12}", number(value));
                }
                let _ = write!(out, "{:>9.1}", today.wall_s);
            }
            None => {
                let _ = write!(out, "{:61}", "");
            }
        }
        let _ = writeln!(out, "  {}", checked.verdict.word());
        for detail in details(checked) {
            let _ = writeln!(out, "      {detail}");
        }
    }
    let _ = writeln!(out, "\n{}", conclusion(all, tolerance_percent));
    out
}

/// What the whole means, and what to do.
#[must_use]
pub(super) fn conclusion(all: &[Checked], tolerance_percent: f64) -> String {
    let failing: Vec<&str> =
        all.iter().filter(|checked| !checked.verdict.passes()).map(|checked| checked.spec.as_str()).collect();
    if failing.is_empty() {
        return format!("all {} specs are as committed, within {tolerance_percent} %", all.len());
    }
    let bless = format!("cargo run -p experiments -- check {} --bless", failing.join(" "));
    let mut out = format!("{} of {} specs are not as committed", failing.len(), all.len());
    let all_better = |checked: &Checked| checked.verdict.passes() || checked.verdict == Verdict::Moved;
    if all.iter().all(all_better) {
        out += ", and what moved got better. A gain has to be accepted, or a later loss could hide in it";
    }
    let _ = write!(out, ".\nIf this is meant, accept it and commit what that writes:\n  {bless}");
    out
}

/// Workflow commands: an annotation for each spec that is not unchanged.
#[must_use]
pub fn github(all: &[Checked], results: &Path) -> String {
    let mut out = String::new();
    for checked in all {
        let level = match (checked.verdict.passes(), checked.notes.is_empty() && checked.moves.is_empty()) {
            (false, _) => "error",
            (true, false) => "notice",
            (true, true) => continue,
        };
        let file = super::committed::path(results, &checked.spec);
        let title = format!("{}: {}", checked.spec, checked.verdict.word());
        let _ = writeln!(
            out,
            "::{level} file={},title={}::{}",
            escape_property(&file.display().to_string()),
            escape_property(&title),
            escape_data(&details(checked).join("\n"))
        );
    }
    out
}

/// docs.github.com, "Workflow commands": what a message must not hold.
fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// For programs.
#[must_use]
pub fn json(all: &[Checked], tolerance_percent: f64) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        tolerance_percent: f64,
        passed: bool,
        specs: &'a [Checked],
    }
    let passed = all.iter().all(|checked| checked.verdict.passes());
    let document = Document { tolerance_percent, passed, specs: all };
    let mut text = serde_json::to_string_pretty(&document).expect("a verdict has nothing that JSON can't hold");
    text.push('\n');
    text
}

/// The reasons, a line each.
pub(super) fn details(checked: &Checked) -> Vec<String> {
    let spec = checked.spec_changes.iter().map(spec_change);
    let why = checked.why.iter().flat_map(why);
    let moves = checked.moves.iter().map(moved);
    let notes = checked.notes.iter().map(|note| format!("note: {note}"));
    let mut lines: Vec<String> = spec.chain(why).chain(moves).chain(notes).collect();
    let more = lines.len().saturating_sub(DETAILS_MAX);
    if more > 0 {
        lines.truncate(DETAILS_MAX);
        lines.push(format!("and {more} more (--format json has all)"));
    }
    lines
}

fn spec_change(change: &Change) -> String {
    format!("the spec is another one: {change}")
}

/// The latency, and a line for each cause.
fn why(why: &Why) -> impl Iterator<Item = String> {
    let causes = why.causes.iter().map(|grown| format!("    {}", grown.told()));
    std::iter::once(format!("{} moved by", why.figure)).chain(causes)
}

fn moved(moved: &Move) -> String {
    let number = |value: Option<f64>| match value {
        None => "none".to_owned(),
        Some(value) if value.fract() == 0.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.3}"),
    };
    let change = moved.change_percent.map_or(String::new(), |change| format!("  {change:+.2} %"));
    let judgement = match moved.judgement {
        Judgement::Within => "within tolerance",
        Judgement::Better => "better",
        Judgement::Worse => "worse",
        Judgement::Different => "must be exact",
    };
    format!("{:<33} {} -> {}{change}  {judgement}", moved.figure, number(moved.committed), number(moved.today))
}
