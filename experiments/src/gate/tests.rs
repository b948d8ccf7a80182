use super::*;
use crate::{
    attribution::{Attribution, Details},
    cost::Cost,
    measure::{Outcome, TaskEnd, TaskRecord},
    simulate::attribute,
    spec::Library,
};
use std::sync::Arc;

/// A run of two done tasks.
fn run(latencies_us: [u64; 2], digest: &str) -> Run {
    let task = |(index, latency_us): (u32, u64)| TaskRecord {
        index,
        published_us: 1_000,
        offered_us: 1_000,
        started_us: Some(2_000),
        last_try_us: Some(2_000),
        finished_us: Some(1_000_000),
        try_us: Some(latency_us),
        end: TaskEnd::Done,
        attempts: 1,
        ..TaskRecord::default()
    };
    let tasks = (0..).zip(latencies_us).map(task).collect();
    let outcome = Outcome { tasks, trace_digest: digest.into(), ..Outcome::default() };
    Run { outcome, cost: Cost::here(1.0), live: None }
}

fn spec() -> Spec {
    let mut spec = Spec { name: "example".into(), ..Spec::default() };
    spec.workload.tasks = 2;
    spec
}

/// `run` against a committed result with latencies of 40 and 50 ms; `edit` may change what is committed.
fn compared(run: Run, edit: impl FnOnce(&mut serde_json::Value)) -> Checked {
    let mut file: serde_json::Value =
        serde_json::from_str(&Summary::of(&spec(), &self::run([40_000, 50_000], "abc")).to_json()).unwrap();
    edit(&mut file);
    let committed: Committed = serde_json::from_value(file).unwrap();
    compare::compare(&committed, &Summary::of(&spec(), &run), 1.0)
}

#[test]
fn the_committed_numbers_pass_without_a_word() {
    let checked = compared(run([40_000, 50_000], "abc"), |_| {});
    assert_eq!(checked.verdict, Verdict::Unchanged);
    assert!(report::details(&checked).is_empty());
}

#[test]
fn another_digest_with_equal_numbers_is_a_note() {
    let checked = compared(run([40_000, 50_000], "xyz"), |_| {});
    assert_eq!(checked.verdict, Verdict::Unchanged);
    assert_eq!(checked.notes.len(), 1, "{:?}", checked.notes);
}

#[test]
fn a_small_move_is_told_and_passes() {
    let checked = compared(run([40_000, 50_500], "x"), |_| {});
    assert_eq!(checked.verdict, Verdict::Within);
    let moved: Vec<&str> = checked.moves.iter().map(|moved| moved.figure.as_str()).collect();
    assert_eq!(moved, ["the try that ended it, p99 ms", "the try that ended it, max ms"]);
}

#[test]
fn a_move_beyond_the_tolerance_fails_in_both_directions() {
    let worse = compared(run([40_000, 50_501], "x"), |_| {});
    let better = compared(run([40_000, 49_499], "x"), |_| {});
    assert_eq!((worse.verdict, better.verdict), (Verdict::Regressed, Verdict::Moved));
    assert!(!worse.verdict.passes() && !better.verdict.passes());
    assert!(report::conclusion(&[better], 1.0).contains("got better"));
    assert!(!report::conclusion(&[worse], 1.0).contains("got better"));
}

#[test]
fn counts_are_exact() {
    for (pointer, figure) in [("/tasks/timed_out", "tasks timed out"), ("/rpcs/misrouted", "RPCs misrouted")] {
        let checked = compared(run([40_000, 50_000], "abc"), |file| *file.pointer_mut(pointer).unwrap() = 1.into());
        assert_eq!(checked.verdict, Verdict::Regressed);
        assert_eq!(
            (checked.moves[0].figure.as_str(), checked.moves[0].judgement, checked.moves.len()),
            (figure, Judgement::Different, 1)
        );
    }
    let checked = compared(run([40_000, 50_000], "abc"), |file| file["drops"]["ReplyLate"] = 3.into());
    assert_eq!((checked.verdict, checked.moves[0].today), (Verdict::Regressed, Some(0.0)));
}

#[test]
fn a_slower_system_is_worse_and_not_better() {
    let checked = compared(run([40_000, 50_000], "abc"), |file| file["throughput"]["tasks_per_s"] = 4.0.into());
    assert_eq!((checked.verdict, checked.moves[0].judgement), (Verdict::Regressed, Judgement::Worse));
    assert!((checked.moves[0].change_percent.unwrap() + 50.0).abs() < 1.0, "{:?}", checked.moves);
}

#[test]
fn a_result_of_another_spec_is_stale_and_the_key_is_named() {
    let checked = compared(run([40_000, 50_000], "abc"), |file| {
        file["resolved_spec"]["network"]["loss_ppm"] = 7.into();
        file["resolved_spec"]["title"] = "other words".into();
    });
    assert_eq!(checked.verdict, Verdict::Stale);
    assert_eq!(report::details(&checked), ["the spec is another one: network.loss_ppm = 0 instead of 7"]);
}

