//! How much a deployment carries, asked on the command line.

use std::process::{Command, Output};

/// A store in small, of which each router has a fiftieth of a core. Its four workers do 200 tasks a second at most.
const SMALL: &str = "extends = 'calibrated'\nworkload = { arrivals = 'poisson', tasks = 200, duration_s = 4, \
                     warm_up_s = 1 }\nreplicas.task_workers = 4\nmachines.router.cpu_quota_us = 2_000\n\
                     fleet = { gateways = 2, esls = 40, mode = 'concurrent', ble_service_ms = { median = 20 } }\n";

fn experiments(arguments: &[&str]) -> (tempfile::TempDir, Output) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("small.toml"), SMALL).unwrap();
    let program = Command::new(env!("CARGO_BIN_EXE_experiments")).current_dir(folder.path()).args(arguments).output();
    (folder, program.unwrap())
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let (_folder, output) = experiments(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    message
}

#[test]
fn the_smallest_deployment_is_shown_with_its_neighbours_that_do_not_hold() {
    let arguments = ["capacity", "small.toml", "--slo", "end_to_end.p99=50ms", "--json", "--quiet"];
    let (_folder, output) = experiments(&arguments);
    let report: serde_json::Value = serde_json::from_str(&said(&output)).unwrap();
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let holds: Vec<u64> = report["holds"].as_array().unwrap().iter().map(number).collect();
    let neighbours = report["does_not_hold"].as_array().unwrap();
    assert!(!neighbours.is_empty() && holds.iter().any(|value| *value > 1), "{report}");
    for neighbour in neighbours {
        let below: u64 = neighbour.as_array().unwrap().iter().map(number).sum();
        assert_eq!(below + 1, holds.iter().sum::<u64>(), "{report}");
        let run = report["runs"].as_array().unwrap().iter().find(|run| run["values"] == *neighbour).unwrap();
        assert!(!run["flaws"].as_array().unwrap().is_empty(), "{run}");
    }
}

#[test]
fn the_highest_rate_lies_between_one_that_holds_and_one_that_does_not() {
    let arguments = ["capacity", "small.toml", "--slo", "end_to_end.p99=80ms", "--rate", "--json", "--quiet"];
    let (_folder, output) = experiments(&arguments);
    let report: serde_json::Value = serde_json::from_str(&said(&output)).unwrap();
    let (holds, beyond) = (report["holds"][0].as_u64().unwrap(), report["does_not_hold"][0][0].as_u64().unwrap());
    assert!((100..800).contains(&holds) && beyond > holds && beyond - holds <= (holds / 50).max(1), "{report}");
}

#[test]
fn a_sweep_leaves_rows_and_a_figure() {
    let arguments =
        ["sweep", "small.toml", "--over", "replicas.task_workers=1,2", "--over", "replicas.routers=1,2", "--quiet"];
    let (folder, output) = experiments(&arguments);
    assert_eq!(said(&output).lines().count(), 5);
    let rows = std::fs::read_to_string(folder.path().join("results/sweep/small.csv")).unwrap();
    let head = "replicas.task_workers,replicas.routers,end_to_end_p99_ms,tasks_per_s,came_per_s,fullest,\
                fullest_percent,flaws";
    assert_eq!((rows.lines().next(), rows.lines().count()), (Some(head), 5));
    let figure = std::fs::read_to_string(folder.path().join("plots/sweep/small.svg")).unwrap();
    assert!(figure.contains("replicas.routers = 2"), "a line for each value of the second axis");
}

#[test]
fn what_makes_no_sense_is_refused() {
    assert!(refused(&["capacity", "small.toml"]).contains("--slo: is missing, and small promises nothing"));
    assert!(refused(&["capacity", "smoke", "--slo", "calls.p50=1ms", "--rate"]).contains("smoke has no rate"));
    assert!(refused(&["capacity", "smoke", "--slo", "calls=1ms"]).contains("`calls` is no number of a run"));
    let unknown = ["capacity", "smoke", "--slo", "calls.p50=1ms", "--vary", "replicas.router"];
    assert!(refused(&unknown).contains("did you mean `routers`?"));
    let twice = ["capacity", "smoke", "--slo", "calls.p50=1ms", "--vary", "replicas.routers,replicas.routers"];
    assert!(refused(&twice).contains("--vary: names a field twice"));
    assert!(refused(&["sweep", "smoke", "--over", "replicas.routers"]).contains("expected a key and whole numbers"));
}
