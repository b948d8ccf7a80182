//! The segments of a simulated run, kept as they left their hosts.

use sim::observe::{Header, Segment};
use std::ops::Range;

/// Bytes of segments kept of a run, a header of [`HEADER_BYTES`] each counted in: what a protocol analyser can still be
/// worked with. Later ones are counted only.
pub const CAPTURE_BYTES_MAX: usize = 128 << 20;
/// Ethernet, IPv4 and TCP, without options.
pub const HEADER_BYTES: usize = 14 + 20 + 20;

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// What it says of itself.
    pub header: Header,
    payload: Range<usize>,
}

/// Segments in the order in which they left.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// All that there was room for.
    pub segments: Vec<Captured>,
    /// How many came later than that.
    pub left_out: u64,
    payloads: Vec<u8>,
}

impl Capture {
    /// Keeps a segment.
    pub(crate) fn add(&mut self, segment: &Segment<'_>) {
        let kept_bytes = self.payloads.len() + self.segments.len() * HEADER_BYTES;
        if self.left_out > 0 || kept_bytes + HEADER_BYTES + segment.payload.len() > CAPTURE_BYTES_MAX {
            self.left_out += 1; // and all after it: a stream with a hole can't be read
            return;
        }
        let start = self.payloads.len();
        self.payloads.extend_from_slice(segment.payload);
        self.segments.push(Captured { header: segment.header, payload: start..self.payloads.len() });
    }

    /// A segment's data.
    #[must_use]
    pub fn payload(&self, segment: &Captured) -> &[u8] {
        &self.payloads[segment.payload.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::observe::Fate;

    #[test]
    fn when_there_is_no_room_the_rest_is_counted() {
        let payload = vec![7; CAPTURE_BYTES_MAX / 2 - HEADER_BYTES];
        let (from, to) = ((0, 1), (1, 2));
        let header = Header { at_ns: 5, from, to, seq: 1, ack: 2, flags: 16, window: 9, fate: Fate::Sent };
        let segment = Segment { header, payload: &payload };
        let mut capture = Capture::default();
        for _ in 0..3 {
            capture.add(&segment);
        }
        capture.add(&Segment { payload: b"", ..segment });
        assert_eq!((capture.segments.len(), capture.left_out), (2, 2));
        assert_eq!(capture.payload(&capture.segments[1]), payload);
    }
}
