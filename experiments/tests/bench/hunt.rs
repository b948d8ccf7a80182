//! The hunt as it is run: the same seeds come to the same in any order, on any number of threads and in any parts;
//! what was found and fixed stays so.

use experiments::{
    hunt::{
        Campaign, Shard, Tally, Verdict,
        bugs::{Entry, Today},
        judge, world,
    },
    measure::{Oracle, Sometimes},
    simulate::simulate,
    spec::{Fault, FaultKind, Pod, Spec},
};
use std::{
    num::NonZero,
    ops::{ControlFlow, Range},
    path::Path,
    process::{Command, Output},
};

fn verdicts(seeds: Range<u64>, shard: Shard, jobs: usize) -> Vec<Verdict> {
    let campaign = Campaign { seeds, shard, limit_s: None, jobs: NonZero::new(jobs).unwrap() };
    let mut verdicts = Vec::new();
    campaign.run(world::draw, simulate, |verdict| {
        verdicts.push(verdict);
        ControlFlow::Continue(())
    });
    verdicts
}

fn hunt(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_experiments");
    Command::new(program).arg("hunt").args(arguments).arg("--quiet").output().unwrap()
}

#[test]
fn seeds_come_to_the_same_on_any_number_of_threads_and_in_parts() {
    let whole = verdicts(100..112, Shard::ALL, 1);
    assert_eq!(verdicts(100..112, Shard::ALL, 3), whole);
    let mut parts: Vec<Verdict> = (0..2).flat_map(|index| verdicts(100..112, Shard { index, of: 2 }, 2)).collect();
    parts.sort_by_key(|verdict| verdict.seed);
    assert_eq!(parts, whole);
    assert!(whole.iter().all(|verdict| !verdict.digest.is_empty()));
}

#[test]
fn a_written_world_comes_to_the_same_as_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let told = Command::new(env!("CARGO_BIN_EXE_experiments")).args(["hunt", "spec", "102"]).output().unwrap();
    std::fs::write(&file, &told.stdout).unwrap();
    let [results, plots] = ["results", "plots"].map(|name| folder.path().join(name));
    let run = Command::new(env!("CARGO_BIN_EXE_experiments"))
        .args([file.as_os_str(), "--json".as_ref(), "--quiet".as_ref()])
        .args(["--results".as_ref(), results.as_os_str(), "--plots".as_ref(), plots.as_os_str()])
        .output()
        .unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(summary["trace_digest"], judge(&world::draw(102), simulate, None).digest);
}

#[test]
fn shards_that_are_merged_say_the_same_as_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let parts = ["0/2", "1/2"].map(|shard| {
        let file = folder.path().join(shard.replace('/', "_"));
        std::fs::write(&file, hunt(&["--seeds", "100..106", "--shard", shard, "--json"]).stdout).unwrap();
        file
    });
    let merge = ["merge", parts[0].to_str().unwrap(), parts[1].to_str().unwrap()];
    let merged = Command::new(env!("CARGO_BIN_EXE_experiments")).arg("hunt").args(merge).output().unwrap();
    let [merged, whole] =
        [merged, hunt(&["--seeds", "100..106"])].map(|output| String::from_utf8(output.stdout).unwrap());
    let without_time = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert!(whole.starts_with("6 worlds with "), "{whole}");
    assert_eq!(without_time(&merged), without_time(&whole), "seconds are rounded in each part");
    let unfinished = folder.path().join("unfinished");
    std::fs::write(&unfinished, "{\"seed\":1,\"verdict\":\"sound\",\"digest\":\"\"}\n").unwrap();
    let refused =
        Command::new(env!("CARGO_BIN_EXE_experiments")).args(["hunt", "merge"]).arg(unfinished).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn input_that_makes_no_sense_is_refused() {
    for wrong in [&["--seeds", "9..3"][..], &["--for", "soon"], &["--shard", "4/4"], &["no_such_spec"]] {
        assert_eq!(hunt(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// A world that breaks often enough to meet what is rare.
fn broken_often(seed: u64) -> Spec {
    let mut spec = Spec { seed, ..Spec::default() };
    (spec.workload.tasks, spec.replicas.task_workers, spec.replicas.routers) = (150, 6, 2);
    (spec.fleet.gateways, spec.fleet.esls, spec.fleet.ble_service_ms.median) = (4, 60, 5);
    (spec.backbone.task_worker.reply_timeout_ms, spec.backbone.task_worker.retry_delay_ms) = (2_000, 500);
    spec.expect.every_fault_hits = false;
    spec.faults = vec![
        Fault::new(60, FaultKind::Crash, Pod::Amqp, 400),
        Fault::new(80, FaultKind::Crash, Pod::TaskWorker(1), 300),
        Fault::new(90, FaultKind::Crash, Pod::Mqtt, 300),
        Fault::new(2_000, FaultKind::Cut, Pod::Redis, 3_000),
    ];
    spec
}

#[test]
fn rare_paths_are_counted_and_recovery_is_waited_for() {
    let verdict = judge(&broken_often(1), simulate, None);
    assert_eq!(verdict.finding, None);
    for path in [Sometimes::Interrupted, Sometimes::AmqpBack, Sometimes::MqttBack, Sometimes::DoneAfterRetry] {
        assert!(verdict.reached.times(path) > 0, "{path} in {:?}", verdict.reached);
    }
}

#[test]
fn a_world_that_is_not_well_in_time_is_stuck_and_says_who_waits_for_what() {
    let mut spec = broken_often(1);
    // No time at all for what a crash costs.
    spec.limits.recover_s = 1;
    spec.backbone.task_worker.retry_delay_ms = 60_000;
    let finding = judge(&spec, simulate, None).finding.unwrap();
    assert_eq!(finding.fingerprint.oracle, Oracle::NotDrained, "{finding:?}");
    let text = &finding.violations[0].text;
    assert!(text.contains("1 s after all could be well") && text.contains("messages in queue"), "{text}");
    let mut tally = Tally::default();
    tally.add(&judge(&spec, simulate, None));
    assert!(tally.text("").contains("liveness: not_drained"));
}

#[test]
fn what_was_found_is_as_the_base_says() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("bugs");
    for entry in Entry::all(&base).unwrap() {
        assert_eq!(entry.today(simulate).unwrap(), Today::AsTold, "{}", entry.name);
        assert!(!entry.bug.what.is_empty() && !entry.bug.commit.is_empty(), "{}", entry.name);
    }
}
