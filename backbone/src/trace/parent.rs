//! The W3C's Trace Context, version 00 (<https://www.w3.org/TR/trace-context/>): whose child a span is, in a header.

use std::fmt;

/// The header's name, over HTTP and AMQP, and the user property's, over MQTT 5.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const TEXT_BYTES: usize = 55;
const SAMPLED: u8 = 1;

/// A span of somebody, and whether it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    pub(crate) trace: u128,
    pub(crate) span: u64,
    pub(crate) is_sampled: bool,
}

impl TraceParent {
    /// `None`: it says nothing that makes sense, which is to be treated as if it were not there (section 3.2.2).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (version, rest) = text.get(..TEXT_BYTES)?.split_once('-')?;
        let [trace, span, flags] = rest.split('-').collect::<Vec<_>>().try_into().ok()?;
        let digits = |text: &str, count: usize| {
            text.len() == count && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !(digits(version, 2) && digits(trace, 32) && digits(span, 16) && digits(flags, 2)) {
            return None;
        }
        // Of a later version more may follow.
        let is_whole = text.len() == TEXT_BYTES || version != "00" && text.as_bytes()[TEXT_BYTES] == b'-';
        let (trace, span) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?);
        let is_sampled = u8::from_str_radix(flags, 16).ok()? & SAMPLED != 0;
        (is_whole && version != "ff" && trace != 0 && span != 0).then_some(Self { trace, span, is_sampled })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_standards_example_is_read_and_written() {
        let parent = TraceParent::parse(EXAMPLE).unwrap();
        let expected = TraceParent {
            trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            span: 0x00f0_67aa_0ba9_02b7,
            is_sampled: true,
        };
        assert_eq!(parent, expected);
        assert_eq!(parent.to_string(), EXAMPLE);
        assert!(!TraceParent::parse(&EXAMPLE.replace("-01", "-00")).unwrap().is_sampled);
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = EXAMPLE.replacen("00", "01", 1);
        assert!(TraceParent::parse(&later).is_some() && TraceParent::parse(&format!("{later}-more")).is_some());
        assert!(TraceParent::parse(&format!("{later}more")).is_none());
    }

    #[test]
    fn what_makes_no_sense_is_as_if_it_were_not_there() {
        let zero_trace = EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let zero_span = EXAMPLE.replace("00f067aa0ba902b7", &"0".repeat(16));
        let (capitals, unknown) = (EXAMPLE.to_uppercase(), EXAMPLE.replacen("00", "ff", 1));
        let (longer, foreign) = (format!("{EXAMPLE}-1"), format!("{}é", &EXAMPLE[..54]));
        for text in ["", "00", &EXAMPLE[..54], &zero_trace, &zero_span, &capitals, &unknown, &longer, &foreign] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }
}
