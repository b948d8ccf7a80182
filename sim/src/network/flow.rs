//! One direction of a TCP connection, and what the engine knows of it.

use super::tcp::Side;
use std::fmt;
use turmoil_net::{Packet, TcpFlags, TcpSegment, Transport};

/// An end of a flow: a host by its index, and a port.
pub(crate) type End = (u16, u16);

/// Names one direction of a TCP connection, from its source to its destination.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Flow {
    pub(crate) source: End,
    pub(crate) destination: End,
}

impl Flow {
    /// The other direction.
    pub(crate) fn reversed(self) -> Self {
        Self { source: self.destination, destination: self.source }
    }

    /// All of it in a number.
    pub(crate) fn packed(self) -> u64 {
        let [a, b, c, d] = [self.source.0, self.source.1, self.destination.0, self.destination.1].map(u64::from);
        a << 48 | b << 32 | c << 16 | d
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (a, b) = (self.source, self.destination);
        write!(f, "{}:{}>{}:{}", a.0, a.1, b.0, b.1)
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

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

    #[test]
    fn a_flow_reversed_twice_is_itself() {
        let flow = Flow { source: (1, 2), destination: (3, 4) };
        assert_ne!(flow.reversed(), flow);
        assert_eq!(flow.reversed().reversed(), flow);
    }
}
