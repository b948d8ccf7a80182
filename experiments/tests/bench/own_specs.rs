//! Experiments of one's own: built-in ones as a base, away from the repository, changed on the command line; and where
//! their results go.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Five tasks, done in a moment.
const SMALL: &str = "extends = 'smoke'\nworkload.tasks = 5\nreplicas.task_workers = 1\n";

/// The program, in a folder outside of the repository.
fn away(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_experiments")).current_dir(folder).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complaint(output: &Output, code: i32) -> String {
    let message = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

#[test]
fn away_from_the_repository_the_program_has_all_built_in_experiments_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let listed = |output: Output| said(&output);
    let at_home = listed(Command::new(env!("CARGO_BIN_EXE_experiments")).arg("list").output().unwrap());
    assert_eq!(listed(away(folder.path(), &["list"])), at_home);
    assert!(at_home.lines().count() > 30, "{at_home}");
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("specs")).unwrap();
    let main = include_str!("../../src/main.rs");
    for file in files {
        let name = file.unwrap().file_name().into_string().unwrap().replace(".toml", "");
        assert!(main.contains(&format!("    \"{name}\"\n")), "main.rs has no `{name}`");
    }
}

#[test]
fn away_from_the_repository_results_go_below_the_working_directory() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.toml"), SMALL).unwrap();
    said(&away(folder.path(), &["mine.toml", "--quiet"]));
    let expected = [
        "mine.toml",
        "plots/histogram_mine.png",
        "plots/histogram_mine.svg",
        "results/mine/latency.csv",
        "results/mine/latency.hgrm",
        "results/mine/series.csv",
        "results/mine/summary.json",
    ];
    assert_eq!(files_below(folder.path()), expected);

    // Changed, it is another experiment.
    let changed = away(folder.path(), &["./mine", "--seed", "7", "--json"]);
    let summary: serde_json::Value = serde_json::from_str(&said(&changed)).unwrap();
    assert_eq!(summary["changes"], serde_json::json!([{"path": "seed", "from": 1, "to": 7}]));
    assert!(folder.path().join("results/trial/mine/summary.json").is_file());
    assert!(folder.path().join("plots/trial/histogram_mine.svg").is_file());
    let message = String::from_utf8_lossy(&changed.stderr).into_owned();
    assert!(message.contains("results/trial/mine/summary.json"), "{message}");
}

#[test]
fn in_the_repository_only_a_run_of_a_built_in_experiment_as_it_is_touches_committed_results() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shelfwire_own_specs_test.toml");
    std::fs::write(&path, SMALL).unwrap();
    let own = away(repository, &[path.to_str().unwrap()]);
    let trial = repository.join("results/trial/shelfwire_own_specs_test");
    assert!(trial.join("summary.json").is_file(), "{}", String::from_utf8_lossy(&own.stderr));
    std::fs::remove_dir_all(&trial).unwrap();
    for ending in ["svg", "png"] {
        let picture = format!("plots/trial/histogram_shelfwire_own_specs_test.{ending}");
        std::fs::remove_file(repository.join(picture)).unwrap();
    }
    let committed = std::fs::read(repository.join("results/smoke/summary.json")).unwrap();
    said(&away(repository, &["smoke", "--tasks", "5", "--quiet", "--plots", folder.path().to_str().unwrap()]));
    assert_eq!(std::fs::read(repository.join("results/smoke/summary.json")).unwrap(), committed);
}

#[test]
fn an_own_experiment_may_extend_a_built_in_one_of_the_same_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("store.toml"), "extends = 'store'\nreplicas.routers = 3").unwrap();
    let shown = said(&away(folder.path(), &["show", "store.toml"]));
    assert!(shown.contains("routers = 3\n") && shown.contains("esls = 5000\n"), "{shown}");
}

#[test]
fn one_broken_file_does_not_hide_the_others() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.toml"), "seed = 'one'").unwrap();
    std::fs::write(folder.path().join("mine.toml"), "title = 'a fine one'").unwrap();
    let output = away(folder.path(), &["list", "--specs", "."]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "mine  a fine one\n");
    let message = complaint(&output, 2);
    assert!(
        message.contains("broken.toml:1: `seed` is string \"one\"; expected a whole number, 0 or more"),
        "{message}"
    );
}

#[test]
fn a_template_is_an_experiment_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let new = said(&away(folder.path(), &["new", "my_store"]));
    assert!(new.contains("experiments my_store.toml"), "{new}");
    let explained = said(&away(folder.path(), &["show", "my_store.toml", "--explain"]));
    assert!(explained.contains("task_workers = 20\n"), "{explained}");
    said(&away(folder.path(), &["my_store.toml", "--tasks", "20", "--quiet"]));
    let again = complaint(&away(folder.path(), &["new", "my_store"]), 1);
    assert!(again.contains("writing my_store.toml"), "it was there already: {again}");
    assert!(complaint(&away(folder.path(), &["new", "My store"]), 2).contains("small letters"));
}

