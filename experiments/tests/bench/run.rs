//! Running an experiment, with stand-ins for the simulation: what the bench makes of success, failure and difference.
//! No number here says anything about the backbone.

use experiments::measure::{Oracle, Outcome, TaskEnd, TaskRecord, Violation};
use experiments::progress::Progress;
use experiments::run::run;
use experiments::run::verify;
use experiments::spec::Spec;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

fn spec() -> Spec {
    Spec { name: "stand_in".into(), ..Spec::default() }
}

fn outcome(digest: &str) -> Outcome {
    let task = TaskRecord {
        index: 0,
        started_us: Some(1),
        finished_us: Some(5),
        try_us: Some(4),
        calls_us: Some(3),
        end: TaskEnd::Done,
        attempts: 1,
        ..TaskRecord::default()
    };
    Outcome { tasks: vec![task], trace_digest: digest.into(), virtual_us: 5, ..Outcome::default() }
}

type Trace = Option<Box<dyn Write + Send>>;

fn sound(_: &Spec, progress: &Arc<Progress>, trace: Trace) -> anyhow::Result<Outcome> {
    progress.tasks_total.store(1, Relaxed);
    if let Some(mut trace) = trace {
        trace.write_all(b"0 connected\n5 done\n")?;
        trace.flush()?;
    }
    Ok(outcome("same"))
}

/// Its third event is another one each time.
fn unsteady(_: &Spec, _: &Arc<Progress>, trace: Trace) -> anyhow::Result<Outcome> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let number = RUNS.fetch_add(1, Relaxed);
    if let Some(mut trace) = trace {
        write!(trace, "connected\nsent\nreply {number}\n")?;
        trace.flush()?;
    }
    Ok(outcome(&number.to_string()))
}

/// Its log is the same each time, its digest is not.
fn unsteady_digest(_: &Spec, _: &Arc<Progress>, _: Trace) -> anyhow::Result<Outcome> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    Ok(outcome(&format!("d{}", RUNS.fetch_add(1, Relaxed))))
}

fn panicking(_: &Spec, _: &Arc<Progress>, _: Trace) -> anyhow::Result<Outcome> {
    panic!("a broken invariant")
}

fn unbalanced(_: &Spec, _: &Arc<Progress>, _: Trace) -> anyhow::Result<Outcome> {
    let lost = Violation { oracle: Oracle::TaskLost, text: "10 dispatched, 9 accounted for".into() };
    Ok(Outcome { violations: vec![lost], ..outcome("x") })
}

#[test]
fn a_run_gives_its_outcome_and_what_it_cost() {
    let run = run(&spec(), sound, None, true).unwrap();
    assert_eq!(run.outcome, outcome("same"));
    assert!(run.cost.wall_s < 60.0 && run.cost.cores > 0 && !run.cost.event_log);
}

#[test]
fn a_panic_in_a_run_is_an_error_with_its_message() {
    let error = run(&spec(), panicking, None, true).unwrap_err().to_string();
    assert_eq!(error, "the run panicked: a broken invariant");
}

#[test]
fn a_run_that_does_not_add_up_is_an_error() {
    let error = run(&spec(), unbalanced, None, true).unwrap_err().to_string();
    assert_eq!(error, "the run does not add up:\n  10 dispatched, 9 accounted for");
}

#[test]
fn two_equal_runs_are_verified() {
    let run = verify(&spec(), sound, true).unwrap();
    assert_eq!(run.outcome.trace_digest, "same");
    assert!(run.cost.event_log, "what it cost is not what a plain run costs");
}

#[test]
fn two_different_runs_name_the_first_event_that_diverged() {
    let error = verify(&spec(), unsteady, true).unwrap_err().to_string();
    assert!(error.contains("first in event 3\n  first run:  reply 0\n  second run: reply 1"), "{error}");
}

#[test]
fn runs_that_differ_only_in_their_digest_are_told_apart() {
    let error = verify(&spec(), unsteady_digest, true).unwrap_err().to_string();
    assert!(error.contains("trace digests d0 and d1"), "{error}");
}
