//! The example that `sim/README.md` explains.

use super::price_feed;

#[test]
fn the_example_loses_no_change_and_repeats_itself() {
    price_feed::main().unwrap();
}

#[test]
fn the_crash_in_the_example_hits_a_change_in_work() {
    let report = price_feed::run(1).unwrap().output;
    assert!(report.again > 0, "nothing came again, so nothing was unacknowledged: {report:?}");
}
