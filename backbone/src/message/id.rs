//! Identifiers: MAC addresses of labels and gateways, request ids, task ids.

use crate::env::Env;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};
use std::{fmt, marker::PhantomData, str::FromStr};

/// Longest task id, in characters.
const TASK_ID_CHARS_MAX: usize = 64;

/// Why a text is no identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not six pairs of hex digits with colons between them.
    #[error("`{0}` is no MAC address; expected six pairs of hex digits like 00:1A:2B:3C:4D:5E")]
    Mac(String),
    /// Not 32 lower-case hex digits.
    #[error("`{0}` is no request id; expected 32 lower-case hex digits")]
    RequestId(String),
    /// Empty, too long, or with characters that don't belong.
    #[error("`{0}` is no task id; expected 1 to 64 characters out of A-Z a-z 0-9 . _ -")]
    TaskId(String),
}

/// The 48-bit address of a label or a gateway. Written in capitals, read in either case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(u64);

impl Mac {
    /// The address with this value.
    ///
    /// # Panics
    /// If `value` has more than 48 bits.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        assert!(value < 1 << 48, "a MAC address has 48 bits");
        Self(value)
    }

    /// The address as a number below 2^48.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let mut text = *b"00:00:00:00:00:00";
        for (i, byte) in self.0.to_be_bytes()[2..].iter().enumerate() {
            text[3 * i] = DIGITS[usize::from(byte >> 4)];
            text[3 * i + 1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).expect("hex digits and colons are UTF-8"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Mac {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digit = |byte: u8| char::from(byte).to_digit(16).map(u64::from);
        let byte = |value: u64, part: &[u8]| match *part {
            [high, low] | [high, low, b':'] => Some(value << 8 | digit(high)? << 4 | digit(low)?),
            _ => None,
        };
        // Of the right length, only the last part can be without a colon.
        let value = if text.len() == 17 { text.as_bytes().chunks(3).try_fold(0, byte) } else { None };
        value.map(Self).ok_or_else(|| IdError::Mac(shorten(text)))
    }
}

/// Names one attempt to reach one label; drawn at random, so that no two callers share one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(u128);

impl RequestId {
    /// A fresh id.
    pub fn draw(env: &Env) -> Self {
        let mut bytes = [0; 16];
        env.random(&mut bytes);
        Self(u128::from_be_bytes(bytes))
    }

    /// All of it.
    pub(crate) fn value(self) -> u128 {
        self.0
    }

    /// Its last 64 bits: a number as random as the id.
    pub(crate) fn low_bits(self) -> u64 {
        self.0 as u64
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).expect("hex digits are UTF-8"))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for RequestId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digit = |value: u64, byte: &u8| match byte {
            b'0'..=b'9' => Some(value << 4 | u64::from(byte - b'0')),
            b'a'..=b'f' => Some(value << 4 | u64::from(byte - b'a' + 10)),
            _ => None,
        };
        let halves = text.as_bytes().split_at_checked(16).filter(|_| text.len() == 32);
        let value = halves.and_then(|(high, low)| {
            let [high, low] = [high, low].map(|digits| digits.iter().try_fold(0, digit).map(u128::from));
            Some(high? << 64 | low?)
        });
        value.map(Self).ok_or_else(|| IdError::RequestId(shorten(text)))
    }
}

/// A task's name, chosen by its dispatcher.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(Box<str>);

impl TaskId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let fits = (1..=TASK_ID_CHARS_MAX).contains(&text.len());
        let clean = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fits && clean { Ok(Self(text.into())) } else { Err(IdError::TaskId(shorten(text))) }
    }
}

/// An error message must not repeat a megabyte of input.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Reads an identifier from a text without a copy of the text.
struct Text<Id>(PhantomData<Id>);

impl<Id: FromStr<Err = IdError>> Visitor<'_> for Text<Id> {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! serde_as_text {
    ($($id:ty),*) => {$(
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text(PhantomData))
            }
        }
    )*};
}
serde_as_text!(Mac, RequestId, TaskId);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mac_is_read_in_either_case_and_written_in_capitals() {
        assert_eq!("00:1a:2B:3c:4D:5e".parse::<Mac>().unwrap().to_string(), "00:1A:2B:3C:4D:5E");
    }

    #[test]
    fn near_misses_of_a_mac_are_refused() {
        for text in
            ["", "00:11:22:33:44", "00-11-22-33-44-55", "00:11:22:33:44:5g", "00:11:22:33:44:555", "+0:11:22:33:44:55"]
        {
            assert_eq!(text.parse::<Mac>(), Err(IdError::Mac(text.into())), "{text}");
        }
    }

    #[test]
    fn a_long_wrong_text_is_shortened_in_the_error() {
        assert!("x".repeat(5000).parse::<TaskId>().unwrap_err().to_string().len() < 200);
    }

    proptest! {
        #[test]
        fn every_mac_survives_its_text(value in 0_u64..1 << 48) {
            prop_assert_eq!(Mac::new(value).to_string().parse(), Ok(Mac::new(value)));
        }

        #[test]
        fn every_request_id_survives_its_text(value: u128) {
            prop_assert_eq!(RequestId(value).to_string().parse(), Ok(RequestId(value)));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text: String) {
            let _ = (text.parse::<Mac>(), text.parse::<RequestId>(), text.parse::<TaskId>());
        }
    }
}
