//! The kernel as the oracle: a captured flow runs through [`DelayedAck`], and every pure ACK of the capture must have its
//! reason.
//!
//! A capture does not say when the application read. It is taken to read at once, so an ACK that the read caused may come
//! up to 5 ms later than the model has it; the wheel of the delayed-ACK timer may be off by one and a half ticks.

use super::delayed_ack::{DelayedAck, Receiver, Verdict};

const LOOPBACK: Receiver = Receiver { pingpong_thresh: 1, window_bytes: 65_483, mss_bytes: 65_483 };
const READ_DELAY_NS_MAX: u64 = 5_000_000;
const TIMER_ERROR_NS_MAX: u64 = 6_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    DataIn,
    DataOut,
    PureAck,
}

/// The pure ACKs of a capture by their reason.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reasons {
    at_once: u32,
    by_read: u32,
    by_timer: u32,
    /// The timer was set, but for another time.
    at_another_time: u32,
    /// Owed, but sent later than a read may take.
    late: u32,
    none: u32,
}

impl Reasons {
    fn explained(&self) -> u32 {
        self.at_once + self.by_read + self.by_timer
    }

    fn all(&self) -> u32 {
        self.explained() + self.at_another_time + self.late + self.none
    }
}

fn parse(line: &str) -> (u64, What, u32, u32) {
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap();
    let at_ns = word().parse::<u64>().unwrap() * 1_000;
    let what = match word() {
        "D" => What::DataIn,
        "S" => What::DataOut,
        "A" => What::PureAck,
        other => panic!("a line of kind {other}"),
    };
    (at_ns, what, word().parse().unwrap(), word().parse().unwrap())
}

fn replay(capture: &str, receiver: Receiver) -> Reasons {
    let (mut ack, mut reasons) = (DelayedAck::new(receiver), Reasons::default());
    // What the model would have sent by now, since when, and whether a read is the reason.
    let mut owed: Option<(u64, bool)> = None;
    for (now_ns, what, seq, len) in capture.lines().map(parse) {
        match (what, owed) {
            (What::PureAck, Some((since_ns, _))) if now_ns - since_ns >= READ_DELAY_NS_MAX => reasons.late += 1,
            (What::PureAck, Some((_, true))) => reasons.by_read += 1,
            (What::PureAck, Some((_, false))) => reasons.at_once += 1,
            (What::PureAck, None) => {
                match ack.timer_ns() {
                    Some(due_ns) if due_ns.abs_diff(now_ns) <= TIMER_ERROR_NS_MAX => reasons.by_timer += 1,
                    Some(_) => reasons.at_another_time += 1,
                    None => reasons.none += 1,
                }
                ack.timer_fired();
            }
            _ => {}
        }
        match what {
            What::DataIn => {
                ack.data_received(now_ns, seq, len, true);
                if ack.check(now_ns) == Verdict::Now {
                    owed = Some((now_ns, false));
                } else if owed.is_none() && ack.application_read(true) == Verdict::Now {
                    owed = Some((now_ns, true));
                }
            }
            What::DataOut => {
                owed = None;
                ack.ack_sent();
                ack.data_sent(now_ns);
            }
            What::PureAck => {
                owed = None;
                ack.ack_sent();
            }
        }
    }
    reasons
}

const CAPTURES: [&str; 8] = [
    include_str!("captures/ack_first_gw0.txt"),
    include_str!("captures/ack_first_gw1.txt"),
    include_str!("captures/nodelay_gw0.txt"),
    include_str!("captures/nodelay_gw1.txt"),
    include_str!("captures/reply_first_gw0.txt"),
    include_str!("captures/reply_first_gw1.txt"),
    include_str!("captures/ten_gateways_gw0.txt"),
    include_str!("captures/ten_gateways_gw1.txt"),
];

fn totals(receiver: Receiver) -> (u32, u32) {
    CAPTURES.iter().map(|capture| replay(capture, receiver)).fold((0, 0), |(explained, all), reasons| {
        println!("{reasons:?}");
        (explained + reasons.explained(), all + reasons.all())
    })
}

#[test]
fn pure_acks_of_a_real_kernel_have_their_reason() {
    let (explained, all) = totals(LOOPBACK);
    assert_eq!(all, 998, "pure ACKs in the captures");
    assert!(explained >= 973, "{explained} of {all} explained");
}

#[test]
fn the_threshold_of_other_kernels_explains_them_worse() {
    let ((right, _), (wrong, _)) = (totals(LOOPBACK), totals(Receiver { pingpong_thresh: 3, ..LOOPBACK }));
    assert!(wrong < right, "{wrong} explained with a threshold of 3, {right} with 1");
}
