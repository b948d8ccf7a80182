//! Worked out by hand from Kubernetes' documentation ("Horizontal Pod Autoscaling": "Algorithm details", "Configurable
//! scaling behavior", "Default behavior") and from the code that the module names.

use super::*;
use crate::spec::{Mode, Protocol, Trigger};

/// One trigger with 20 messages a replica.
fn rules(behavior: Option<Behavior>) -> Autoscaler {
    let trigger = Trigger {
        queue: "q".into(),
        mode: Mode::QueueLength,
        value: Quantity::whole(20),
        activation_value: Quantity::default(),
        protocol: Protocol::Amqp,
        exclude_unacknowledged: false,
    };
    Autoscaler { triggers: vec![trigger], behavior, ..Autoscaler::default() }
}

/// Syncs at these seconds with so many messages, from `replicas` on; how many replicas there are after each.
fn assert_follows(rules: &Autoscaler, mut replicas: u32, syncs: &[(u64, u64, u32)]) {
    let mut hpa = Hpa::default();
    for (at_s, messages, expected) in syncs {
        let set = hpa.sync(rules, at_s * 1_000_000, replicas, &[Some(messages * 1_000)]);
        assert_ne!(set, Some(replicas), "what is there already is not set");
        replicas = set.unwrap_or(replicas);
        assert_eq!(replicas, *expected, "{messages} messages at {at_s} s");
    }
}

fn policy(kind: PolicyKind, value: u32, period_s: u32) -> Policy {
    Policy { kind, value, period_s }
}

/// A behavior of which the window for going down is over at once.
fn up(scale_up: ScalingRules) -> Option<Behavior> {
    Some(Behavior { scale_up, scale_down: ScalingRules { stabilization_window_s: Some(0), ..Default::default() } })
}

fn down(scale_down: ScalingRules) -> Option<Behavior> {
    Some(Behavior { scale_up: ScalingRules::default(), scale_down })
}

#[test]
fn what_is_within_a_tenth_of_the_target_is_left_alone() {
    let cases = [
        // replicas, messages, wanted. 10 replicas have 200 for their share.
        (10, 200, 10),
        (10, 220, 10), // 1.1 is within
        (10, 221, 12), // ceil(221 / 20)
        (10, 180, 10), // 0.9 is within
        (10, 179, 9),
        (10, 0, 0),
        (1, 22, 1),
        (1, 23, 2),
    ];
    for (current, messages, expected) in cases {
        let found = wanted(&rules(None), current, &[Some(messages * 1_000)]);
        assert_eq!(found, Some(expected), "{messages} messages for {current} replicas");
    }
    let tolerance = |milli| ScalingRules { tolerance: Some(Quantity::from_milli(milli)), ..Default::default() };
    let own = rules(Some(Behavior { scale_up: tolerance(0), scale_down: tolerance(500) }));
    assert_eq!(wanted(&own, 10, &[Some(201_000)]), Some(11));
    assert_eq!(wanted(&own, 10, &[Some(100_000)]), Some(10));
    assert_eq!(wanted(&own, 10, &[Some(99_000)]), Some(5));
}

#[test]
fn the_trigger_that_wants_most_decides_and_one_that_says_nothing_keeps_replicas() {
    let mut two = rules(None);
    two.triggers.push(Trigger { value: Quantity::whole(5), ..two.triggers[0].clone() });
    assert_eq!(wanted(&two, 2, &[Some(100_000), Some(100_000)]), Some(20));
    assert_eq!(wanted(&two, 2, &[Some(100_000), None]), Some(5));
    assert_eq!(wanted(&two, 9, &[Some(100_000), None]), None);
    assert_eq!(wanted(&two, 9, &[None, None]), None);
}

#[test]
fn without_a_behavior_replicas_double_at_most_or_become_four() {
    assert_follows(
        &rules(None),
        1,
        &[(15, 2_000, 4), (30, 2_000, 8), (45, 2_000, 16), (60, 2_000, 32), (75, 2_000, 64), (90, 2_000, 100)],
    );
    // Not beyond the largest number, which is 100, and no further down than 1.
    assert_follows(&rules(None), 64, &[(15, 9_000, 100)]);
}

