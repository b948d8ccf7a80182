use super::*;
use crate::{
    cost::Cost,
    measure::{Counters, TaskEnd, TaskRecord},
    run::Run,
};
use backbone::telemetry::FailReason;

/// A run of three tasks: one done, one given up, one still queued.
fn run(wall_s: f64) -> (Spec, Run) {
    let task = |index, end, latency_us: Option<u64>, timeouts| TaskRecord {
        index,
        published_us: 500,
        dispatched_us: 1_000,
        started_us: latency_us.map(|_| 2_000),
        last_try_us: latency_us.map(|_| 2_000),
        finished_us: latency_us.map(|latency| 2_000 + latency),
        try_us: latency_us,
        calls_us: (end == TaskEnd::Done).then_some(30_000),
        end,
        attempts: u32::from(latency_us.is_some()),
        timeouts,
    };
    let tasks = vec![
        task(0, TaskEnd::Done, Some(40_000), 0),
        task(1, TaskEnd::DeadLettered(FailReason::Timeout), Some(999_000), 1),
        task(2, TaskEnd::Queued, None, 0),
    ];
    let counters =
        Counters { rpcs_sent: 4, rpcs_replied: 2, rpcs_timed_out: 1, mqtt_messages: 5, ..Counters::default() };
    let outcome = Outcome {
        tasks,
        rpc_latencies_us: vec![9_000, 7_000],
        counters,
        virtual_us: 1_500_000,
        trace_digest: "abc".into(),
        frames_read: [].into(),
        radio: None,
        violations: Vec::new(),
    };
    let spec = Spec { name: "example".into(), ..Spec::default() };
    let cost = Cost { wall_s, peak_memory_bytes: Some(1), cpu: "a processor".into(), cores: 2, event_log: false };
    (spec, Run { outcome, cost, live: None })
}

fn directories(root: &Path) -> Directories {
    Directories { results: root.join("results"), plots: root.join("plots") }
}

fn write_run(root: &Path, run: &(Spec, Run)) -> Vec<PathBuf> {
    write(&directories(root), &run.0, &run.1.outcome, &Summary::of(&run.0, &run.1)).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_run_leaves_these_files_and_no_others() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(write_run(root.path(), &run(1.0)).len(), 5);
    assert_eq!(names(&root.path().join("results/example")), ["latency.csv", "latency.hgrm", "summary.json"]);
    assert_eq!(names(&root.path().join("plots")), ["histogram_example.png", "histogram_example.svg"]);
}

#[test]
fn the_picture_says_how_the_tasks_ended_and_has_the_words_of_what_it_stands_beside() {
    let root = tempfile::tempdir().unwrap();
    let (spec, run) = run(1.0);
    let picture = |name: &str, title: &str| {
        let spec = Spec { name: name.into(), title: title.into(), seed: 7, ..spec.clone() };
        write_run(root.path(), &(spec, run.clone()));
        std::fs::read_to_string(root.path().join(format!("plots/histogram_{name}.svg"))).unwrap()
    };
    let plain = picture("example", "three tasks");
    for text in [
        "example: three tasks",
        "seed 7",
        "1 of 3 tasks was given up",
        "1 of 3 tasks was not finished",
        "done: 1 task<",
        "given up: 1 task<",
        "router to router",
    ] {
        assert!(plain.replace('\n', "").contains(text), "{text} is not in {plain}");
    }
    let wordings = ["custom_10k_20", "custom_10k_10"].map(|name| picture(name, "of the thesis").contains("DeltaTime"));
    assert_eq!(wordings, [true, false], "the thesis published a figure of the one and not of the other");
}

#[test]
fn the_summary_has_the_documented_keys() {
    let (spec, run) = run(1.0);
    let summary: serde_json::Value = serde_json::from_str(&Summary::of(&spec, &run).to_json()).unwrap();
    assert_eq!(summary["spec"], "example");
    assert_eq!(
        summary["tasks"],
        serde_json::json!({"dispatched": 3, "done": 1, "timed_out": 1, "retried": 0, "dead_lettered": 1, "queued": 1})
    );
    assert_eq!(summary["rpcs"]["replied"], 2);
    let latency = &summary["latency_ms"];
    assert_eq!(latency["end_to_end"]["max"], 41.5);
    assert_eq!(latency["waiting"]["mean"], 1.5);
    assert_eq!((&latency["deciding_try"]["p50"], &latency["deciding_try"]["count"]), (&40.0.into(), &1.into()));
    assert_eq!(latency["calls"]["p50"], 30.0);
    assert_eq!(latency["router_to_router"]["mean"], 8.0);
    assert_eq!((&latency["given_up"]["max"], latency["retries"].is_null()), (&1_000.5.into(), true));
    assert_eq!(summary["expectation"]["met"], false);
    assert!(summary.get("changes").is_none());
    assert_eq!(summary["throughput"]["tasks_per_s"], 1.0);
    assert_eq!(summary["throughput"]["messages_per_s"], 5.0);
    assert_eq!(summary["virtual_s"], 1.5);
    assert_eq!(summary["machine"]["wall_s"], 1.0);
    assert_eq!(summary["versions"]["lapin"], "4.12.3");
    assert_eq!(summary["resolved_spec"]["replicas"]["task_workers"], 50);
}

