//! Worked out by hand from KEDA's documentation of the RabbitMQ scaler and of ScaledObjects, and from the code that
//! the module names.

use super::*;
use crate::spec::{Protocol, Quantity};

fn trigger(mode: Mode, activation_milli: u64) -> Trigger {
    Trigger {
        queue: "q".into(),
        mode,
        value: Quantity::whole(20),
        activation_value: Quantity::from_milli(activation_milli),
        protocol: Protocol::Http,
        exclude_unacknowledged: false,
    }
}

#[test]
fn each_mode_measures_what_kedas_documentation_says() {
    let cases = [
        // mode, activation in thousandths, messages, published and delivered a second: metric, active
        (Mode::QueueLength, 0, 0, 9.0, 9.0, 0, false),
        (Mode::QueueLength, 0, 1, 0.0, 0.0, 1_000, true),
        // Strictly greater: five are not more than five.
        (Mode::QueueLength, 5_000, 5, 0.0, 0.0, 5_000, false),
        (Mode::QueueLength, 5_000, 6, 0.0, 0.0, 6_000, true),
        (Mode::QueueLength, 4_999, 5, 0.0, 0.0, 5_000, true),
        (Mode::MessageRate, 10_000, 0, 10.0, 0.0, 10_000, false),
        (Mode::MessageRate, 10_000, 0, 10.2, 0.0, 10_200, true),
        // Its messages alone make it active, since rates end before the messages do.
        (Mode::MessageRate, 10_000, 11, 0.0, 0.0, 0, true),
        (Mode::DeliverGetRate, 2_000, 50, 9.0, 2.0, 2_000, false),
        (Mode::DeliverGetRate, 2_000, 50, 9.0, 2.4, 2_400, true),
        (Mode::PublishedToDeliveredRatio, 2_000, 50, 9.0, 3.0, 3_000, true),
        (Mode::PublishedToDeliveredRatio, 3_000, 50, 9.0, 3.0, 3_000, false),
        // Nobody takes anything: active, with the activation value for a metric.
        (Mode::PublishedToDeliveredRatio, 3_000, 50, 9.0, 0.0, 3_000, true),
        (Mode::PublishedToDeliveredRatio, 0, 50, 0.0, 3.0, 0, false),
        // (10 - 20) / 20 + 100 / 20
        (Mode::ExpectedQueueConsumptionTime, 4_500, 100, 10.0, 20.0, 4_500, false),
        (Mode::ExpectedQueueConsumptionTime, 4_000, 100, 10.0, 20.0, 4_500, true),
        (Mode::ExpectedQueueConsumptionTime, 7_000, 100, 10.0, 0.0, 7_000, true),
        (Mode::ExpectedQueueConsumptionTime, 0, 0, 10.0, 20.0, 0, false),
        // (0 - 20) / 20 + 1 / 20 is negative, which KEDA makes 0.
        (Mode::ExpectedQueueConsumptionTime, 0, 1, 0.0, 20.0, 0, false),
    ];
    for (mode, activation, messages, publish_rate, deliver_get_rate, metric_milli, is_active) in cases {
        let status = QueueStatus { messages, publish_rate, deliver_get_rate };
        let found = reading(&trigger(mode, activation), status);
        assert_eq!(found, Reading { metric_milli, is_active }, "{mode:?} over {activation}: {status:?}");
    }
}

#[test]
fn a_metric_has_three_decimals() {
    let cases = [(1.0 / 3.0, 333), (2.0 / 3.0, 667), (0.0004, 0), (f64::NAN, 0), (f64::INFINITY, 0), (-1.0, 0)];
    for (number, expected) in cases {
        assert_eq!(milli(number), expected, "{number}");
    }
}

const ACTIVE: Option<Reading> = Some(Reading { metric_milli: 1_000, is_active: true });
const QUIET: Option<Reading> = Some(Reading { metric_milli: 0, is_active: false });

/// When, in milliseconds, with how many replicas and with which readings it is looked, and what that sets.
type Look<'a> = (u64, u32, &'a [Option<Reading>], Option<u32>);

fn assert_sets(rules: &Autoscaler, looks: &[Look<'_>]) {
    let mut activation = Activation::new(0);
    for (at_ms, current, readings, expected) in looks {
        let set = activation.look(rules, at_ms * 1_000, *current, readings);
        assert_eq!(set, *expected, "{current} replicas at {at_ms} ms, {readings:?}");
    }
}

#[test]
fn the_last_replica_goes_when_the_cooldown_is_over_and_the_first_one_comes_at_once() {
    let rules = Autoscaler { cooldown_period_s: 60, ..Autoscaler::default() };
    assert_sets(
        &rules,
        &[
            (30_005, 0, &[ACTIVE], Some(1)),
            (60_005, 1, &[ACTIVE], None), // now counted from 60 s
            (90_005, 7, &[QUIET], None),
            (120_000, 7, &[QUIET], None), // not before now: the same
            (120_001, 7, &[QUIET], Some(0)),
            (150_005, 0, &[QUIET], None),
        ],
    );
}

#[test]
fn before_any_trigger_was_active_the_initial_cooldown_counts() {
    let at_once = Autoscaler::default();
    assert_sets(&at_once, &[(0, 3, &[QUIET], None), (1, 3, &[QUIET], Some(0))]);
    let later = Autoscaler { initial_cooldown_period_s: 40, ..Autoscaler::default() };
    assert_sets(&later, &[(30_001, 3, &[QUIET], None), (60_001, 3, &[QUIET], Some(0))]);
}

#[test]
fn with_a_least_number_keda_scales_up_to_it_and_never_down() {
    let rules = Autoscaler { min_replica_count: 3, ..Autoscaler::default() };
    assert_sets(
        &rules,
        &[
            (1_000, 0, &[ACTIVE], Some(3)),
            (2_000, 1, &[QUIET], Some(3)),
            (3_000, 2, &[ACTIVE], None), // the HPA's business
            (900_000, 9, &[QUIET], None),
        ],
    );
}

#[test]
fn idle_replicas_stay_while_nothing_is_active() {
    let rules = Autoscaler {
        min_replica_count: 3,
        idle_replica_count: Some(1),
        cooldown_period_s: 10,
        ..Autoscaler::default()
    };
    assert_sets(
        &rules,
        &[
            (1_000, 1, &[ACTIVE], Some(3)),
            (11_000, 3, &[QUIET], None),
            (12_000, 3, &[QUIET], Some(1)),
            (13_000, 1, &[QUIET], None),
        ],
    );
}

#[test]
fn a_trigger_that_gives_nothing_keeps_replicas_from_going() {
    let rules = Autoscaler { cooldown_period_s: 10, ..Autoscaler::default() };
    assert_sets(
        &rules,
        &[
            (1_000, 5, &[None, QUIET], None),
            (2_000, 0, &[None, ACTIVE], Some(1)),
            // Active and failed with replicas there: KEDA takes no note of the time.
            (50_000, 1, &[None, ACTIVE], None),
            (60_000, 1, &[QUIET, QUIET], Some(0)),
        ],
    );
}
