//! A gateway that hears a label best, but does not reach it: its reading stays the best for as long as it is fresh.

use super::{Field, LABELS, label, run, task};
use backbone::config::Config;
use sim::{
    Seed,
    broker::mqtt,
    fleet::{Air, Antenna, Interference, RadioPlan, StorePlan},
};
use std::time::Duration;

/// The air around a gateway that hears all labels well, until after four seconds noise drowns everything out.
fn drowned() -> Antenna {
    let plan = RadioPlan {
        shadowing_db: 0.0,
        fading_db: 0.0,
        noise_figure_db: 7.0,
        command_bytes: 100,
        repeats_max: 3,
        repeat: Duration::from_millis(20),
        wake_period: Duration::ZERO,
        interference: Interference { noise_db: 100.0, from: Duration::from_secs(4), lasts: Duration::from_secs(3_600) },
        roaming_percent: 0,
        roaming_m_per_s: 0.0,
    };
    let store = StorePlan { gateways: 1, labels: LABELS as usize, gateways_in_range: 1, side_m: 1.0 };
    Air::new(Seed::new(1), "store", plan, store, |i| label(i as u64)).antenna(0)
}

/// A gateway that is drowned out, and one that hears less but is well.
async fn start(field: &Field) {
    field.start_gateway(0, |plan| plan.antenna = Some(drowned()));
    field.start_gateway(1, |_| {});
    field.start_services().await;
    field.dispatch(vec![task("weak", label(3), 10)]);
}

fn config(retry_elsewhere: bool) -> Config {
    let mut config = Config::default();
    (config.routing.retry_elsewhere, config.routing.route_fresh_ms) = (retry_elsewhere, 60_000);
    config
}

#[test]
fn a_retry_goes_to_the_second_best_gateway() {
    run(mqtt::Config::default(), config(true), async |field: Field| {
        start(&field).await;
        field.until_said("TaskDone", 1).await;
        let retries = field.said("TaskRetried");
        assert_eq!(retries.len(), 1);
        assert!(retries[0].text.contains("no answer over the air after 4 tries"), "{}", retries[0].text);
        assert_eq!(field.labels.version(label(3)), Some(1));
    });
}

#[test]
fn without_that_all_tries_go_to_the_one_that_does_not_reach_the_label() {
    run(mqtt::Config::default(), config(false), async |field: Field| {
        start(&field).await;
        field.until_said("TaskDeadLettered", 1).await;
        let letters = field.dead_letters();
        assert!(letters[0].contains("no answer over the air after 4 tries"), "{letters:?}");
        assert_eq!(field.labels.version(label(3)), None);
    });
}