#[test]
fn the_same_result_on_another_day_leaves_the_file_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("results/example/summary.json");
    write_run(root.path(), &run(1.0));
    let first = std::fs::read_to_string(&file).unwrap();
    write_run(root.path(), &run(2.0));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first);
}

#[test]
fn another_result_is_written_with_its_own_cost() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("results/example/summary.json");
    write_run(root.path(), &run(1.0));
    let mut changed = run(2.0);
    changed.1.outcome.trace_digest = "abd".into();
    write_run(root.path(), &changed);
    let summary: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!((summary["trace_digest"].as_str(), summary["machine"]["wall_s"].as_f64()), (Some("abd"), Some(2.0)));
}

#[test]
fn a_result_that_cannot_be_written_leaves_the_old_ones() {
    let root = tempfile::tempdir().unwrap();
    let first = run(1.0);
    write_run(root.path(), &first);
    let summary = std::fs::read_to_string(root.path().join("results/example/summary.json")).unwrap();
    let blocked = Directories { plots: root.path().join("results/example/summary.json"), ..directories(root.path()) };
    let mut changed = run(2.0);
    changed.1.outcome.trace_digest = "abd".into();
    let written = write(&blocked, &changed.0, &changed.1.outcome, &Summary::of(&changed.0, &changed.1));
    assert!(written.unwrap_err().to_string().starts_with("writing "));
    assert_eq!(names(&root.path().join("results/example")), ["latency.csv", "latency.hgrm", "summary.json"]);
    assert_eq!(std::fs::read_to_string(root.path().join("results/example/summary.json")).unwrap(), summary);
}

#[test]
fn a_run_that_is_interrupted_between_two_files_leaves_no_summary() {
    let root = tempfile::tempdir().unwrap();
    let results = root.path().join("results/example");
    write_run(root.path(), &run(1.0));
    std::fs::remove_file(results.join("latency.hgrm")).unwrap();
    std::fs::create_dir(results.join("latency.hgrm")).unwrap(); // no file can take its place
    let mut changed = run(2.0);
    changed.1.outcome.tasks.pop();
    let summary = Summary::of(&changed.0, &changed.1);
    let written = write(&directories(root.path()), &changed.0, &changed.1.outcome, &summary);
    assert!(written.unwrap_err().to_string().starts_with("replacing "));
    assert_eq!(names(&results), ["latency.csv", "latency.hgrm"]);
    assert_eq!(std::fs::read_to_string(results.join("latency.csv")).unwrap().lines().count(), 3, "that of the new run");
}

#[test]
fn what_only_an_earlier_run_had_to_say_is_removed() {
    let root = tempfile::tempdir().unwrap();
    write_run(root.path(), &run(1.0));
    let mut none_finished = run(1.0);
    none_finished.1.outcome.tasks.drain(..2);
    assert_eq!(write_run(root.path(), &none_finished).len(), 2);
    assert_eq!(names(&root.path().join("results/example")), ["latency.csv", "summary.json"]);
    assert_eq!(names(&root.path().join("plots")), Vec::<String>::new());
}

#[test]
fn the_cost_of_a_run_with_an_event_log_is_marked_and_gives_way_to_a_better_one() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("results/example/summary.json");
    let machine = || {
        let summary: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        (summary["machine"]["wall_s"].as_f64(), summary["machine"]["event_log"].as_bool())
    };
    let mut logged = run(3.0);
    logged.1.cost.event_log = true;
    write_run(root.path(), &logged);
    assert_eq!(machine(), (Some(3.0), Some(true)));
    write_run(root.path(), &run(1.0));
    assert_eq!(machine(), (Some(1.0), None));
    write_run(root.path(), &logged);
    assert_eq!(machine(), (Some(1.0), None));
}

