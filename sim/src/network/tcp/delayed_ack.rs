//! When a Linux receiver acknowledges: ping-pong mode, quick ACKs, and the delayed-ACK timer.
//!
//! One value for the receiving side of each flow, without IO or a clock: time is an argument. Names follow the kernel
//! (v6.18: `net/ipv4/tcp_input.c`, `tcp.c`, `tcp_output.c`, `tcp_timer.c`). Captured flows are the oracle: see
//! `replay`. Left out, because small segments in order never meet it: out-of-order data, `SO_RCVLOWAT`, window updates,
//! compressed ACKs, `ICSK_ACK_NOW`, DCTCP, the backlog of a socket that its owner has locked, and buffers that have
//! grown past the window they offer (see [`DelayedAck::check`]).

/// Kernel ticks per second (`CONFIG_HZ`). The delayed-ACK clock is this coarse: 40 ms show as 40 to 44 ms on the wire.
const HZ: u64 = 250;
const TICK_NS: u64 = 1_000_000_000 / HZ;
/// `TCP_ATO_MIN` and `TCP_DELACK_MIN`: 40 ms.
const ATO_MIN_TICKS: u64 = HZ / 25;
/// `TCP_MAX_QUICKACKS`.
const QUICK_ACKS_MAX: u32 = 16;
/// `TCP_MSS_DEFAULT`.
const MSS_DEFAULT_BYTES: u32 = 536;
/// `TCP_MIN_MSS`.
const MSS_MIN_BYTES: u32 = 88;
/// With timestamps.
const TCP_HEADER_BYTES: u32 = 32;
/// Without options.
const IP_HEADER_BYTES: u32 = 20;
/// `TCP_RTO_MIN`, which is the retransmission timeout on any fast network.
const RTO_TICKS: u64 = HZ / 5;

/// What a receiver knows of its host and of the path to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receiver {
    /// `net.ipv4.tcp_pingpong_thresh`: answers after which a connection counts as interactive. 3 in Linux 5.1 to 5.19,
    /// 1 before and since.
    pub pingpong_thresh: u8,
    /// The window offered, in bytes.
    pub window_bytes: u32,
    /// The maximum segment size announced, in bytes.
    pub mss_bytes: u32,
}

/// What to do about an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckAction {
    /// Send a pure ACK now, then call [`DelayedAck::ack_sent`].
    Now,
    /// Call [`DelayedAck::timer_fired`] at this time, unless a later action or a sent ACK comes first.
    At(u64),
    /// Nothing: there is nothing to acknowledge, or data has carried it.
    Nothing,
}

/// The state of one receiver.
#[derive(Clone, Debug)]
pub(crate) struct DelayedAck {
    receiver: Receiver,
    /// Sequence number after the last byte received; `None` before the first.
    rcv_nxt: Option<u32>,
    /// `rcv_nxt` in the last ACK that was sent.
    rcv_wup: u32,
    /// The kernel's guess of the sender's segment size.
    rcv_mss: u32,
    last_segment_bytes: u32,
    /// The delayed-ACK timeout in ticks; 0 before the first data.
    ato: u64,
    /// Tick at which data last came.
    lrcvtime: u64,
    /// Tick at which data was last sent.
    lsndtime: Option<u64>,
    /// Quick ACKs left.
    quick: u32,
    pingpong: u8,
    /// `ICSK_ACK_SCHED`: something waits for its ACK.
    scheduled: bool,
    /// `ICSK_ACK_PUSHED`: a small segment came.
    pushed: bool,
    /// `ICSK_ACK_PUSHED2`: a second one.
    pushed2: bool,
    /// Tick at which the delayed ACK is due.
    timer: Option<u64>,
}

impl DelayedAck {
    pub(crate) fn new(receiver: Receiver) -> Self {
        let guess = MSS_DEFAULT_BYTES.min(receiver.window_bytes / 2).min(receiver.mss_bytes).max(MSS_MIN_BYTES);
        Self {
            receiver,
            rcv_nxt: None,
            rcv_wup: 0,
            rcv_mss: guess,
            last_segment_bytes: 0,
            ato: 0,
            lrcvtime: 0,
            lsndtime: None,
            quick: 0,
            pingpong: 0,
            scheduled: false,
            pushed: false,
            pushed2: false,
            timer: None,
        }
    }

    /// The acknowledgement number that a segment sent now carries; `None` before the first data.
    pub(crate) fn acknowledges(&self) -> Option<u32> {
        self.rcv_nxt
    }

    #[cfg(test)]
    /// When the delayed ACK is due, if one waits.
    pub(crate) fn timer_ns(&self) -> Option<u64> {
        self.timer.map(timer_ns)
    }

    pub(crate) fn is_interactive(&self) -> bool {
        self.pingpong >= self.receiver.pingpong_thresh
    }

    fn acks_quickly(&self) -> bool {
        self.quick > 0 && !self.is_interactive()
    }

    /// `tcp_incr_quickack`.
    fn renew_quick_acks(&mut self) {
        let affordable = (self.receiver.window_bytes / (2 * self.rcv_mss)).min(QUICK_ACKS_MAX);
        self.quick = self.quick.max(if affordable == 0 { 2 } else { affordable });
    }

