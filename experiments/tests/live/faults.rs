//! Live runs in which processes die, stop and stand still: the same rules hold as in the simulator, and all works again
//! afterwards.

use crate::{
    MACHINE,
    place::{Place, has_brokers, text},
};
use std::fs;

/// A router is killed, RabbitMQ is restarted while it is away, and Redis stands still; then six tasks show that all is
/// well.
const BROKEN: &str = r#"
extends = "smoke"
title = "A router dies and RabbitMQ restarts"
expect = { probe_tasks = 6 }
limits = { virtual_s_max = 300, recover_s = 120 }

[workload]
tasks = 60
arrivals = "constant"
duration_s = 4

[backbone.task_worker]
reply_timeout_ms = 2_000
retry_delay_ms = 500

[[faults]]
at_ms = 800
kind = "crash"
target = "fwd_router-0"
for_ms = 500

[[faults]]
at_ms = 1_200
kind = "restart"
target = "amqp"
for_ms = 300

[[faults]]
at_ms = 1_500
kind = "freeze"
target = "redis"
for_ms = 1_000
"#;

#[test]
fn a_run_whose_router_dies_and_whose_broker_restarts_adds_up_and_does_new_tasks_at_their_first_try() {
    let _machine = MACHINE.blocking_write();
    let place = Place::new();
    let spec = place.path().join("broken.toml");
    fs::write(&spec, BROKEN).unwrap();
    let arguments = [spec.to_str().unwrap(), "--live", "--no-quota", "--quiet", "--json"];
    let run = place.experiments(&arguments).output().unwrap();
    if !has_brokers(&run, "a_run_whose_router_dies") {
        return;
    }
    assert!(run.status.success(), "{}", text(&run.stderr));
    place.assert_clean();
    let summary: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(summary["tasks"]["dispatched"], 60, "{summary:#}");
}

#[test]
fn a_hunt_on_real_brokers_says_beside_each_verdict_what_the_simulator_says() {
    let _machine = MACHINE.blocking_write();
    let place = Place::new();
    let mut hunt = std::process::Command::new(env!("CARGO_BIN_EXE_experiments"));
    hunt.args(["hunt", "--live", "--seeds", "1..2", "--json", "--quiet"]).env("TMPDIR", place.path().join("tmp"));
    let hunt = hunt.output().unwrap();
    if !has_brokers(&hunt, "a_hunt_on_real_brokers") {
        return;
    }
    place.assert_clean();
    let lines: Vec<serde_json::Value> =
        text(&hunt.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines[0]["seed"].as_u64(), lines.len()), (Some(1), 2), "{lines:#?}");
    assert_eq!(lines[0]["verdict"], "sound", "{lines:#?}");
    assert_eq!(lines[0]["simulated"]["verdict"], "sound", "{lines:#?}");
    assert_eq!(lines[1]["summary"]["sound"], 1);
    assert!(hunt.status.success(), "{}", text(&hunt.stderr));
}