#[test]
fn a_field_that_is_younger_than_the_result_had_its_default_then() {
    let without = |spec: &Spec| {
        let mut file: serde_json::Value =
            serde_json::from_str(&Summary::of(spec, &run([40_000, 50_000], "abc")).to_json()).unwrap();
        let network = file["resolved_spec"]["network"].as_object_mut().unwrap();
        assert!(network.remove("loss_ppm").is_some());
        assert!(file["resolved_spec"].as_object_mut().unwrap().remove("brokers").is_some());
        let committed: Committed = serde_json::from_value(file).unwrap();
        compare::compare(&committed, &Summary::of(spec, &run([40_000, 50_000], "abc")), 1.0)
    };
    assert_eq!(without(&spec()).verdict, Verdict::Unchanged);

    let mut other = spec();
    other.network.loss_ppm = 7;
    let checked = without(&other);
    assert_eq!(checked.verdict, Verdict::Stale);
    assert_eq!(report::details(&checked), ["the spec is another one: network.loss_ppm = 7 instead of 0"]);
}

#[test]
fn a_result_of_a_spec_that_is_none_any_more_is_stale_and_the_reason_is_told() {
    let checked = compared(run([40_000, 50_000], "abc"), |file| file["resolved_spec"]["network"]["delay"] = 7.into());
    assert_eq!(checked.verdict, Verdict::Stale);
    let [note] = &checked.notes[..] else { panic!("{:?}", checked.notes) };
    assert!(note.contains("can't be read any more: unknown field `delay`, expected one of `quantum_us`"), "{note}");
}

#[test]
fn a_run_that_does_not_come_out_as_expected_fails_whatever_is_committed() {
    let mut spec = spec();
    spec.expect.done_percent_max = Some(50);
    let today = Summary::of(&spec, &run([40_000, 50_000], "abc"));
    let committed: Committed = serde_json::from_str(&today.to_json()).unwrap();
    let checked = compare::compare(&committed, &today, 1.0);
    assert_eq!(checked.verdict, Verdict::Missed);
    assert_eq!(checked.notes, ["100 % of the tasks were done; expected was at most 50 %"]);
}

#[test]
fn a_committed_result_that_cannot_be_read_is_damaged_and_not_missing() {
    let results = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(results.path().join("example")).unwrap();
    std::fs::write(results.path().join("example/summary.json"), "{\"tasks\": ").unwrap();
    fn fine(
        _: &Spec,
        _: &Arc<crate::progress::Progress>,
        _: Option<Box<dyn std::io::Write + Send>>,
    ) -> anyhow::Result<Outcome> {
        Ok(run([40_000, 50_000], "abc").outcome)
    }
    let judged = check(&[spec()], results.path(), 1.0, fine, true).remove(0);
    assert_eq!(judged.checked.verdict, Verdict::Damaged);
    assert!(judged.checked.notes[0].contains("example/summary.json is damaged"), "{:?}", judged.checked.notes);
}

#[test]
fn annotations_and_xml_are_escaped() {
    let failed = Checked::failed("a:b,c", Verdict::Failed, "100 % <broken>\nsecond & last \u{1b}".into());
    assert_eq!(
        github(std::slice::from_ref(&failed), Path::new("results")),
        "::error file=results/a%3Ab%2Cc/summary.json,title=a%3Ab%2Cc%3A failed::note: 100 %25 <broken>%0Asecond & last \
         \u{1b}\n"
    );
    let xml = junit(&[failed]);
    assert!(
        xml.contains("<testsuite name=\"experiments check\" tests=\"1\" skipped=\"0\" errors=\"1\" failures=\"0\""),
        "{xml}"
    );
    assert!(xml.contains("100 % &lt;broken&gt;\nsecond &amp; last </error>"), "{xml}");
}

/// `smoke` with routers that wait longer for Redis: slowed from outside, so that the spec stays the committed one.
fn with_slow_routers(
    spec: &Spec,
    progress: &Arc<crate::progress::Progress>,
    log: Option<Box<dyn std::io::Write + Send>>,
) -> anyhow::Result<Outcome> {
    let mut slowed = spec.clone();
    slowed.machines.router.frame_us = 200;
    crate::simulate::simulate(&slowed, progress, log)
}

