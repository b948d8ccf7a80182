//! Gateways whose clocks are wrong.

use super::{Field, Said, gateway_mac, label, run, task};
use backbone::config::{Config, RpcKind};
use sim::broker::mqtt;
use std::{ops::RangeInclusive, time::Duration};
use tokio::time::sleep;

/// What a gateway's clock says at a time in milliseconds since 1970.
type Clock = fn(u64) -> u64;

/// What a gateway's clock shows, and between what its offset is said to be, in milliseconds ahead.
const CLOCKS: [(Clock, RangeInclusive<i64>); 5] = [
    (|ms| ms - 3_500, -3_600..=-3_500),
    (|ms| ms - 60_000, -60_100..=-60_000),
    (|ms| ms + 3_600_000, 3_599_900..=3_600_000),
    (|ms| ms / 1_000, i64::MIN..=-1_000_000_000_000),
    (|_| 0, i64::MIN..=-1_000_000_000_000),
];

/// The offset in an event of a wrong clock.
fn ahead_ms(said: &Said) -> i64 {
    let (_, rest) = said.text.split_once("ahead_ms: ").unwrap();
    rest.trim_end_matches(" }").parse().unwrap()
}

#[test]
fn a_gateway_whose_clock_is_wrong_is_named_with_its_offset_and_its_routes_age_by_the_routers_clock() {
    for kind in [RpcKind::Queue, RpcKind::Http] {
        for (clock, range) in CLOCKS {
            let mut config = Config::default();
            config.rpc.kind = kind;
            run(mqtt::Config::default(), config, async move |field: Field| {
                field.start_gateway(0, |plan| plan.clock = clock);
                field.start_services().await;
                // Each of two routers needs two of its reports to know a clock that is behind.
                sleep(Duration::from_secs(10)).await;
                field.dispatch((0..20).map(|i| task(&format!("task-{i}"), label(i), 1)).collect());
                field.until_said("TaskDone", 20).await;
                assert_eq!(field.said("TaskRetried").len(), 0, "{range:?}");
                let gateway = gateway_mac(0).to_string();
                let said = field.said("ClockOff");
                assert!(!said.is_empty(), "{range:?}");
                let named = said.iter().all(|said| said.text.contains(&gateway) && range.contains(&ahead_ms(said)));
                assert!(named, "{range:?}: {said:?}");
                for dropped in field.said("Expired") {
                    let has_reason = dropped.text.contains(&gateway) && dropped.text.contains("ms old by its clock");
                    assert!(has_reason, "{}", dropped.text);
                }
                // It goes, and its routes age.
                field.cluster.power_off("gateway-0");
                sleep(Duration::from_secs(10)).await;
                field.dispatch(vec![task("late", label(30), 1)]);
                field.until_said("NoRoute", 1).await;
            });
        }
    }
}

#[test]
fn clocks_that_are_right_are_not_spoken_of() {
    run(mqtt::Config::default(), Config::default(), async |field: Field| {
        field.start_gateway(0, |_| {});
        field.start_gateway(1, |plan| plan.clock = |ms| ms - 1_000);
        field.start_services().await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!((field.said("ClockOff").len(), field.said("Expired").len()), (0, 0));
    });
}
