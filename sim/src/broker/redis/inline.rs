//! Inline commands: a line of words instead of an array, for people with telnet and for health checks.
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/#inline-commands>; how words are told apart is Redis 7.0's
//! `sdssplitargs`.

use super::resp::ProtocolError;
use bytes::{Buf, Bytes, BytesMut};

/// Longest line, as in Redis (`PROTO_INLINE_MAX_SIZE`).
const LINE_BYTES_MAX: usize = 64 << 10;

/// Takes the next whole line off `input`: its words. None of them: a command that is to be ignored.
pub(super) fn read_line(input: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
    let Some(end) = input.iter().take(LINE_BYTES_MAX + 1).position(|byte| *byte == b'\n') else {
        return if input.len() > LINE_BYTES_MAX { Err(ProtocolError::InlineBytes) } else { Ok(None) };
    };
    let line = &input[..end];
    let words = words(line.strip_suffix(b"\r").unwrap_or(line)).ok_or(ProtocolError::UnbalancedQuotes)?;
    input.advance(end + 1);
    Ok(Some(words))
}

/// `None` if a quote is not closed, or not followed by a space.
fn words(mut line: &[u8]) -> Option<Vec<Bytes>> {
    let mut words = Vec::new();
    loop {
        line = line.trim_ascii_start();
        if line.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        line = loop {
            match line {
                [] => break line,
                [b' ' | b'\n' | b'\r' | b'\t' | 0, rest @ ..] => break rest,
                [quote @ (b'"' | b'\''), rest @ ..] => {
                    let rest = quoted(*quote, rest, &mut word)?;
                    if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                        return None;
                    }
                    break rest;
                }
                [byte, rest @ ..] => {
                    word.push(*byte);
                    line = rest;
                }
            }
        };
        words.push(word.into());
    }
}

/// Appends what stands up to the closing `quote`, and gives the rest behind that.
fn quoted<'a>(quote: u8, mut line: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, rest) = match line {
            [byte, rest @ ..] if *byte == quote => return Some(rest),
            [b'\\', b'\'', rest @ ..] if quote == b'\'' => (b'\'', rest),
            [b'\\', b'x', high, low, rest @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (nibble(*high) << 4 | nibble(*low), rest)
            }
            [b'\\', escaped, rest @ ..] if quote == b'"' => (unescaped(*escaped), rest),
            [byte, rest @ ..] => (*byte, rest),
            [] => return None,
        };
        word.push(byte);
        line = rest;
    }
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.to_ascii_lowercase() - b'a' + 10,
    }
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Option<Vec<String>> {
        let words = words(line.as_bytes())?;
        Some(words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect())
    }

    #[test]
    fn words_are_separated_by_spaces_and_may_be_quoted() {
        let is = |line, expected: &[&str]| assert_eq!(split(line).unwrap(), expected, "{line}");
        is("", &[]);
        is("  PING\t", &["PING"]);
        is(r#"SET key "a \"b\" \x41\n" "#, &["SET", "key", "a \"b\" A\n"]);
        is(r"SET 'it\'s' '\n' ''", &["SET", "it's", r"\n", ""]);
        is(r#"a"b c""#, &["ab c"]);
        for line in [r#""a"#, "'a", r#""a"b"#, r#""a\"#, r#"a"b"c"#] {
            assert_eq!(split(line), None, "{line}");
        }
    }

    #[test]
    fn a_line_is_taken_when_it_is_whole_and_refused_when_it_gets_too_long() {
        let mut input = BytesMut::from("PING\r\nPI");
        assert_eq!(read_line(&mut input).unwrap().unwrap(), ["PING"]);
        assert_eq!((read_line(&mut input).unwrap(), &input[..]), (None, &b"PI"[..]));
        let mut input = BytesMut::zeroed(LINE_BYTES_MAX);
        assert_eq!(read_line(&mut input).unwrap(), None);
        input.extend_from_slice(b"a");
        assert_eq!(read_line(&mut input), Err(ProtocolError::InlineBytes));
    }
}