#[test]
fn slowed_routers_are_caught_and_unchanged_ones_pass() {
    let spec = Library::repository().load("smoke").unwrap();
    let results = tempfile::tempdir().unwrap();
    let check_with =
        |simulate| check(std::slice::from_ref(&spec), results.path(), TOLERANCE_PERCENT, simulate, true).remove(0);
    let first = check_with(crate::simulate::simulate);
    assert_eq!(first.checked.verdict, Verdict::Missing);
    assert!(first.checked.notes[0].contains("--bless"), "{:?}", first.checked.notes);

    let (run, summary) = first.run.unwrap();
    let to = crate::results::Directories { results: results.path().to_owned(), plots: results.path().join("plots") };
    crate::results::write(&to, &spec, &run.outcome, &summary).unwrap();
    assert_eq!(check_with(crate::simulate::simulate).checked.verdict, Verdict::Unchanged);

    let slowed = check_with(with_slow_routers).checked;
    assert_eq!(slowed.verdict, Verdict::Regressed);
    let p99 = slowed.moves.iter().find(|moved| moved.figure == "the try that ended it, p99 ms").unwrap();
    assert_eq!(p99.judgement, Judgement::Worse);
    assert!(slowed.moves.iter().all(|moved| moved.judgement != Judgement::Different), "{:?}", slowed.moves);
}

fn attribute_with_slow_routers(
    spec: &Spec,
    details: Details,
    progress: &Arc<crate::progress::Progress>,
) -> anyhow::Result<(Outcome, Attribution)> {
    let mut slowed = spec.clone();
    slowed.machines.router.frame_us = 200;
    attribute(&slowed, details, progress)
}

#[test]
fn the_gate_says_first_which_causes_made_a_latency_move() {
    let spec = Library::repository().load("smoke").unwrap();
    let specs = std::slice::from_ref(&spec);
    let results = tempfile::tempdir().unwrap();
    let check_slow = || {
        let mut judged = check(specs, results.path(), TOLERANCE_PERCENT, with_slow_routers, true);
        explain(specs, &mut judged, results.path(), attribute_with_slow_routers, true);
        judged.remove(0).checked
    };
    let (run, summary) =
        check(specs, results.path(), TOLERANCE_PERCENT, crate::simulate::simulate, true).remove(0).run.unwrap();
    let to = crate::results::Directories { results: results.path().to_owned(), plots: results.path().join("plots") };
    crate::results::write(&to, &spec, &run.outcome, &summary).unwrap();
    let without = check_slow();
    assert!(without.why.is_empty() && without.notes[0].contains("no causes are committed"), "{:?}", without.notes);

    write_causes(&[&spec], &[&run.outcome.trace_digest], results.path(), attribute).unwrap();
    let slowed = check_slow();
    assert_eq!(slowed.verdict, Verdict::Regressed);
    let why = slowed.why.iter().find(|why| why.figure == "the try that ended it, p99 ms").unwrap();
    assert_eq!(why.causes[0].cause, "service_cpu", "{:?}", slowed.why);
    let details = report::details(&slowed);
    assert!(details[0].starts_with("end to end, p99 ms moved by"), "{details:?}");
    assert!(details.iter().any(|line| line.trim_start().starts_with("services' CPU: ")), "{details:?}");

    let mut judged = check(specs, results.path(), TOLERANCE_PERCENT, crate::simulate::simulate, true);
    fn never(_: &Spec, _: Details, _: &Arc<crate::progress::Progress>) -> anyhow::Result<(Outcome, Attribution)> {
        panic!("what has not moved needs no reason")
    }
    explain(specs, &mut judged, results.path(), never, true);
    let checked = &judged[0].checked;
    assert_eq!(checked.verdict, Verdict::Unchanged);
    // A run that panics becomes a note.
    assert!(checked.notes.is_empty() && checked.why.is_empty(), "{:?} {:?}", checked.notes, checked.why);
}

#[test]
fn causes_of_another_result_are_not_compared() {
    let results = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(results.path().join("example")).unwrap();
    let causes = r#"{"trace_digest": "abc", "latencies": {}}"#;
    std::fs::write(results.path().join("example/causes.json"), causes).unwrap();
    let causes = Causes::read(results.path(), "example").unwrap().unwrap();
    assert!(causes.are_of("abc") && !causes.are_of("xyz"));
    std::fs::write(results.path().join("example/causes.json"), "{}").unwrap();
    assert!(format!("{:#}", Causes::read(results.path(), "example").unwrap_err()).contains("causes.json is damaged"));
    assert!(Causes::read(results.path(), "other").unwrap().is_none());
}

#[test]
fn a_run_that_fails_is_an_error_of_the_gate() {
    fn broken(
        _: &Spec,
        _: &Arc<crate::progress::Progress>,
        _: Option<Box<dyn std::io::Write + Send>>,
    ) -> anyhow::Result<Outcome> {
        panic!("a broken invariant")
    }
    let judged = check(&[spec(), spec()], Path::new("/nowhere"), 1.0, broken, true);
    assert_eq!(judged.len(), 2);
    for judged in judged {
        assert_eq!(judged.checked.verdict, Verdict::Failed);
        assert!(judged.run.is_none() && judged.checked.notes[0].contains("a broken invariant"));
    }
}
