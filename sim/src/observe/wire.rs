//! Segments as a capture at their sender shows them.
//!
//! The simulator moves segments without looking at most of their headers: where nobody waits for an acknowledgement it
//! keeps no acknowledgement numbers, and turmoil-net, which begins and ends connections, counts as if no data were ever
//! sent. What a kernel would write into these fields follows from what has left and what has arrived, which is counted
//! here.

use crate::flow::{Flow, at_or_after};
use rustc_hash::FxHashMap;
use turmoil_net::TcpSegment;

/// Bits of TCP's flags (RFC 9293, section 3.1).
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It gets through, unless a silence begins before it arrives.
    Sent,
    /// It is lost.
    Lost,
    /// One before it is lost, so it is sent again with that.
    HeldUp,
    /// It was lost, or held up, and gets through now.
    SentAgain,
    /// It was lost, and is lost again.
    LostAgain,
}

/// What is known of a segment but its data, at the moment at which it leaves its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// When that is, in virtual time.
    pub at_ns: u64,
    /// Host and port.
    pub from: (u16, u16),
    /// Host and port.
    pub to: (u16, u16),
    /// Sequence number of its first byte.
    pub seq: u32,
    /// The next byte that its sender expects; 0 without the flag ACK.
    pub ack: u32,
    /// TCP's flags, as in its header. Whether it ends a write is not known: all with data carry PSH.
    pub flags: u8,
    /// What its sender has room for, in bytes; not scaled.
    pub window: u16,
    /// What becomes of it.
    pub fate: Fate,
}

/// A segment at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// What it says of itself.
    pub header: Header,
    /// Data.
    pub payload: &'a [u8],
}

/// What one direction of a connection has come to.
#[derive(Clone, Copy, Debug, Default)]
struct Direction {
    /// Sequence number after all that has left.
    sent: u32,
    /// Sequence number after all that has arrived; `None`: nothing has.
    arrived: Option<u32>,
    /// Of who has opened the connection, until the acknowledgement leaves that ends the handshake: its sequence number,
    /// and the window that was offered. Data may leave before it, since an application may write at once.
    handshake: Option<(u32, u16)>,
}

/// All directions of all connections.
#[derive(Debug, Default)]
pub(super) struct Wire(FxHashMap<u64, Direction>);

/// The place after a segment, in sequence numbers.
fn end_of(segment: &TcpSegment) -> u32 {
    let controls = u32::from(segment.flags.syn) + u32::from(segment.flags.fin);
    segment.seq.wrapping_add(segment.payload.len() as u32).wrapping_add(controls)
}

fn takes_place(segment: &TcpSegment) -> bool {
    !segment.payload.is_empty() || segment.flags.syn || segment.flags.fin
}

