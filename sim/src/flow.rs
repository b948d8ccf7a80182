//! The name of one direction of a TCP connection.

use std::fmt;

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
        let end = |(host, port): End| u64::from(host) << 16 | u64::from(port);
        end(self.source) << 32 | end(self.destination)
    }

    /// The inverse of [`Flow::packed`].
    pub(crate) fn unpack(packed: u64) -> Self {
        let part = |shift: u32| (packed >> shift) as u16;
        Self { source: (part(48), part(32)), destination: (part(16), part(0)) }
    }
}

/// Whether sequence number `a` is at or after `b` (RFC 9293, section 3.4: arithmetic modulo 2^32).
pub(crate) fn at_or_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() >= 0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_reversed_twice_is_itself() {
        let flow = Flow { source: (1, 2), destination: (3, 4) };
        assert_ne!(flow.reversed(), flow);
        assert_eq!(flow.reversed().reversed(), flow);
    }

    #[test]
    fn a_flow_survives_its_packing() {
        let flow = Flow { source: (1, 60_000), destination: (65_000, 4) };
        assert_eq!(Flow::unpack(flow.packed()), flow);
    }

    #[test]
    fn sequence_numbers_wrap() {
        assert!(at_or_after(5, u32::MAX - 5));
        assert!(!at_or_after(u32::MAX - 5, 5));
        assert!(at_or_after(7, 7));
    }
}
