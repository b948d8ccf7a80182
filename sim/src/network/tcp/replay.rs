//! The kernel as the oracle: a captured flow runs through [`DelayedAck`]. Every pure ACK of the capture must have its
//! reason at its time, and every ACK that the model owes must be in the capture.
//!
//! A capture does not say everything. What it leaves open is filled in by these rules and no others:
//!
//! - **Reads.** The application reads at once, so an ACK that a read causes may come up to [`READ_NS_MAX`] later than
//!   the model has it; and it may have written before it read, so data may go out in the ACK's place within that time.
//! - **Order.** While a process writes, its socket is locked, and what arrives waits in a backlog until the write is
//!   out; the capture sees it at its arrival. So a segment that comes within [`BACKLOG_NS_MAX`] before one that leaves
//!   may have been dealt with after it. Both are tried, and the trial with the fewest flaws counts.
//! - **Ticks.** The kernel's clock ticks every 4 ms. When, the timers say themselves: all those of a capture fire
//!   within 0.1 ms of each other, modulo 4 ms. A CPU whose tick comes just before the one that moves the clock sees a
//!   timer a tick late.

use super::delayed_ack::{AckAction, DelayedAck, Receiver};

const LOOPBACK: Receiver = Receiver { pingpong_thresh: 1, window_bytes: 65_483, mss_bytes: 65_483 };
const TICK_NS: u64 = 4_000_000;
/// How long after its data the application may read.
const READ_NS_MAX: u64 = 5_000_000;
/// How long a write may keep its socket locked before its segment leaves. Answers to a segment take 5 us and more.
const BACKLOG_NS_MAX: u64 = 4_000;
/// How long after its cause an ACK may come that the kernel sends at once: most take 1 to 6 us, the slowest 28.
const AT_ONCE_NS_MAX: u64 = 100_000;
/// How long after its tick a timer may fire: all but one in 200 take less than 200 us.
const TIMER_NS_MAX: u64 = 1_000_000;
/// Trials that are kept: ambiguous orders are rare, and soon one of each two is wrong.
const TRIALS_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    DataIn,
    DataOut,
    PureAck,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    at_ns: u64,
    what: What,
    seq: u32,
    len: u32,
}

struct Capture {
    lines: &'static str,
    /// When the kernel's clock ticks, after the zero of the capture. Unknown without a timer that fired, and then
    /// without consequence.
    tick_us: u64,
}

impl Capture {
    fn parse(&self) -> Vec<Line> {
        let line = |line: &str| {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap();
            let at_ns = word().parse::<u64>().unwrap() * 1_000 + TICK_NS - self.tick_us * 1_000;
            let what = match word() {
                "D" => What::DataIn,
                "S" => What::DataOut,
                "A" => What::PureAck,
                other => panic!("a line of kind {other}"),
            };
            Line { at_ns, what, seq: word().parse().unwrap(), len: word().parse().unwrap() }
        };
        self.lines.lines().map(line).collect()
    }
}

const CAPTURES: [Capture; 8] = [
    Capture { lines: include_str!("captures/ack_first_gw0.txt"), tick_us: 2_160 },
    Capture { lines: include_str!("captures/ack_first_gw1.txt"), tick_us: 2_160 },
    Capture { lines: include_str!("captures/nodelay_gw0.txt"), tick_us: 0 },
    Capture { lines: include_str!("captures/nodelay_gw1.txt"), tick_us: 0 },
    Capture { lines: include_str!("captures/reply_first_gw0.txt"), tick_us: 3_300 },
    Capture { lines: include_str!("captures/reply_first_gw1.txt"), tick_us: 3_300 },
    Capture { lines: include_str!("captures/ten_gateways_gw0.txt"), tick_us: 810 },
    Capture { lines: include_str!("captures/ten_gateways_gw1.txt"), tick_us: 810 },
];

/// What a capture has, and what the model has, by reason.
#[derive(Clone, Copy, Debug, Default)]
struct Reasons {
    /// Pure ACKs with a reason.
    at_once: u32,
    by_read: u32,
    by_timer: u32,
    /// Pure ACKs without: the timer was set, but for another time.
    at_another_time: u32,
    /// Owed, but sent later than allowed.
    late: u32,
    unowed: u32,
    /// ACKs that the model owes and the capture has not.
    missing: u32,
    /// Data took the place of an ACK that only a read owed: the application wrote first.
    wrote_before_read: u32,
    /// Segments that were dealt with after the one that left next.
    from_backlog: u32,
}

impl Reasons {
    fn explained(&self) -> u32 {
        self.at_once + self.by_read + self.by_timer
    }

    fn unexplained(&self) -> u32 {
        self.at_another_time + self.late + self.unowed
    }

    fn flaws(&self) -> u32 {
        self.unexplained() + self.missing
    }

    fn plus(self, other: Self) -> Self {
        Self {
            at_once: self.at_once + other.at_once,
            by_read: self.by_read + other.by_read,
            by_timer: self.by_timer + other.by_timer,
            at_another_time: self.at_another_time + other.at_another_time,
            late: self.late + other.late,
            unowed: self.unowed + other.unowed,
            missing: self.missing + other.missing,
            wrote_before_read: self.wrote_before_read + other.wrote_before_read,
            from_backlog: self.from_backlog + other.from_backlog,
        }
    }
}

