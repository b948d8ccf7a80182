//! What `rustfmt` and Clippy leave open, for all sources, scripts and configuration of this repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Longest line, in characters.
const COLUMNS_MAX: usize = 120;
/// Longest file of a crate's `src`: what can still be read from top to bottom.
const LINES_MAX: usize = 450;
/// What marks code that is still to come; in two pieces, since this file is looked at, too.
const UNFINISHED: &str = concat!("todo", "!");
/// Folders of the repository that hold nothing written by hand. By path: `experiments/src/results` is a module.
const GENERATED: [&str; 8] =
    [".git", "target", "results", "plots", "fuzz/target", "fuzz/corpus", "fuzz/artifacts", "fuzz/coverage"];

/// All files below `folder` of the repository `root`.
fn files(root: &Path, folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let is_generated = || GENERATED.iter().any(|generated| root.join(generated) == path);
        match path.is_dir() {
            true if is_generated() => {}
            true => found.extend(files(root, &path)),
            false => found.push(path),
        }
    }
    found
}

/// The text of `path`, if the rules hold for it.
fn text(path: &Path) -> Option<String> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("rs" | "toml" | "sh" | "py" | "yml" | "yaml") => Some(fs::read_to_string(path).unwrap()),
        None => fs::read_to_string(path).ok().filter(|text| text.starts_with("#!")),
        Some(_) => None,
    }
}

/// An address can't be wrapped.
fn is_only_a_url(line: &str) -> bool {
    let words = line.trim_start_matches([' ', '/', '!', '#', '<']);
    words.starts_with("http") && words.contains("://") && !words.contains(' ')
}

/// What is wrong with `text`, the content of `path`.
fn flaws(path: &str, text: &str) -> Vec<String> {
    let mut flaws = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let mut flaw = |what: &str| flaws.push(format!("{path}:{number}: {what}"));
        let columns = line.chars().count();
        if columns > COLUMNS_MAX && !is_only_a_url(line) {
            flaw(&format!("{columns} columns"));
        }
        if line.contains('\t') {
            flaw("a tab");
        }
        if line.ends_with([' ', '\r']) {
            flaw("a space at its end");
        }
        if path.ends_with(".rs") && line.contains(UNFINISHED) {
            flaw(UNFINISHED);
        }
    }
    let lines = text.lines().count();
    if path.ends_with(".rs") && path.contains("/src/") && lines > LINES_MAX {
        flaws.push(format!("{path}: {lines} lines, {LINES_MAX} at most"));
    }
    flaws
}

#[test]
fn everything_written_by_hand_keeps_to_the_style() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut seen = Vec::new();
    let mut all = Vec::new();
    for path in files(root, root) {
        if let Some(text) = text(&path) {
            seen.push(path.clone());
            all.extend(flaws(path.strip_prefix(root).unwrap().to_str().unwrap(), &text));
        }
    }
    assert!(seen.len() > 300, "only {} files were found", seen.len());
    assert!(seen.contains(&root.join("experiments/src/results/mod.rs")), "a module is named as a folder of results is");
    all.sort();
    assert!(all.is_empty(), "{} flaws:\n{}", all.len(), all.join("\n"));
}

#[test]
fn every_rule_finds_its_flaw() {
    let long = "ä".repeat(COLUMNS_MAX);
    assert_eq!(flaws("a/src/b.rs", &format!("{long}\n/// <https://example.org/{long}>\n")), [""; 0]);
    assert_eq!(flaws("a.toml", &format!("\n{long}x")), ["a.toml:2: 121 columns"]);
    assert_eq!(flaws("a.toml", "\tx = 1 \r\n"), ["a.toml:1: a tab", "a.toml:1: a space at its end"]);
    assert_eq!(flaws("a.rs", &format!("{UNFINISHED}()")), [format!("a.rs:1: {UNFINISHED}")]);
    assert_eq!(flaws("a/src/b.rs", &"\n".repeat(451)), ["a/src/b.rs: 451 lines, 450 at most"]);
    assert_eq!(flaws("a/tests/b.rs", &"\n".repeat(451)), [""; 0]);
}