impl Wire {
    /// A segment leaves.
    pub(super) fn leave<'a>(&mut self, now_ns: u64, flow: Flow, segment: &'a TcpSegment, fate: Fate) -> Segment<'a> {
        let arrived = self.0.get(&flow.reversed().packed()).and_then(|back| back.arrived);
        let direction = self.0.entry(flow.packed()).or_default();
        let flags = segment.flags;
        if flags.syn {
            let handshake = (!flags.ack).then(|| (end_of(segment), segment.window));
            *direction = Direction { sent: end_of(segment), arrived: None, handshake };
        }
        let window = direction.handshake.map_or(segment.window, |(_, window)| window);
        let seq = if takes_place(segment) {
            if at_or_after(end_of(segment), direction.sent) {
                direction.sent = end_of(segment);
            }
            segment.seq
        } else {
            direction.handshake.take().map_or(direction.sent, |(seq, _)| seq)
        };
        let ack = arrived.filter(|_| !flags.syn || flags.ack);
        let letters = [
            (flags.fin, FIN),
            (flags.syn, SYN),
            (flags.rst, RST),
            (!segment.payload.is_empty(), PSH),
            (ack.is_some(), ACK),
        ];
        let header = Header {
            at_ns: now_ns,
            from: flow.source,
            to: flow.destination,
            seq,
            ack: ack.unwrap_or(0),
            flags: letters.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, letter)| all | letter),
            window,
            fate,
        };
        Segment { header, payload: &segment.payload }
    }

    /// A segment is in its receiver's kernel.
    pub(super) fn arrive(&mut self, flow: Flow, segment: &TcpSegment) {
        if takes_place(segment)
            && let Some(direction) = self.0.get_mut(&flow.packed())
        {
            let end = end_of(segment);
            if segment.flags.syn || direction.arrived.is_none_or(|arrived| at_or_after(end, arrived)) {
                direction.arrived = Some(end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turmoil_net::TcpFlags;

    const FLOW: Flow = Flow { source: (0, 40_000), destination: (1, 1_883) };

    fn segment(flow: Flow, seq: u32, payload: &'static [u8], letters: &str) -> TcpSegment {
        let has = |letter| letters.contains(letter);
        let flags = TcpFlags { syn: has('S'), ack: has('A'), fin: has('F'), rst: has('R'), ..TcpFlags::default() };
        let (src_port, dst_port) = (flow.source.1, flow.destination.1);
        TcpSegment { src_port, dst_port, seq, ack: 0, flags, window: 1_000, payload: payload.into() }
    }

    /// Sends it, lets it arrive if it gets through, and gives its flags, sequence number and acknowledgement.
    fn pass(wire: &mut Wire, flow: Flow, segment: &TcpSegment, fate: Fate) -> (u8, u32, u32) {
        let left = wire.leave(0, flow, segment, fate).header;
        let seen = (left.flags, left.seq, left.ack);
        if matches!(fate, Fate::Sent | Fate::SentAgain) {
            wire.arrive(flow, segment);
        }
        seen
    }

    #[test]
    fn numbers_are_those_that_kernels_would_write_from_the_handshake_to_the_last_acknowledgement() {
        let (mut wire, back) = (Wire::default(), FLOW.reversed());
        let (sent, lost, again) = (Fate::Sent, Fate::Lost, Fate::SentAgain);
        let seen = [
            pass(&mut wire, FLOW, &segment(FLOW, 100, b"", "S"), sent),
            pass(&mut wire, back, &segment(back, 500, b"", "SA"), sent),
            // An application has written at once.
            pass(&mut wire, FLOW, &segment(FLOW, 101, b"four", "A"), lost),
            pass(&mut wire, FLOW, &segment(FLOW, 101, b"", "A"), sent),
            pass(&mut wire, back, &segment(back, 501, b"x", "A"), sent),
            pass(&mut wire, FLOW, &segment(FLOW, 101, b"four", "A"), again),
            pass(&mut wire, FLOW, &segment(FLOW, 105, b"", "FA"), sent),
            // turmoil-net knows nothing of the data.
            pass(&mut wire, back, &segment(back, 501, b"", "A"), sent),
            pass(&mut wire, back, &segment(back, 0, b"", "R"), sent),
        ];
        let expected = [
            (SYN, 100, 0),
            (SYN | ACK, 500, 101),
            (PSH | ACK, 101, 501),
            (ACK, 101, 501),
            (PSH | ACK, 501, 101),
            (PSH | ACK, 101, 502),
            (FIN | ACK, 105, 502),
            (ACK, 502, 106),
            (RST | ACK, 502, 106),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_connection_between_the_same_ports_begins_anew() {
        let (mut wire, back) = (Wire::default(), FLOW.reversed());
        pass(&mut wire, FLOW, &segment(FLOW, u32::MAX, b"", "S"), Fate::Sent);
        pass(&mut wire, back, &segment(back, 500, b"", "SA"), Fate::Sent);
        pass(&mut wire, FLOW, &segment(FLOW, 0, b"wraps", "A"), Fate::Sent);
        let again = pass(&mut wire, FLOW, &segment(FLOW, 7, b"", "S"), Fate::Sent);
        assert_eq!(again, (SYN, 7, 0));
        assert_eq!(pass(&mut wire, back, &segment(back, 900, b"", "SA"), Fate::Sent), (SYN | ACK, 900, 8));
    }
}
