//! What the program says and how it exits when its input is wrong.

#![expect(clippy::unwrap_used, reason = "the whole file is tests; clippy only sees that of #[test] functions")]

use std::path::Path;
use std::process::{Command, Output};

fn experiments(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_experiments")).args(arguments).output().unwrap()
}

fn with_specs(files: &[(&str, &str)], arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let specs = directory.path().to_str().unwrap();
    experiments(&[arguments, &["--specs", specs]].concat())
}

/// Exit code 2, nothing on stdout, and a message of a few lines without a stack trace.
#[track_caller]
fn refused(output: &Output) -> String {
    let message = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert!(!message.contains("panicked") && !message.contains("backtrace"), "{message}");
    message
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn an_unknown_experiment_lists_the_nearest_names() {
    let message = refused(&experiments(&["custom_10k_21"]));
    assert!(message.contains("no experiment is called `custom_10k_21`; did you mean `custom_10k_2`"), "{message}");
    assert!(message.contains("`custom_10k_20`"), "{message}");
}

#[test]
fn a_wrong_key_is_named_with_file_line_and_suggestion() {
    let message = refused(&with_specs(&[("mine.toml", "title = 'x'\n\n[fleet]\ngatways = 3\n")], &["mine"]));
    assert!(message.contains("mine.toml:4: unknown key `gatways`; did you mean `gateways`?"), "{message}");
}

#[test]
fn broken_toml_is_named_with_file_and_line() {
    let message = refused(&with_specs(&[("mine.toml", "title = 'x'\nseed = = 3\n")], &["mine"]));
    assert!(message.contains("mine.toml:2: "), "{message}");
}

#[test]
fn a_spec_that_extends_itself_is_refused() {
    let message = refused(&with_specs(&[("mine.toml", "extends = 'mine'")], &["mine"]));
    assert!(message.contains("goes in a circle: mine -> mine"), "{message}");
}

#[test]
fn a_base_cannot_be_run() {
    assert!(refused(&experiments(&["thesis_base"])).contains("only a base"));
}

#[test]
fn a_wrong_option_is_refused() {
    assert!(refused(&experiments(&["smoke", "--set", "workload.tsks=1"])).contains("did you mean `tasks`"));
    assert!(refused(&experiments(&["smoke", "--set", "nonsense"])).contains("expected PATH=VALUE"));
    assert!(refused(&experiments(&["smoke", "--tasks", "0"])).contains("--tasks 0: `workload.tasks` is 0"));
    assert!(refused(&experiments(&["smoke", "--tasks", "many"])).contains("--tasks"));
}

#[test]
fn options_without_an_experiment_are_refused() {
    assert!(refused(&experiments(&["--quiet"])).contains("which experiment?"));
    assert!(refused(&experiments(&["--seed", "3"])).contains("which experiment?"));
}

#[test]
fn a_missing_directory_of_specs_is_refused() {
    assert!(refused(&experiments(&["list", "--specs", "/nowhere/at/all"])).contains("cannot read /nowhere/at/all"));
}

#[test]
fn list_names_the_experiments_and_not_the_bases() {
    let listed = said(&experiments(&["list"]));
    for name in ["smoke", "store", "chain", "custom_1k_1", "custom_1k_2", "custom_10k_2", "custom_10k_100"] {
        assert!(listed.lines().any(|line| line.split_whitespace().next() == Some(name)), "{listed}");
    }
    assert!(!listed.contains("thesis_base"), "{listed}");
}

#[test]
fn show_prints_what_would_run() {
    let shown = said(&experiments(&["show", "custom_10k_20", "--seed", "7", "--set", "network.loss_ppm=5"]));
    let shown: toml::Table = shown.parse().unwrap();
    assert_eq!(shown["seed"].as_integer(), Some(7));
    assert_eq!(shown["network"]["loss_ppm"].as_integer(), Some(5));
    assert_eq!(shown["replicas"]["routers"].as_integer(), Some(20));
    assert_eq!(shown["replicas"]["task_workers"].as_integer(), Some(50));
    assert!(!shown.contains_key("extends"));
}

#[test]
fn the_committed_specs_are_where_the_program_looks() {
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/custom_10k_20.toml").is_file());
}
