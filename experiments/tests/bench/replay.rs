//! Runs replay from their seed, in processes of their own and side by side.

use std::process::{Child, Command, Stdio};

fn start(seed: u64, directory: &std::path::Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_experiments"))
        .args(["smoke", "--json", "--quiet", "--seed", &seed.to_string()])
        .arg("--results")
        .arg(directory)
        .arg("--plots")
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn digest(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    summary["trace_digest"].as_str().unwrap().to_owned()
}

#[test]
fn processes_side_by_side_on_a_crowded_machine_replay_the_same_run() {
    let directories: Vec<_> = (0..8).map(|_| tempfile::tempdir().unwrap()).collect();
    let runs: Vec<_> = directories.iter().map(|directory| start(1, directory.path())).collect();
    let digests: Vec<_> = runs.into_iter().map(digest).collect();
    assert!(digests.iter().all(|other| *other == digests[0]), "{digests:?}");
}

#[test]
fn another_seed_is_another_run() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, two] = [1, 2].map(|seed| digest(start(seed, directories[seed as usize - 1].path())));
    assert_ne!(one, two);
}