#[test]
fn the_csv_has_a_row_a_task() {
    let csv = latency::csv(&run(1.0).1.outcome.tasks).unwrap();
    let rows = [
        "index,task_id,published_us,dispatched_us,started_us,last_try_us,finished_us,end_to_end_us,waiting_us,\
         retries_us,try_us,calls_us,outcome,reason,attempts,timeouts",
        "0,task-0,500,1000,2000,2000,42000,41500,1500,0,40000,30000,done,,1,0",
        "1,task-1,500,1000,2000,2000,1001000,1000500,1500,0,999000,,dead_lettered,timeout,1,1",
        "2,task-2,500,1000,,,,,,,,,queued,,0,0",
        "",
    ];
    assert_eq!(String::from_utf8(csv).unwrap(), rows.join("\n"));
}

#[test]
fn the_percentile_file_is_in_the_classic_format() {
    let hgrm = String::from_utf8(latency::hgrm(&[1_000, 2_000, 3_000, 4_000]).unwrap()).unwrap();
    let lines: Vec<&str> = hgrm.lines().collect();
    assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
    assert_eq!(lines[2], "       1.000 0.000000000000          1           1.00");
    assert!(lines.contains(&"       4.001 1.000000000000          4"), "{hgrm}");
    assert!(lines.contains(&"#[Max     =        4.001, Total count    =            4]"), "{hgrm}");
}

#[test]
fn the_table_says_it_all_in_a_few_lines() {
    let (mut spec, run) = run(1.25);
    spec.title = "a run".into();
    spec.workload.tasks = 3;
    let table = crate::table::render(&Summary::of(&spec, &run));
    let expected = "\
example: a run
  ! 33.33 % of the tasks were done; expected was at least 100 %
  ! 1 of 3 tasks was given up, at the median after 1,000.50 ms; no latency is of these
  ! 1 of 3 tasks was not finished when the run ended
  - no work costs CPU time in this spec, so it can't tell how many replicas are needed
  tasks                 3 dispatched  ·  1 done  ·  1 timed out  ·  0 retried  ·  1 dead-lettered  ·  1 still queued
  RPCs                  4 sent  ·  2 replied  ·  1 timed out  ·  0 misrouted  ·  1 failed

  latency in ms                mean        p50        p90        p95        p99        max
  end to end                  41.50      41.50      41.50      41.50      41.50      41.50
  waiting for a worker         1.50       1.50       1.50       1.50       1.50       1.50
  the try that ended it       40.00      40.00      40.00      40.00      40.00      40.00
  its calls                   30.00      30.00      30.00      30.00      30.00      30.00
  router to router             8.00       7.00       9.00       9.00       9.00       9.00

  per virtual second    1.00 tasks  ·  2.00 RPCs  ·  5.00 MQTT messages
  time                  1.500 s virtual  ·  1.250 s wall  ·  1.20 virtual/wall
  peak memory           0.0 MB
  seed                  1
  trace digest          abc
";
    assert_eq!(table, expected);
}

#[test]
fn what_the_command_line_changed_is_told_in_summary_and_table() {
    let (mut spec, run) = run(1.0);
    let from = spec.clone();
    (spec.seed, spec.replicas.routers) = (7, 4);
    spec.origin.changes = crate::spec::changes(&from, &spec).unwrap();
    let summary = Summary::of(&spec, &run);
    let json: serde_json::Value = serde_json::from_str(&summary.to_json()).unwrap();
    assert_eq!(json["changes"][1], serde_json::json!({"path": "seed", "from": 1, "to": 7}));
    let told = "differs from the spec: replicas.routers = 4 instead of 1, seed = 7 instead of 1";
    assert!(crate::table::render(&summary).contains(told));
}

#[test]
fn only_what_is_run_as_it_is_is_of_record() {
    let mut spec = Spec::default();
    assert!(!is_of_record(&spec), "a spec of one's own, in the repository");
    spec.origin.built_in = true;
    assert!(is_of_record(&spec));
    let changed = Spec { seed: 7, ..spec.clone() };
    spec.origin.changes = crate::spec::changes(&spec, &changed).unwrap();
    assert!(!is_of_record(&spec));
}

#[test]
fn what_cannot_be_written_is_known_before_the_run() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    std::fs::write(at("file"), "").unwrap();
    assert!(check_writable(&at("new/deep/summary.json")).is_ok());
    assert!(!at("new").exists(), "nothing is left behind");
    let message = check_writable(&at("file/summary.json")).unwrap_err().to_string();
    assert!(message.ends_with("file/summary.json can't be written"), "{message}");
    assert!(check_writable(root.path()).is_err(), "a directory");
}