    /// `tcp_event_data_recv`: a segment with data. The caller then lets the sending side handle the segment's ACK,
    /// which may release data that carries ours, and then asks [`DelayedAck::check`].
    pub(crate) fn data_received(&mut self, now_ns: u64, seq: u32, len_bytes: u32, psh: bool) {
        let now = now_ns / TICK_NS;
        let rcv_nxt = *self.rcv_nxt.get_or_insert_with(|| {
            self.rcv_wup = seq;
            seq
        });
        let end = seq.wrapping_add(len_bytes);
        if end.wrapping_sub(rcv_nxt).cast_signed() > 0 {
            self.rcv_nxt = Some(end);
        }
        self.scheduled = true;
        self.measure_rcv_mss(len_bytes, psh);
        if self.ato == 0 {
            self.renew_quick_acks();
            self.ato = ATO_MIN_TICKS;
        } else {
            let gap = now - self.lrcvtime;
            if gap <= ATO_MIN_TICKS / 2 {
                self.ato = self.ato / 2 + ATO_MIN_TICKS / 2;
            } else if gap < self.ato {
                self.ato = (self.ato / 2 + gap).min(RTO_TICKS);
            } else if gap > RTO_TICKS {
                self.renew_quick_acks();
            }
        }
        self.lrcvtime = now;
    }

    /// `tcp_measure_rcv_mss`.
    fn measure_rcv_mss(&mut self, len_bytes: u32, psh: bool) {
        let last = std::mem::take(&mut self.last_segment_bytes);
        if len_bytes >= self.rcv_mss {
            self.rcv_mss = len_bytes.min(self.receiver.mss_bytes);
            self.pushed |= psh;
            return;
        }
        let packet_bytes = len_bytes + TCP_HEADER_BYTES;
        if packet_bytes >= MSS_DEFAULT_BYTES + IP_HEADER_BYTES
            || (packet_bytes >= MSS_MIN_BYTES + IP_HEADER_BYTES && !psh)
        {
            self.last_segment_bytes = len_bytes;
            if len_bytes == last {
                self.rcv_mss = len_bytes;
                return;
            }
        }
        self.pushed2 |= self.pushed;
        self.pushed = true;
    }

    /// `tcp_ack_snd_check`: after a segment with data was dealt with.
    ///
    /// The kernel acknowledges more than one segment at once only if that would not narrow the window, which it would
    /// as long as anything lies unread in a buffer no larger than the window, the new segment itself for one. Else it
    /// leaves that ACK to the read, and so does this: see [`DelayedAck::application_read`]. A buffer that bulk transfer
    /// has made larger would be acknowledged here.
    pub(crate) fn check(&mut self, now_ns: u64) -> AckAction {
        if !self.scheduled {
            return AckAction::Nothing;
        }
        if self.acks_quickly() {
            return AckAction::Now;
        }
        self.delay(now_ns / TICK_NS)
    }

    fn unacknowledged_bytes(&self) -> u32 {
        self.rcv_nxt.map_or(0, |rcv_nxt| rcv_nxt.wrapping_sub(self.rcv_wup))
    }

    /// `tcp_send_delayed_ack`. The kernel bounds a grown timeout by the smoothed round trip, but not below 40 ms, and
    /// no round trip here takes longer than that: so 40 ms it is.
    fn delay(&mut self, now: u64) -> AckAction {
        let ato = self.ato.min(ATO_MIN_TICKS);
        let mut at = now + ato;
        if let Some(older) = self.timer {
            if older <= now + ato / 4 {
                return AckAction::Now;
            }
            at = at.min(older);
        }
        self.timer = Some(at);
        AckAction::At(timer_ns(at))
    }

    /// `tcp_cleanup_rbuf`: the application has read; `drained` says that nothing is left in the receive buffer. More
    /// than one segment is acknowledged by any read.
    pub(crate) fn application_read(&self, drained: bool) -> AckAction {
        let drained = drained && (self.pushed2 || (self.pushed && !self.is_interactive()));
        if self.scheduled && (self.unacknowledged_bytes() > self.rcv_mss || drained) {
            AckAction::Now
        } else {
            AckAction::Nothing
        }
    }

    /// `tcp_delack_timer_handler`. The caller ignores timers older than the newest [`AckAction::At`].
    pub(crate) fn timer_fired(&mut self) -> AckAction {
        if self.timer.take().is_none() || !self.scheduled {
            return AckAction::Nothing;
        }
        if self.is_interactive() {
            self.pingpong = 0;
            self.ato = ATO_MIN_TICKS;
        } else {
            self.ato = (self.ato * 2).min(RTO_TICKS);
        }
        AckAction::Now
    }

    /// `tcp_event_ack_sent`: any segment with the ACK flag leaves, with data or without.
    pub(crate) fn ack_sent(&mut self) {
        if self.quick > 0 && self.scheduled {
            self.quick -= 1;
            if self.quick == 0 {
                self.ato = ATO_MIN_TICKS;
            }
        }
        (self.scheduled, self.pushed, self.pushed2, self.timer) = (false, false, false, None);
        self.rcv_wup = self.rcv_nxt.unwrap_or(self.rcv_wup);
    }

    /// `tcp_event_data_sent`, after [`DelayedAck::ack_sent`].
    pub(crate) fn data_sent(&mut self, now_ns: u64) {
        let now = now_ns / TICK_NS;
        // Kernels with a threshold of 3 count only the first answer to a received segment.
        let counts = self.lsndtime.is_none_or(|sent| sent < self.lrcvtime) || self.receiver.pingpong_thresh < 3;
        self.lsndtime = Some(now);
        if self.rcv_nxt.is_some() && counts && now - self.lrcvtime < self.ato {
            self.pingpong = self.pingpong.saturating_add(1);
        }
    }
}

/// The timer wheel rounds up.
fn timer_ns(tick: u64) -> u64 {
    (tick + 1) * TICK_NS
}

#[cfg(test)]
mod tests;
