//! Linux's rules one by one; the captured flows are in `replay`.

use super::{AckAction::*, *};

const MS: u64 = 1_000_000;
const LOOPBACK: Receiver = Receiver { pingpong_thresh: 1, window_bytes: 65_483, mss_bytes: 65_483 };

/// Past the quick ACKs at the start, nothing unacknowledged.
fn warm(receiver: Receiver) -> (DelayedAck, u32) {
    let (mut ack, mut seq) = (DelayedAck::new(receiver), 1_000);
    for _ in 0..QUICK_ACKS_MAX {
        ack.data_received(0, seq, 100, true);
        assert_eq!(ack.check(0), Now);
        ack.ack_sent();
        seq += 100;
    }
    (ack, seq)
}

#[test]
fn after_the_quick_acks_the_read_acknowledges_what_it_drains() {
    let (mut ack, seq) = warm(LOOPBACK);
    ack.data_received(0, seq, 100, true);
    assert_eq!(ack.check(0), At(44 * MS));
    assert_eq!(ack.application_read(false), Nothing);
    assert_eq!(ack.application_read(true), Now);
    ack.ack_sent();
    assert_eq!(ack.application_read(true), Nothing);
}

#[test]
fn an_answer_makes_it_interactive_and_the_next_segment_waits() {
    let (mut ack, seq) = warm(LOOPBACK);
    ack.data_received(0, seq, 100, true);
    ack.check(0);
    ack.ack_sent();
    ack.data_sent(MS);
    assert!(ack.is_interactive());
    ack.data_received(2 * MS, seq + 100, 4, true);
    assert_eq!(ack.check(2 * MS), At(44 * MS));
    assert_eq!(ack.application_read(true), Nothing);
    // The second small segment: the read acknowledges in any mode.
    ack.data_received(3 * MS, seq + 104, 4, true);
    assert_eq!(ack.check(3 * MS), At(44 * MS));
    assert_eq!(ack.application_read(true), Now);
}

#[test]
fn a_delayed_ack_that_was_needed_ends_interactive_mode() {
    let (mut ack, seq) = warm(LOOPBACK);
    ack.data_sent(MS);
    ack.data_received(2 * MS, seq, 4, true);
    assert_eq!(ack.check(2 * MS), At(44 * MS));
    assert_eq!(ack.timer_fired(), Now);
    ack.ack_sent();
    assert!(!ack.is_interactive());
    ack.data_received(45 * MS, seq + 4, 4, true);
    ack.check(45 * MS);
    assert_eq!(ack.application_read(true), Now);
}

#[test]
fn outside_interactive_mode_a_missed_ack_doubles_the_timeout_but_the_round_trip_bounds_it() {
    let (mut ack, seq) = warm(LOOPBACK);
    ack.data_received(0, seq, 4, true);
    ack.check(0);
    assert_eq!(ack.timer_fired(), Now);
    assert_eq!(ack.ato, 2 * ATO_MIN_TICKS);
    ack.ack_sent();
    ack.data_received(44 * MS, seq + 4, 4, true);
    assert_eq!(ack.check(44 * MS), At((11 + 10 + 1) * 4 * MS));
}

#[test]
fn data_carries_the_ack_and_cancels_the_timer() {
    let (mut ack, seq) = warm(LOOPBACK);
    ack.data_received(0, seq, 4, true);
    ack.check(0);
    ack.ack_sent();
    ack.data_sent(0);
    assert_eq!(ack.check(0), Nothing);
    assert_eq!(ack.timer_fired(), Nothing);
}

#[test]
fn more_than_one_segment_is_acknowledged_when_the_application_reads_and_not_before() {
    let (mut ack, seq) = warm(LOOPBACK);
    ack.data_sent(0);
    ack.data_received(0, seq, 3_961, true);
    assert_eq!(ack.check(0), At(44 * MS), "exactly one segment of the size that it now expects");
    assert_eq!(ack.application_read(false), Nothing);
    ack.data_received(MS, seq + 3_961, 233, true);
    assert_eq!(ack.check(MS), At(44 * MS), "unread, it narrows the window");
    assert_eq!(ack.application_read(false), Now);
    assert_eq!(ack.rcv_mss, 3_961);
}

#[test]
fn two_equal_middling_segments_lower_the_expected_size() {
    let (mut ack, seq) = warm(LOOPBACK);
    ack.data_received(0, seq, 5_000, true);
    ack.data_received(0, seq + 5_000, 600, true);
    assert_eq!(ack.rcv_mss, 5_000);
    ack.data_received(0, seq + 5_600, 600, true);
    assert_eq!(ack.rcv_mss, 600);
}

#[test]
fn a_long_silence_renews_the_quick_acks_but_interactive_mode_hides_them() {
    let (mut ack, seq) = warm(LOOPBACK);
    ack.data_received(300 * MS, seq, 4, true);
    assert_eq!(ack.check(300 * MS), Now);
    ack.ack_sent();
    ack.data_sent(300 * MS);
    ack.data_received(301 * MS, seq + 4, 4, true);
    assert!(matches!(ack.check(301 * MS), At(_)));
    ack.timer_fired();
    ack.ack_sent();
    ack.data_received(345 * MS, seq + 8, 4, true);
    assert_eq!(ack.check(345 * MS), Now);
}

#[test]
fn an_old_timer_is_kept_and_nearly_due_it_fires_early() {
    let (mut ack, seq) = warm(LOOPBACK);
    ack.data_sent(0);
    ack.data_received(0, seq, 4, true);
    assert_eq!(ack.check(0), At(44 * MS));
    ack.data_received(20 * MS, seq + 4, 4, true);
    assert_eq!(ack.check(20 * MS), At(44 * MS));
    assert_eq!(ack.timer_ns(), Some(44 * MS));
    ack.data_received(34 * MS, seq + 8, 4, true);
    assert_eq!(ack.check(34 * MS), Now);
}

#[test]
fn a_threshold_of_three_needs_three_answers() {
    let (mut ack, mut seq) = warm(Receiver { pingpong_thresh: 3, ..LOOPBACK });
    for round in 1..=3 {
        let now_ns = round * 8 * MS;
        assert!(!ack.is_interactive());
        ack.data_received(now_ns, seq, 4, true);
        ack.check(now_ns);
        ack.ack_sent();
        ack.data_sent(now_ns);
        ack.data_sent(now_ns); // a second write of the same answer does not count
        seq += 4;
    }
    assert!(ack.is_interactive());
}
