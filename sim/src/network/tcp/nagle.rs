//! Nagle's algorithm as Linux has it, with Minshall's check (`tcp_nagle_check`, `tcp_minshall_check`): a partial
//! segment waits while an earlier *partial* segment is unacknowledged. What waits is one growing segment.
//!
//! One value for the sending side of each flow, without IO or a clock.

use super::super::segment::at_or_after;
use bytes::BytesMut;
use std::collections::VecDeque;
use turmoil_net::TcpSegment;

/// `MAX_SKB_FRAGS`: each small write takes a fragment of the segment that waits, since writes to other sockets lie
/// between them in the page. The write after the last fragment begins a new segment, and then the first one waits no
/// longer.
const WRITES_PER_SEGMENT_MAX: usize = 17;

/// The sending side of a flow.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    /// The SYN has left.
    started: bool,
    snd_nxt: u32,
    snd_una: u32,
    /// End of the last partial segment (`snd_sml`).
    snd_sml: u32,
    waiting: VecDeque<TcpSegment>,
    /// Writes in the last waiting segment.
    writes: usize,
}

impl Sender {
    /// The SYN leaves.
    pub(crate) fn start(&mut self, seq: u32) {
        let next = seq.wrapping_add(1);
        self.started = true;
        (self.snd_nxt, self.snd_una, self.snd_sml) = (next, next, next);
    }

    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    /// The sequence number that the next segment has.
    pub(crate) fn next_seq(&self) -> u32 {
        self.snd_nxt
    }

    /// A write reaches the kernel: returns what may leave now.
    pub(crate) fn push(&mut self, segment: TcpSegment, mss_bytes: usize, nodelay: bool) -> Vec<TcpSegment> {
        match self.waiting.back_mut() {
            Some(last)
                if last.payload.len() + segment.payload.len() <= mss_bytes && self.writes < WRITES_PER_SEGMENT_MAX =>
            {
                self.writes += 1;
                last.flags.fin |= segment.flags.fin;
                let mut joined = BytesMut::with_capacity(last.payload.len() + segment.payload.len());
                joined.extend_from_slice(&last.payload);
                joined.extend_from_slice(&segment.payload);
                last.payload = joined.freeze();
            }
            _ => {
                self.writes = 1;
                self.waiting.push_back(segment);
            }
        }
        self.ready(mss_bytes, nodelay)
    }

    /// An acknowledgement came: returns what may leave now.
    pub(crate) fn acknowledged(&mut self, ack: u32, mss_bytes: usize, nodelay: bool) -> Vec<TcpSegment> {
        if at_or_after(ack, self.snd_una) {
            self.snd_una = ack;
        }
        self.ready(mss_bytes, nodelay)
    }

    fn ready(&mut self, mss_bytes: usize, nodelay: bool) -> Vec<TcpSegment> {
        let mut ready = Vec::new();
        while let Some(first) = self.waiting.front() {
            let partial = first.payload.len() < mss_bytes && !first.flags.fin;
            let partial_in_flight = !at_or_after(self.snd_una, self.snd_sml);
            // Only the last segment of the write queue is held back (`tcp_nagle_test`).
            if !nodelay && self.waiting.len() == 1 && partial && partial_in_flight {
                break;
            }
            let Some(segment) = self.waiting.pop_front() else { break };
            let len = segment.payload.len() as u32 + u32::from(segment.flags.fin);
            self.snd_nxt = segment.seq.wrapping_add(len);
            if segment.payload.len() < mss_bytes {
                self.snd_sml = self.snd_nxt;
            }
            ready.push(segment);
        }
        ready
    }

    /// Whether something waits for an acknowledgement.
    pub(crate) fn holds_back(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turmoil_net::TcpFlags;

    const LAN_MSS: usize = 1_448;
    const LOOPBACK_MSS: usize = 65_483;

    fn segment(seq: u32, len: usize) -> TcpSegment {
        let flags = TcpFlags::default();
        TcpSegment { src_port: 1, dst_port: 2, seq, ack: 0, flags, window: 0, payload: vec![0; len].into() }
    }

    fn sender() -> Sender {
        let mut sender = Sender::default();
        sender.start(99);
        sender
    }

    fn lengths(segments: &[TcpSegment]) -> Vec<usize> {
        segments.iter().map(|segment| segment.payload.len()).collect()
    }

    #[test]
    fn small_writes_wait_for_the_small_segment_in_flight_and_leave_as_one() {
        let mut sender = sender();
        assert_eq!(lengths(&sender.push(segment(100, 4), LAN_MSS, false)), [4]);
        assert!(sender.push(segment(104, 4), LAN_MSS, false).is_empty());
        assert!(sender.push(segment(108, 200), LAN_MSS, false).is_empty());
        assert!(sender.holds_back());
        assert_eq!(lengths(&sender.acknowledged(104, LAN_MSS, false)), [204]);
        assert!(!sender.holds_back());
    }

    #[test]
    fn with_nodelay_every_write_leaves_at_once() {
        let mut sender = sender();
        for seq in 100..110 {
            assert_eq!(lengths(&sender.push(segment(seq, 1), LAN_MSS, true)), [1]);
        }
    }

    #[test]
    fn the_eighteenth_waiting_write_releases_the_seventeen_before_it() {
        let mut sender = sender();
        sender.push(segment(100, 4), LOOPBACK_MSS, false);
        for i in 0..17 {
            assert!(sender.push(segment(104 + i * 10, 10), LOOPBACK_MSS, false).is_empty());
        }
        assert_eq!(lengths(&sender.push(segment(274, 10), LOOPBACK_MSS, false)), [170]);
        assert!(sender.holds_back());
    }

    #[test]
    fn full_segments_in_flight_hold_nothing_back() {
        let mut sender = sender();
        assert_eq!(lengths(&sender.push(segment(100, LAN_MSS), LAN_MSS, false)), [LAN_MSS]);
        assert_eq!(
            lengths(&sender.push(segment(1_548, 4), LAN_MSS, false)),
            [4],
            "Minshall: the one in flight is full"
        );
        assert!(sender.push(segment(1_552, 4), LAN_MSS, false).is_empty());
        let big = sender.push(segment(1_556, LAN_MSS - 2), LAN_MSS, false);
        assert_eq!(lengths(&big), [4], "it is no longer the last of the queue");
        assert!(sender.acknowledged(1_552, LAN_MSS, false).is_empty(), "the second small segment is in flight now");
        assert_eq!(lengths(&sender.acknowledged(1_556, LAN_MSS, false)), [LAN_MSS - 2]);
    }
}
