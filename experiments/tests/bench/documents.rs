//! The documents: every command in them is run, or stands in a list of those that are tried elsewhere; every link leads
//! somewhere; and what is generated in them is as it would be generated today.

use experiments::{
    cli,
    measure::{Oracle, Sometimes},
    spec::reference,
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

/// Commands that are not run here: how they begin, and where they are tried.
const ELSEWHERE: [(&str, &str); 40] = [
    ("scripts/test", "this test is a part of it"),
    (".ci/run", "CI"),
    ("cargo check -p", "CI compiles all of it"),
    ("cargo doc", "scripts/test, without --open"),
    ("cargo test -p sim", "scripts/test"),
    ("cargo build --release -p backbone", "CI compiles it with another profile"),
    ("SHELFWIRE_WRITE_CONFORMANCE=1", "sim/tests/real/conformance"),
    ("SHELFWIRE_WRITE_DOCUMENTS=1", "this file"),
    ("cargo run -p sim --example", "sim/tests/world"),
    ("cargo run -p backbone --example", "sim/tests/world/own_handler.rs; as a program it needs its own files"),
    ("RUSTFLAGS=\"--cfg tokio_unstable -C target-cpu=native\" cargo build --profile sweep", "takes eight minutes"),
    ("target/sweep/experiments", "the same program in another profile"),
    ("scripts/instructions", ".ci/run"),
    ("cargo test --test visits", "sim/tests/world/visits.rs"),
    ("target/release/backbone", "backbone/tests/cli.rs and experiments/tests/live"),
    ("echo '{\"task_id\"", "backbone/tests/cli.rs"),
    ("sudo scripts/brokers install", ".ci/run installs them"),
    ("scripts/brokers", "sim/tests/real and .ci/run"),
    ("eval \"$(scripts/brokers", "by hand, with perf"),
    ("sudo scripts/measure/bridge", "by hand: half an hour on a quiet machine, as root"),
    ("docker compose", "needs Docker; its settings are tried by experiments/tests/live"),
    ("perf ", "needs perf and its rights"),
    ("systemd-run", "needs systemd"),
    ("RUSTFLAGS=\"--cfg tokio_unstable\" cargo +nightly fuzz", "needs a nightly toolchain"),
    ("cmp /tmp/", "compares what the commands before it have written"),
    ("cargo install --path experiments", "tests/bench/own_specs.rs runs the program away from the repository"),
    ("experiments brokers", "experiments/tests/live/emulated_brokers.rs"),
    ("experiments calibrate", "needs real brokers; experiments/tests/live"),
    ("experiments capacity", "takes minutes; experiments/tests/bench/capacity.rs"),
    ("experiments sweep", "takes minutes; experiments/tests/bench/capacity.rs"),
    ("experiments check", "CI runs `check --all`; experiments/tests/bench/cli.rs the rest"),
    ("experiments roaming", "takes minutes; experiments/tests/bench/radio.rs has its world"),
    ("experiments hunt", "takes minutes; experiments/tests/bench/hunt.rs"),
    ("experiments /tmp/mine.toml", "what the command before it has written; experiments/tests/bench/hunt.rs"),
    ("seq 0 15 | parallel", "needs GNU parallel and other machines"),
    ("scripts/canaries", "takes an hour; by hand"),
    ("find /tmp/parts", "goes with the command before it"),
    ("experiments thesis", "takes minutes; experiments/tests/bench/thesis.rs"),
    ("experiments custom_1k_1 --live", "needs real brokers; experiments/tests/live"),
    ("experiments throughput --live", "needs real brokers; experiments/tests/live"),
];
/// So many tasks are enough to see that a command works.
const FEW: [&str; 3] = ["--tasks", "30", "--quiet"];
/// Commands of the bench that take such options.
const OTHER_ACTIONS: [&str; 9] =
    ["list", "show", "new", "check", "compare", "thesis", "brokers", "calibrate", "roaming"];
/// What is generated in a document: which, where it begins, where it ends, and what makes it.
type Generated = (&'static str, &'static str, &'static str, fn() -> String);
const REFERENCES: [Generated; 4] = [
    ("experiments/README.md", "<!-- spec reference: generated -->\n", "<!-- end -->\n", reference::markdown),
    (
        "experiments/README.md",
        "<!-- kinds of faults: generated -->\n",
        "<!-- end of the kinds -->\n",
        reference::faults_markdown,
    ),
    ("experiments/HUNT.md", "<!-- oracles: generated -->\n", "<!-- end -->\n", Oracle::markdown),
    ("experiments/HUNT.md", "<!-- paths: generated -->\n", "<!-- end of the paths -->\n", Sometimes::markdown),
];
/// Longest README and map: a reader's patience.
const SHORT_LINES: usize = 150;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All documents, by path. The report is written by a program.
fn documents() -> Vec<(PathBuf, String)> {
    let mut documents = Vec::new();
    let of_the_bench = ["experiments", "experiments/bugs", "experiments/reference", "scripts/measure"];
    for folder in ["", "backbone", "sim", "sim/examples"].into_iter().chain(of_the_bench) {
        let Ok(entries) = std::fs::read_dir(repository().join(folder)) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.extension().is_some_and(|extension| extension == "md") {
                documents.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    documents.sort();
    assert!(documents.len() > 8, "{} documents", documents.len());
    documents
}

/// The code blocks of a document: language and text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(block)) => {
                blocks.push(block.clone());
                open = None;
            }
            (Some(language), None) => open = Some((language.trim().to_owned(), String::new())),
            (None, Some((_, text))) => *text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    blocks
}

/// The commands of a block, without comments.
fn commands(block: &str) -> impl Iterator<Item = String> {
    let joined = block.replace("\\\n", " ");
    let lines: Vec<String> = joined.lines().map(str::to_owned).collect();
    lines.into_iter().filter_map(|line| {
        let command = line.split_once(" # ").map_or(line.as_str(), |(command, _)| command).trim();
        (!command.is_empty() && !command.starts_with('#')).then(|| command.to_owned())
    })
}

/// As the bench's program is called when it is installed.
fn as_installed(command: &str) -> String {
    let command = command.replace("cargo run --locked", "cargo run");
    command.strip_prefix("cargo run -p experiments -- ").map_or(command.clone(), |rest| format!("experiments {rest}"))
}

/// The words of a command; single quotes keep what is between them together.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, part) in command.split('\'').enumerate() {
        if place % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Runs a command of the bench in `folder`. `toml`: the last block of TOML before it, which it may be about.
fn run(folder: &Path, arguments: &[String], toml: Option<&String>) {
    let file = arguments.iter().find(|word| word.ends_with(".toml")).map(|word| folder.join(word));
    if let (Some(file), Some(toml)) = (file.filter(|file| !file.exists()), toml) {
        std::fs::write(file, toml).unwrap();
    }
    let is_run = !OTHER_ACTIONS.contains(&arguments[0].as_str());
    let few: &[&str] = if is_run { &FEW } else { &[] };
    let program = env!("CARGO_BIN_EXE_experiments");
    let output = Command::new(program).current_dir(folder).args(arguments).args(few).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_command_in_every_document_works_or_is_tried_elsewhere() {
    let (mut used, mut ran) = (BTreeSet::new(), 0);
    for (path, text) in documents() {
        let folder = tempfile::tempdir().unwrap();
        let mut toml = None;
        for (language, block) in blocks(&text) {
            match language.as_str() {
                "toml" => toml = Some(block),
                "sh" => {
                    for command in commands(&block).map(|command| as_installed(&command)) {
                        let arguments = command.strip_prefix("experiments ").map(words);
                        if let Some(arguments) = &arguments {
                            let known = cli::check_arguments(arguments);
                            assert!(known.is_ok(), "{}: {command}: {}", path.display(), known.unwrap_err());
                        }
                        let elsewhere = ELSEWHERE.iter().position(|(begin, _)| command.starts_with(begin));
                        match (elsewhere, arguments) {
                            (Some(place), _) => drop(used.insert(place)),
                            (None, Some(arguments)) => {
                                run(folder.path(), &arguments, toml.as_ref());
                                ran += 1;
                            }
                            (None, None) => panic!("{}: nobody tries `{command}`", path.display()),
                        }
                    }
                }
                "json" | "text" | "rust" | "yaml" | "xml" | "ini" | "csv" => {}
                other => panic!("{}: a block of `{other}`; say what it is", path.display()),
            }
        }
    }
    assert!(ran > 10, "only {ran} commands were run");
    for (place, (begin, _)) in ELSEWHERE.iter().enumerate() {
        assert!(used.contains(&place), "no document has a command like `{begin}`");
    }
}

#[test]
fn every_piece_of_toml_and_json_in_the_documents_is_accepted() {
    for (path, text) in documents() {
        for (language, block) in blocks(&text) {
            let where_and_what = || format!("{}:\n{block}", path.display());
            match language.as_str() {
                "toml" => {
                    let folder = tempfile::tempdir().unwrap();
                    let is_manifest = block.contains("[dependencies]") || block.contains("[build]");
                    let is_configuration = toml::from_str::<backbone::config::Config>(&block).is_ok();
                    std::fs::write(folder.path().join("mine.toml"), &block).unwrap();
                    let mut show = Command::new(env!("CARGO_BIN_EXE_experiments"));
                    show.current_dir(folder.path()).args(["show", "mine.toml"]);
                    let accepted = is_manifest || is_configuration || show.output().unwrap().status.success();
                    assert!(accepted, "no spec, no configuration, no manifest: {}", where_and_what());
                }
                "json" => {
                    let mut documents = serde_json::Deserializer::from_str(&block).into_iter::<serde_json::Value>();
                    assert!(documents.all(|document| document.is_ok()), "{}", where_and_what());
                }
                _ => {}
            }
        }
    }
}

#[test]
fn the_code_in_the_guide_is_that_of_a_test() {
    let guide = std::fs::read_to_string(repository().join("sim/README.md")).unwrap();
    let tested = std::fs::read_to_string(repository().join("sim/tests/world/visits.rs")).unwrap();
    let code: Vec<String> =
        blocks(&guide).into_iter().filter(|(language, _)| language == "rust").map(|(_, code)| code).collect();
    assert_eq!(code.len(), 1);
    assert!(tested.ends_with(&code[0]), "sim/tests/world/visits.rs has:\n{tested}");
}

#[test]
fn every_link_leads_somewhere() {
    for (path, text) in documents() {
        let outside_of_blocks: String = text.split("```").step_by(2).collect();
        for target in outside_of_blocks.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(file.exists(), "{}: {target} is not there", path.display());
            if !anchor.is_empty() {
                let found = std::fs::read_to_string(&file).unwrap().lines().any(|line| anchor_of(line) == anchor);
                assert!(found, "{}: {target} has no such heading", path.display());
            }
        }
    }
}

/// As GitHub names headings; empty for other lines.
fn anchor_of(line: &str) -> String {
    let heading = line.trim_start_matches('#');
    if heading.len() == line.len() || !heading.starts_with(' ') {
        return String::new();
    }
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn the_references_are_those_of_the_types() {
    for (document, begin, end, generate) in REFERENCES {
        let path = repository().join(document);
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(begin).expect("the place of the reference is marked");
        let (written, after) = rest.split_once(end).expect("and its end");
        let generated = format!("\n{}\n", generate());
        if std::env::var_os("SHELFWIRE_WRITE_DOCUMENTS").is_some() {
            std::fs::write(&path, [before, begin, &generated, end, after].concat()).unwrap();
            continue;
        }
        assert!(
            written == generated,
            "{document} is not up to date; this writes it:\nSHELFWIRE_WRITE_DOCUMENTS=1 cargo test -p experiments \
             --test bench documents::the_reference"
        );
    }
}

#[test]
fn the_numbers_in_the_readme_are_those_of_the_committed_results() {
    let read = |path: &str| std::fs::read_to_string(repository().join(path)).unwrap();
    let readme = read("README.md");
    let summary: serde_json::Value = serde_json::from_str(&read("results/custom_10k_20/summary.json")).unwrap();
    let digest = summary["trace_digest"].as_str().unwrap();
    for document in [&readme, &read("experiments/README.md")] {
        assert!(document.contains(&format!("trace digest          {digest}\n")), "a run prints {digest} now");
    }
    let comparisons = read("results/thesis/comparisons.csv");
    let rows: Vec<csv::StringRecord> = csv::Reader::from_reader(comparisons.as_bytes()).records().flatten().collect();
    let figures: Vec<&csv::StringRecord> = rows.iter().filter(|row| &row[0] == "figure").collect();
    let reproduced = figures.iter().filter(|row| &row[10] == "holds").count();
    let sentence = format!("Of the {} numbers and shapes compared, {reproduced} are reproduced", figures.len());
    assert!(readme.contains(&sentence), "README.md does not say: {sentence}");
    let mut seen = 0;
    for line in readme.lines().filter(|line| line.starts_with("| `custom_") || line.starts_with("| `baseline_")) {
        let (name, ours) = (line.split('`').nth(1).unwrap(), line.trim_end_matches(" |").rsplit(" | ").next().unwrap());
        let number = |says: &str| {
            let row = figures.iter().find(|row| &row[1] == name && &row[2] == says).unwrap();
            row[5].parse::<f64>().unwrap().round()
        };
        let expected = ["mean", "median", "P90", "P99"].map(number);
        let written: Vec<f64> = ours.split(", ").map(|number| number.replace(',', "").parse().unwrap()).collect();
        assert_eq!(written, expected, "{line}");
        seen += 1;
    }
    assert_eq!(seen, 6);
}

#[test]
fn the_door_and_the_map_are_short() {
    for document in ["README.md", "ARCHITECTURE.md"] {
        let lines = std::fs::read_to_string(repository().join(document)).unwrap().lines().count();
        assert!(lines <= SHORT_LINES, "{document} has {lines} lines");
    }
}
