//! RESP: requests in (arrays of bulk strings, or a line of words), replies out.
//!
//! Requests are parsed here and not by a general RESP decoder, because a server accepts far less than a client: one
//! flat shape with limits, so no nesting can exhaust the stack and no announced length is believed before its bytes are
//! there. Specification: <https://redis.io/docs/latest/develop/reference/protocol-spec/>. Where a request breaks it,
//! this reads what Redis reads.

use super::error::CommandError;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Largest single argument and string. Redis' `proto-max-bulk-len` is 512 MB; nothing of ours comes near even this.
pub(super) const BULK_BYTES_MAX: usize = 16 << 20;
/// Most arguments of one command; Redis takes 2,147,483,647. What has come of a command is read anew when more comes,
/// so this also bounds that work.
pub(super) const ARGUMENTS_MAX: usize = 1 << 16;
/// Longest line, inline requests and those that announce a length alike, as in Redis.
pub(super) const LINE_BYTES_MAX: usize = 64 << 10;
/// Largest whole command; Redis' limit is its `client-query-buffer-limit` of 1 GB.
const COMMAND_BYTES_MAX: usize = 64 << 20;
/// Most that a command may bring which can ask for the same value again and again.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// A request that no server understands; the connection is closed after this reply.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum ProtocolError {
    #[error("ERR Protocol error: invalid multibulk length")]
    ArrayLength,
    #[error("ERR Protocol error: invalid bulk length")]
    BulkLength,
    #[error("ERR Protocol error: too big mbulk count string")]
    ArrayHeader,
    #[error("ERR Protocol error: too big bulk count string")]
    BulkHeader,
    #[error("ERR Protocol error: expected '$', got '{0}'")]
    NotABulk(char),
    #[error("ERR Protocol error: too big inline request")]
    InlineTooLong,
    #[error("ERR Protocol error: unbalanced quotes in request")]
    Quotes,
    #[error("ERR Protocol error: command larger than {COMMAND_BYTES_MAX} bytes")]
    CommandBytes,
}

/// Takes the next whole command off `input`: its name and arguments, copied out, since a slice would keep the whole
/// read buffer alive for as long as the key lives. An empty array is an empty command, to be ignored.
pub(super) fn read_command(input: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
    let buf = &input[..];
    if buf.first().is_some_and(|b| *b != b'*') {
        return read_line(input);
    }
    let Some((count, mut at)) = read_length(buf, 0, ProtocolError::ArrayHeader, ProtocolError::ArrayLength)? else {
        return Ok(None);
    };
    // Redis takes a count of 0 or less for nothing to do.
    let count = usize::try_from(count).unwrap_or(0);
    if count > ARGUMENTS_MAX {
        return Err(ProtocolError::ArrayLength);
    }
    let mut ranges = Vec::with_capacity(count.min(16));
    for _ in 0..count {
        match buf.get(at) {
            None => return incomplete(buf),
            Some(b'$') => {}
            Some(other) => return Err(ProtocolError::NotABulk(*other as char)),
        }
        let Some((len, start)) = read_length(buf, at, ProtocolError::BulkHeader, ProtocolError::BulkLength)? else {
            return incomplete(buf);
        };
        let len = usize::try_from(len).ok().filter(|len| *len <= BULK_BYTES_MAX).ok_or(ProtocolError::BulkLength)?;
        let end = start + len;
        if buf.len() < end + 2 {
            return incomplete(buf);
        }
        ranges.push(start..end);
        at = end + 2;
    }
    let arguments = ranges.into_iter().map(|range| Bytes::copy_from_slice(&buf[range])).collect();
    input.advance(at);
    Ok(Some(arguments))
}

fn incomplete<T>(buf: &[u8]) -> Result<Option<T>, ProtocolError> {
    if buf.len() > COMMAND_BYTES_MAX { Err(ProtocolError::CommandBytes) } else { Ok(None) }
}

/// Takes an inline request off `input`: a line of words.
fn read_line(input: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
    let Some(len) = input.iter().position(|b| *b == b'\n') else {
        return if input.len() > LINE_BYTES_MAX { Err(ProtocolError::InlineTooLong) } else { Ok(None) };
    };
    let line = input.split_to(len + 1);
    let line = &line[..len];
    words(line.strip_suffix(b"\r").unwrap_or(line)).map(Some)
}

/// Splits a line as Redis' `sdssplitargs`: words in double quotes have escapes, words in single quotes only that of the
/// quote, and after a closing quote there must be a space.
fn words(line: &[u8]) -> Result<Vec<Bytes>, ProtocolError> {
    let mut words = vec![];
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|b| is_space(*b)) {
            at += 1;
        }
        if at == line.len() {
            return Ok(words);
        }
        let mut word = vec![];
        let mut quote = None;
        loop {
            match (quote, line.get(at), line.get(at + 1)) {
                (None, None, _) => break,
                (None, Some(b), _) if is_space(*b) => break,
                (Some(_), None, _) => return Err(ProtocolError::Quotes),
                (None, Some(b @ (b'"' | b'\'')), _) => quote = Some(*b),
                (Some(open), Some(b), after) if open == *b => {
                    if after.is_some_and(|after| !is_space(*after)) {
                        return Err(ProtocolError::Quotes);
                    }
                    at += 1;
                    break;
                }
                (Some(b'\''), Some(b'\\'), Some(b'\'')) => {
                    word.push(b'\'');
                    at += 1;
                }
                (Some(b'"'), Some(b'\\'), Some(escaped)) => {
                    let hex = line.get(at + 2..at + 4).filter(|_| *escaped == b'x').and_then(hex_byte);
                    word.push(hex.unwrap_or_else(|| unescaped(*escaped)));
                    at += if hex.is_some() { 3 } else { 1 };
                }
                (_, Some(b), _) => word.push(*b),
            }
            at += 1;
        }
        words.push(word.into());
    }
}

