//! What the program says and how it exits when its input is wrong.

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
fn an_address_that_is_none_is_refused_before_anything_starts() {
    assert!(refused(&experiments(&["smoke", "--live", "--amqp", "http://x"])).contains("--amqp: expected amqp://"));
    assert!(refused(&experiments(&["smoke", "--live", "--mqtt", "mqtts://x"])).contains("--mqtt: TLS needs --ca-file"));
    assert!(refused(&experiments(&["smoke", "--amqp", "amqp://x"])).contains("--live"));
}

#[test]
fn options_of_explain_of_which_one_would_do_nothing_are_refused() {
    let explain = |more: &[&str]| refused(&experiments(&[&["explain", "smoke"], more].concat()));
    let what_if = ["--what-if", "nagle=0"];
    for file in ["--pcap", "--otlp", "--perfetto", "--folded"] {
        let message = explain(&[&what_if[..], &[file, "/nowhere/at/all"]].concat());
        assert!(message.contains("cannot be used with") && message.contains(file), "{message}");
    }
    for other in [&["--plot"][..], &["--page"], &["--task", "max"], &["--of", "deciding-try"]] {
        let message = explain(&[&what_if[..], other].concat());
        assert!(message.contains("cannot be used with") && message.contains(other[0]), "{message}");
    }
    for (option, needed) in [("--results", "--page"), ("--plots", "--plot"), ("--beside", "--plot")] {
        let message = explain(&[option, "smoke"]);
        assert!(message.contains("not provided") && message.contains(needed), "{message}");
    }
    assert!(explain(&["--run"]).contains("--what-if"));
    assert!(explain(&["--task", "max", "--json"]).contains("cannot be used with"));
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
fn check_all_runs_what_has_a_committed_result_and_refuses_a_result_of_no_spec() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let (specs, results, plots) = (path("specs"), path("results"), path("plots"));
    std::fs::create_dir_all(&specs).unwrap();
    let small = "workload.tasks = 5\nreplicas.task_workers = 1\nfleet.esls = 10\nfleet.gateways = 1\n";
    for (name, more) in [("gated", "gate = true\n"), ("committed", ""), ("neither", "")] {
        std::fs::write(root.path().join(format!("specs/{name}.toml")), format!("{more}{small}")).unwrap();
    }
    let common = ["check", "--specs", &specs, "--results", &results, "--plots", &plots, "--quiet"];
    let check = |more: &[&str]| experiments(&[&common, more].concat());
    let verdicts = |output: &Output| {
        let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let checked = shown["specs"].as_array().unwrap().iter();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        checked.map(|checked| (text(&checked["spec"]), text(&checked["verdict"]))).collect::<Vec<_>>()
    };
    let pair = |spec: &str, verdict: &str| (spec.to_owned(), verdict.to_owned());
    let json = ["--format", "json"];

    said(&check(&["committed", "--bless"]));
    // What is no result of a spec: the report and the live runs lie beside the results.
    std::fs::create_dir_all(root.path().join("results/live/committed")).unwrap();
    std::fs::write(root.path().join("results/live/committed/summary.json"), "{}").unwrap();
    assert_eq!(verdicts(&check(&json)), [pair("gated", "missing")]);
    let all = check(&[&["--all"], &json[..]].concat());
    assert_eq!(all.status.code(), Some(1));
    assert_eq!(verdicts(&all), [pair("committed", "unchanged"), pair("gated", "missing")]);

    std::fs::remove_file(root.path().join("specs/committed.toml")).unwrap();
    assert!(refused(&check(&["--all"])).contains("committed/summary.json: this is the result of no experiment"));
    assert!(refused(&check(&["--all", "gated"])).contains("--all"));
}

#[test]
fn check_refuses_what_it_cannot_mean() {
    assert!(refused(&experiments(&["check", "smok"])).contains("did you mean `smoke`"));
    assert!(refused(&experiments(&["check", "smoke", "--tolerance", "101"])).contains("0 to 100"));
    assert!(refused(&experiments(&["check", "smoke", "--format", "yaml"])).contains("table, github, json"));
    assert!(refused(&with_specs(&[("mine.toml", "title = 'x'")], &["check"])).contains("gate = true"));
}

#[test]
fn check_fails_without_a_committed_result_passes_after_bless_and_fails_for_another_spec() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let spec = |tasks: u32| {
        let text = format!(
            "gate = true\nworkload.tasks = {tasks}\nreplicas.task_workers = 2\nfleet.esls = 10\nfleet.gateways = 1\n"
        );
        std::fs::create_dir_all(path("specs")).unwrap();
        std::fs::write(root.path().join("specs/mine.toml"), text).unwrap();
    };
    let (specs, results, plots, junit) = (path("specs"), path("results"), path("plots"), path("junit.xml"));
    let common = ["check", "--specs", &specs, "--results", &results, "--plots", &plots];
    let check = |more: &[&str]| experiments(&[&common, more].concat());
    spec(20);
    let missing = check(&["--format", "github", "--junit", &junit]);
    let shown = String::from_utf8_lossy(&missing.stdout).into_owned();
    assert_eq!(missing.status.code(), Some(1), "{shown}");
    assert!(shown.starts_with("::error file=") && shown.contains("check mine --bless"), "{shown}");
    assert!(std::fs::read_to_string(&junit).unwrap().contains("<error message=\"missing\">"));

    said(&check(&["--bless"]));
    assert!(Path::new(&results).join("mine/summary.json").is_file());
    assert!(Path::new(&plots).join("histogram_mine.svg").is_file());
    let passed: serde_json::Value = serde_json::from_str(&said(&check(&["--format", "json"]))).unwrap();
    assert_eq!((&passed["passed"], &passed["specs"][0]["verdict"]), (&true.into(), &"unchanged".into()));

    spec(21);
    let stale = check(&["--quiet"]);
    let shown = String::from_utf8_lossy(&stale.stdout).into_owned();
    assert_eq!(stale.status.code(), Some(1), "{shown}");
    assert!(shown.contains("the spec is another one: workload.tasks = 21 instead of 20"), "{shown}");
    assert!(shown.contains("20 -> 21  +5.00 %  must be exact"), "{shown}");
}