/// What the model would have sent by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    AtOnce(u64),
    ByRead(u64),
}

/// One way in which it may have been.
#[derive(Clone, Debug)]
struct Trial {
    ack: DelayedAck,
    owed: Option<Owed>,
    backlog: Option<Line>,
    reasons: Reasons,
}

impl Trial {
    fn data_in(&mut self, now_ns: u64, line: Line) {
        self.ack.data_received(now_ns, line.seq, line.len, true);
        if self.ack.check(now_ns) == AckAction::Now {
            if !matches!(self.owed, Some(Owed::AtOnce(_))) {
                self.owed = Some(Owed::AtOnce(now_ns));
            }
        } else if self.owed.is_none() && self.ack.application_read(true) == AckAction::Now {
            self.owed = Some(Owed::ByRead(now_ns));
        }
    }

    fn data_out(&mut self, now_ns: u64) {
        match self.owed.take() {
            None => {}
            Some(Owed::ByRead(since_ns)) if now_ns - since_ns < READ_NS_MAX => self.reasons.wrote_before_read += 1,
            Some(_) => self.reasons.missing += 1,
        }
        self.ack.ack_sent();
        self.ack.data_sent(now_ns);
        if let Some(line) = self.backlog.take() {
            self.reasons.from_backlog += 1;
            self.data_in(now_ns, line);
        }
    }

    fn pure_ack(&mut self, now_ns: u64) {
        let reasons = &mut self.reasons;
        match (self.owed.take(), self.ack.timer_ns()) {
            (Some(Owed::AtOnce(since_ns)), _) if now_ns - since_ns < AT_ONCE_NS_MAX => reasons.at_once += 1,
            (Some(Owed::ByRead(since_ns)), _) if now_ns - since_ns < READ_NS_MAX => reasons.by_read += 1,
            (Some(_), _) => reasons.late += 1,
            (None, Some(due_ns)) => {
                // A timer that fires is due at a tick of its own; the next one is allowed, too.
                let is_due = [due_ns, due_ns + TICK_NS]
                    .iter()
                    .any(|due| now_ns + TIMER_NS_MAX / 10 >= *due && now_ns < due + TIMER_NS_MAX);
                if is_due {
                    reasons.by_timer += 1;
                } else {
                    reasons.at_another_time += 1;
                }
                self.ack.timer_fired();
            }
            (None, None) => reasons.unowed += 1,
        }
        self.ack.ack_sent();
    }

    /// A timer that is long due and did not fire.
    fn miss_timer(&mut self, now_ns: u64) {
        if self.owed.is_none() && self.ack.timer_ns().is_some_and(|due_ns| now_ns > due_ns + TICK_NS + TIMER_NS_MAX) {
            self.reasons.missing += 1;
            self.ack.timer_fired();
            self.ack.ack_sent();
        }
    }
}

fn replay(capture: &Capture, receiver: Receiver) -> Reasons {
    let lines = capture.parse();
    let first = Trial { ack: DelayedAck::new(receiver), owed: None, backlog: None, reasons: Reasons::default() };
    let mut trials = vec![first];
    for (at, &line) in lines.iter().enumerate() {
        let leaves_next = lines
            .get(at + 1)
            .is_some_and(|next| next.what == What::DataOut && next.at_ns - line.at_ns <= BACKLOG_NS_MAX);
        let mut others = vec![];
        for trial in &mut trials {
            trial.miss_timer(line.at_ns);
            match line.what {
                What::DataIn => {
                    if leaves_next {
                        others.push(Trial { backlog: Some(line), ..trial.clone() });
                    }
                    trial.data_in(line.at_ns, line);
                }
                What::DataOut => trial.data_out(line.at_ns),
                What::PureAck => trial.pure_ack(line.at_ns),
            }
        }
        trials.append(&mut others);
        trials.sort_by_key(|trial| (trial.reasons.flaws(), trial.reasons.from_backlog));
        trials.truncate(TRIALS_MAX);
    }
    trials[0].reasons
}

fn totals(receiver: Receiver) -> Reasons {
    CAPTURES.iter().map(|capture| replay(capture, receiver)).fold(Reasons::default(), |sum, reasons| {
        println!("{reasons:?}");
        sum.plus(reasons)
    })
}

#[test]
fn pure_acks_of_a_real_kernel_have_their_reason() {
    let reasons = totals(LOOPBACK);
    assert_eq!(reasons.explained() + reasons.unexplained(), 998, "pure ACKs in the captures");
    assert!(reasons.explained() >= 993, "{reasons:?}");
}

#[test]
fn no_ack_that_the_model_owes_is_missing() {
    let reasons = totals(LOOPBACK);
    assert_eq!(reasons.missing, 0, "{reasons:?}");
}

#[test]
fn what_a_capture_leaves_open_decides_little() {
    let reasons = totals(LOOPBACK);
    assert!(reasons.from_backlog <= 16 && reasons.wrote_before_read <= 48, "{reasons:?}");
}

#[test]
fn the_threshold_of_other_kernels_explains_them_worse() {
    let (right, wrong) = (totals(LOOPBACK), totals(Receiver { pingpong_thresh: 3, ..LOOPBACK }));
    assert!(wrong.flaws() > 200 && right.flaws() < 10, "{wrong:?} with a threshold of 3, {right:?} with 1");
}
