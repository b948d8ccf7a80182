//! Runs in which signal strength decides.

use experiments::{
    measure::Outcome,
    run,
    simulate::simulate,
    spec::{Library, Override, Spec, load},
};
use std::sync::Arc;

/// `name` with fewer tasks, and with these fields.
fn spec(name: &str, changes: &[&str]) -> Spec {
    let mut overrides = vec![Override::parse("workload.tasks=200").unwrap()];
    overrides.extend(changes.iter().map(|change| Override::parse(change).unwrap()));
    load(&Library::repository(), name, &overrides).unwrap()
}

fn run_of(spec: &Spec) -> Outcome {
    let outcome = simulate(spec, &Arc::default(), None).unwrap();
    assert_eq!(outcome.violations, []);
    outcome
}

/// How many commands of a thousand were acknowledged at the first packet.
fn at_first_try(outcome: &Outcome) -> u64 {
    let radio = outcome.radio.unwrap();
    assert_eq!(radio.commands, radio.answered + radio.unanswered);
    1_000 * radio.at_first_try / radio.commands
}

#[test]
fn the_strongest_gateway_is_better_than_any_and_air_time_shows_it() {
    let [strongest, any] = ["radio_rssi", "radio_random"].map(|name| run_of(&spec(name, &[])));
    assert!(at_first_try(&strongest) > at_first_try(&any) + 50, "{:?} {:?}", strongest.radio, any.radio);
    let per_answer = |outcome: &Outcome| {
        let radio = outcome.radio.unwrap();
        radio.gateway_us / radio.answered
    };
    assert!(per_answer(&strongest) < per_answer(&any));
}

#[test]
fn a_run_with_everything_that_a_radio_has_repeats() {
    let everything = [
        "fleet.radio.roaming_m_per_min=100",
        "fleet.radio.roaming_percent=50",
        "fleet.radio.interference_db=6",
        "fleet.radio.interference_from_s=15",
        "fleet.radio.interference_for_s=5",
        "fleet.rssi_change_db=6",
        "fleet.rssi_heartbeat_ms=15000",
        "backbone.routing.smoothing_ms=5000",
        "backbone.routing.hysteresis_db=5",
        "backbone.routing.hysteresis_ms=3000",
        "backbone.routing.retry_elsewhere=true",
    ];
    let run = run::verify(&spec("radio_rssi", &everything), simulate, true).unwrap();
    assert!(run.outcome.radio.unwrap().tries > 400, "{:?}", run.outcome.radio);
}

#[test]
fn who_reports_changes_alone_says_less_and_reaches_as_many_labels() {
    let all = run_of(&spec("radio_rssi", &["fleet.rssi_period_ms=1000"]));
    let changes = run_of(&spec(
        "radio_rssi",
        &[
            "fleet.rssi_period_ms=1000",
            "fleet.rssi_change_db=6",
            "fleet.rssi_heartbeat_ms=60000",
            "backbone.routing.route_fresh_ms=90000",
        ],
    ));
    assert!(at_first_try(&changes) + 30 > at_first_try(&all), "{:?} {:?}", changes.radio, all.radio);
    assert_eq!(changes.task_counts().done, 200);
}

#[test]
fn a_spec_without_a_radio_says_nothing_of_one() {
    let outcome = run_of(&spec("smoke", &["workload.tasks=20"]));
    assert_eq!(outcome.radio, None);
}
