//! What the network knows of one flow, and the segments that travel on it.

use super::tcp::Side;
use crate::flow::Flow;
use turmoil_net::{Packet, TcpFlags, TcpSegment, Transport};

/// Order and retransmission of one flow.
#[derive(Default)]
pub(super) struct FlowState {
    /// When the latest packet arrives: none behind it may be earlier.
    pub(crate) last_arrival_ns: u64,
    /// Its sender has sent a FIN or a RST.
    pub(crate) closing: bool,
    /// It has carried more than a SYN.
    pub(crate) established: bool,
    /// A pure ACK that was lost by chance, and the number of its timer. Whatever its sender sends next makes it needless.
    pub(crate) lost_ack: Option<Box<(Packet, u64)>>,
    /// Lost segments and those held up behind them, by sequence number; `None` while nothing is lost.
    pub(crate) lost: Option<Box<Lost>>,
    /// The source's side of a connection whose segments are modelled.
    pub(super) side: Option<Box<Side>>,
}

/// Segments that wait for their retransmission.
#[derive(Default)]
pub(crate) struct Lost {
    pub(crate) packets: Vec<Packet>,
    pub(crate) rto_ns: u64,
    pub(crate) tries: u32,
    /// Tells the timer that is set now from older ones.
    pub(crate) timer: u64,
}

/// The TCP part of a packet.
///
/// # Panics
/// On UDP, which the simulated hosts have no way to send.
pub(crate) fn segment(packet: &Packet) -> &TcpSegment {
    match &packet.payload {
        Transport::Tcp(segment) => segment,
        Transport::Udp(_) => panic!("a simulated host sent a UDP datagram; only TCP is simulated"),
    }
}

/// An acknowledgement and nothing else.
pub(crate) fn is_pure_ack(segment: &TcpSegment) -> bool {
    segment.payload.is_empty() && !segment.flags.syn && !segment.flags.fin && !segment.flags.rst
}

/// Whether sequence number `a` is at or after `b` (RFC 9293, section 3.4: arithmetic modulo 2^32).
pub(crate) fn at_or_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() >= 0
}

/// A bare reset from port to port.
pub(crate) fn reset_segment(flow: Flow) -> TcpSegment {
    TcpSegment {
        src_port: flow.source.1,
        dst_port: flow.destination.1,
        seq: 0,
        ack: 0,
        flags: TcpFlags { rst: true, ..TcpFlags::default() },
        window: 0,
        payload: bytes::Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_wrap() {
        assert!(at_or_after(5, u32::MAX - 5));
        assert!(!at_or_after(u32::MAX - 5, 5));
        assert!(at_or_after(7, 7));
    }
}