/// What C's `isspace` takes for one, and the end of a C string.
fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t'..=b'\r' | 0)
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let value = |digit: u8| (digit as char).to_digit(16);
    u8::try_from(value(digits[0])? * 16 + value(digits[1])?).ok()
}

fn unescaped(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

/// Reads `<type byte><integer>\r\n` at `at`: the number and where the next byte is.
fn read_length(
    buf: &[u8],
    at: usize,
    too_long: ProtocolError,
    not_a_number: ProtocolError,
) -> Result<Option<(i64, usize)>, ProtocolError> {
    let line = &buf[buf.len().min(at + 1)..];
    let Some(len) = line.iter().position(|b| *b == b'\r') else {
        return if line.len() > LINE_BYTES_MAX { Err(too_long) } else { Ok(None) };
    };
    // Redis takes whatever follows for the line feed.
    if line.len() == len + 1 {
        return Ok(None);
    }
    let number = read_integer(&line[..len]).ok_or(not_a_number)?;
    Ok(Some((number, at + 1 + len + 2)))
}

/// An integer as Redis takes it: decimal, no sign but `-`, no leading zeros, no spaces.
pub(super) fn read_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        b"0" => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Status(&'static str),
    Error(String),
    Integer(i64),
    Bulk(Bytes),
    Null,
    /// What a transaction brings that was not run.
    NullArray,
    Array(Vec<Reply>),
    /// A map in RESP3; in RESP2 an array of keys and values in turn.
    Map(Vec<(Reply, Reply)>),
}

impl Reply {
    pub(super) const OK: Self = Self::Status("OK");

    pub(super) fn copy_of(text: &[u8]) -> Self {
        Self::Bulk(Bytes::copy_from_slice(text))
    }

    pub(super) fn text(text: &str) -> Self {
        Self::copy_of(text.as_bytes())
    }

    pub(super) fn bulk(value: Option<&[u8]>) -> Self {
        value.map_or(Self::Null, Self::copy_of)
    }

    pub(super) fn count(count: usize) -> Self {
        Self::Integer(i64::try_from(count).expect("counts of things in memory fit"))
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let content = match self {
            Self::Error(text) => text.len(),
            Self::Bulk(bytes) => bytes.len(),
            Self::Array(items) => items.iter().map(Self::bytes).sum(),
            Self::Map(pairs) => pairs.iter().map(|(key, value)| key.bytes() + value.bytes()).sum(),
            Self::Status(_) | Self::Integer(_) | Self::Null | Self::NullArray => 0,
        };
        size_of::<Self>() + content
    }

    /// An array of what `items` brings, up to [`REPLY_BYTES_MAX`].
    pub(super) fn array_of(items: impl Iterator<Item = Self>) -> Result<Self, CommandError> {
        let (mut array, mut bytes) = (vec![], 0);
        for item in items {
            bytes += item.bytes();
            if bytes > REPLY_BYTES_MAX {
                return Err(CommandError::ReplyBytes(REPLY_BYTES_MAX));
            }
            array.push(item);
        }
        Ok(Self::Array(array))
    }

    /// Appends the wire form.
    pub(super) fn write(&self, out: &mut BytesMut, resp3: bool) {
        match self {
            Self::Status(text) => put(out, b'+', text.as_bytes()),
            // A line break would end the reply early: Redis replaces them too.
            Self::Error(text) => put(out, b'-', text.replace(['\r', '\n'], " ").as_bytes()),
            Self::Integer(number) => put(out, b':', number.to_string().as_bytes()),
            Self::Bulk(bytes) => {
                put(out, b'$', bytes.len().to_string().as_bytes());
                out.put_slice(bytes);
                out.put_slice(b"\r\n");
            }
            Self::Null => out.put_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" }),
            Self::NullArray => out.put_slice(if resp3 { b"_\r\n" } else { b"*-1\r\n" }),
            Self::Array(items) => {
                put(out, b'*', items.len().to_string().as_bytes());
                for item in items {
                    item.write(out, resp3);
                }
            }
            Self::Map(pairs) => {
                let (kind, len) = if resp3 { (b'%', pairs.len()) } else { (b'*', pairs.len() * 2) };
                put(out, kind, len.to_string().as_bytes());
                for (key, value) in pairs {
                    key.write(out, resp3);
                    value.write(out, resp3);
                }
            }
        }
    }
}

fn put(out: &mut BytesMut, kind: u8, line: &[u8]) {
    out.put_u8(kind);
    out.put_slice(line);
    out.put_slice(b"\r\n");
}
