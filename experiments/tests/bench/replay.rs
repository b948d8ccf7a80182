//! Runs replay from their seed, in processes of their own and side by side.

use experiments::{
    run::batch::run_at_a_time,
    simulate::simulate,
    spec::{Library, Spec},
};
use std::{
    num::NonZero,
    process::{Child, Command, Stdio},
};

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

/// Runs of different kinds and lengths, so that each has other neighbours when several run at a time.
fn sweep() -> Vec<Spec> {
    let library = Library::repository();
    let specs =
        ["smoke", "custom_1k_2", "throughput", "store", "baseline_1k_1"].map(|name| library.load(name).unwrap());
    specs
        .into_iter()
        .flat_map(|spec| (1..=2).map(move |seed| (spec.clone(), seed)))
        .map(|(mut spec, seed)| {
            (spec.seed, spec.workload.tasks) = (seed, 60);
            spec
        })
        .collect()
}

#[test]
fn a_sweep_gives_the_same_however_many_runs_go_at_a_time() {
    let sweep = sweep();
    let outcomes = |at_a_time| {
        let runs = run_at_a_time(NonZero::new(at_a_time).unwrap(), &sweep, simulate, true);
        runs.into_iter().map(|run| run.unwrap().outcome).collect::<Vec<_>>()
    };
    let one_by_one = outcomes(1);
    for at_a_time in [2, sweep.len()] {
        for ((spec, alone), beside) in sweep.iter().zip(&one_by_one).zip(outcomes(at_a_time)) {
            assert!(*alone == beside, "{} seed {}, {at_a_time} at a time", spec.name, spec.seed);
        }
    }
}
