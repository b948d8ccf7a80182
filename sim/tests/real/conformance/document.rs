//! `sim/CONFORMANCE.md`, made from the lists of scenarios and differences.

use crate::conformance::harness::Protocol;
use std::{fmt::Write, path::Path};

const HEAD: &str = "# Emulated and real brokers

Made by the test suite in `sim/tests/real/conformance`; to write it anew:
`SHELFWIRE_WRITE_CONFORMANCE=1 cargo test -p sim --test real conformance::the_document`.

Every scenario runs against the emulated and the real broker over real TCP, with the clients' own libraries or raw
sockets, and notes what it sees. The notes must be equal but for the differences listed here, which the suite holds to
the letter: one that disappears fails it, too.
";

/// Checks that the document says what the suite checks, or writes it.
///
/// # Panics
/// If it does not.
pub(crate) fn check(protocols: &[&Protocol]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFORMANCE.md");
    let text = text(protocols);
    if std::env::var_os("SHELFWIRE_WRITE_CONFORMANCE").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "sim/CONFORMANCE.md is out of date; its head says how to write it anew");
}

fn text(protocols: &[&Protocol]) -> String {
    let mut text = HEAD.to_owned();
    for Protocol { real, scenarios, .. } in protocols {
        let count = scenarios.iter().map(|scenario| scenario.differences.len()).sum::<usize>();
        write!(text, "\n## {real}: {} scenarios, {count} differences\n\n", scenarios.len()).unwrap();
        text += "| scenario | what is checked | |\n|---|---|---|\n";
        for scenario in *scenarios {
            let verdict = if scenario.differences.is_empty() { "alike" } else { "**differs**, see below" };
            writeln!(text, "| `{}` | {} | {verdict} |", scenario.name, scenario.about).unwrap();
        }
        for scenario in *scenarios {
            for difference in scenario.differences {
                write!(text, "\n`{}`: {}\n\n", scenario.name, difference.why).unwrap();
                for (whose, lines) in [("real", difference.real), ("emulated", difference.emulated)] {
                    if lines.is_empty() {
                        writeln!(text, "    {whose:8}  (nothing)").unwrap();
                    }
                    lines.iter().for_each(|line| writeln!(text, "    {whose:8}  {line}").unwrap());
                }
            }
        }
    }
    text
}
