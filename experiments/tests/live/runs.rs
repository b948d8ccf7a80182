//! Live runs: the program starts brokers and routers, measures, writes its results beside the simulated ones, and
//! leaves no process behind, also when it is interrupted.

use crate::{
    MACHINE,
    place::{Place, has_brokers, processes, text},
};
use rustix::process::{Pid, Signal, kill_process};
use sim::real::broker::skip;
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

const SMALL: [&str; 6] = ["smoke", "--live", "--tasks", "40", "--set", "machines.router.cpu_quota_us=90000"];

#[test]
fn a_live_run_leaves_its_results_beside_the_simulated_ones_and_nothing_else() {
    let _machine = MACHINE.blocking_read();
    let place = Place::new();
    let mut run = place.experiments(&SMALL).output().unwrap();
    if !has_brokers(&run, "a_live_run_leaves_its_results") {
        return;
    }
    let mut quota = "as in the spec (cgroup v";
    if text(&run.stderr).contains("--no-quota runs without quotas") {
        // No control groups here, so the run was refused before anything was started.
        place.assert_clean();
        quota = "NOT those of the spec";
        run = place.experiments(&[&SMALL[..], &["--no-quota"]].concat()).output().unwrap();
    }
    assert!(run.status.success(), "{}", text(&run.stderr));
    place.assert_clean();
    let table = text(&run.stdout);
    assert!(table.contains("40 dispatched  ·  40 done") && table.contains(quota), "{table}");

    let summary: serde_json::Value = serde_json::from_str(&place.read("results/live/smoke/summary.json")).unwrap();
    assert_eq!(summary["tasks"]["done"], 40);
    assert_eq!(summary["rpcs"]["replied"], 80);
    for part in ["fwd_router", "bck_router", "amqp", "mqtt", "redis", "bench"] {
        assert!(summary["live"]["cpu_us_per_rpc"][part].as_f64().is_some(), "{summary:#}");
    }
    // Each request was traced through worker and both routers, but for those few that a newer one has overtaken: the
    // forward router answers these itself.
    let traced = summary["live"]["hops"]["calls"].as_u64().unwrap();
    assert!((60..=80).contains(&traced), "{summary:#}");
    let between = &summary["latency_ms"]["router_to_router"];
    assert_eq!(between["count"], traced, "{summary:#}");
    assert!(between["mean"].as_f64().unwrap() < summary["latency_ms"]["calls"]["mean"].as_f64().unwrap());
    assert!(summary["throughput"]["messages_per_s"].as_f64().unwrap() > 0.0, "{summary:#}");
    assert_eq!(place.read("results/live/smoke/latency.csv").lines().count(), 41);
    for file in ["results/live/smoke/latency.hgrm", "plots/live/histogram_smoke.svg", "plots/live/histogram_smoke.png"]
    {
        assert!(place.path().join(file).exists(), "{file}");
    }
    assert!(!place.path().join("results/smoke").exists(), "a simulated result was overwritten");

    let comparison = place.experiments(&["compare", "smoke", "--quiet"]).output().unwrap();
    let table = text(&comparison.stdout);
    assert!(table.contains("distance of simulation to live") && table.contains("router CPU us"), "{table}");
    let hops = table.lines().find(|line| line.contains("routers p50")).unwrap();
    assert!(!hops.contains(" -"), "{table}");
    assert!(place.read("plots/compare_smoke.svg").contains("live"));
}

#[test]
fn an_interrupted_live_run_ends_its_processes_and_writes_nothing() {
    let _machine = MACHINE.blocking_read();
    let place = Place::new();
    // Labels so slow that it would take minutes.
    let slow = ["--set", "fleet.ble_service_ms.median=2000", "--tasks", "1000", "--no-quota"];
    let mut run = place.experiments(&[&["smoke", "--live"][..], &slow].concat());
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(run.stderr.take().unwrap());
    while !said.contains(", working, ") && lines.read_line(&mut said).unwrap() > 0 {}
    if said.contains("not installed: ") {
        run.wait().unwrap();
        return skip("an_interrupted_live_run", said.trim());
    }
    let name = place.path().to_str().unwrap();
    assert!(processes().any(|command| command.contains("fwd-router") && command.contains(name)), "{said}");
    kill_process(Pid::from_child(&run), Signal::INT).unwrap();
    while lines.read_line(&mut said).unwrap() > 0 {}
    assert_eq!(run.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("stopped by SIGINT; nothing was written"), "{said}");
    assert!(!said.contains("ERROR"), "connections that end with the run are no errors: {said}");
    place.assert_clean();
    assert!(!place.path().join("results").exists());
}

#[test]
fn what_can_not_be_had_live_is_refused_before_anything_is_started() {
    let _machine = MACHINE.blocking_read();
    let refused = |arguments: &[&str]| {
        let place = Place::new();
        let output = place.experiments(&[&["smoke"][..], arguments].concat()).output().unwrap();
        assert!(!output.status.success());
        place.assert_clean();
        text(&output.stderr)
    };
    let fault = "faults=[{ at_ms = 10, kind = 'cut', target = 'redis', for_ms = 10 }]";
    let message = refused(&["--live", "--set", fault]);
    assert!(message.contains("a fault `cut`, which only the simulator injects; a live run has crash, "), "{message}");
    assert!(refused(&["--live", "--set", "network.loss_ppm=1"]).contains("only the simulator"));
    let scaled = "autoscale.task_workers.triggers=[{ queue = 'task_queue' }]";
    assert!(refused(&["--live", "--set", scaled]).contains("scales replicas"));
    assert!(refused(&["--live", "--verify"]).contains("--verify"));
    assert!(refused(&["--redis", "redis://localhost"]).contains("--live"));
    let worker = refused(&["--live", "--set", "machines.task_worker.cpu_quota_us=1000"]);
    assert!(worker.contains("the CPU quota of task_worker can't be kept live"), "{worker}");
    let message = refused(&["--live", "--mqtt", "mqtts://me:secret@localhost:1"]);
    assert!(message.contains("--mqtt: TLS needs --ca-file") && !message.contains("secret"), "{message}");
}
