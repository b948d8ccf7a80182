use super::*;
use crate::{
    hunt::world,
    measure::{Outcome, Violation},
    progress::Progress,
    spec::Pod,
};
use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// A world of four faults, of which some may matter.
fn broken() -> Spec {
    let mut spec = world::draw(4);
    let fault = |at_ms, target: Pod| Fault::new(at_ms, FaultKind::Crash, target, 5_000);
    spec.faults =
        vec![fault(10, Pod::Mqtt), fault(1_234, Pod::Amqp), fault(7_000, Pod::Redis), fault(20_000, Pod::Dispatcher)];
    (spec.workload.tasks, spec.replicas.task_workers, spec.expect.probe_tasks) = (120, 5, 10);
    with_limits(&mut spec);
    spec.check().unwrap();
    spec
}

/// Broken by a crash of RabbitMQ of at least 100 ms, with three tasks and two workers.
fn fragile(spec: &Spec, _: &Arc<Progress>, _: Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome> {
    let is_hit = |fault: &Fault| fault.target == Part::One(Pod::Amqp) && fault.for_ms >= Some(100);
    let is_broken = spec.faults.iter().any(is_hit) && spec.workload.tasks >= 3 && spec.replicas.task_workers >= 2;
    let violations = if is_broken { vec![Oracle::TaskLost.broken("task-1 is nowhere")] } else { Vec::new() };
    Ok(Outcome { violations, ..Outcome::default() })
}

#[test]
fn what_does_not_matter_goes_and_what_does_stays() {
    let spec = broken();
    let fingerprint = Fingerprint { oracle: Oracle::TaskLost, kind: String::new() };
    let mut steps = 0;
    let shrunk = shrink(&spec, &fingerprint, fragile, 1_000, &mut |_| steps += 1);
    let Shrunk { spec: small, runs } = shrunk;
    assert_eq!((small.faults.len(), small.faults[0].target, small.faults[0].at_ms), (1, Part::One(Pod::Amqp), 0));
    assert!((100..200).contains(&small.faults[0].for_ms.unwrap()), "{:?}", small.faults);
    assert_eq!((small.workload.tasks, small.replicas.task_workers, small.replicas.routers), (3, 2, 1));
    assert_eq!(small.backbone, Spec::default().backbone, "every choice is back");
    assert!(runs < 200 && steps > 5, "{runs} runs, {steps} steps");
}

#[test]
fn runs_are_bounded() {
    let spec = world::draw(4);
    let fingerprint = Fingerprint { oracle: Oracle::NotReady, kind: "never".into() };
    assert_eq!(shrink(&spec, &fingerprint, fragile, 7, &mut |_| ()).runs, 7);
}

fn found(violations: Vec<Violation>) -> anyhow::Result<Outcome> {
    Ok(Outcome { violations, ..Outcome::default() })
}

/// A crash of RabbitMQ is never got over; whatever else, it takes a minute until all is well.
fn slow(spec: &Spec, _: &Arc<Progress>, _: Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome> {
    let is_sick = spec.faults.iter().any(|fault| fault.target == Part::One(Pod::Amqp));
    let stuck = (is_sick || spec.limits.recover_s < 60).then(|| Oracle::NotDrained.broken("stuck"));
    found(stuck.into_iter().collect())
}

#[test]
fn a_healthy_world_is_not_taken_for_a_sick_one_for_want_of_patience() {
    let fingerprint = Fingerprint { oracle: Oracle::NotDrained, kind: String::new() };
    let shrunk = shrink(&broken(), &fingerprint, slow, 1_000, &mut |_| ());
    let targets: Vec<Part> = shrunk.spec.faults.iter().map(|fault| fault.target).collect();
    assert_eq!((targets, shrunk.spec.workload.tasks), (vec![Part::One(Pod::Amqp)], 1));
    assert!(shrunk.spec.limits.recover_s >= 60, "a world keeps the limit that it has by itself");
}

static PATIENT_RUNS: AtomicUsize = AtomicUsize::new(0);

/// Loses a task at once.
fn lost(spec: &Spec, _: &Arc<Progress>, _: Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome> {
    PATIENT_RUNS.fetch_add(usize::from(spec.limits.recover_s > PATIENCE_S[0]), Relaxed);
    let is_hit = |fault: &Fault| fault.target == Part::One(Pod::Redis);
    found(spec.faults.iter().filter(|fault| is_hit(fault)).map(|_| Oracle::TaskLost.broken("lost")).collect())
}

#[test]
fn what_is_there_at_once_is_waited_for_in_those_runs_alone_that_prove_it() {
    let fingerprint = Fingerprint { oracle: Oracle::TaskLost, kind: String::new() };
    let shrunk = shrink(&broken(), &fingerprint, lost, 1_000, &mut |_| ());
    assert_eq!(shrunk.spec.faults.len(), 1);
    let patient = PATIENT_RUNS.load(Relaxed);
    assert!(shrunk.runs > 20 && (1..=3).contains(&patient), "{patient} of {} runs were patient", shrunk.runs);
}

/// Shows in each large world, and in a small one under each fourth seed.
fn rare(spec: &Spec, _: &Arc<Progress>, _: Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome> {
    let tasks = spec.workload.tasks;
    let shows = tasks >= 20 || tasks >= 2 && spec.seed % 4 == 3;
    found(if shows { vec![Oracle::TaskLost.broken("lost")] } else { Vec::new() })
}

#[test]
fn a_small_world_may_show_it_under_another_seed() {
    let fingerprint = Fingerprint { oracle: Oracle::TaskLost, kind: String::new() };
    let shrunk = shrink(&broken(), &fingerprint, rare, 1_000, &mut |_| ());
    assert_eq!((shrunk.spec.workload.tasks, shrunk.spec.seed % 4), (2, 3));
}

#[test]
fn each_smaller_size_is_tried_once() {
    assert_eq!(smaller(100), [1, 25, 50, 75, 99]);
    assert_eq!([smaller(3), smaller(2), smaller(1), smaller(0)], [vec![1, 2], vec![1], vec![], vec![]]);
}

static RUNS: AtomicUsize = AtomicUsize::new(0);

fn counted(spec: &Spec, _: &Arc<Progress>, _: Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome> {
    static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let is_new = SEEN.lock().unwrap().insert(spec.to_toml());
    RUNS.fetch_add(usize::from(!is_new), Relaxed);
    found(if spec.workload.tasks >= 7 { vec![Oracle::TaskLost.broken("lost")] } else { Vec::new() })
}

#[test]
fn no_world_is_run_twice() {
    let fingerprint = Fingerprint { oracle: Oracle::TaskLost, kind: String::new() };
    let shrunk = shrink(&broken(), &fingerprint, counted, 1_000, &mut |_| ());
    assert_eq!((shrunk.spec.workload.tasks, RUNS.load(Relaxed)), (7, 0));
}
