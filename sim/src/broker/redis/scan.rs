//! What `SCAN` and its like have in common. Here a scan always brings everything at once, with the cursor that says so:
//! COUNT is a hint only.

use super::{call::integer, error::CommandError, glob, resp::Reply};
use bytes::Bytes;

/// What a scan is to bring.
#[derive(Default)]
pub(super) struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    kind: Option<Vec<u8>>,
}

impl<'a> ScanOptions<'a> {
    /// Reads `[MATCH pattern] [COUNT count]`, and `[TYPE type]` if there are types to choose from.
    pub(super) fn parse(mut options: &'a [Bytes], typed: bool) -> Result<Self, CommandError> {
        let mut wanted = Self::default();
        while let [option, value, rest @ ..] = options {
            options = rest;
            match option.to_ascii_lowercase().as_slice() {
                b"match" => wanted.pattern = Some(value),
                b"count" if integer(value)? >= 1 => {}
                b"type" if typed => wanted.kind = Some(value.to_ascii_lowercase()),
                _ => return Err(CommandError::Syntax),
            }
        }
        if options.is_empty() { Ok(wanted) } else { Err(CommandError::Syntax) }
    }

    /// Whether what has this name is to come.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::selects(pattern, name))
    }

    /// Whether what has this type is to come.
    pub(super) fn has_type(&self, name: &str) -> bool {
        self.kind.as_ref().is_none_or(|kind| *kind == name.as_bytes())
    }
}

/// Checks a cursor, which means the same whatever it is.
///
/// # Errors
/// It is none.
pub(super) fn check_cursor(cursor: &[u8]) -> Result<(), CommandError> {
    // C's strtoul takes a sign, and nothing at all for 0.
    let digits = cursor.strip_prefix(b"-").or_else(|| cursor.strip_prefix(b"+")).unwrap_or(cursor);
    let is_number = digits.iter().all(u8::is_ascii_digit)
        && std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u64>().is_ok());
    if is_number || cursor.is_empty() { Ok(()) } else { Err(CommandError::Cursor) }
}

/// A scan's answer.
pub(super) fn answer(found: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::text("0"), Reply::Array(found)])
}
