//! The gate's result as JUnit XML, which most CI systems show.

use super::compare::{Checked, Verdict};
use super::report::details;
use std::fmt::Write as _;

/// One test suite with a test case a spec.
#[must_use]
pub fn junit(all: &[Checked]) -> String {
    let failures = all.iter().filter(|checked| is_failure(checked.verdict)).count();
    let errors = all.iter().filter(|checked| is_error(checked.verdict)).count();
    let wall_s: f64 = all.iter().map(time_s).sum();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let counts = format!("tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{wall_s:.3}\"", all.len());
    let _ = writeln!(out, "<testsuites {counts}>\n  <testsuite name=\"experiments check\" {counts}>");
    for checked in all {
        let name = escape(&checked.spec);
        let _ = write!(
            out,
            "    <testcase classname=\"experiments.check\" name=\"{name}\" time=\"{:.3}\"",
            time_s(checked)
        );
        let text = escape(&details(checked).join("\n"));
        let element = match checked.verdict {
            verdict if is_failure(verdict) => "failure",
            verdict if is_error(verdict) => "error",
            _ if text.is_empty() => {
                out.push_str("/>\n");
                continue;
            }
            _ => {
                let _ = writeln!(out, ">\n      <system-out>{text}</system-out>\n    </testcase>");
                continue;
            }
        };
        let message = checked.verdict.word();
        let _ = writeln!(out, ">\n      <{element} message=\"{message}\">{text}</{element}>\n    </testcase>");
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn is_failure(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Regressed | Verdict::Moved | Verdict::Stale)
}

/// JUnit tells a test that says no from one that could not be made.
fn is_error(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Missing | Verdict::Failed)
}

fn time_s(checked: &Checked) -> f64 {
    checked.today.map_or(0.0, |today| today.wall_s)
}

/// For text and attributes; what XML 1.0 can't hold becomes a replacement character.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}
