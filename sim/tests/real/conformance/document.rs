//! `sim/CONFORMANCE.md`, made from the lists of scenarios and differences, and from what the emulated brokers' sources
//! say of their limits and commands.

use crate::conformance::harness::Protocol;
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

const HEAD: &str = "# Emulated and real brokers

Made by the test suite in `sim/tests/real/conformance`; to write it anew:
`SHELFWIRE_WRITE_CONFORMANCE=1 cargo test -p sim --test real conformance::the_document`.

Every scenario runs against the emulated and the real broker over real TCP, with the clients' own libraries or raw
sockets, and notes what it sees. The notes must be equal but for the differences listed here, which the suite holds to
the letter: one that disappears fails it, too.
";

/// Checks that the document says what the suite checks, or writes it; and that `sim/BROKERS.md` counts as many
/// scenarios.
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
    let page = fs::read_to_string(path.with_file_name("BROKERS.md")).unwrap();
    for Protocol { real, scenarios, .. } in protocols.iter().filter(|protocol| protocol.scenarios.len() > 10) {
        let count = format!(" {} scenarios", scenarios.len());
        assert!(page.contains(&count), "sim/BROKERS.md doesn't say that {real} is compared in{count}");
    }
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
    text += &limits();
    text += &commands();
    text
}

fn broker_sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/broker")
}

/// The sources of a folder in the order of their names, without those of its tests.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_source = |path: &PathBuf| path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs");
    let mut paths: Vec<PathBuf> = entries.filter(is_source).collect();
    paths.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// Every constant that ends in `_MAX`, with its value and what its docs say.
fn limits() -> String {
    let mut text =
        "\n## Limits of the emulated brokers\n\n| where | limit | value | what it is |\n|---|---|---|---|\n".to_owned();
    for (broker, folder) in [("all", ""), ("RabbitMQ", "amqp"), ("Mosquitto", "mqtt"), ("Redis", "redis")] {
        for (module, source) in sources(&broker_sources().join(folder)) {
            let mut docs = Vec::new();
            for line in source.lines().take_while(|line| *line != "#[cfg(test)]") {
                if let Some(doc) = line.strip_prefix("/// ") {
                    docs.push(doc);
                    continue;
                }
                let (_, constant) = line.split_once("const ").unwrap_or_default();
                if let Some((name, value)) = constant.trim_end_matches(';').split_once(": ")
                    && name.ends_with("_MAX")
                    && let Some((_, value)) = value.split_once(" = ")
                {
                    writeln!(text, "| {broker}: `{module}` | `{name}` | `{value}` | {} |", docs.join(" ")).unwrap();
                }
                docs.clear();
            }
        }
    }
    text
}

/// The commands of the emulated Redis.
fn commands() -> String {
    let table = fs::read_to_string(broker_sources().join("redis/table.rs")).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("    on_")?.split('"').nth(1));
    let names: Vec<String> = rows.map(|name| format!("`{}`", name.to_uppercase().replace('|', " "))).collect();
    assert!(names.len() > 70, "the table of commands looks otherwise");
    format!("\n## Commands of the emulated Redis\n\n{}\n", names.join(", "))
}