#[test]
fn who_leaves_out_the_ending_or_misspells_a_command_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.toml"), SMALL).unwrap();
    let message = complaint(&away(folder.path(), &["mine"]), 2);
    assert!(
        message.contains("no experiment is called `mine`; the file in this folder is run as `mine.toml`"),
        "{message}"
    );
    let message = complaint(&away(folder.path(), &["chek"]), 2);
    assert!(message.contains("there is a command `experiments check`"), "{message}");
}

#[test]
fn failure_does_not_look_like_fast_success() {
    let folder = tempfile::tempdir().unwrap();
    let [slow, all] = ["backbone.task_worker.reply_timeout_ms=1", "backbone.routing.newest_wins=false"];
    let arguments = ["smoke", "--set", slow, "--set", all, "--quiet"];
    let output = away(folder.path(), &arguments);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("! 0 % of the tasks were done; expected was at least 100 %"), "{shown}");
    assert!(shown.contains("the try that ended it      no samples"), "{shown}");
    let message = complaint(&output, 1);
    let again = format!("to run it again: experiments smoke --seed 1 --quiet --set {slow} --set {all}");
    assert!(message.contains(&again), "{message}");
    assert!(folder.path().join("results/trial/smoke/summary.json").is_file());
}

#[test]
fn what_cannot_be_written_is_found_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("taken"), "").unwrap();
    // A minute's work, if it were begun.
    for option in ["--results", "--plots"] {
        let message = complaint(&away(folder.path(), &["custom_10k_100", option, "taken/below"]), 1);
        assert!(message.contains("taken/below") && message.contains("can't be written"), "{message}");
    }
    let junit = away(folder.path(), &["check", "custom_10k_100", "--junit", "taken/check.xml"]);
    assert!(complaint(&junit, 1).contains("taken/check.xml can't be written"));
    let trace = away(folder.path(), &["custom_10k_100", "--trace", "."]);
    assert!(complaint(&trace, 1).contains("creating the event log ."));
}

#[test]
fn a_full_disk_ends_a_traced_run_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let message = complaint(&away(folder.path(), &["smoke", "--trace", "/dev/full", "--quiet"]), 1);
    assert!(message.contains("the event log could not be written: No space left on device"), "{message}");
    assert!(!folder.path().join("results").exists(), "a run whose log is lost leaves no results");
}

#[test]
fn a_rule_of_two_fields_blames_the_one_that_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.toml"), "fleet.stores = 2\nfleet.gateways = 4").unwrap();
    let message = complaint(&away(folder.path(), &["mine.toml", "--gateways", "5"]), 2);
    assert!(
        message.starts_with("error: --gateways 5: `fleet.gateways` is 5, which does not spread evenly"),
        "{message}"
    );
    let message = complaint(&away(folder.path(), &["mine.toml", "--set", "fleet.stores=3"]), 2);
    assert!(message.starts_with("error: --set fleet.stores=3: "), "{message}");
    let message = complaint(&away(folder.path(), &["smoke", "--gateways", "100000"]), 2);
    assert!(message.starts_with("error: --gateways 100000: "), "{message}");
}

#[test]
fn log_lines_of_a_run_carry_virtual_time_and_replica_and_quiet_is_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let fault = "[[faults]]\nat_ms = 10\nkind = 'crash'\ntarget = 'amqp'\nfor_ms = 60_000\n";
    std::fs::write(folder.path().join("mine.toml"), format!("{SMALL}{fault}")).unwrap();
    let loud = away(folder.path(), &["mine.toml"]);
    let lines = String::from_utf8_lossy(&loud.stderr).into_owned();
    let warnings: Vec<&str> = lines.lines().filter(|line| line.contains("WARN")).collect();
    assert!(
        warnings.iter().any(|line| line.contains(" s fwd_router-0 ") || line.contains(" s task_worker-0 ")),
        "{lines}"
    );
    assert!(warnings.len() < 100, "{} warnings for one broker", warnings.len());
    let quiet = away(folder.path(), &["mine.toml", "--quiet"]);
    assert_eq!(String::from_utf8_lossy(&quiet.stderr), "");
}

#[test]
fn a_router_process_says_why_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), "").unwrap();
    let arguments = ["backbone", "--", "fwd-router", "--config", "config.toml", "--log", "off"];
    let message = complaint(&away(folder.path(), &arguments), 1);
    assert!(message.contains("standard input has ended"), "{message}");
}
