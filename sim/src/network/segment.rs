//! Segments: what is in one, and how sequence numbers compare.

pub(crate) use crate::flow::at_or_after;

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
