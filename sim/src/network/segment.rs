//! Segments: what is in one, and how sequence numbers compare.

use crate::flow::Flow;
use turmoil_net::{Packet, TcpFlags, TcpSegment, Transport};

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