#[test]
fn without_a_behavior_the_highest_recommendation_of_300_s_counts() {
    assert_follows(
        &rules(None),
        4,
        &[
            (0, 160, 8),
            (15, 20, 8),
            (150, 60, 8),
            (300, 20, 8), // that of 0 s is 300 s old, and counts still
            (301, 20, 3), // that of 150 s is the highest now
            (450, 20, 3),
            (451, 0, 1),
        ],
    );
}

#[test]
fn a_behavior_without_words_adds_4_pods_or_100_percent_in_15_s() {
    let default = rules(Some(Behavior::default()));
    assert_follows(&default, 1, &[(15, 2_000, 5), (30, 2_000, 10), (45, 2_000, 20)]);
    // Within one period the replicas at its start count: 1 + 4, however often it is looked at.
    assert_follows(&default, 1, &[(15, 2_000, 5), (20, 2_000, 5), (29, 2_000, 5), (30, 2_000, 10)]);
    // The initial number is a recommendation, too, and the window for going down has 300 s.
    assert_follows(&default, 8, &[(0, 20, 8), (299, 20, 8), (300, 20, 1)]);
}

#[test]
fn of_several_policies_the_largest_or_the_smallest_change_counts_or_none() {
    let two = |select_policy| ScalingRules {
        select_policy,
        policies: vec![policy(PolicyKind::Pods, 3, 60), policy(PolicyKind::Percent, 10, 60)],
        stabilization_window_s: Some(0),
        ..Default::default()
    };
    let cases = [
        // From 10 replicas: 13 or 11 upwards, 7 or 9 downwards.
        (SelectPolicy::Max, 13, 7),
        (SelectPolicy::Min, 11, 9),
        (SelectPolicy::Disabled, 10, 10),
    ];
    for (select, most, least) in cases {
        assert_follows(&rules(up(two(select))), 10, &[(60, 2_000, most), (119, 2_000, most)]);
        assert_follows(&rules(down(two(select))), 10, &[(60, 20, least), (119, 20, least)]);
    }
    // "scale down ... 4 Pods or 10 %": the documentation's example, from 80 replicas on, a minute each.
    let documented = ScalingRules {
        policies: vec![policy(PolicyKind::Pods, 4, 60), policy(PolicyKind::Percent, 10, 60)],
        stabilization_window_s: Some(0),
        ..Default::default()
    };
    assert_follows(&rules(down(documented)), 80, &[(60, 200, 72), (120, 200, 64), (180, 200, 57), (240, 200, 51)]);
}

#[test]
fn a_policy_counts_what_changed_in_its_period_in_both_directions() {
    let slow = |kind, value| ScalingRules {
        policies: vec![policy(kind, value, 60)],
        stabilization_window_s: Some(0),
        ..Default::default()
    };
    let both = Behavior { scale_up: slow(PolicyKind::Pods, 4), scale_down: slow(PolicyKind::Percent, 50) };
    assert_follows(
        &rules(Some(both)),
        10,
        &[
            (60, 1_000, 14),
            (75, 1_000, 14),  // 10 + 4 in this minute
            (90, 100, 5),     // 14 - 4 at the start, and half of 10 may go
            (100, 1_000, 14), // 5 - 4 + 9 at the start: 10, and 4 more
        ],
    );
}

#[test]
fn going_up_waits_for_the_lowest_recommendation_of_its_window() {
    let patient = ScalingRules { stabilization_window_s: Some(60), ..Default::default() };
    assert_follows(
        &rules(up(patient)),
        2,
        &[
            (0, 400, 2), // 2 replicas were the first recommendation
            (30, 80, 2),
            (60, 400, 4), // that of 0 s is gone with the start; 4 is the lowest since
            (90, 400, 8), // that of 30 s is gone, too: 20 are wanted, and twice as many as before allowed
        ],
    );
}

#[test]
fn least_and_largest_number_hold_whatever_the_metrics_say() {
    let mut narrow = rules(None);
    (narrow.min_replica_count, narrow.max_replica_count) = (3, 5);
    assert_follows(&narrow, 9, &[(15, 0, 5)]);
    assert_follows(&narrow, 1, &[(15, 0, 3)]);
    assert_follows(&narrow, 4, &[(15, 9_000, 5)]);
    // At 0 it is KEDA's alone.
    assert_follows(&rules(None), 0, &[(15, 9_000, 0)]);
}
